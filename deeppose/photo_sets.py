"""Sets of photographs with joints, the rows wanted of each, and what is wrong with their images. No torch here."""
from dataclasses import dataclass

import numpy as np

from deeppose import downloads
from deeppose.shell import InputError

FARTHEST_OUTSIDE = 1.0        # image sides: no labelled joint lies farther outside its image (LSPe: 0.6)


@dataclass(frozen=True)
class PhotoSet:
    """One set, whose images are numbered from 1.

    number    of the set, in *_rows.npy
    joints    (N, J, 2) px, NaN where there is no label
    openers   image number -> its name and what opens it
    misnamed  name of an image without a number -> a line that says so
    place     where it lies, for the person at the shell
    """
    number: int
    joints: np.ndarray
    openers: dict
    misnamed: dict
    place: str

    def read(self, number):
        """Image `number` as RGB and its joints (J, 2) px; InputError where one of the two makes no sense."""
        name, opener = self.openers[number]
        image, joints_px = downloads.read_image(name, opener), self.joints[number - 1]
        outside = np.maximum(-joints_px, joints_px - image.size)  # False below for NaN, which is no label
        if (outside > FARTHEST_OUTSIDE * max(image.size)).any():
            raise InputError(f"{name}: has a joint far outside, labels and images do not fit; fetch the set again")
        return image, joints_px


@dataclass(frozen=True)
class Job:
    """One image and the rows to be cut from it: (row number, box or None for the letterbox, mirrored)."""
    part: str
    photo_set: PhotoSet
    number: int
    rows: tuple
    held_out: bool


class BrokenImages(Exception):
    """Images that cannot be used: found, a dict (set number, image number) -> what is wrong."""

    def __init__(self, found):
        super().__init__()
        self.found = found


def check_images(sets, jobs):
    """What is wrong before any image is opened: (set number, image number or name) -> a line that names the file."""
    found = {}
    for photo_set in sets:
        found |= {(photo_set.number, name): line for name, line in photo_set.misnamed.items()}
        for number in sorted(n for n in photo_set.openers if not 1 <= n <= len(photo_set.joints)):
            found[photo_set.number, number] = (f"{photo_set.openers[number][0]}: has no labels, joints are those of "
                                               f"images 1 to {len(photo_set.joints)}")
    for job in jobs:
        if job.number not in job.photo_set.openers:
            found[job.photo_set.number, job.number] = (f"{job.photo_set.place}: image number {job.number} is missing; "
                                                       "fetch the set again")
    return found


def name_broken(complaints, skip):
    """Name every image that cannot be used; InputError unless --skip-broken wants to go on without them."""
    if skip or len(complaints) > 1:
        for line in complaints:
            print(f"{line} (skipped)" if skip else line)
    if complaints and not skip:
        others = f" ({len(complaints)} such images, all named above)" if len(complaints) > 1 else ""
        raise InputError(f"{complaints[0]}{others}; --skip-broken goes on without")
