"""The Skeletons of LSP, MPII and K2HPD; those of files in COCO's format are in coco_skeletons.py."""

from deeppose.score_names import ALL_STICKS
from deeppose.skeleton import Skeleton


def _both_sides(upper, lower):
    """The right and the left stick between two paired joints."""
    return tuple(((f"{side}_{upper}",), (f"{side}_{lower}",)) for side in ("right", "left"))


ARMS_AND_LEGS = {  # limb -> its right and its left stick
    "upper_arms": _both_sides("shoulder", "elbow"),
    "lower_arms": _both_sides("elbow", "wrist"),
    "upper_legs": _both_sides("hip", "knee"),
    "lower_legs": _both_sides("knee", "ankle"),
}
LIMB_MEANS = {  # the means of PCP that papers give
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

# PCKh is MPII's own score; PCP is for comparison with LSP
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
