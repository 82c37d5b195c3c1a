"""Lengths of the rows' runs: the flags that a size adds to its steps."""

from deeppose.skeletons import LSP
from results.rows import ROWS, base_of, is_variant

SMALL_CROPS = ("--crop-px", "129", "--simulated", "1")
TINY = ("--rows", "2", "--epochs", "1", "--batch-size", "2", "--simulated", "1", "--crop-px", "67")
FULL_CROPS = ("--simulated", "4", "--epochs", "1")  # of 227 pixels, which the original's head needs


def refiners(joints, weights, row_count, epochs=1, crops=SMALL_CROPS):
    """Flags of a command of step 5, whose epoch has a real estimate and simulated ones of each
    row."""
    return (
        "--joints",
        joints,
        "--weights",
        weights,
        "--rows",
        str(row_count),
        *crops,
        "--epochs",
        str(epochs),
    )


def pairs(far, near, right, crops=SMALL_CROPS):
    """Commands of step 5 that train both sides' refiners for little more than one side's.

    far    rows for the left elbow, whose network the others of its side and of the middle start
           from, and for the ends of its limbs
    near   rows for the left side's and the middle's other joints
    right  rows for the right side's, which start from the left's networks, mirrored
    crops  flags: their size, and how many simulated estimates a row has
    """
    right_joints = ",".join(joint for joint in LSP.joints if joint.startswith("right"))
    return (
        refiners("left_elbow", "none", far, crops=crops),
        refiners("left_wrist,left_ankle", "model_left_elbow.pt", far, crops=crops),
        refiners(
            "left_shoulder,left_hip,left_knee,neck,head", "model_left_elbow.pt", near, crops=crops
        ),
        refiners(right_joints, "opposite", right, crops=crops),
    )


LONGER = (  # an arm and a leg from random weights, most for the ends of the limbs
    refiners("left_elbow", "none", 10800, 4),
    refiners("left_ankle", "none", 10800, 4),
    refiners("left_wrist", "model_left_elbow.pt", 10800, 3),
    refiners("left_knee", "model_left_ankle.pt", 10800, 2),
    refiners("left_shoulder,neck,head", "model_left_elbow.pt", 10800),
    refiners("left_hip", "model_left_ankle.pt", 10800),
    refiners("right_elbow,right_wrist,right_ankle,right_knee", "opposite", 10800, 2),
    refiners("right_shoulder,right_hip", "opposite", 10800),
)


GRID = ("--input-px", "224")  # the heatmap network's features have a cell for each 32 pixels

# what a size adds to step 2's flags (by row or kind of row), and to those of step 5's commands for
# a stage
SIZES = {
    "full": {
        "stage_1": (),
        "heatmap_part": GRID,
        "heatmap": (*GRID, "--epochs", "60"),
        "variants": ("--epochs", "60"),
        "few": ("--rows", "1080", "--epochs", "200"),
        "stage_2": ((),),
        "stage_3": ((),),
    },
    # each row takes about half an hour on a GPU
    "short": {
        "stage_1": ("--epochs", "60"),
        "heatmap_part": (*GRID, "--epochs", "60"),
        "heatmap": (*GRID, "--epochs", "20"),
        "variants": ("--epochs", "20"),
        "few": ("--rows", "1080", "--epochs", "100"),
        "stage_2": (("--simulated", "5", "--epochs", "3"),),
        "stage_3": (("--simulated", "5", "--epochs", "3"),),
    },
    "cpu": {  # what 2 cores can do in some hours
        "stage_1": ("--input-px", "129", "--epochs", "8"),
        "original": ("--input-px", "97", "--rows", "10800", "--epochs", "3"),
        "original_equal": ("--input-px", "129", "--epochs", "10"),
        "best_random": ("--input-px", "129", "--epochs", "10"),
        "best_part": ("--input-px", "129", "--epochs", "12"),
        "heatmap_part": ("--input-px", "128", "--epochs", "12"),
        "alexnet": ("--input-px", "128", "--epochs", "36"),
        "alexnet_views": ("--input-px", "128", "--epochs", "30"),
        # 36 epochs in an hour of one thread; as long at the 227 px that deeppose_tf's layers need
        "alexnet_deeppose_tf": ("--epochs", "11"),
        "heatmap": ("--input-px", "96", "--rows", "5400", "--epochs", "3"),
        "variants": ("--input-px", "97", "--rows", "5400", "--epochs", "3"),
        "few": ("--input-px", "97", "--rows", "540", "--epochs", "20"),
        "stage_2": pairs(far=10800, near=5400, right=5400),
        "best_random_stage_2": pairs(far=7200, near=3600, right=5400),
        "best_part_stage_2": LONGER,
        "stage_3": (
            (
                "--rows",
                "1800",
                "--weights",
                "former",
                "--vary",
                "learning_rate=1e-4",
                *SMALL_CROPS,
                "--epochs",
                "1",
            ),
        ),
        "best_random_stage_3": (
            ("--rows", "900", "--weights", "former", *SMALL_CROPS, "--epochs", "1"),
        ),
        # best_random's stage 2 took 2,058 s of one core; the original's refiners learn from 25
        # crops a second there, and each takes 4 s beside, so that in as long they see 50,000 crops:
        # the same shares of 10,000 rows
        "original_equal_stage_2": pairs(far=1000, near=500, right=750, crops=("--simulated", "4")),
        "original_stage_2": (
            ("--joints", "left_elbow", "--rows", "1500", *FULL_CROPS),
            (
                "--joints",
                ",".join(joint for joint in LSP.joints if joint != "left_elbow"),
                "--weights",
                "model_left_elbow.pt",
                "--rows",
                "200",
                *FULL_CROPS,
            ),
        ),
    },
    "tiny": {  # for the tests
        "stage_1": ("--rows", "4", "--epochs", "1", "--input-px", "65", "--batch-size", "2"),
        "stage_2": (
            (*TINY, "--joints", "head"),
            (*TINY, "--joints", "neck", "--weights", "model_head.pt"),
        ),
        "stage_3": ((*TINY, "--joints", "head"),),
    },
}


def stage_1_flags(row_name, size):
    """Flags of step 2 for a row at a size, --weights apart."""
    by_kind = SIZES[size]
    # the nearest kind that the size has flags for
    kinds = (row_name, "stage_1")
    if is_variant(row_name):
        kinds = (row_name, base_of(row_name), "variants", "stage_1")
    kind = next(kind for kind in kinds if kind in by_kind)
    return (*ROWS[row_name].stage_1, *by_kind[kind])


def refiner_commands(row_name, size, stage):
    """Flags of each command of step 5 that a stage takes for a row at a size, in their order."""
    by_kind = SIZES[size]
    commands = by_kind.get(f"{row_name}_stage_{stage}", by_kind[f"stage_{stage}"])
    return [(*ROWS[row_name].stage_2, *flags) for flags in commands]
