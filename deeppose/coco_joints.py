"""Joints' names as files in COCO's format have them: fit to name files, flips as they tell."""

import re

from deeppose.joint_names import opposite_name, split_side
from deeppose.shell import InputError

JOINT_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")  # it becomes a file's: model_<joint>.pt
USED_BY_THE_PIPELINE = {"shared", "all", "mean", "total", "train", "test", "output"}
CURVES_OF_STAGE = re.compile(r"stage_\d+")  # curves_stage_1.csv is stage 1's, not a joint's
NO_FILES_ON_WINDOWS = re.compile(r"con|prn|aux|nul|com\d|lpt\d")
MOST_JOINTS = 500  # the largest sets have some 300


def joint_names(keypoints, path):
    """The names of a category's joints, lower-cased.

    keypoints  the category's entry
    path       of the file, with which the error begins
    Raises InputError where it is no list of names that joints can have.
    """
    is_list_of_texts = isinstance(keypoints, list) and all(
        isinstance(spelling, str) for spelling in keypoints
    )
    if not is_list_of_texts:
        raise InputError(f"{path}: `keypoints` of a category is no list of names")
    if not 0 < len(keypoints) <= MOST_JOINTS:
        raise InputError(f"{path}: names {len(keypoints)} joints; 1 to {MOST_JOINTS} are possible")
    joints = tuple(spelling.lower() for spelling in keypoints)
    # each must be fit to name files: model_<joint>.pt
    for joint, spelling in zip(joints, keypoints):
        if not JOINT_NAME.fullmatch(joint):
            raise InputError(
                f"{path}: the joint {spelling[:80]!r} cannot name a file; rename it in letters a to z, digits "
                "and _, beginning with a letter"
            )
        if _names_another_file(joint):
            raise InputError(
                f"{path}: a joint cannot be named {spelling!r}, which names another file; rename it"
            )
        # lower-cased names may be alike though the file's are not
        if joints.count(joint) > 1:
            raise InputError(f"{path}: names the joint {joint!r} twice; rename one of the two")
    return joints


def _names_another_file(joint):
    """Whether files named after such a joint would be others of the pipeline, or of Windows."""
    return (
        joint in USED_BY_THE_PIPELINE
        or CURVES_OF_STAGE.fullmatch(joint)
        or NO_FILES_ON_WINDOWS.fullmatch(joint)
    )


def flip_pairs(joints):
    """Pairs (left, right) of the joints that a mirrored image exchanges, as their names tell.

    There are none, (), if they tell none.
    """
    pairs = []
    for joint in joints:
        _, side, _ = split_side(joint)
        opposite_joint = opposite_name(joint)
        if side in ("left", "l") and opposite_joint in joints:
            pairs.append((joint, opposite_joint))
    return tuple(pairs)


def one_sided(joints):
    """Joints whose names tell a side, but which have no counterpart.

    With such joints no image can be mirrored.
    """
    lonely = []
    for joint in joints:
        opposite_joint = opposite_name(joint)
        if opposite_joint and opposite_joint not in joints:
            lonely.append(joint)
    return tuple(lonely)
