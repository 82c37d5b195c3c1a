"""Skeletons: which joints a data set labels and how they hang together, everything by joint name.

A further data set is one more Skeleton here. No other file knows a joint's number.
"""
import difflib
from dataclasses import dataclass
from types import MappingProxyType

from deeppose.shell import InputError


@dataclass(frozen=True)
class Skeleton:
    """Joints, limbs and torso of one data set.

    joints  names in the order of the label arrays; left_ and right_ are the person's own
    limbs   part -> its sticks, each a pair of ends; an end is a tuple of joint names, its point their mean
    torso   the two opposing torso joints whose distance is the torso diameter (DeepPose, section 3)
    bones   pairs of joints to draw a line between; no score depends on them
    """
    name: str
    joints: tuple
    limbs: MappingProxyType
    torso: tuple
    bones: tuple

    def __post_init__(self):
        named = {name for sticks in self.limbs.values() for stick in sticks for end in stick for name in end}
        named |= set(self.torso) | {name for bone in self.bones for name in bone}
        assert named <= set(self.joints), f"unknown joints: {named - set(self.joints)}"
        flip = self.flip
        assert all(flip[flip[j]] == j for j in range(len(flip))), "mirroring twice must change nothing"

    @property
    def joint_count(self):
        return len(self.joints)

    def index(self, name):
        """The joint's place in the label arrays; ValueError for a name that is none."""
        return self.joints.index(name)

    @property
    def flip(self):
        """Permutation: a mirrored image's joint j is joint flip[j] of the original (left_ <-> right_)."""
        return tuple(self.index(mirror_name(name)) for name in self.joints)

    @property
    def torso_ends(self):
        """The two torso joints as indices."""
        return tuple(self.index(name) for name in self.torso)

    @property
    def bone_ends(self):
        """The bones as pairs of indices."""
        return tuple((self.index(a), self.index(b)) for a, b in self.bones)

    @property
    def sticks(self):
        """All limbs as pairs of ends, part after part: what metrics.pcp takes. An end is a tuple of indices."""
        return tuple(tuple(tuple(self.index(name) for name in end) for end in stick)
                     for sticks in self.limbs.values() for stick in sticks)

    @property
    def stick_parts(self):
        """The part that each of `sticks` belongs to."""
        return tuple(part for part, sticks in self.limbs.items() for _ in sticks)

    @property
    def joint_groups(self):
        """Group -> its joints' indices, left and right together: {"ankle": (0, 5), ..., "neck": (12,)}."""
        groups = {}
        for j, name in enumerate(self.joints):
            groups.setdefault(name.removeprefix("left_").removeprefix("right_"), []).append(j)
        return {group: tuple(members) for group, members in groups.items()}


def mirror_name(name):
    """The joint's name after mirroring: left_knee -> right_knee, neck -> neck."""
    if name.startswith("left_"):
        return "right_" + name.removeprefix("left_")
    if name.startswith("right_"):
        return "left_" + name.removeprefix("right_")
    return name


def _both_sides(upper, lower):
    """The right and the left stick between two paired joints."""
    return tuple(((f"{side}_{upper}",), (f"{side}_{lower}",)) for side in ("right", "left"))


LSP = Skeleton(
    name="lsp",
    joints=("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
            "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
            "neck", "head"),
    limbs=MappingProxyType({  # the ten sticks of the PCP literature
        "head": ((("head",), ("neck",)),),
        "torso": ((("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")),),
        "upper_arms": _both_sides("shoulder", "elbow"),
        "lower_arms": _both_sides("elbow", "wrist"),
        "upper_legs": _both_sides("hip", "knee"),
        "lower_legs": _both_sides("knee", "ankle"),
    }),
    torso=("left_shoulder", "right_hip"),
    bones=(("head", "neck"), ("neck", "right_shoulder"), ("neck", "left_shoulder"),
           ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
           ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
           ("right_shoulder", "right_hip"), ("left_shoulder", "left_hip"), ("right_hip", "left_hip"),
           ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
           ("left_hip", "left_knee"), ("left_knee", "left_ankle")),
)

SKELETONS = {skeleton.name: skeleton for skeleton in (LSP,)}  # dataset.json names one of these


def find_skeleton(name):
    """The skeleton of that name; None where there is none, or a file holds no name in its place."""
    return SKELETONS.get(name) if isinstance(name, str) else None


def joints_named(text, skeleton):
    """The joints named in "left_wrist,head", in the skeleton's order, or all for None; InputError for another name."""
    if text is None:
        return skeleton.joints
    wanted = [name.strip() for name in text.split(",")]
    for name in wanted:
        if name not in skeleton.joints:
            near = difflib.get_close_matches(name, skeleton.joints, 1)
            meant = f"did you mean {near[0]}?" if near else f"the joints are {', '.join(skeleton.joints)}"
            raise InputError(f"--joints: there is no joint {name!r}; {meant}")
    return [name for name in skeleton.joints if name in wanted]
