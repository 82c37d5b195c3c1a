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

from deeppose import archives, downloads, geometry, metrics, tables
from deeppose.cutting import cut
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

    photographs  path and opener of each
    joints_px    true (n, J, 2) px of the photographs
    sizes        as Dataset.sizes gives them, px of the photographs
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
        """Regions (n, 4) px that frames show: the joints' boxes times a factor, and the margin.

        stretch  whether the frames show just that, stretched; else the boxes are grown to the
                 frame's proportions
        """
        tight = np.stack([geometry.joints_box(joints) for joints in self.joints_px])  # (n, 4)
        centres = tight[:, :2] + tight[:, 2:] / 2
        sides = np.maximum(factor * tight[:, 2:], SMALLEST_BOX_PX)
        boxes = geometry.box_around(centres, sides)
        if not stretch:
            boxes = geometry.to_aspect(boxes, self.frame)
        return geometry.scale_box(boxes, self.margin)

    def cut(self, regions):
        """Frames uint8 (n, h, w, 3) that show regions (n, 4) px of the photographs."""
        frames = np.empty((len(regions), self.frame[1], self.frame[0], 3), np.uint8)

        def fill(row):
            photograph = downloads.read_image(*self.photographs[row], self.white)
            frames[row] = cut(photograph, regions[row], self.frame)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fill, range(len(regions))))  # a list, so that errors are raised
        return frames

    def score(self, model, factors, stretch, run, flip_test=False):
        """Scores and intervals of a Stage_1, as scoring.evaluate gives them, by "x <factor>"."""
        scores = {}
        intervals = {}
        for factor in factors:
            column = f"x {factor:g}"
            # predict on frames of these boxes
            regions = self.regions(factor, stretch)
            frames = Frames(self.cut(regions), run.device)
            rows = np.arange(len(regions))
            joints, _ = model.predict(frames, rows, run, f"true boxes {column}", flip_test)
            # score in the photographs, where sizes are measured
            predicted = geometry.frame_to_image(joints.astype(float), regions, self.frame)
            truth = (self.joints_px, self.skeleton, self.sizes)
            scores[column] = metrics.score(predicted, *truth)
            intervals[column] = metrics.intervals(predicted, *truth)
        return scores, intervals


def open_photographs(dataset, source):
    """The TrueBoxes of a Dataset, whose photographs lie below the folder that step 1 was given.

    Raises InputError where one is missing, or is not the one that its row was cut from.
    """
    # the test rows that have a labelled joint
    photograph_names = dataset.photographs("test")
    true_px = dataset.to_photographs(dataset.test_labels.astype(float), "test")  # (N, J, 2)
    rows = np.flatnonzero(~np.isnan(true_px).any(2).all(1))
    boxes = dataset.boxes("test")
    sizes = {
        "head": dataset.column("test", "head_px"),
        "box": boxes[:, 2:].max(1),
        "area": dataset.column("test", "area_px"),
    }
    true_boxes = TrueBoxes(
        [find(source, photograph_names[row]) for row in rows],
        true_px[rows],
        {unit: values[rows] for unit, values in sizes.items()},
        dataset.frame,
        dataset.margin,
        dataset.skeleton,
        dataset.depth_white or downloads.WHITE,
    )
    # cut as in step 1, they must be the stored frames
    frames = true_boxes.cut(geometry.scale_box(boxes[rows], dataset.margin))
    for row, frame, (path, _) in zip(rows, frames, true_boxes.photographs):
        difference = np.abs(frame.astype(int) - dataset.test_images[row]).mean()
        if difference > MOST_DIFFERENT:
            raise InputError(
                f"{path}: is not the photograph that test row {row} was cut from; "
                "--source names the folder that step 1 was given"
            )
    return true_boxes


def find(source, photograph_name):
    """Path, for errors, and opener of a photograph below a folder.

    photograph_name  in test_photographs.txt
    Raises InputError where it is not there, or two of that name are.
    """
    # in a zip file, as it was downloaded
    archive_name, _, entry_name = photograph_name.partition("/")
    archive = source / archive_name
    if archive.is_file() and entry_name:
        openers = _open_zip(archive)
        if entry_name in openers:
            return f"{archive}/{entry_name}", openers[entry_name]
        raise InputError(
            f"{archive}: holds no {entry_name}; --source names the folder that step 1 was given"
        )
    # in a folder: names begin with the images' own, which may lie in a set's
    paths = [source / photograph_name]
    if not paths[0].is_file():
        folders = sorted(source.iterdir()) if source.is_dir() else []
        paths = [folder / photograph_name for folder in folders]
        paths = [path for path in paths if path.is_file()]
    if len(paths) > 1:
        raise InputError(
            f"{paths[0]} and {paths[1]}: either may be the test photograph {photograph_name}; "
            "--source names the folder of one"
        )
    if not paths:
        raise InputError(
            f"{source}: no {photograph_name} here; --source names the folder that step 1 was given"
        )
    return str(paths[0]), partial(open, paths[0], "rb")


_open_zip = cache(archives.open_zip)  # once, not for each photograph in it


def is_stretched(provenance):
    """Whether a model's recipe, by its model_1.json, has the network see boxes stretched."""
    try:
        return bool(provenance["settings"]["recipe"]["stretch"])
    except (KeyError, TypeError):
        return False


def table(scores, dataset, stretch):
    """Table of the scores that sum up, a column a factor, of TrueBoxes.score's dictionary."""
    note = NOTE
    if stretch:
        note += "; aspect lost, as in this model's recipe"
    if dataset.seen_in_training:
        note += "\n" + tables.seen_note(dataset.seen_in_training, len(dataset.test_rows))
    summary = tables.summary_table(scores, {}, dataset.skeleton)
    return replace(summary, title="Boxes of the true joints", note=note)


def described(scores, intervals, stretch):
    """Entry of metrics_stage_1.json: factor -> its scores, and the intervals of all."""
    return {"boxes": "true boxes", "stretched": stretch, **scores, "intervals": intervals}


def factors(text):
    """argparse type: 1.0,1.2."""
    try:
        asked_factors = sorted({float(word) for word in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of factors, such as 1.0,1.2"
        ) from None
    for factor in asked_factors:
        if not LEAST_FACTOR <= factor <= MOST_FACTOR:  # so that NaN is refused too
            raise argparse.ArgumentTypeError(
                f"{factor:g} is no factor from {LEAST_FACTOR} to {MOST_FACTOR}"
            )
    return asked_factors
