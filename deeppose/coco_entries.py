"""Entries of a file in COCO's format, each checked by itself: images' names, bones, persons.

No torch here.
"""

import re
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from deeppose.shell import InputError

MOST_BONES = 2000
LONGEST_FILE_NAME = 1000  # letters, folders included
LARGEST_COORDINATE_PX = 1e5
# person's area / box's, for a person without an outline: the median of COCO's persons
BOX_FILL = 0.53
# box / extent of the labelled joints, for a person without a box: as MPII's converters have it
BOX_SCALE = 1.2
HIDDEN_OR_VISIBLE = 1  # v: 0 not labelled, 1 hidden, 2 visible


class Person(NamedTuple):
    """An annotation that was checked by itself, before the file's joints are known.

    keypoints (3 K,), box (4,), area and keypoint_count are None where the annotation has none.
    """

    id: int
    image_id: int
    category_id: int
    keypoints: np.ndarray | None
    box: np.ndarray | None
    area: float | None
    crowd: bool
    keypoint_count: int | None


def is_whole_number(value):
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


def checked_file_name(path, image_id, file_name):
    """The file_name of an image, with / between folders.

    path  of the annotations, for the error
    Raises InputError where it is no name, or would lead out of the photographs' folder.
    """
    if not isinstance(file_name, str) or not 0 < len(file_name) <= LONGEST_FILE_NAME:
        raise InputError(f"{path}: image {image_id} has no file_name")
    file_name = file_name.replace("\\", "/")
    image = f"{path}: image {image_id} is named {file_name!r}"
    # JSON can spell half a surrogate pair, which no file system takes
    try:
        file_name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{image}, which no file can be") from None
    # an absolute path, a drive of Windows, or a way upwards
    is_absolute = file_name.startswith("/") or re.match("[A-Za-z]:", file_name)
    if is_absolute or ".." in PurePosixPath(file_name).parts:
        raise InputError(f"{image}, which leads out of its folder; do not trust it")
    if re.search("[\0\n\r]", file_name) or file_name.endswith("/"):
        raise InputError(f"{image}, which no file can be")
    return file_name


def bones_by_name(path, bones, joints):
    """Bones as pairs of joints' names, from pairs of their numbers, which count from 1.

    Raises InputError, which names the file `path`, where they are anything else.
    """
    if not isinstance(bones, list) or len(bones) > MOST_BONES:
        raise InputError(f"{path}: `skeleton` of its category is no list of pairs of joints")
    for bone in bones:
        is_pair = isinstance(bone, list) and len(bone) == 2
        if not is_pair or not all(is_whole_number(end) for end in bone):
            raise InputError(
                f"{path}: `skeleton` holds {repr(bone)[:80]}, which is no pair of joints' numbers"
            )
        if not all(1 <= end <= len(joints) for end in bone):
            raise InputError(
                f"{path}: `skeleton` joins the joints {bone[0]} and {bone[1]}; "
                f"they are numbered from 1 to {len(joints)}"
            )
    return tuple((joints[first - 1], joints[second - 1]) for first, second in bones)


def read_person(annotation):
    """The Person of an annotation, a JSON object.

    Raises ValueError, which says what is wrong, where it cannot be right by itself.
    """
    # who it is
    for key in ("id", "image_id", "category_id"):
        if not is_whole_number(annotation.get(key)):
            raise ValueError(f"has no whole number as its {key}")
    # where it is
    keypoints = _optional_numbers(annotation, "keypoints")
    box = _optional_numbers(annotation, "bbox")
    if box is not None and len(box) != 4:
        raise ValueError(f"has a bbox of {len(box)} numbers, not 4")
    for coordinates in (keypoints, box):
        if coordinates is not None and np.abs(coordinates).max() > LARGEST_COORDINATE_PX:
            raise ValueError(f"reaches to {np.abs(coordinates).max():g} pixels")
    # how large it is, and how it counts in scores
    area = annotation.get("area") or None  # some tools write 0 where they know none
    is_number = isinstance(area, int | float)
    if area is not None and not (is_number and 0 < area < LARGEST_COORDINATE_PX**2):
        raise ValueError(f"has {str(area)[:20]!r} as its area")
    keypoint_count = annotation.get("num_keypoints")
    is_count = is_whole_number(keypoint_count) and keypoint_count >= 0
    if keypoint_count is not None and not is_count:
        raise ValueError(f"has {str(keypoint_count)[:20]!r} as its num_keypoints")
    crowd = annotation.get("iscrowd") or 0
    if crowd not in (0, 1):
        raise ValueError(f"has {str(crowd)[:20]!r} as its iscrowd")
    return Person(
        annotation["id"],
        annotation["image_id"],
        annotation["category_id"],
        keypoints,
        box,
        area,
        bool(crowd),
        keypoint_count,
    )


def _optional_numbers(annotation, key):
    """The numbers (n,) of an annotation's list, None where there is none.

    Raises ValueError where it is something else.
    """
    if annotation.get(key) is None or annotation[key] == []:
        return None
    numbers = as_numbers(annotation[key])
    if numbers is None:
        raise ValueError(f"has a {key} that is no list of finite numbers")
    return numbers


def complete_person(person, keypoints_length):
    """The Person with keypoints (3 K,), box (4,) px, area px^2 and keypoint_count.

    keypoints_length  3 K, of the file's joints
    Raises ValueError, which says why, where it cannot be right.
    """
    # keypoints, with zeros for what is not labelled
    keypoints = np.zeros(keypoints_length) if person.keypoints is None else person.keypoints
    if len(keypoints) != keypoints_length:
        raise ValueError(f"has keypoints of {len(keypoints)} numbers, not {keypoints_length}")
    visibility = keypoints[2::3]  # (K,)
    if not np.isin(visibility, (0, 1, 2)).all():
        raise ValueError("has a joint whose v is not 0, 1 or 2")
    labelled = visibility >= HIDDEN_OR_VISIBLE  # (K,)
    keypoints = keypoints * np.repeat(labelled, 3)
    # box and area, estimated where the file has none
    box = person.box
    if box is None:
        box = box_around_joints(keypoints.reshape(-1, 3)[labelled, :2])
    if labelled.any() and not person.crowd and not (box[2:] > 0).all():
        raise ValueError(f"has a box of {box[2]:g} x {box[3]:g} pixels")
    area = person.area or BOX_FILL * box[2] * box[3]
    # the labelled joints, or fewer if the file says so: with 0, COCO's scores leave a person out
    keypoint_count = int(labelled.sum())
    if person.keypoint_count is not None:
        keypoint_count = min(keypoint_count, person.keypoint_count)
    return person._replace(keypoints=keypoints, box=box, area=area, keypoint_count=keypoint_count)


def box_around_joints(joints_px):
    """BOX_SCALE of the extent of joints (n, 2), as x0, y0, w, h (4,) px; zeros for none."""
    if not len(joints_px):
        return np.zeros(4)
    top_left = joints_px.min(0)
    extent = joints_px.max(0) - top_left
    return np.concatenate([top_left - (BOX_SCALE - 1) / 2 * extent, BOX_SCALE * extent])
