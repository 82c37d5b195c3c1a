"""Flags of Train_stage_2.py alone; the others it shares with Train_stage_1.py."""

from pathlib import Path

import torch

from Cascade_1_net import Alex_net_c1
from deeppose import recipe_arguments, shell, workdir
from deeppose.deltas import DRAWN
from deeppose.workdir import SHARED

IMAGES_A_STEP = 10  # original


def add_arguments(parser, recipe):
    """Add the flags that say which refiners are trained, from which weights, on which crops.

    recipe  the default one, whose entries --help names
    """
    parser.add_argument(
        "--batch-size",
        type=shell.at_least(1),
        metavar="N",
        help="images a step, each with 1 real and --simulated simulated estimates "
        f"(default: the recipe's, or {IMAGES_A_STEP})",
    )
    parser.add_argument(
        "--simulated",
        type=shell.at_least(0, most=DRAWN),
        metavar="N",
        help=f"simulated estimates an image, drawn anew each epoch from {DRAWN} "
        f"(default: the recipe's, {recipe.simulated} of recipe best)",
    )
    parser.add_argument(
        "--refiner",
        choices=("joints", SHARED),
        default="joints",
        help="a network a joint, or one for all joints (default: joints)",
    )
    parser.add_argument(
        "--stage",
        type=int,
        choices=workdir.STAGES,
        default=2,
        help="of the whole cascade (default: 2)",
    )
    parser.add_argument(
        "--weights",
        type=_initial_weights,
        default="none",
        metavar="none|former|opposite|FILE",
        help="initial weights: random ones, those of the same joint in the former stage, those of the "
        "opposite joint in this stage, mirrored, or a model_<joint>.pt, such as another joint's "
        "that was trained for longer (default: none)",
    )
    parser.add_argument(
        "--crop-px",
        type=shell.at_least(1),
        metavar="N",
        help="cut crops of N x N, for small machines: 129 trains three times as fast "
        f"(default: the recipe's, {recipe.crop_px} of recipe best)",
    )
    parser.add_argument(
        "--joints", metavar="A,B", help="train only these, such as left_wrist,head (default: all)"
    )
    parser.add_argument(
        "--make-deltas",
        action="store_true",
        help="first draw a new deltas.npy into the working directory, from the held-out errors",
    )


def choose(parser, options, recipes):
    """Settle what the flags leave open: options.recipe, and what is not said is the recipe's.

    Ends with the parser's error where flags do not go together.
    """
    recipe_arguments.choose(parser, options, recipes)
    recipe = options.recipe
    options.batch_size = options.batch_size or recipe.batch_size or IMAGES_A_STEP
    options.crop_px = options.crop_px or recipe.crop_px
    if options.simulated is None:
        options.simulated = recipe.simulated
    # what does not go together
    if options.simulated > DRAWN:
        parser.error(f"--vary simulated={options.simulated}: only {DRAWN} are drawn")
    if options.refiner == SHARED and options.joints:
        parser.error("--joints: the shared refiner serves all joints")
    try:
        with torch.device("meta"):
            Alex_net_c1(1, (0,), **recipe.options, crop_px=options.crop_px)
    except ValueError as error:
        parser.error(f"--crop-px, --vary: {error}")


def _initial_weights(text):
    """argparse type: none, former, opposite, or a file's path."""
    return text if text in ("none", "former", "opposite") else Path(text)
