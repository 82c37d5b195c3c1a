"""Recipes, how a network is trained, as data: --recipe names one, and --vary changes it."""

import argparse
import dataclasses
import math
from dataclasses import dataclass, field

import torch
from torch.optim.swa_utils import AveragedModel

from deeppose import augment

CHOICES = {
    "loss": ("mse", "smooth_l1", "l1", "image_mse", "none"),
    "heatmap_loss": ("cross_entropy", "mse"),
    "optimiser": ("adam", "adamw", "adagrad", "sgd"),
    "schedule": ("constant", "cosine", "steps", "inverse"),
}
SHORT = 5  # of a run's steps the warm-up takes at most one in so many
# shares of the run after which "steps" divides the rate by 10, as SimpleBaseline does
STEPS_AT = (90 / 140, 120 / 140)
# exponent of "inverse": rate x (1 + inverse_gamma x step) ^ -0.75, as Caffe's "inv"
INVERSE_POWER = 0.75


@dataclass(frozen=True)
class Recipe:
    """The default of each entry is the original's.

    options  the network's own entries, such as its head: what its class takes by name
    """

    options: dict = field(default_factory=dict)
    # of the normalised coordinates; "image_mse" is the mean of the images' means
    loss: str = "mse"
    heatmaps: float = 0.0  # the heatmaps' own loss counts that much beside it
    heatmap_loss: str = "cross_entropy"
    optimiser: str = "adam"
    learning_rate: float = 5e-4
    weight_decay: float = 0.0
    momentum: float = 0.9  # of SGD
    # Adagrad's sum of squares to begin with; from 0, torch's default, the first step
    accumulator: float = 1e-3
    # moves all 58 M weights of a refiner by the full rate, and most units die
    warm_up: int = 0  # steps over which the rate rises from 0; a fifth of a short run
    schedule: str = "constant"  # or "cosine", to 0 over the whole run; "steps"; "inverse"
    inverse_gamma: float = 1e-4
    # decay a step of the weights' moving average, which then is the model; 0 for none
    average: float = 0.0
    # share of the run in which a backbone that was loaded stays as it is
    frozen: float = 0.0
    stretch: int = 0  # 1: the network sees boxes as squares, their aspect lost
    # of refiners: box side / size of the predicted pose; 0 for the skeleton's
    crop_scale: float = 0.0
    # of refiners, px of the frame, so that a collapsed pose still gets a box with something in it
    smallest_crop_px: float = 40.0
    crop_px: int = 227  # cascade: sides of the crops that the network takes
    # of refiners: 1 sizes a training row's box by its true pose; others' never are
    true_sizes: int = 0
    # of refiners: simulated estimates an image and epoch; original: always the first 20
    simulated: int = 20
    batch_size: int = 0  # images a step; 0: the script's own number
    turn_deg: float = 0.0  # from here on: deeppose.augment.Ranges, drawn anew each epoch
    turn_share: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    mirror: float = 0.0
    colour: float = 0.0
    hide: float = 0.0

    @property
    def ranges(self):
        """What is drawn for each image."""
        return augment.Ranges(
            **{
                entry.name: getattr(self, entry.name)
                for entry in dataclasses.fields(augment.Ranges)
            }
        )

    @property
    def held_out_loss(self):
        """The kind of loss of held-out coordinates: training's, or the mean distance where it is of
        heatmaps alone."""
        return "l1" if self.loss == "none" else self.loss

    def optimiser_of(self, network, device):
        """The optimiser for the network, fused into one pass over its weights where PyTorch has
        that."""
        weights = network.parameters()
        fused = device.type in ("cpu", "cuda")
        if self.optimiser == "adagrad":
            return torch.optim.Adagrad(
                weights,
                self.learning_rate,
                weight_decay=self.weight_decay,
                initial_accumulator_value=self.accumulator,
                fused=device.type == "cpu" or None,
            )
        if self.optimiser == "sgd":
            return torch.optim.SGD(
                weights,
                self.learning_rate,
                self.momentum,
                weight_decay=self.weight_decay,
                fused=fused,
            )
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.optimiser]
        return kind(weights, self.learning_rate, weight_decay=self.weight_decay, fused=fused)

    def rate(self, step, steps):
        """The learning rate in one of all steps, counted from 0."""
        warm_up = max(1, min(self.warm_up, steps // SHORT))
        rate = self.learning_rate * min(1.0, (step + 1) / warm_up)
        if self.schedule == "cosine":
            return rate * (1 + math.cos(math.pi * step / steps)) / 2
        if self.schedule == "steps":
            return rate * 0.1 ** sum(step / steps >= share for share in STEPS_AT)
        if self.schedule == "inverse":
            return rate * (1 + self.inverse_gamma * step) ** -INVERSE_POWER
        return rate

    def average_of(self, network):
        """A moving average of the network's weights and batch statistics, to be updated after each
        step, or None."""

        def update(averages, currents, count):
            if averages[0].is_floating_point():
                # smaller at first, so that the random start is soon forgotten
                decay = min(self.average, (1 + int(count)) / (10 + int(count)))
                torch._foreach_lerp_(averages, currents, 1 - decay)
            else:
                torch._foreach_copy_(averages, currents)

        if not self.average:
            return None
        return AveragedModel(network, multi_avg_fn=torch.no_grad()(update), use_buffers=True)


def varied(recipe, changes):
    """The recipe with other entries: changes is a sequence of (name, text).

    Raises ValueError names what is wrong.
    """
    for name, text in changes:
        if name in recipe.options:
            recipe = dataclasses.replace(
                recipe, options=recipe.options | {name: _value(name, text, recipe.options)}
            )
        else:
            recipe = dataclasses.replace(recipe, **{name: _value(name, text, _entries(recipe))})
    return recipe


def with_options(recipes, options):
    """Recipes by name, with some of the network's options set otherwise."""
    return {
        name: dataclasses.replace(recipe, options=recipe.options | options)
        for name, recipe in recipes.items()
    }


def for_data(recipe, data):
    """The recipe without what a Dataset does not allow; says what that is.

    Where grey is a distance, no view is made brighter or darker; where no joint has an opposite
    one, none is mirrored.
    """
    if recipe.colour and data.depth_white is not None:
        print("these images are depth: their grey is not varied")
        recipe = dataclasses.replace(recipe, colour=0.0)
    if recipe.mirror and not data.skeleton.has_sides:
        print("no joint has an opposite one, so no image is mirrored")
        recipe = dataclasses.replace(recipe, mirror=0.0)
    return recipe


def _entries(recipe):
    """The recipe's own entries, without the network's."""
    return {name: value for name, value in vars(recipe).items() if name != "options"}


def _value(name, text, entries):
    """The value that a text stands for, of the entry's type."""
    if name not in entries:
        raise ValueError(f"there is no {name!r} in this recipe; there are {', '.join(entries)}")
    kind = type(entries[name])
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"{name}={text}: {text!r} is no number") from None
    if name in CHOICES and value not in CHOICES[name]:
        raise ValueError(f"{name}={text}: is none of {', '.join(CHOICES[name])}")
    if kind is not str and not 0 <= value < math.inf:
        raise ValueError(f"{name}={text}: is none of 0 or more")
    return value


def change(text):
    """argparse type: NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def add_arguments(parser, names):
    """The flags that choose a recipe by name and change it; see choose."""
    parser.add_argument(
        "--recipe",
        default="best",
        metavar="NAME",
        help=f"how the network learns, of {', '.join(names)}: as this project has it (best), or as its "
        "authors had it (default: best)",
    )
    parser.add_argument(
        "--vary",
        type=change,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another value for an entry of the recipe, such as turn_deg=40; again for another",
    )


def choose(parser, options, recipes):
    """Make options.recipe the Recipe that the flags stand for, and options.called what it is
    called."""
    if options.recipe not in recipes:
        parser.error(
            f"argument --recipe: there is no {options.recipe!r}; there are {', '.join(recipes)}"
        )
    options.called = f"recipe {options.recipe}" + "".join(
        f", {name}={value}" for name, value in options.vary
    )
    try:
        options.recipe = varied(recipes[options.recipe], options.vary)
    except ValueError as error:
        parser.error(f"argument --vary: {error}")
    if options.recipe.options.get("head") == "direct" and options.recipe.heatmaps:
        parser.error(
            "--vary head=direct: that head has no heatmaps to learn; add --vary heatmaps=0"
        )
