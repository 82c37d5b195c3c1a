"""Judge a second look at the photograph: scores of the same images, looked at once and twice.

Held-out images as they are, and smaller in black surroundings; with --source also whole photographs
of the training rows, by how much of them the person fills. Those were trained on, in closer views,
so they flatter the second look.

Reads   a working directory after step 1, and a model
Run     python -m results.two_pass --workdir FOLDER
        python -m results.two_pass --workdir FOLDER --source PHOTOGRAPHS --model models/lsp --flip-test
"""

import sys
from pathlib import Path

import numpy as np

import predict
from deeppose import geometry, leakage, metrics, networks, run_flags, runtime, shell, true_boxes
from deeppose.dataset import open_dataset
from deeppose.loader import Frames
from deeppose.stage_1 import check_flip_test

# what is seen of held-out images / the test's view
WIDER = (1, 1.5, 2, 3)
SHARES = (0, 0.25, 0.4, 0.6, 1)  # of a photograph's longer side that a person fills
FEWEST = 10  # photographs that are worth a line of the table


@shell.command
def main(argv=None):
    parser = run_flags.parser(__doc__)
    run_flags.add_model_argument(parser)
    run_flags.add_flip_test_argument(parser)
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
    dataset = open_dataset(options.workdir)
    run = runtime.choose(options)
    check_flip_test(options.flip_test, dataset.skeleton)
    model, _ = networks.load(folder, run, dataset)
    leakage.check_model(folder / "model_1.pt", dataset)
    print(f"{run}; stage 1 of {folder}\n\n{head(dataset)}", flush=True)
    for line in held_out_lines(model, dataset, run, options.flip_test):
        print(line, flush=True)
    if options.source:
        for line in photograph_lines(folder, dataset, options.source, options.count, options):
            print(line, flush=True)


def head(dataset):
    """The table's first lines."""
    # the truth as a prediction, to learn which scores there are
    true = dataset.train_labels[dataset.held_out].astype(float)
    skeleton = dataset.skeleton
    scores = metrics.score(true, true, skeleton, dataset.sizes("train", dataset.held_out))
    columns = ["seen", "images"]
    for score_name, _ in metrics.headline(scores, skeleton).values():
        columns += [f"{score_name}, once", "twice", "gained (95 %)"]
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def held_out_lines(model, dataset, run, flip_test):
    """Lines for the held-out images, seen at WIDER's scales."""
    frames = Frames(dataset.train_images, run.device)
    rows = dataset.held_out
    true = dataset.train_labels[rows].astype(float)
    for wider in WIDER:
        boxes = np.tile(geometry.scale_box(model.view_box, wider), (len(rows), 1))
        once, _ = model.predict(frames, rows, run, flip_test=flip_test, boxes=boxes)
        again, _ = model.predict(frames, rows, run, flip_test=flip_test, two_pass=True, boxes=boxes)
        yield table_line(
            f"held out, in {wider:g} x the view",
            once,
            again,
            true,
            model.skeleton,
            dataset.sizes("train", dataset.held_out),
        )


def table_line(title, once, again, true, skeleton, sizes):
    """A line of the table: the headline scores of N images, joints (N, J, 2) px, and what the
    second look gained."""
    before = metrics.headline(metrics.score(once, true, skeleton, sizes), skeleton)
    after = metrics.headline(metrics.score(again, true, skeleton, sizes), skeleton)
    gain_intervals = metrics.intervals(again, true, skeleton, sizes, before=once)
    gained = metrics.headline(gain_intervals, skeleton)
    cells = [title, str(len(true))]
    for column, (_, score_once) in before.items():
        _, score_again = after[column]
        _, (low, high) = gained[column]
        gain = score_again - score_once
        cells += [
            f"{score_once:.3f}",
            f"{score_again:.3f}",
            f"{gain:+.3f} ({low:+.3f} to {high:+.3f})",
        ]
    return f"| {' | '.join(cells)} |"


def photograph_lines(folder, dataset, source, count, options):
    """Lines for whole photographs, by how much of them the person fills."""
    paths, rows = photographs_of(dataset, source, count)
    regions = geometry.scale_box(dataset.boxes("train")[rows], dataset.margin)
    true = dataset.train_labels[rows].astype(float)
    # look once and twice
    poses = []
    shares = np.empty(len(rows))
    for two_pass in (False, True):
        model = predict.load(
            folder,
            options.device,
            options.precision,
            options.compile,
            two_pass,
            options.flip_test,
        )
        people = []
        for start in range(0, len(paths), predict.AT_ONCE):
            people += predict.predict(model, paths[start : start + predict.AT_ONCE])
        if not two_pass:
            seen_boxes = [person["boxes"][0] for person in people]
            shares = shares_filled(true, regions, seen_boxes, dataset)
        joints_px = np.stack([person["stage_1"][0] for person in people])  # of the photographs
        poses.append(geometry.image_to_frame(joints_px, regions, dataset.frame))
    # a line for each span of shares
    once, again = poses
    for low, high in zip(SHARES, SHARES[1:]):
        inside = (low < shares) & (shares <= high)
        if inside.sum() >= FEWEST:
            yield table_line(
                f"whole photographs, filled to {low:g} to {high:g}",
                once[inside],
                again[inside],
                true[inside],
                dataset.skeleton,
                sizes_of(dataset, rows[inside]),
            )


def photographs_of(dataset, source, count):
    """Paths of up to `count` photographs of one labelled person each, evenly over the training
    rows, and the rows."""
    photograph_names = dataset.photographs("train")
    image_keys, people = np.split(dataset.identities("train"), [2], 1)  # (N, 2) and (N, 1)
    is_labelled = ~np.isnan(dataset.train_labels).all((1, 2))
    is_usable = is_labelled & (dataset.column("train", "mirrored") == 0)
    # (set, image) -> its first row, None where there are several people
    sole_rows = {}
    for row in dataset.trained_on[is_usable[dataset.trained_on]]:
        image_key = tuple(image_keys[row])
        first_row = sole_rows.setdefault(image_key, row)
        if first_row is not None and people[first_row] != people[row]:
            sole_rows[image_key] = None
    rows = np.array([row for row in sole_rows.values() if row is not None], int)
    rows = rows[:: max(1, len(rows) // count)][:count]
    return [true_boxes.find(source, photograph_names[row])[0] for row in rows], rows


def shares_filled(true, regions, seen_boxes, dataset):
    """Extent of each person / side of the whole photograph as it is seen, (N,)."""
    joints_px = geometry.frame_to_image(true, regions, dataset.frame)
    extents = (np.nanmax(joints_px, 1) - np.nanmin(joints_px, 1)).max(1)
    sides = [max(box[2] - box[0], box[3] - box[1]) for box in seen_boxes]
    return extents / np.array(sides)


def sizes_of(dataset, rows):
    """Dataset.sizes of some training rows."""
    return {unit: values[rows] for unit, values in dataset.sizes("train").items()}


if __name__ == "__main__":
    sys.exit(main())
