"""Judge a second look at the photograph: scores of the same images, looked at once and twice.

Held-out images as they are, and smaller in black surroundings; with --source also whole photographs
of the training rows, by how much of them the person fills. Those were trained on, in closer views,
so they flatter the second look.

Reads   a working directory after step 1, and a model
Run     python -m results.two_pass --workdir FOLDER
        python -m results.two_pass --workdir FOLDER --source PHOTOGRAPHS --model models/lsp
"""

import sys
from pathlib import Path

import numpy as np

import predict
from deeppose import arrays, geometry, leakage, metrics, networks, run_flags, runtime, shell
from deeppose.dataset import open_dataset
from deeppose.loader import Frames
from deeppose.shell import InputError

# what is seen of held-out images / the test's view
WIDER = (1, 1.5, 2, 3)
SHARES = (0, 0.25, 0.4, 0.6, 1)  # of a photograph's longer side that a person fills
FEWEST = 10  # photographs that are worth a line


def line(name, once, again, true, skeleton, sizes):
    """A line of the table: the headline scores of N images, joints (N, J, 2) px, and what the
    second look gained."""
    before = metrics.headline(metrics.score(once, true, skeleton, sizes), skeleton)
    after = metrics.headline(metrics.score(again, true, skeleton, sizes), skeleton)
    gained = metrics.headline(
        metrics.intervals(again, true, skeleton, sizes, before=once), skeleton
    )
    cells = [name, str(len(true))]
    for column, (_, score) in before.items():
        gain = after[column][1] - score
        low, high = gained[column][1]
        cells += [
            f"{score:.3f}",
            f"{after[column][1]:.3f}",
            f"{gain:+.3f} ({low:+.3f} to {high:+.3f})",
        ]
    return f"| {' | '.join(cells)} |"


def head(data):
    """The table's first lines."""
    true = data.train_labels[data.held_out].astype(float)
    scores = metrics.headline(
        metrics.score(true, true, data.skeleton, data.held_out_sizes()), data.skeleton
    )
    columns = ["seen", "images"]
    for name, _ in scores.values():
        columns += [f"{name}, once", "twice", "gained (95 %)"]
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def sizes_of(data, rows):
    """dataset.Dataset.sizes of some training rows."""
    return {name: values[rows] for name, values in data.sizes("train").items()}


def held_out_lines(model, data, run):
    """Lines for the held-out images, seen at WIDER's scales."""
    frames = Frames(data.train_images, run.device)
    rows = data.held_out
    true = data.train_labels[rows].astype(float)
    for wider in WIDER:
        boxes = np.tile(geometry.scale_box(model.view_box, wider), (len(rows), 1))
        once, again = (
            model.predict(frames, rows, run, twice=twice, boxes=boxes)[0] for twice in (False, True)
        )
        yield line(
            f"held out, in {wider:g} x the view",
            once,
            again,
            true,
            model.skeleton,
            data.held_out_sizes(),
        )


def photographs_of(data, source, count):
    """Paths of up to `count` photographs of one labelled person each, evenly over the training
    rows, and the rows."""
    names = arrays.load_names(data.folder / "train_photographs.txt", len(data.train_labels))
    numbers, people = np.split(data.identities("train"), [2], 1)
    labelled = ~np.isnan(data.train_labels).all((1, 2)) & (data.column("train", "mirrored") == 0)
    rows = {}  # (set, image) -> its first row, None where there are several people
    for row in data.trained_on[labelled[data.trained_on]]:
        first = rows.setdefault(tuple(numbers[row]), row)
        if first is not None and people[first] != people[row]:
            rows[tuple(numbers[row])] = None
    chosen = np.array([row for row in rows.values() if row is not None], int)
    chosen = chosen[:: max(1, len(chosen) // count)][:count]
    paths = [source / names[row] for row in chosen]
    if missing := [path for path in paths if not path.is_file()]:
        raise InputError(
            f"{missing[0]}: not found; --source names the folder that train_photographs.txt starts from"
        )
    return paths, chosen


def photograph_lines(folder, data, source, count, options):
    """Lines for whole photographs, by how much of them the person fills."""
    paths, rows = photographs_of(data, source, count)
    regions = geometry.scale_box(data.boxes("train")[rows], data.margin)
    true = data.train_labels[rows].astype(float)
    poses = []
    shares = np.empty(len(rows))
    for twice in (False, True):
        model = predict.load(folder, options.device, options.precision, options.compile, twice)
        found = []
        for start in range(0, len(paths), predict.AT_ONCE):
            found += predict.predict(model, paths[start : start + predict.AT_ONCE])
        if not twice:
            shares = shares_filled(true, regions, [one["boxes"][0] for one in found], data)
        joints = np.stack([one["stage_1"][0] for one in found])
        poses.append(geometry.image_to_frame(joints, regions, data.frame))
    for low, high in zip(SHARES, SHARES[1:]):
        inside = (low < shares) & (shares <= high)
        if inside.sum() >= FEWEST:
            once, again = (joints[inside] for joints in poses)
            yield line(
                f"whole photographs, filled to {low:g} to {high:g}",
                once,
                again,
                true[inside],
                data.skeleton,
                sizes_of(data, rows[inside]),
            )


def shares_filled(true, regions, seen, data):
    """Extent of each person / side of the whole photograph as it is seen, (N,)."""
    joints = geometry.frame_to_image(true, regions, data.frame)
    extents = (np.nanmax(joints, 1) - np.nanmin(joints, 1)).max(1)
    return extents / np.array([max(box[2] - box[0], box[3] - box[1]) for box in seen])


@shell.command
def main(argv=None):
    parser = run_flags.parser(__doc__)
    run_flags.add_model_argument(parser)
    parser.add_argument(
        "--source", type=Path, help="folder of the photographs (default: held-out frames alone)"
    )
    parser.add_argument(
        "--count",
        type=shell.at_least(1),
        default=600,
        metavar="N",
        help="photographs at most (default: 600)",
    )
    options = parser.parse_args(argv)
    folder = options.model or options.workdir
    data = open_dataset(options.workdir)
    run = runtime.choose(options)
    model, _ = networks.load(folder, run, data)
    leakage.check_model(folder / "model_1.pt", data)
    print(f"{run}; stage 1 of {folder}\n\n{head(data)}", flush=True)
    for row in held_out_lines(model, data, run):
        print(row, flush=True)
    if options.source:
        for row in photograph_lines(folder, data, options.source, options.count, options):
            print(row, flush=True)


if __name__ == "__main__":
    sys.exit(main())
