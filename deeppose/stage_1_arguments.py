"""The flags of step 2 that say which network is trained, and from which recipe and images."""

from deeppose import networks, pretrained, recipe_arguments, shell
from deeppose.networks import NETWORKS

BATCH_SIZE = 64  # original
SMALLEST_INPUT_PX = 64  # 2 x 2 cells of the coarsest features


def add_arguments(parser):
    """Add the flags; see choose."""
    parser.add_argument(
        "--network",
        choices=NETWORKS,
        help="which network is trained (default: that of the whole model in --weights, else "
        f"{networks.DEFAULT})",
    )
    parser.add_argument(
        "--batch-size",
        type=shell.at_least(1),
        metavar="N",
        help=f"images a step (default: the recipe's, or {BATCH_SIZE})",
    )
    pretrained.add_argument(parser)
    recipe_arguments.add_arguments(
        parser, [f"{', '.join(recipes)} ({name})" for name, (_, recipes) in NETWORKS.items()]
    )
    parser.add_argument(
        "--input-px",
        type=shell.at_least(SMALLEST_INPUT_PX),
        default=0,
        metavar="N",
        help="reduce images until their longer side is N pixels, for small machines: 129 trains three "
        "times as fast as 227 (default: as they are)",
    )
    parser.add_argument(
        "--score-every",
        type=shell.at_least(1),
        metavar="N",
        help="every N steps add the scores of the held-out rows, and of some that are trained on, to "
        "curves_stage_1.csv as well (default: after each epoch alone)",
    )


def choose(parser, options):
    """Settle what the flags leave open: options.network, its Recipe and the batch size.

    Ends with the parser's error where the recipe and its changes do not go together. Raises
    InputError where the model that --weights names does not tell its network.
    """
    # a network that goes on from a whole model has that model's backbone
    model_options = {}
    if options.network is None:
        options.network, model_options = _network_of(options.weights)
    network_class, recipes = NETWORKS[options.network]
    recipe_arguments.choose(parser, options, recipe_arguments.with_options(recipes, model_options))
    options.batch_size = options.batch_size or options.recipe.batch_size or BATCH_SIZE
    try:
        getattr(network_class, "check_recipe", lambda _: None)(options.recipe)
    except ValueError as error:
        parser.error(f"argument --vary: {error}")


def _network_of(weights):
    """Name of the network that goes on from --weights, and the option that says its backbone."""
    model_path = pretrained.find_model(weights)
    if model_path is None:
        return networks.DEFAULT, {}
    network_name, options = networks.described(model_path)
    return network_name, {key: value for key, value in options.items() if key == "backbone"}
