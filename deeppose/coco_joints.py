"""Joints as files in COCO's format name them: fit for files, flips by name, the known sets."""

import re
from dataclasses import dataclass
from types import MappingProxyType

from deeppose.shell import InputError

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")  # a joint's name becomes a file's: model_<joint>.pt
USED_BY_THE_PIPELINE = {"shared", "all", "mean", "total", "train", "test", "output"}
CURVES_OF_STAGE = re.compile(r"stage_\d+")  # curves_stage_1.csv is stage 1's, not a joint's
NO_FILES_ON_WINDOWS = re.compile(r"con|prn|aux|nul|com\d|lpt\d")
MOST_JOINTS = 500  # the largest sets have some 300
UNKNOWN_SIGMA = 0.05  # OKS; COCO's 17 have a mean of .067
OPPOSITE = {"left": "right", "right": "left", "l": "r", "r": "l"}


def joint_names(names, place):
    """The names of a file's joints, lower-cased.

    Raises InputError, beginning with `place`, for what is no joint's name.
    """
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{place}: `keypoints` of a category is no list of names")
    if not 0 < len(names) <= MOST_JOINTS:
        raise InputError(f"{place}: names {len(names)} joints; 1 to {MOST_JOINTS} are possible")
    lowered = tuple(name.lower() for name in names)
    # each must be fit to name files: model_<joint>.pt
    for name, spelling in zip(lowered, names):
        if not NAME.fullmatch(name):
            raise InputError(
                f"{place}: the joint {spelling[:80]!r} cannot name a file; rename it in letters a to z, digits "
                "and _, beginning with a letter"
            )
        if _names_another_file(name):
            raise InputError(
                f"{place}: a joint cannot be named {spelling!r}, which names another file; rename it"
            )
        if lowered.count(name) > 1:
            raise InputError(f"{place}: names the joint {name!r} twice; rename one of the two")
    return lowered


def _names_another_file(name):
    """Whether files named after such a joint would be others of the pipeline, or of Windows."""
    return (
        name in USED_BY_THE_PIPELINE
        or CURVES_OF_STAGE.fullmatch(name)
        or NO_FILES_ON_WINDOWS.fullmatch(name)
    )


def _side(name):
    """The side that a joint's lower-cased name tells, such as "l", and the name on the other side.

    None if it tells none. Names that tell it are left_x, x_left, l_x, x_l, a_left_x, and leftX or
    LeftX, which is leftx when lower-cased.
    """
    words = name.split("_")
    for place, word in enumerate(words):
        if word in OPPOSITE:
            return word, "_".join([*words[:place], OPPOSITE[word], *words[place + 1 :]])
    for side in ("left", "right"):
        if name.startswith(side):
            return side, OPPOSITE[side] + name.removeprefix(side)
    return None


def flip_pairs(names):
    """Pairs (left, right) of the joints that a mirrored image exchanges, as their names tell.

    There are none, (), if they tell none.
    """
    names = [name.lower() for name in names]
    pairs = []
    for name in names:
        side, opposite = _side(name) or (None, None)
        if side in ("left", "l") and opposite in names:
            pairs.append((name, opposite))
    return tuple(pairs)


def one_sided(names):
    """Joints whose names tell a side, but which have no counterpart.

    With such joints no image can be mirrored.
    """
    names = [name.lower() for name in names]
    sided = [name for name in names if _side(name)]
    return tuple(name for name in sided if _side(name)[1] not in names)


@dataclass(frozen=True)
class JointSet:
    """A set of joints, with facts about them that the file that names them does not hold.

    joints  names in the order of the annotations
    sigmas  of OKS, a number a joint
    limbs   part -> its sticks, each a pair of ends; an end is a tuple of joint names, its point
            their mean; {} for none
    bones   pairs of joints to draw a line between
    """

    name: str
    joints: tuple
    sigmas: tuple
    limbs: MappingProxyType
    bones: tuple


def _both_sides(upper, lower):
    """The right and the left stick between two paired joints."""
    return tuple(((f"{side}_{upper}",), (f"{side}_{lower}",)) for side in ("right", "left"))


def _both_names(*names):
    """The left and the right joint of each name, in that order."""
    return tuple(f"{side}_{name}" for name in names for side in ("left", "right"))


BODY = _both_names("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
BODY_SIGMAS = (0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089)
BODY_LIMBS = {
    "torso": ((("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")),),
    "upper_arms": _both_sides("shoulder", "elbow"),
    "lower_arms": _both_sides("elbow", "wrist"),
    "upper_legs": _both_sides("hip", "knee"),
    "lower_legs": _both_sides("knee", "ankle"),
}
BODY_BONES = (
    ("left_ankle", "left_knee"),
    ("left_knee", "left_hip"),
    ("right_ankle", "right_knee"),
    ("right_knee", "right_hip"),
    ("left_hip", "right_hip"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_shoulder", "right_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("right_shoulder", "right_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_elbow", "right_wrist"),
)

# The sigmas are those of COCO's own scores. No two joints span a head, so PCP has none.
COCO = JointSet(
    name="coco",
    joints=("nose", *_both_names("eye", "ear"), *BODY),
    sigmas=(0.026, 0.025, 0.025, 0.035, 0.035, *BODY_SIGMAS),
    limbs=MappingProxyType(BODY_LIMBS),
    bones=(
        *BODY_BONES,
        ("left_eye", "right_eye"),
        ("nose", "left_eye"),
        ("nose", "right_eye"),
        ("left_eye", "left_ear"),
        ("right_eye", "right_ear"),
        ("left_ear", "left_shoulder"),
        ("right_ear", "right_shoulder"),
    ),
)

POSETRACK = JointSet(  # COCO's sigmas by position, as the attention authors and MMPose score it
    name="posetrack",
    joints=("nose", "head_bottom", "head_top", *_both_names("ear"), *BODY),
    sigmas=(0.026, 0.025, 0.025, 0.035, 0.035, *BODY_SIGMAS),
    limbs=MappingProxyType({"head": ((("head_top",), ("head_bottom",)),), **BODY_LIMBS}),
    # original: the file repeats COCO's pairs of numbers, which are other joints here
    bones=(
        *BODY_BONES,
        ("head_top", "nose"),
        ("nose", "head_bottom"),
        ("head_bottom", "left_shoulder"),
        ("head_bottom", "right_shoulder"),
    ),
)


def joint_set(joints, bones):
    """COCO's or PoseTrack's JointSet where these are its joints, else one with the file's bones."""
    for standard_set in (COCO, POSETRACK):
        if standard_set.joints == tuple(joints):
            return standard_set
    return JointSet(
        "own", tuple(joints), (UNKNOWN_SIGMA,) * len(joints), MappingProxyType({}), tuple(bones)
    )
