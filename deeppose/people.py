"""People in photographs: the rows to be cut from each, and checks of their files.

No torch here.
"""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from deeppose import downloads
from deeppose.shell import InputError

LARGEST_BOX = 8.0  # image sides: no box is larger; what a frame shows of it is held in memory
FARTHEST_OUTSIDE = 1.0  # image sides: no labelled joint lies farther outside its image (LSPe: 0.6)


@dataclass(frozen=True)
class Row:
    """One row of the arrays: a person, seen in a box.

    joints    (J, 2) px of the photograph, NaN where there is no label
    box       (4,) px of the photograph, of the frame's proportions; None: the whole photograph
    person    counts within the image, or is the annotation's id
    mirrored  whether the frame shows the box mirrored
    head_px, area_px, score  see dataset_format.COLUMNS
    """

    joints: np.ndarray
    box: np.ndarray | None = None
    person: int = 0
    mirrored: bool = False
    head_px: float = np.nan
    area_px: float = np.nan
    score: float = 1.0


@dataclass(frozen=True)
class Job:
    """One photograph and the rows to be cut from it.

    part        "train" or "test"
    set_number  of the data set
    image       the photograph's number in it
    name        the photograph's, relative to its data set's folder
    path        what errors call it
    opener      function that opens its file
    held_out    whether its rows are never trained on
    size        (w, h) px that it must have, where its labels are made for that size; None: any
    """

    part: str
    set_number: int
    image: int
    name: str
    path: str
    opener: partial
    rows: tuple = field(repr=False)
    held_out: bool = False
    size: tuple | None = None

    def read(self, white=downloads.WHITE):
        """The photograph as RGB.

        white  the value of 16 bits that is shown white
        Raises InputError where it cannot be read, or a joint or a box does not fit it.
        """
        image = downloads.read_image(self.path, self.opener, white)
        if self.size and image.size != self.size:
            raise InputError(
                f"{self.path}: is {image.width} x {image.height} pixels, not {self.size[0]} x "
                f"{self.size[1]}, for which its joints are; fetch the set again"
            )
        for row in self.rows:
            self._check_row(row, image.size)
        return image

    def _check_row(self, row, image_size):
        """Raise InputError where a row's joints or box do not fit an image of (w, h) px."""
        longer_side = max(image_size)
        # px beyond the left or the right border, the top or the bottom; NaN stays NaN, so that a
        # joint without a label passes
        outside = np.maximum(-row.joints, row.joints - image_size)  # (J, 2) px
        if (outside > FARTHEST_OUTSIDE * longer_side).any():
            raise InputError(
                f"{self.path}: has a joint far outside, labels and images do not fit; "
                "fetch the set again"
            )
        if row.box is not None and max(row.box[2:]) > LARGEST_BOX * longer_side:
            raise InputError(
                f"{self.path}: has a box far larger than the image, {row.box[2]:.0f} x "
                f"{row.box[3]:.0f} pixels; labels and images do not fit"
            )


def row_numbers(jobs):
    """For each Job the range of its rows' numbers in the arrays of its part."""
    counts = {"train": 0, "test": 0}
    numbers = []
    for job in jobs:
        first = counts[job.part]
        counts[job.part] += len(job.rows)
        numbers.append(range(first, counts[job.part]))
    return numbers


class BrokenImages(Exception):
    """Images that cannot be used: `faults` is a dict (set number, image) -> what is wrong."""

    def __init__(self, faults):
        super().__init__()
        self.faults = faults


def check_some_here(folder, file_names, missing, advice, noun="images"):
    """Raise InputError, with the advice, where all images of those names are missing in a folder.

    --skip-broken forgives some, but all of them is another folder.

    missing  those that are, a collection as long
    """
    if file_names and len(missing) == len(file_names):
        raise InputError(
            f"{folder}: none of the {len(file_names)} {noun} is here, such as {file_names[0]}; {advice}"
        )


def name_broken(faults, skip, most_named=None):
    """Print which images cannot be used.

    faults      a line for each, which names the image and what is wrong
    skip        whether --skip-broken wants to go on without them
    most_named  how many are named, the rest being counted; None: all
    Raises InputError unless they are to be skipped.
    """
    # name them; a single one only in the error, which names it anyway
    named_faults = faults[:most_named]
    unnamed_count = len(faults) - len(named_faults)
    suffix = " (skipped)" if skip else ""
    if skip or len(faults) > 1:
        for fault in named_faults:
            print(f"{fault}{suffix}")
    if unnamed_count:
        print(f"... and {unnamed_count} more such images{suffix}")
    # stop, unless they are to be skipped
    if faults and not skip:
        others = ""
        if len(faults) > 1:
            share = f"{len(named_faults)} of them" if unnamed_count else "all"
            others = f" ({len(faults)} such images, {share} named above)"
        raise InputError(f"{faults[0]}{others}; --skip-broken goes on without")
