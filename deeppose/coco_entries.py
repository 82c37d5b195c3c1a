"""Entries of a file in COCO's format, each checked by itself: images' names, bones, persons.

No torch here.
"""

import re
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from deeppose.shell import InputError

MOST_BONES = 2000
LARGEST_COORDINATE_PX = 1e5
# person's area / box's, for a person without an outline: the median of COCO's persons
BOX_FILL = 0.53
# box / extent of the labelled joints, for a person without a box: as MPII's converters have it
BOX_SCALE = 1.2
HIDDEN_OR_VISIBLE = 1  # v: 0 not labelled, 1 hidden, 2 visible


class Person(NamedTuple):
    """An annotation as it is checked by itself.

    keypoints (3 K,), box (4,) and area may be None.
    """

    id: int
    image_id: int
    category_id: int
    keypoints: np.ndarray | None
    box: np.ndarray | None
    area: float | None
    crowd: bool
    count: int | None


def is_whole(value):
    """Whether a JSON value is a whole number that an int64 holds (True and False are none)."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def as_numbers(value):
    """A JSON list of finite numbers as float64 (n,), or None for anything else."""
    if not isinstance(value, list):
        return None
    try:
        array = np.array(value)
    except (ValueError, OverflowError):  # a list of unequal lists
        return None
    if array.ndim != 1 or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        return None
    return array.astype(float)


def image_name(path, number, name):
    """The file_name of an image, with / between folders.

    Raises InputError where it is none, or would lead out of a folder.
    """
    if not isinstance(name, str) or not name or len(name) > 1000:
        raise InputError(f"{path}: image {number} has no file_name")
    name = name.replace("\\", "/")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{path}: image {number} is named {name!r}, which no file can be"
        ) from None
    if ".." in PurePosixPath(name).parts or name.startswith("/") or re.match("[A-Za-z]:", name):
        raise InputError(
            f"{path}: image {number} is named {name!r}, which leads out of its folder; do not trust it"
        )
    if re.search("[\0\n\r]", name) or name.endswith("/"):
        raise InputError(f"{path}: image {number} is named {name!r}, which no file can be")
    return name


def bones_of(path, bones, joints):
    """Bones as pairs of joints' names, from pairs of their numbers, which count from 1."""
    if not isinstance(bones, list) or len(bones) > MOST_BONES:
        raise InputError(f"{path}: `skeleton` of its category is no list of pairs of joints")
    for bone in bones:
        if not isinstance(bone, list) or len(bone) != 2 or not all(is_whole(end) for end in bone):
            raise InputError(
                f"{path}: `skeleton` holds {repr(bone)[:80]}, which is no pair of joints' numbers"
            )
        if not all(1 <= end <= len(joints) for end in bone):
            raise InputError(
                f"{path}: `skeleton` joins the joints {bone[0]} and {bone[1]}; "
                f"they are numbered from 1 to {len(joints)}"
            )
    return tuple((joints[first - 1], joints[second - 1]) for first, second in bones)


def person_of(entry):
    """The Person of an annotation.

    Raises ValueError, which says what is wrong, where it cannot be right by itself.
    """
    # who it is
    for key in ("id", "image_id", "category_id"):
        if not is_whole(entry.get(key)):
            raise ValueError(f"has no whole number as its {key}")
    # where it is
    keypoints = _optional_numbers(entry, "keypoints")
    box = _optional_numbers(entry, "bbox")
    if box is not None and len(box) != 4:
        raise ValueError(f"has a bbox of {len(box)} numbers, not 4")
    for numbers in (keypoints, box):
        if numbers is not None and np.abs(numbers).max() > LARGEST_COORDINATE_PX:
            raise ValueError(f"reaches to {np.abs(numbers).max():g} pixels")
    # how large it is, and how it counts in scores
    area = entry.get("area") or None  # some tools write 0 where they know none
    is_number = isinstance(area, int | float)
    if area is not None and not (is_number and 0 < area < LARGEST_COORDINATE_PX**2):
        raise ValueError(f"has {str(area)[:20]!r} as its area")
    count = entry.get("num_keypoints")
    if count is not None and not (is_whole(count) and count >= 0):
        raise ValueError(f"has {str(count)[:20]!r} as its num_keypoints")
    crowd = entry.get("iscrowd") or 0
    if crowd not in (0, 1):
        raise ValueError(f"has {str(crowd)[:20]!r} as its iscrowd")
    return Person(
        entry["id"],
        entry["image_id"],
        entry["category_id"],
        keypoints,
        box,
        area,
        bool(crowd),
        count,
    )


def _optional_numbers(entry, key):
    """The numbers (n,) of an annotation's list, None where there is none.

    Raises ValueError where it is something else.
    """
    if entry.get(key) is None or entry[key] == []:
        return None
    numbers = as_numbers(entry[key])
    if numbers is None:
        raise ValueError(f"has a {key} that is no list of finite numbers")
    return numbers


def completed(person, length):
    """The person with keypoints (3 K,), box (4,) px, area px^2 and count.

    length  of keypoints, 3 K
    Raises ValueError, which says why, where it cannot be right.
    """
    # keypoints, with zeros for what is not labelled
    keypoints = np.zeros(length) if person.keypoints is None else person.keypoints
    if len(keypoints) != length:
        raise ValueError(f"has keypoints of {len(keypoints)} numbers, not {length}")
    visibility = keypoints[2::3]  # (K,)
    if not np.isin(visibility, (0, 1, 2)).all():
        raise ValueError("has a joint whose v is not 0, 1 or 2")
    labelled = visibility >= HIDDEN_OR_VISIBLE  # (K,)
    keypoints = keypoints * np.repeat(labelled, 3)
    # box and area, estimated where the file has none
    box = person.box
    if box is None:
        box = box_around(keypoints.reshape(-1, 3)[labelled, :2])
    if labelled.any() and not person.crowd and not (box[2:] > 0).all():
        raise ValueError(f"has a box of {box[2]:g} x {box[3]:g} pixels")
    area = person.area or BOX_FILL * box[2] * box[3]
    # the labelled joints, or fewer if the file says so: with 0, COCO's scores leave a person out
    count = int(labelled.sum())
    if person.count is not None:
        count = min(count, person.count)
    return person._replace(keypoints=keypoints, box=box, area=area, count=count)


def box_around(joints_px):
    """BOX_SCALE of the extent of joints (n, 2), as x0, y0, w, h (4,) px; zeros for none."""
    if not len(joints_px):
        return np.zeros(4)
    low = joints_px.min(0)
    extent = joints_px.max(0) - low
    return np.concatenate([low - (BOX_SCALE - 1) / 2 * extent, BOX_SCALE * extent])
