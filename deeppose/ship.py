"""Make a small model to hand on: stage 1 and its refiners, in half precision.

Reads   model_1.pt  model_shared.pt (or model_<joint>.pt) and those of stage 3, each with its .json,
        from WORKDIR
Writes  the same names into FOLDER: matrices and kernels in float16, all else, batch norms among it,
        in float32
Run     python -m deeppose.ship WORKDIR models/lsp

Whatever loads a model takes these as well, and computes as ever. The .json say what they were made
from.
"""

import argparse
import sys
from pathlib import Path

from deeppose import arrays, checkpoint, files, networks, shell, skeleton, two_pass, workdir
from deeppose.shell import InputError

LARGEST_MB = 60  # a repository keeps for good what was ever in it
LEFT_OUT = ("history",)  # of a .json: training epoch by epoch
LAYOUT = "float16, of more than one axis; else float32"


def halved(weights, path):
    """A state_dict with its matrices and kernels in float16.

    Biases, batch norms' statistics and gains, which are few, stay in float32. Raises InputError
    where a number is too large for float16.
    """
    halves = {}
    for name, value in weights.items():
        is_large = value.is_floating_point() and value.dim() > 1
        halves[name] = value.half() if is_large else value
        if not halves[name].isfinite().all():
            raise InputError(
                f"{path}: {name} holds numbers beyond float16's; ship it as it is, by copying it"
            )
    return halves


def models_of(folder):
    """Paths of stage 1's and of all its refiners' weights in a folder."""
    facts = files.load_json(folder / "model_1.json", networks.STEP_2.removesuffix(" makes it"))
    try:
        model_skeleton = skeleton.from_description(facts["skeleton"])
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{folder / 'model_1.json'}: tells of no skeleton; {networks.STEP_2}"
        ) from None
    refiners = [
        workdir.refiner_path(folder, name, stage)
        for stage in workdir.stages_here(folder, model_skeleton)
        for name in workdir.refiners_here(folder, model_skeleton, stage)
    ]
    return [folder / "model_1.pt", *refiners]


def to_hand_on(facts):
    """Entries of a .json for others: no history, and no folders of the machine that trained it."""
    facts = {key: value for key, value in facts.items() if key not in LEFT_OUT}
    settings = facts.get("settings")
    if isinstance(settings, dict) and isinstance(settings.get("weights"), str):
        facts["settings"] = settings | {"weights": Path(settings["weights"]).name}
    return facts


def ship(source, folder, twice=False):
    """Write the small model into the folder; returns its files' sizes in bytes, by name.

    twice  whether predict.py looks twice with it unless it is told otherwise
    Raises InputError where it is larger than LARGEST_MB.
    """
    # make it
    models = {}  # file name -> weights, facts
    for path in models_of(source):
        weights = halved(checkpoint.read_weights(path, "training makes it"), path)
        facts = files.load_json(path.with_suffix(".json"), "training")
        facts = to_hand_on(facts)
        facts["shipped"] = {"from": arrays.digest(path), "weights": LAYOUT}
        if path.name == "model_1.pt" and twice:
            facts[two_pass.KEY] = True
        models[path.name] = weights, facts
    # check its size
    total = 0
    for weights, _ in models.values():
        total += sum(value.nbytes for value in weights.values())
    if total > LARGEST_MB * 1e6:
        raise InputError(
            f"{source}: its models take {total / 1e6:.1f} MB in half precision, "
            f"more than {LARGEST_MB}; ship one refiner for all joints "
            "(Train_stage_2.py --refiner shared)"
        )
    # write it
    files.make_folder(folder, "name another")
    sizes = {}
    for name, (weights, facts) in models.items():
        path = folder / name
        checkpoint.save(path, weights, facts)
        for written in (path, path.with_suffix(".json")):
            sizes[written.name] = written.stat().st_size
    return sizes


@shell.command
def main(argv=None):
    """The command line: see the top of this file."""
    parser = shell.Parser(
        prog="python -m deeppose.ship",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "workdir", metavar="WORKDIR", type=Path, help="folder of the trained models"
    )
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, help="where to write; made if missing"
    )
    parser.add_argument(
        "--two-pass",
        action="store_true",
        help="have predict.py look again at small people with this model unless it is told otherwise",
    )
    options = parser.parse_args(argv)
    if options.workdir.resolve() == options.folder.resolve():
        raise InputError(
            f"{options.folder}: is the working directory itself, whose weights would be lost; "
            "name another folder"
        )
    sizes = ship(options.workdir, options.folder, options.two_pass)
    for name, size in sizes.items():
        print(f"{size / 1e6:>8.2f} MB  {options.folder / name}")
    total_mb = sum(sizes.values()) / 1e6
    print(f"{total_mb:>8.2f} MB  in all; next: python -m results.card {options.folder}")


if __name__ == "__main__":
    sys.exit(main())
