"""The flags that choose a recipe, --recipe, and change its entries, --vary."""

import argparse
import dataclasses
import math

from deeppose.recipes import CHOICES


def add_arguments(parser, recipe_names):
    """Add --recipe and --vary; see choose.

    recipe_names  as --help lists them
    """
    parser.add_argument(
        "--recipe",
        default="best",
        metavar="NAME",
        help=f"how the network learns, of {', '.join(recipe_names)}: as this project has it (best), "
        "or as its authors had it (default: best)",
    )
    parser.add_argument(
        "--vary",
        type=_change,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another value for an entry of the recipe, such as turn_deg=40; again for another",
    )


def choose(parser, options, recipes):
    """Make options.recipe the Recipe that the flags stand for, and options.called its description.

    Ends with the parser's error where there is no such recipe or entry.

    recipes  name -> Recipe: those of the network
    """
    if options.recipe not in recipes:
        parser.error(
            f"argument --recipe: there is no {options.recipe!r}; there are {', '.join(recipes)}"
        )
    # what the run calls it, before the name gives way to the Recipe
    changes = "".join(f", {name}={text}" for name, text in options.vary)
    options.called = f"recipe {options.recipe}{changes}"
    try:
        options.recipe = varied(recipes[options.recipe], options.vary)
    except ValueError as error:
        parser.error(f"argument --vary: {error}")
    # a network's own entries and the training's may contradict each other
    if options.recipe.options.get("head") == "direct" and options.recipe.heatmaps:
        parser.error(
            "--vary head=direct: that head has no heatmaps to learn; add --vary heatmaps=0"
        )


def with_options(recipes, network_options):
    """Recipes by name, with some of the network's options set otherwise."""
    return {
        name: dataclasses.replace(recipe, options=recipe.options | network_options)
        for name, recipe in recipes.items()
    }


def varied(recipe, changes):
    """The recipe with other entries; raises ValueError for a name or a value that it cannot have.

    changes  sequence of (entry's name, value as text)
    """
    for entry_name, text in changes:
        if entry_name in recipe.options:
            value = _parse_value(entry_name, text, recipe.options)
            recipe = dataclasses.replace(recipe, options=recipe.options | {entry_name: value})
        else:
            # the recipe's own entries, without the network's
            entries = {name: value for name, value in vars(recipe).items() if name != "options"}
            value = _parse_value(entry_name, text, entries)
            recipe = dataclasses.replace(recipe, **{entry_name: value})
    return recipe


def _parse_value(entry_name, text, entries):
    """The value that a text stands for, of the type that the entry has now."""
    if entry_name not in entries:
        raise ValueError(
            f"there is no {entry_name!r} in this recipe; there are {', '.join(entries)}"
        )
    # of the type of the default, so that turn_deg=40 is a number and loss=l1 a word
    value_type = type(entries[entry_name])
    try:
        value = value_type(text)
    except ValueError:
        raise ValueError(f"{entry_name}={text}: {text!r} is no number") from None
    if entry_name in CHOICES and value not in CHOICES[entry_name]:
        raise ValueError(f"{entry_name}={text}: is none of {', '.join(CHOICES[entry_name])}")
    if value_type is not str and not 0 <= value < math.inf:
        raise ValueError(f"{entry_name}={text}: is none of 0 or more")
    return value


def _change(text):
    """argparse type of --vary: NAME=VALUE as (name, text of the value)."""
    entry_name, equals, value_text = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return entry_name, value_text
