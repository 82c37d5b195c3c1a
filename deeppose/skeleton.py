"""Skeletons: a data set's joints, how they hang together, how it is scored, all by joint name.

A further data set is one more Skeleton, here or described by its files. No other file knows a
joint's number.
"""

import difflib
from dataclasses import asdict, dataclass, field, fields

import numpy as np

from deeppose import geometry, skeleton_checks
from deeppose.joint_names import mirror_name, without_side
from deeppose.score_names import ALL_STICKS
from deeppose.shell import InputError

UNKNOWN_SIGMA = 0.05  # of OKS, where a data set gives none


@dataclass(frozen=True)
class Skeleton:
    """Joints, limbs, units and scores of one data set.

    joints          names in the order of the label arrays; left_ and right_ are the person's own
    limbs           part -> its sticks, each a pair of ends; an end is a tuple of joint names, its
                    point their mean
    bones           pairs of joints to draw a line between; no score depends on them
    unit            what errors are measured in: the distance of two true joints, "head" (the row's
                    head size) or "box" (the larger side of the row's box)
    unit_name       the unit's name in tables and pictures, in the plural
    crop_size_from  what the cascade's boxes are sized by, of the predicted pose and never of the
                    truth: the distance of two joints, or "extent" (the larger side of the pose)
    crop_scale      sides of a box / that size: DeepPose's sigma
    scores          of score_names.SCORES, which it is judged by
    thresholds      of PDJ, in units, or of PCKh, in head sizes: at which joints are scored one by
                    one
    curve_to        PDJ is given in steps of 0.05 up to this, in units, and drawn so far
    chosen_by       the score that picks an epoch: (kind, key), such as ("pdj", "0.20")
    means           name -> the parts whose PCP it is the mean of; ALL_STICKS for the mean over
                    sticks
    head            two true joints whose distance is the head size where the rows have none; or ()
    sigmas          joint -> OKS's constant; UNKNOWN_SIGMA where a joint has none
    pairs           (left, right) joints that a mirrored image exchanges, where names other than
                    left_x and right_x tell them; None: those names do; () has nothing mirrored
    """

    name: str
    joints: tuple
    limbs: dict = field(default_factory=dict)
    bones: tuple = ()
    unit: object = "box"
    unit_name: str = "box sides"
    crop_size_from: object = "extent"
    crop_scale: float = 0.8
    scores: tuple = ("pdj",)
    thresholds: tuple = (0.1, 0.2, 0.5)
    curve_to: float = 0.5
    chosen_by: tuple = ("pdj", "0.20")
    means: dict = field(default_factory=dict)
    head: tuple = ()
    sigmas: dict = field(default_factory=dict)
    pairs: tuple | None = None

    def __post_init__(self):
        skeleton_checks.check(self)

    @property
    def joint_count(self):
        return len(self.joints)

    def index(self, name):
        """The joint's place in the label arrays; ValueError for a name that is none."""
        return self.joints.index(name)

    @property
    def flip(self):
        """Permutation, left <-> right: a mirrored joint j is joint flip[j] of the original image."""
        opposite = {}
        for left, right in self.joint_pairs:
            opposite[left] = right
            opposite[right] = left
        return tuple(self.index(opposite.get(name, name)) for name in self.joints)

    @property
    def joint_pairs(self):
        """The names of the joints that a mirrored image exchanges, as (left, right)."""
        if self.pairs is not None:
            return self.pairs
        return tuple((name, mirror_name(name)) for name in self.joints if name.startswith("left_"))

    def side(self, name):
        """Side of a joint that has an opposite one, "left" or "right"; else None."""
        for pair in self.joint_pairs:
            if name in pair:
                return ("left", "right")[pair.index(name)]
        return None

    @property
    def has_sides(self):
        """Whether any joint has an opposite one; else mirroring an image would be a guess."""
        return self.flip != tuple(range(self.joint_count))

    @property
    def bone_ends(self):
        """Bones as pairs of indices."""
        return tuple((self.index(first), self.index(second)) for first, second in self.bones)

    @property
    def sticks(self):
        """All limbs as pairs of ends, part after part, as joint_metrics.pcp takes them.

        An end is a tuple of indices.
        """
        sticks = []
        for sticks_of_part in self.limbs.values():
            for ends in sticks_of_part:
                sticks.append(tuple(tuple(map(self.index, end)) for end in ends))
        return tuple(sticks)

    @property
    def stick_parts(self):
        """The part that each of `sticks` belongs to."""
        return tuple(part for part, sticks in self.limbs.items() for _ in sticks)

    @property
    def joint_groups(self):
        """Indices of joints, left and right together: {"ankle": (0, 5), ..., "neck": (12,)}."""
        groups = {}
        for joint, name in enumerate(self.joints):
            group = without_side(name) if self.side(name) else name
            groups.setdefault(group, []).append(joint)
        return {group: tuple(members) for group, members in groups.items()}

    def units_px(self, true_px, sizes):
        """Unit (N,) px that each row's errors are measured in; NaN where it is not known.

        true_px  (N, J, 2);  sizes  what arrays.Dataset.sizes gives: "head", "box", each (N,) px
        """
        if isinstance(self.unit, str):
            return sizes[self.unit]
        return geometry.distance(true_px, [self.index(name) for name in self.unit])

    def head_px(self, true_px, sizes):
        """Head size (N,) px of each row: its own, or else the distance of the joints of `head`.

        true_px, sizes  as for units_px; sizes may be None
        """
        given = np.full(len(true_px), np.nan) if sizes is None else sizes["head"]
        if not self.head:
            return given
        from_joints = geometry.distance(true_px, [self.index(name) for name in self.head])
        return np.where(np.isnan(given), from_joints, given)

    def pose_sizes_px(self, predicted_px):
        """Sizes (...) px of predicted poses (..., J, 2), by which the cascade's boxes are sized.

        Tensors work too.
        """
        if self.crop_size_from == "extent":
            return geometry.extent(predicted_px)
        return geometry.distance(predicted_px, [self.index(name) for name in self.crop_size_from])

    @property
    def oks_sigmas(self):
        """OKS's constants, (J,)."""
        return np.array([self.sigmas.get(name, UNKNOWN_SIGMA) for name in self.joints])

    def described(self):
        """The Skeleton as JSON has it: from_description reads it back."""
        return asdict(self)


