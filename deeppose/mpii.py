"""MPII Human Pose's annotation file, mpii_human_pose_v1_u12_1.mat, as one record a person.

No torch here.
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from deeppose import archives, downloads, matlab
from deeppose.matlab_arrays import Items
from deeppose.shell import InputError

FILE_NAME = "mpii_human_pose_v1_u12_1.mat"
JOINT_COUNT = 16
LARGEST_NUMBER = 1e5  # pixels, or the unit of `scale`
HEAD_BOX_FIELDS = ("x1", "y1", "x2", "y2")


class Odd(ValueError):
    """A value that cannot be right; the message names it, without the file."""


@dataclass(frozen=True)
class Person:
    """One rect of one image; NaN where the file has no number.

    file_name    the photograph's
    image_index  in annolist, from 0
    training     whether the image is one of the training images, the only ones with joints
    rect         index in the image's annorect, from 0
    head_box     float64 (4,) px: x1, y1, x2, y2
    scale        the person's height / 200 px
    objpos       float64 (2,) px: roughly the person's centre
    joints       float64 (16, 2) px, by the file's joint ids
    visible      float64 (16,): 1 for visible joints, 0 for hidden ones
    """

    file_name: str
    image_index: int
    training: bool
    rect: int
    head_box: np.ndarray
    scale: float
    objpos: np.ndarray
    joints: np.ndarray
    visible: np.ndarray


def read_file(path):
    """Every rect, as a list of Person, of the annotation file `path`, or of that in an archive.

    An archive is a .zip or .tar.gz.
    Raises InputError where it cannot be read, as read_annotations does.
    """
    # in an archive, whichever folder it lies in there
    if path.suffix == ".zip":
        openers = archives.open_zip(path)
        annotation_files = [entry for entry in openers if entry.split("/")[-1] == FILE_NAME]
        if not annotation_files:
            raise InputError(f"{path}: holds no {FILE_NAME}; download it again")
        annotation_file = annotation_files[0]
        return read_annotations(f"{path}/{annotation_file}", openers[annotation_file])
    if path.suffix == ".gz":
        return read_annotations(f"{path}/{FILE_NAME}", archives.open_in_tar(path, FILE_NAME))
    # as it is
    return read_annotations(path, partial(open, path, "rb"))


def read_annotations(file_name, opener):
    """Every rect of the annotation file that opener() opens, in the file's order: list of Person.

    An image without rects has no record; a rect without points has joints of NaN.

    file_name  what errors call the file
    Raises InputError where the file is broken or holds what cannot be right.
    """
    # the file as a whole
    release = matlab.read(file_name, opener, "RELEASE")
    try:
        release = _only(release, "RELEASE")
        images = _structs(release.get("annolist"), "annolist")
        is_training = _training_flags(release.get("img_train"), len(images))  # (N,)
    except Odd as odd:
        raise InputError(f"{file_name}: {odd}; fetch the set again") from None
    # image by image; MATLAB counts from 1
    people = []
    for image_index, image in enumerate(images):
        try:
            people += _people(image, image_index, bool(is_training[image_index]))
        except Odd as odd:
            raise InputError(
                f"{file_name}: annolist({image_index + 1}): {odd}; fetch the set again"
            ) from None
    return people


def _training_flags(value, image_count):
    """img_train as bool (N,)."""
    if isinstance(value, (float, np.ndarray)):
        flags = np.ravel(value)  # one image alone comes as a float
        if len(flags) == image_count and np.isin(flags, (0, 1)).all():
            return flags == 1
    raise Odd(f"img_train is not a 0 or 1 for each of the {image_count} images of annolist")


def _people(image, image_index, training):
    """The records of one element of annolist."""
    file_name = _only(image.get("image"), "image").get("name")
    if not isinstance(file_name, str) or not downloads.PLAIN_NAME.fullmatch(file_name):
        raise Odd(f"image.name is {_shown(file_name)}, not the name of a file")
    # one person a rect; images that nobody annotated have none
    people = []
    for rect, annotation in enumerate(_structs(image.get("annorect"), "annorect")):
        try:
            head_box = np.array([_number(annotation.get(side), side) for side in HEAD_BOX_FIELDS])
            scale = _number(annotation.get("scale"), "scale")
            objpos = _position(annotation.get("objpos"))
            joints, visible = _joints(annotation.get("annopoints"))
        except Odd as odd:
            raise Odd(f"annorect({rect + 1}): {odd}") from None
        people.append(
            Person(file_name, image_index, training, rect, head_box, scale, objpos, joints, visible)
        )
    return people


def _position(objpos):
    """objpos as (2,) px, NaN where it is empty."""
    if not _structs(objpos, "objpos"):
        return np.full(2, np.nan)
    position = _only(objpos, "objpos")
    return np.array([_number(position.get(axis), f"objpos.{axis}") for axis in "xy"])


def _joints(annopoints):
    """Joints (16, 2) px and visible (16,) of annopoints."""
    joints = np.full((JOINT_COUNT, 2), np.nan)  # px
    visible = np.full(JOINT_COUNT, np.nan)
    if not _structs(annopoints, "annopoints"):
        return joints, visible
    for point in _structs(_only(annopoints, "annopoints").get("point"), "point"):
        joint_id = _number(point.get("id"), "id")
        if joint_id not in range(JOINT_COUNT):  # nor is NaN, a missing id
            raise Odd(f"a point's id is {joint_id:g}, not one of 0 to {JOINT_COUNT - 1}")
        # a joint without a place has no label
        x = _number(point.get("x"), "x")
        y = _number(point.get("y"), "y")
        if not math.isnan(x + y):
            joints[int(joint_id)] = x, y
            visible[int(joint_id)] = _visible(point.get("is_visible"))
    return joints, visible


def _visible(value):
    """is_visible, a number, a character or empty, as 1, 0 or NaN."""
    if isinstance(value, str) and value in ("0", "1"):
        return float(value)
    number = _number(value, "is_visible")
    if number not in (0, 1) and not math.isnan(number):
        raise Odd(f"is_visible is {number:g}, not 0 or 1")
    return number


def _number(value, field):
    """A value as a float, NaN for an empty or missing one.

    Raises Odd where it is no number or too large.
    """
    if not isinstance(value, float):
        if not _is_empty(value):
            raise Odd(f"{field} is {_shown(value)}, not one number")
        return np.nan
    if abs(value) > LARGEST_NUMBER:  # False for NaN
        raise Odd(f"{field} is {value:g}")
    return value


def _structs(value, field):
    """The dicts of a struct array; an empty list of an empty or missing one."""
    if _is_empty(value):
        return []
    if not isinstance(value, Items) or not isinstance(value[0], dict):
        raise Odd(f"{field} is {_shown(value)}, not a struct")
    return value


def _only(value, field):
    """The dict of a struct array that has just one element."""
    structs = _structs(value, field)
    if len(structs) != 1:
        raise Odd(f"has {len(structs)} elements in {field}, not 1")
    return structs[0]


def _is_empty(value):
    """Whether a value is missing or an empty array, text or struct array."""
    if value is None:
        return True
    if isinstance(value, float):  # not even 0 is empty
        return False
    if isinstance(value, np.ndarray):
        return value.size == 0
    return not value


def _shown(value):
    """A value in a few words, for an error."""
    if isinstance(value, np.ndarray):
        return f"an array {value.shape}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"{value!r:.40}"
