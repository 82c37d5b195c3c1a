"""Flags of the steps that run a network: its device, the course of a training, stage 1, --log.

No torch here.
"""

from pathlib import Path

from deeppose import shell

SAVE_MINUTES = 5


def parser(description, **workdir_options):
    """ArgumentParser of a script's docstring with --workdir, --device, --precision and --compile.

    workdir_options  shell.parser's further arguments
    """
    arguments = shell.parser(description, **workdir_options)
    arguments.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda, cuda:1 ... (default: auto, the accelerator there is, else the CPU)",
    )
    arguments.add_argument(
        "--precision",
        choices=("auto", "bf16", "fp32"),
        default="auto",
        help="of convolutions and hidden layers (default: auto, bf16 where the hardware has it)",
    )
    arguments.add_argument(
        "--compile",
        action="store_true",
        help="let torch.compile fuse layers: needs a C++ compiler, and minutes at first",
    )
    return arguments


def add_training_arguments(arguments, default_epochs):
    """Add --epochs, --rows, --seed, --resume, --save-minutes, --keep-epochs and --log."""
    arguments.add_argument(
        "--epochs",
        type=shell.at_least(1),
        default=default_epochs,
        metavar="N",
        help=f"passes over the training rows (default: {default_epochs})",
    )
    arguments.add_argument(
        "--rows",
        type=shell.at_least(1),
        metavar="N",
        help="train on N rows drawn by the seed, for small machines (default: all)",
    )
    arguments.add_argument(
        "--seed",
        type=shell.at_least(0),
        default=0,
        help="of everything drawn at random (default: 0)",
    )
    arguments.add_argument(
        "--resume",
        action="store_true",
        help="go on with an unfinished run; on the CPU with --precision fp32, and there alone, to "
        "the same weights, bit for bit, as if it had not been stopped",
    )
    arguments.add_argument(
        "--save-minutes",
        type=shell.at_least(0, float),
        default=SAVE_MINUTES,
        metavar="M",
        help="save the state for --resume every M minutes, and on a signal "
        f"(default: {SAVE_MINUTES})",
    )
    arguments.add_argument(
        "--keep-epochs",
        type=shell.at_least(1),
        metavar="K",
        help="keep the weights of every K-th epoch, as model_1.epoch_N.pt, beside the best "
        "(default: none)",
    )
    add_log_argument(arguments)


def add_log_argument(arguments):
    """Add --log."""
    arguments.add_argument(
        "--log",
        type=Path,
        metavar="FILE",
        help="write what is printed to this file too; --resume goes on in it (default: no file)",
    )


def add_flip_test_argument(arguments):
    """Add --flip-test."""
    arguments.add_argument(
        "--flip-test",
        action="store_true",
        help="stage 1 is the mean of what it says of an image and of its mirror image; later stages "
        "refine that mean from the image alone (default: off)",
    )


def add_model_argument(arguments):
    """Add --model and --epoch."""
    arguments.add_argument(
        "--model",
        type=Path,
        metavar="FOLDER",
        help="take stage 1 (model_1.pt and model_1.json) from this folder, so that step 2 need not "
        "be run; its refiners are taken too, by step 6, where --workdir has none "
        "(default: --workdir)",
    )
    arguments.add_argument(
        "--epoch",
        type=shell.at_least(1),
        metavar="N",
        help="take stage 1 as it was after epoch N, which --keep-epochs of step 2 kept; the same in "
        "steps 4 to 6 (default: its best epoch)",
    )