def from_description(description):
    """The Skeleton that `described` wrote; ValueError, TypeError or KeyError for what is none."""
    field_names = {entry.name for entry in fields(Skeleton)}
    if not isinstance(description, dict) or not set(description) <= field_names:
        raise ValueError("not a skeleton's entries")
    return Skeleton(**{name: _frozen(value) for name, value in description.items()})


def _frozen(value):
    """JSON's lists as tuples, all the way down."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return value


def _both_sides(upper, lower):
    """The right and the left stick between two paired joints."""
    return tuple(((f"{side}_{upper}",), (f"{side}_{lower}",)) for side in ("right", "left"))


ARMS_AND_LEGS = {
    "upper_arms": _both_sides("shoulder", "elbow"),
    "lower_arms": _both_sides("elbow", "wrist"),
    "upper_legs": _both_sides("hip", "knee"),
    "lower_legs": _both_sides("knee", "ankle"),
}
LIMB_MEANS = {
    "mean_4": tuple(ARMS_AND_LEGS),  # the paper's four limbs
    "mean_6": ("head", "torso", *ARMS_AND_LEGS),  # left and right pooled
    "mean_10": ALL_STICKS,  # most leaderboards
}

LSP = Skeleton(
    name="lsp",
    joints=(
        "right_ankle",
        "right_knee",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "right_wrist",
        "right_elbow",
        "right_shoulder",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "neck",
        "head",
    ),
    limbs={  # the ten sticks of the PCP literature
        "head": ((("head",), ("neck",)),),
        "torso": ((("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")),),
        **ARMS_AND_LEGS,
    },
    bones=(
        ("head", "neck"),
        ("neck", "right_shoulder"),
        ("neck", "left_shoulder"),
        ("right_shoulder", "right_elbow"),
        ("right_elbow", "right_wrist"),
        ("left_shoulder", "left_elbow"),
        ("left_elbow", "left_wrist"),
        ("right_shoulder", "right_hip"),
        ("left_shoulder", "left_hip"),
        ("right_hip", "left_hip"),
        ("right_hip", "right_knee"),
        ("right_knee", "right_ankle"),
        ("left_hip", "left_knee"),
        ("left_knee", "left_ankle"),
    ),
    unit=("left_shoulder", "right_hip"),  # DeepPose, section 3: opposing torso joints
    unit_name="torso diameters",
    crop_size_from=("left_shoulder", "right_hip"),
    crop_scale=2.0,  # DeepPose, section 4.1
    scores=("pcp", "pdj", "pckh"),
    means=LIMB_MEANS,
    head=("head", "neck"),  # deeppose_tf's head size
)

MPII = Skeleton(
    name="mpii",
    # in the order of the file's ids
    joints=(
        "right_ankle",
        "right_knee",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "pelvis",
        "thorax",
        "upper_neck",
        "head_top",
        "right_wrist",
        "right_elbow",
        "right_shoulder",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
    ),
    limbs=LSP.limbs | {"head": ((("head_top",), ("upper_neck",)),)},
    bones=(
        ("head_top", "upper_neck"),
        ("upper_neck", "thorax"),
        ("thorax", "pelvis"),
        ("thorax", "right_shoulder"),
        ("right_shoulder", "right_elbow"),
        ("right_elbow", "right_wrist"),
        ("thorax", "left_shoulder"),
        ("left_shoulder", "left_elbow"),
        ("left_elbow", "left_wrist"),
        ("pelvis", "right_hip"),
        ("right_hip", "right_knee"),
        ("right_knee", "right_ankle"),
        ("pelvis", "left_hip"),
        ("left_hip", "left_knee"),
        ("left_knee", "left_ankle"),
    ),
    unit="head",  # 0.6 x the head box's diagonal: Andriluka et al., CVPR 2014
    unit_name="head sizes",
    crop_size_from=LSP.crop_size_from,
    crop_scale=LSP.crop_scale,
    scores=("pckh", "pcp"),
    thresholds=(0.1, 0.5),
    chosen_by=("pckh_0.5",),
    means=LIMB_MEANS,
)

K2HPD = Skeleton(  # the first 15 of the set's 19 joints, as its authors' readers take them
    name="k2hpd",
    joints=(
        "head",
        "neck",
        "spine",
        "right_shoulder",
        "right_elbow",
        "right_hand",
        "left_shoulder",
        "left_elbow",
        "left_hand",
        "right_hip",
        "right_knee",
        "right_foot",
        "left_hip",
        "left_knee",
        "left_foot",
    ),
    limbs={
        "head": ((("head",), ("neck",)),),
        "spine": ((("neck",), ("spine",)),),
        "upper_arms": _both_sides("shoulder", "elbow"),
        "lower_arms": _both_sides("elbow", "hand"),
        "upper_legs": _both_sides("hip", "knee"),
        "lower_legs": _both_sides("knee", "foot"),
    },
    bones=(
        ("head", "neck"),
        ("neck", "spine"),
        ("neck", "right_shoulder"),
        ("neck", "left_shoulder"),
        ("right_shoulder", "right_elbow"),
        ("right_elbow", "right_hand"),
        ("left_shoulder", "left_elbow"),
        ("left_elbow", "left_hand"),
        ("spine", "right_hip"),
        ("spine", "left_hip"),
        ("right_hip", "right_knee"),
        ("right_knee", "right_foot"),
        ("left_hip", "left_knee"),
        ("left_knee", "left_foot"),
    ),
    unit=("right_shoulder", "left_hip"),
    unit_name="torso diameters",
    crop_size_from=("right_shoulder", "left_hip"),
    crop_scale=2.0,  # DeepPose's; recipe k2hpd has its authors' 0.8
    scores=("pcp", "pdj", "loss"),
    curve_to=0.75,
    chosen_by=("pdj", "0.10"),
    means={"mean_10": ALL_STICKS},
)


def joints_named(text, skeleton):
    """Joints named in "left_wrist,head", in the skeleton's order, or all for None.

    Raises InputError for a name that the skeleton does not have.
    """
    if text is None:
        return skeleton.joints
    wanted = [name.strip() for name in text.split(",")]
    for name in wanted:
        if name not in skeleton.joints:
            hint = f"the joints are {', '.join(skeleton.joints)}"
            if similar := difflib.get_close_matches(name, skeleton.joints, 1):
                hint = f"did you mean {similar[0]}?"
            raise InputError(f"--joints: there is no joint {name!r}; {hint}")
    return [name for name in skeleton.joints if name in wanted]
