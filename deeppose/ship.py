"""Make a small model to hand on: stage 1 and its refiners, in half precision, compressed.

Reads   model_1.pt  model_shared.pt (or model_<joint>.pt) and those of stage 3, each with its .json,
        from WORKDIR
Writes  the same names into FOLDER: matrices and kernels in float16, rounded, all else, batch norms
        among it, in float32; deflated, which torch.load undoes
Run     python -m deeppose.ship WORKDIR models/lsp

Whatever loads a model takes these as well, and computes as ever. The .json say what they were made
from.
"""

import argparse
import sys
from pathlib import Path

import torch

from deeppose import arrays, checkpoint, files, shell, skeleton, two_pass, workdir
from deeppose.shell import InputError

LARGEST_MB = 55  # a repository keeps for good what was ever in it
# of a float16's 10 bits after the point; bfloat16, in which networks compute where they can, has 7
ROUNDED_BITS = 2
LEFT_OUT_KEYS = ("history",)  # of a .json: training epoch by epoch
LAYOUT = "float16 with 8 bits after the point, of more than one axis; else float32"


def halved(weights, path):
    """A state_dict with its matrices and kernels in float16, rounded by ROUNDED_BITS.

    What is rounded away is zeros in the file, which take no space once it is compressed. Biases,
    batch norms' statistics and scales, which are few, stay in float32. Raises InputError where a
    number is too large for float16.
    """
    halved_weights = {}
    for name, tensor in weights.items():
        is_large = tensor.is_floating_point() and tensor.dim() > 1
        halved_weights[name] = _rounded(tensor.half()) if is_large else tensor
        if not halved_weights[name].isfinite().all():
            raise InputError(
                f"{path}: {name} holds numbers beyond float16's; ship it as it is, by copying it"
            )
    return halved_weights


def _rounded(halves):
    """A float16 tensor whose last ROUNDED_BITS are zero, each number rounded to the nearest."""
    unit = 1 << ROUNDED_BITS
    # as an integer a float16 without its sign grows with its size, so that a carry is right too
    bits = halves.contiguous().view(torch.int16)
    return ((bits + unit // 2) & -unit).view(torch.float16)


def model_paths(folder):
    """Paths of stage 1's and of all its refiners' weights in a folder."""
    json_path = folder / "model_1.json"
    provenance = files.load_json(json_path, workdir.STEP_2)
    try:
        model_skeleton = skeleton.from_description(provenance["skeleton"])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{json_path}: tells of no skeleton; {workdir.STEP_2} makes it") from None
    paths = [folder / "model_1.pt"]
    for stage in workdir.stages_here(folder, model_skeleton):
        for refiner_name in workdir.refiners_here(folder, model_skeleton, stage):
            paths.append(workdir.refiner_path(folder, refiner_name, stage))
    return paths


def without_private_entries(provenance):
    """Entries of a .json for others: no history, and no folders of the machine that trained it."""
    entries = {key: value for key, value in provenance.items() if key not in LEFT_OUT_KEYS}
    # --weights may have been a path on the machine that trained it
    settings = entries.get("settings")
    if isinstance(settings, dict) and isinstance(settings.get("weights"), str):
        weights_name = Path(settings["weights"]).name
        entries["settings"] = settings | {"weights": weights_name}
    return entries


def ship(source, folder, two_pass_default=False):
    """Write the small model into the folder; returns its files' sizes in bytes, by name.

    Raises InputError where it is larger than LARGEST_MB.

    two_pass_default  whether predict.py looks twice with it unless it is told otherwise
    """
    # make all of it before anything is written
    models = {}  # file name -> (compressed weights, entries of its .json)
    for path in model_paths(source):
        weights = halved(checkpoint.read_weights(path, "training makes it"), path)
        provenance = files.load_json(path.with_suffix(".json"), "training")
        entries = without_private_entries(provenance)
        entries["shipped"] = {"from": arrays.digest(path), "weights": LAYOUT}
        if path.name == "model_1.pt" and two_pass_default:
            entries[two_pass.KEY] = True
        models[path.name] = checkpoint.compressed(weights), entries
    # check its size
    total_bytes = sum(len(content) for content, _ in models.values())
    if total_bytes > LARGEST_MB * 1e6:
        raise InputError(
            f"{source}: its models take {total_bytes / 1e6:.1f} MB in half precision, "
            f"more than {LARGEST_MB}; ship one refiner for all joints "
            "(Train_stage_2.py --refiner shared)"
        )
    # write it
    files.make_folder(folder, "name another")
    sizes = {}
    for file_name, (content, entries) in models.items():
        path = folder / file_name
        with checkpoint.saving(path, entries) as temporary_path:
            temporary_path.write_bytes(content)
        for written_path in (path, path.with_suffix(".json")):
            sizes[written_path.name] = written_path.stat().st_size
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
    for file_name, size in sizes.items():
        print(f"{size / 1e6:>8.2f} MB  {options.folder / file_name}")
    total_mb = sum(sizes.values()) / 1e6
    print(f"{total_mb:>8.2f} MB  in all; next: python -m results.card {options.folder}")


if __name__ == "__main__":
    sys.exit(main())
