"""Skeletons of files in COCO's format: COCO's and PoseTrack's are known, others are described."""

from dataclasses import dataclass

from deeppose import coco_joints
from deeppose.skeleton import UNKNOWN_SIGMA, Skeleton
from deeppose.skeletons import ARMS_AND_LEGS, LSP


@dataclass(frozen=True)
class JointSet:
    """A set of joints, with facts about them that the file that names them does not hold.

    joints  names in the order of the annotations
    sigmas  of OKS, a number a joint
    limbs   limb -> its sticks, each a pair of ends; an end is a tuple of joint names, its point
            their mean; {} for none
    bones   pairs of joints to draw a line between
    """

    name: str
    joints: tuple
    sigmas: tuple
    limbs: dict
    bones: tuple


def _both_sides(*names):
    """The left and the right joint of each name, in that order."""
    return tuple(f"{side}_{name}" for name in names for side in ("left", "right"))


BODY = _both_sides("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
BODY_SIGMAS = (0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089)
BODY_LIMBS = {"torso": LSP.limbs["torso"], **ARMS_AND_LEGS}
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
    joints=("nose", *_both_sides("eye", "ear"), *BODY),
    sigmas=(0.026, 0.025, 0.025, 0.035, 0.035, *BODY_SIGMAS),
    limbs=BODY_LIMBS,
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
    joints=("nose", "head_bottom", "head_top", *_both_sides("ear"), *BODY),
    sigmas=(0.026, 0.025, 0.025, 0.035, 0.035, *BODY_SIGMAS),
    limbs={"head": ((("head_top",), ("head_bottom",)),), **BODY_LIMBS},
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
    for known_set in (COCO, POSETRACK):
        if known_set.joints == tuple(joints):
            return known_set
    return JointSet(
        name="own",
        joints=tuple(joints),
        sigmas=(UNKNOWN_SIGMA,) * len(joints),
        limbs={},
        bones=tuple(bones),
    )


def skeleton_of(coco_file):
    """The Skeleton of a CocoFile, scored by OKS and PDJ.

    Says at the shell which joints mirroring exchanges.
    """
    known = joint_set(coco_file.joints, coco_file.bones)
    # the cascade's boxes are sized as LSP's where the joints are a body's, else by the extent
    crop_size = {}
    if known.limbs:
        crop_size = {"crop_size_from": LSP.crop_size_from, "crop_scale": LSP.crop_scale}
    return Skeleton(
        known.name,
        known.joints,
        known.limbs,
        known.bones,
        scores=("oks", "pdj"),
        thresholds=(0.05, 0.1, 0.2),
        chosen_by=("oks",),
        sigmas=dict(zip(known.joints, known.sigmas)),
        pairs=_mirrored_pairs(known.joints),
        **crop_size,
    )


def _mirrored_pairs(joints):
    """Pairs (left, right) of the joints that mirroring exchanges; none where one stands alone."""
    pairs = coco_joints.flip_pairs(joints)
    if lonely := coco_joints.one_sided(joints):
        print(
            f"{', '.join(lonely)}: without a joint of the other side, so no image will be mirrored"
        )
        return ()
    if pairs:
        print("mirror images exchange " + ", ".join(f"{left} and {right}" for left, right in pairs))
    else:
        print("no joint's name tells left from right, so no image will be mirrored")
    return pairs
