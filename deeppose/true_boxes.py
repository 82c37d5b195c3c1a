"""Test rows cut anew from their photographs around their true joints, to score stage 1 on.

A photograph whose joints are not known has no such box, so these scores are marked "true boxes".
They are comparable with those of authors who test so, and show how a network bears people that fill
their frames more or less.
"""

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from deeppose import downloads, geometry, metrics, tables
from deeppose.framing import cut
from deeppose.loader import Frames
from deeppose.shell import InputError

SMALLEST_BOX_PX = 20  # of the photograph, along each axis: one labelled joint still gets a box
MOST_DIFFERENT = 8  # levels, on average, of two decoders of one photograph
LEAST_FACTOR = 0.5  # of --box-scale
MOST_FACTOR = 5
NOTE = (
    "true boxes: frames show the box of the true joints times this factor, which no unseen photograph\n"
    "has; predictions are not clipped to it"
)


@dataclass(frozen=True)
class TrueBoxes:
    """The n test rows that have a labelled joint, in their photographs.

    photographs  of each its path and what opens it
    joints_px    true (n, J, 2), sizes as arrays.Dataset.sizes gives them: px of the photographs
    frame, margin, skeleton  the Dataset's
    white        the value of 16 bits that is white
    """

    photographs: list
    joints_px: np.ndarray
    sizes: dict
    frame: tuple
    margin: float
    skeleton: object
    white: int = downloads.WHITE

    def regions(self, factor, stretch):
        """What frames show (n, 4) px: the joints' boxes times a factor, and the margin around them.

        stretch  whether the frames show just that, stretched; else the boxes are grown to the
                 frame's proportions
        """
        tight = np.stack([geometry.joints_box(joints) for joints in self.joints_px])
        boxes = geometry.box_around(
            tight[:, :2] + tight[:, 2:] / 2, np.maximum(factor * tight[:, 2:], SMALLEST_BOX_PX)
        )
        return geometry.scale_box(
            boxes if stretch else geometry.to_aspect(boxes, self.frame), self.margin
        )

    def cut(self, regions):
        """Frames uint8 (n, h, w, 3) that show regions (n, 4) px of the photographs."""
        frames = np.empty((len(regions), self.frame[1], self.frame[0], 3), np.uint8)

        def fill(row):
            photograph = downloads.read_image(*self.photographs[row], self.white)
            frames[row] = cut(photograph, regions[row], self.frame)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fill, range(len(regions))))
        return frames

    def score(self, model, factors, stretch, run, flip=False):
        """Scores and intervals of stage 1 (a Stage_1) by factor, two dictionaries as
        scoring.evaluate gives them."""
        scores = {}
        intervals = {}
        for factor in factors:
            regions = self.regions(factor, stretch)
            frames = Frames(self.cut(regions), run.device)
            joints, _ = model.predict(
                frames, np.arange(len(regions)), run, f"true boxes x {factor:g}", flip
            )
            predicted = geometry.frame_to_image(joints.astype(float), regions, self.frame)
            scores[f"x {factor:g}"] = metrics.score(
                predicted, self.joints_px, self.skeleton, self.sizes
            )
            intervals[f"x {factor:g}"] = metrics.intervals(
                predicted, self.joints_px, self.skeleton, self.sizes
            )
        return scores, intervals


def open_photographs(data, source):
    """The TrueBoxes of a Dataset, whose photographs lie below the folder that step 1 was given.

    InputError where one is missing, or is not the one that its row was cut from.
    """
    names = data.photographs(data.folder, "test")
    true = data.to_photographs(data.test_labels.astype(float), "test")
    rows = np.flatnonzero(~np.isnan(true).any(2).all(1))
    boxes = data.boxes("test")
    sizes = {
        "head": data.column("test", "head_px"),
        "box": boxes[:, 2:].max(1),
        "area": data.column("test", "area_px"),
    }
    found = TrueBoxes(
        [find(source, names[row]) for row in rows],
        true[rows],
        {name: values[rows] for name, values in sizes.items()},
        data.frame,
        data.margin,
        data.skeleton,
        data.depth_white or downloads.WHITE,
    )
    shown = found.cut(geometry.scale_box(boxes[rows], data.margin))
    for row, frame, (path, _) in zip(rows, shown, found.photographs):
        if np.abs(frame.astype(int) - data.test_images[row]).mean() > MOST_DIFFERENT:
            raise InputError(
                f"{path}: is not the photograph that test row {row} was cut from; --source names the "
                "folder that step 1 was given"
            )
    return found


def find(source, name):
    """The path, for errors, of a photograph below a folder, and what opens it, by its name in
    test_photographs.txt.

    InputError where it is not there, or two of that name are.
    """
    first, _, inside = name.partition("/")
    if (source / first).is_file() and inside:  # a zip file, as it was downloaded
        if inside in _open_zip(source / first):
            return f"{source / first}/{inside}", _open_zip(source / first)[inside]
        raise InputError(
            f"{source / first}: holds no {inside}; --source names the folder that step 1 was given"
        )
    paths = [source / name]
    if not paths[0].is_file():  # names begin with the images' own folder, which may lie in a set's
        folders = sorted(source.iterdir()) if source.is_dir() else []
        paths = [folder / name for folder in folders if (folder / name).is_file()]
    if len(paths) > 1:
        raise InputError(
            f"{paths[0]} and {paths[1]}: either may be the test photograph {name}; --source names the "
            "folder of one"
        )
    if not paths:
        raise InputError(
            f"{source}: no {name} here; --source names the folder that step 1 was given"
        )
    return str(paths[0]), partial(open, paths[0], "rb")


_open_zip = cache(downloads.open_zip)


def is_stretched(facts):
    """Whether a model's recipe, by its model_1.json, has the network see boxes stretched."""
    try:
        return bool(facts["settings"]["recipe"]["stretch"])
    except (KeyError, TypeError):
        return False


def table(scores, data, stretch):
    """The scores that sum up, a column a factor; score's dictionary of a Dataset."""
    note = NOTE + "; aspect lost, as in this model's recipe" * stretch
    if data.seen_in_training:
        note += "\n" + tables.seen_note(data.seen_in_training, len(data.test_rows))
    return replace(
        tables.summary_table(scores, {}, data.skeleton), title="Boxes of the true joints", note=note
    )


def described(scores, intervals, stretch):
    """An entry of metrics_stage_1.json: factor -> its scores, and the intervals of all."""
    return {"boxes": "true boxes", "stretched": stretch, **scores, "intervals": intervals}


def factors(text):
    """argparse type: 1.0,1.2."""
    try:
        wanted = sorted({float(word) for word in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of factors, such as 1.0,1.2"
        ) from None
    for factor in wanted:
        if not LEAST_FACTOR <= factor <= MOST_FACTOR:  # so that NaN is refused too
            raise argparse.ArgumentTypeError(
                f"{factor:g} is no factor from {LEAST_FACTOR} to {MOST_FACTOR}"
            )
    return wanted
