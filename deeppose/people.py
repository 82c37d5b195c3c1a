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

    number    of the row in its part's arrays
    joints    (J, 2) px of the photograph, NaN where there is no label
    box       (4,) px of the photograph, of the frame's proportions; None: the whole photograph
    person    counts within the image, or is the annotation's id
    mirrored  whether the frame shows the box mirrored
    head_px, area_px, score  see dataset_format.COLUMNS
    """

    number: int
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

        Raises InputError where it cannot be read, or a joint or a box does not fit it.

        white  the value of 16 bits that is white
        """
        image = downloads.read_image(self.path, self.opener, white)
        if self.size and image.size != self.size:
            raise InputError(
                f"{self.path}: is {image.width} x {image.height} pixels, not {self.size[0]} x "
                f"{self.size[1]}, for which its joints are; fetch the set again"
            )
        for row in self.rows:
            # px beyond the left or the right border, the top or the bottom; NaN stays NaN, so that
            # a joint without a label passes
            outside = np.maximum(-row.joints, row.joints - image.size)  # (J, 2)
            if (outside > FARTHEST_OUTSIDE * max(image.size)).any():
                raise InputError(
                    f"{self.path}: has a joint far outside, labels and images do not fit; "
                    "fetch the set again"
                )
            if row.box is not None and max(row.box[2:]) > LARGEST_BOX * max(image.size):
                raise InputError(
                    f"{self.path}: has a box far larger than the image, {row.box[2]:.0f} x "
                    f"{row.box[3]:.0f} pixels; labels and images do not fit"
                )
        return image


class BrokenImages(Exception):
    """Images that cannot be used; `found` is a dict (set number, image) -> what is wrong."""

    def __init__(self, found):
        super().__init__()
        self.found = found


def name_broken(complaints, skip, most_named=None):
    """Name the images that cannot be used.

    Raises InputError unless --skip-broken wants to go on without them.

    most_named  how many are named, the rest being counted; None: all
    """
    # name them; a single one only in the error, which names it anyway
    named = complaints[:most_named]
    mark = " (skipped)" if skip else ""
    if skip or len(complaints) > 1:
        for complaint in named:
            print(f"{complaint}{mark}")
    if len(named) < len(complaints):
        print(f"... and {len(complaints) - len(named)} more such images{mark}")
    # stop, unless they are to be skipped
    if complaints and not skip:
        share = f"{len(named)} of them" if len(named) < len(complaints) else "all"
        count = len(complaints)
        others = f" ({count} such images, {share} named above)" if count > 1 else ""
        raise InputError(f"{complaints[0]}{others}; --skip-broken goes on without")
