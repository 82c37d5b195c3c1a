"""Skeleton: a data set's joints, how they hang together, how it is scored, all by joint name.

A data set's Skeleton is one of deeppose/skeletons.py, or described by its files. No other file
knows a joint's number.
"""

import difflib
from dataclasses import asdict, dataclass, field, fields

import numpy as np

from deeppose import geometry, skeleton_checks
from deeppose.joint_names import mirror_name, without_side
from deeppose.shell import InputError

UNKNOWN_SIGMA = 0.05  # of OKS, where a data set gives none


@dataclass(frozen=True)
class Skeleton:
    """Joints, limbs, units and scores of one data set.

    joints          names in the order of the label arrays; left_ and right_ are the person's own
    limbs           limb, left and right together -> its sticks, each a pair of ends; an end is a
                    tuple of joint names, its point their mean
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
    means           name -> the limbs whose PCP it is the mean of; ALL_STICKS for the mean over
                    sticks
    head            two true joints whose distance is the head size where the rows have none; or ()
    sigmas          joint -> OKS's constant; UNKNOWN_SIGMA where a joint has none
    pairs           (left, right) joints that a mirrored image exchanges, where names other than
                    left_x and right_x tell them; None: those names do; () has nothing mirrored
    """

    # the joints, and what joins them
    name: str
    joints: tuple
    limbs: dict = field(default_factory=dict)
    bones: tuple = ()
    # what errors are measured in, and what the cascade's boxes are sized by
    unit: object = "box"
    unit_name: str = "box sides"
    crop_size_from: object = "extent"
    crop_scale: float = 0.8
    # how poses are scored
    scores: tuple = ("pdj",)
    thresholds: tuple = (0.1, 0.2, 0.5)
    curve_to: float = 0.5
    chosen_by: tuple = ("pdj", "0.20")
    means: dict = field(default_factory=dict)
    head: tuple = ()
    sigmas: dict = field(default_factory=dict)
    # left and right, where the joints' names do not tell
    pairs: tuple | None = None

    def __post_init__(self):
        skeleton_checks.check(self)

    @property
    def joint_count(self):
        return len(self.joints)

    def index(self, joint_name):
        """The joint's index in the label arrays; ValueError for a name that is none."""
        return self.joints.index(joint_name)

    def _indices(self, joint_names):
        """The joints' indices in the label arrays, a tuple."""
        return tuple(self.index(joint_name) for joint_name in joint_names)

    @property
    def joint_pairs(self):
        """The names of the joints that a mirrored image exchanges, as (left, right)."""
        if self.pairs is not None:
            return self.pairs
        left_joints = [name for name in self.joints if name.startswith("left_")]
        return tuple((left, mirror_name(left)) for left in left_joints)

    @property
    def flip(self):
        """Permutation, left <-> right: a mirrored joint j is joint flip[j] of the original image."""
        # joints in the middle are their own opposite
        opposite = {}
        for left, right in self.joint_pairs:
            opposite[left] = right
            opposite[right] = left
        return self._indices(opposite.get(joint_name, joint_name) for joint_name in self.joints)

    def side(self, joint_name):
        """Side of a joint that has an opposite one, "left" or "right"; else None."""
        for left, right in self.joint_pairs:
            if joint_name == left:
                return "left"
            if joint_name == right:
                return "right"
        return None

    @property
    def has_sides(self):
        """Whether any joint has an opposite one; else mirroring an image would be a guess."""
        return self.flip != tuple(range(self.joint_count))

    @property
    def joint_groups(self):
        """Indices of joints, left and right together: {"ankle": (0, 5), ..., "neck": (12,)}."""
        groups = {}
        for joint, joint_name in enumerate(self.joints):
            # a name may tell a side though no joint is opposite: then it stands alone
            group = without_side(joint_name) if self.side(joint_name) else joint_name
            groups.setdefault(group, []).append(joint)
        return {group: tuple(members) for group, members in groups.items()}

    @property
    def bone_ends(self):
        """Bones as pairs of indices."""
        return tuple(self._indices(bone) for bone in self.bones)

    @property
    def sticks(self):
        """All limbs as pairs of ends, limb after limb, as joint_metrics.correct_limbs takes them.

        An end is a tuple of indices.
        """
        sticks = []
        for sticks_of_limb in self.limbs.values():
            for first_end, second_end in sticks_of_limb:
                sticks.append((self._indices(first_end), self._indices(second_end)))
        return tuple(sticks)

    @property
    def stick_parts(self):
        """The limb, a key of `limbs`, that each of `sticks` belongs to."""
        return tuple(limb for limb, sticks in self.limbs.items() for _ in sticks)

    def units_px(self, true_px, sizes):
        """Unit (N,) px that each row's errors are measured in; NaN where it is not known.

        true_px  (N, J, 2);  sizes  what Dataset.sizes gives: "head", "box", each (N,) px
        """
        if isinstance(self.unit, str):
            return sizes[self.unit]
        return geometry.distance(true_px, self._indices(self.unit))

    def head_px(self, true_px, sizes):
        """Head size (N,) px of each row: its own, or else the distance of the joints of `head`.

        true_px, sizes  as for units_px; sizes may be None
        """
        given_px = np.full(len(true_px), np.nan) if sizes is None else sizes["head"]
        if not self.head:
            return given_px
        # rows that have their own head size keep it
        from_joints_px = geometry.distance(true_px, self._indices(self.head))
        return np.where(np.isnan(given_px), from_joints_px, given_px)

    def pose_sizes_px(self, predicted_px):
        """Sizes (...) px of predicted poses (..., J, 2), by which the cascade's boxes are sized.

        Tensors work too.
        """
        if self.crop_size_from == "extent":
            return geometry.extent(predicted_px)
        return geometry.distance(predicted_px, self._indices(self.crop_size_from))

    @property
    def oks_sigmas(self):
        """OKS's constants, (J,)."""
        return np.array([self.sigmas.get(joint_name, UNKNOWN_SIGMA) for joint_name in self.joints])

    def described(self):
        """The Skeleton as JSON has it: from_description reads it back."""
        return asdict(self)


def from_description(description):
    """The Skeleton that `described` wrote; ValueError, TypeError or KeyError for what is none."""
    field_names = {field_of_skeleton.name for field_of_skeleton in fields(Skeleton)}
    if not isinstance(description, dict) or not set(description) <= field_names:
        raise ValueError("not a skeleton's entries")
    # lists become tuples, so that the Skeleton is equal to the one that was described
    return Skeleton(**{key: _frozen(value) for key, value in description.items()})


def _frozen(value):
    """JSON's lists as tuples, all the way down."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return value


def joints_named(joint_list, skeleton):
    """Joints named in "left_wrist,head", in the skeleton's order, or all for None.

    Raises InputError for a name that the skeleton does not have.
    """
    if joint_list is None:
        return skeleton.joints
    wanted = [joint_name.strip() for joint_name in joint_list.split(",")]
    for joint_name in wanted:
        if joint_name in skeleton.joints:
            continue
        hint = f"the joints are {', '.join(skeleton.joints)}"
        if similar := difflib.get_close_matches(joint_name, skeleton.joints, 1):
            hint = f"did you mean {similar[0]}?"
        raise InputError(f"--joints: there is no joint {joint_name!r}; {hint}")
    return [joint_name for joint_name in skeleton.joints if joint_name in wanted]
