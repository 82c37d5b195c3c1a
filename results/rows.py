"""The runs that the README's tables are made of: which flags each step gets."""

from dataclasses import dataclass

from deeppose.skeletons import LSP


@dataclass(frozen=True)
class Row:
    """One run of the pipeline.

    title    what the table calls it
    stage_1  flags of Train_stage_1.py
    stage_2  flags of Train_stage_2.py
    weights  "none", "imagenet" or "part" (the file that --part names)
    stages   how many: 1, 2 or 3
    copies   whether step 1 makes the original's copies
    against  the row that it differs from in one thing: it is then judged by the held-out images
             alone
    model    a folder in the project whose trained model is scored as it is: nothing is trained
    """

    title: str
    stage_1: tuple = ()
    weights: str = "none"
    stages: int = 1
    stage_2: tuple = ()
    copies: bool = False
    against: str | None = None
    model: str | None = None


def without(entry, *changes, against="variants", seed=0):
    """The best recipe with one thing taken away, from part of ImageNet's weights."""
    flags = tuple(flag for change in changes for flag in ("--vary", change))
    return Row(f"without {entry}", flags + seeded(seed), "part", against=against)


def seeded(seed):
    """Flags for a seed other than the default."""
    return ("--seed", str(seed)) if seed else ()


AUGMENTATION = "all that is drawn anew each epoch"
HEATMAP = ("--network", "heatmap", "--vary", "backbone=resnet34")
PLAIN = ("turn_deg=0", "scale=0", "shift=0", "mirror=0", "colour=0", "hide=0")
SMALL_ENTRIES = "the heatmaps' own loss, warm-up, cosine schedule and weight decay"
NO_SMALL = ("heatmaps=0", "warm_up=0", "schedule=constant", "optimiser=adam", "weight_decay=0")
FIRST_RECIPE = "former recipe"  # rotation by 40°, rate 1e-3, a moving average
FORMER = ("--vary", "turn_deg=40", "--vary", "learning_rate=1e-3", "--vary", "average=0.998")

ROWS = {
    "original": Row(
        "the original's recipe",
        ("--recipe", "original"),
        stages=2,
        stage_2=("--recipe", "original"),
        copies=True,
    ),
    "original_equal": Row(
        "the original's recipe",
        ("--recipe", "original"),
        stages=2,
        # trained on the images of best_random, and in stage 2 for as many core-hours
        stage_2=("--recipe", "original"),
    ),
    "best_random": Row("best recipe", stages=3),
    "best_part": Row("best recipe", weights="part", stages=3),
    "best_imagenet": Row("best recipe", weights="imagenet", stages=3),
    "heatmap_part": Row("heatmap network with attention, best recipe", HEATMAP, "part"),
    "shipped": Row("the model in models/lsp", stages=3, model="models/lsp"),
    "heatmap": Row("heatmap network with attention, best recipe", HEATMAP, "part"),
    "heatmap_mse": Row(
        "targets: Gaussians and their mean squared error, for shares and their cross-entropy",
        (*HEATMAP, "--vary", "softmax=0", "--vary", "heatmap_loss=mse"),
        "part",
        against="heatmap",
    ),
    "heatmap_no_attention": Row(
        "without attention", (*HEATMAP, "--vary", "attention=0"), "part", against="heatmap"
    ),
    "variants": Row("best recipe", weights="part"),
    "variants_again": Row("best recipe", seeded(1), "part"),
    "no_heatmap_head": Row(
        "without heatmaps: the original's two linear layers",
        ("--vary", "head=direct", "--vary", "heatmaps=0"),
        "part",
        against="variants",
    ),
    "no_heatmap_loss": without("the heatmaps' own loss", "heatmaps=0"),
    "no_turn": without("rotation", "turn_deg=0"),
    "no_scale": without("scale and shift", "scale=0", "shift=0"),
    "no_mirror": without("mirroring", "mirror=0"),
    "no_colour": without("colour jitter and hidden boxes", "colour=0", "hide=0"),
    "no_schedule": without("the cosine schedule", "schedule=constant"),
    "no_small": without(SMALL_ENTRIES, *NO_SMALL),
    "no_small_again": without(SMALL_ENTRIES, *NO_SMALL, against="variants_again", seed=1),
    "no_decay": without("weight decay (Adam)", "optimiser=adam", "weight_decay=0"),
    "turn_40": Row(
        "rotation by up to 40° instead of 20°",
        ("--vary", "turn_deg=40"),
        "part",
        against="variants",
    ),
    "higher_rate": Row(
        "twice its learning rate, 1e-3",
        ("--vary", "learning_rate=1e-3"),
        "part",
        against="variants",
    ),
    "average": Row(
        "with a moving average of the weights, decay .99 a step",
        ("--vary", "average=0.99"),
        "part",
        against="variants",
    ),
    "batch_32": Row(
        "batches of 32 images instead of 64", ("--batch-size", "32"), "part", against="variants"
    ),
    "more_heatmap_loss": Row(
        "ten times the heatmaps' own loss", ("--vary", "heatmaps=1"), "part", against="variants"
    ),
    "mse": without("L1: mean squared error instead", "loss=mse"),
    "former": Row(FIRST_RECIPE, FORMER, "part"),
    "former_no_heatmap_head": Row(
        "without heatmaps: the original's two linear layers",
        (*FORMER, "--vary", "head=direct", "--vary", "heatmaps=0"),
        "part",
        against="former",
    ),
    "former_no_turn": Row(
        "without rotation", (*FORMER, "--vary", "turn_deg=0"), "part", against="former"
    ),
    "former_turn_20": Row(
        "rotation by up to 20° instead of 40°",
        (*FORMER, "--vary", "turn_deg=20"),
        "part",
        against="former",
    ),
    "former_lower_rate": Row(
        "half its learning rate, 5e-4",
        (*FORMER, "--vary", "learning_rate=5e-4"),
        "part",
        against="former",
    ),
    "former_no_average": Row(
        "without the weights' moving average",
        (*FORMER, "--vary", "average=0"),
        "part",
        against="former",
    ),
    # What makes images differ pays when they come again and again, as in a long run, but a short
    # one may have few
    "few": Row("best recipe", weights="part"),
    "few_no_turn": without("rotation", "turn_deg=0", against="few"),
    "few_no_scale": without("scale and shift", "scale=0", "shift=0", against="few"),
    "few_no_mirror": without("mirroring", "mirror=0", against="few"),
    "few_no_colour": without("colour jitter and hidden boxes", "colour=0", "hide=0", against="few"),
    "few_plain": without(AUGMENTATION, *PLAIN, against="few"),
    "few_again": Row("best recipe", seeded(1), "part"),
    "few_plain_again": without(AUGMENTATION, *PLAIN, against="few_again", seed=1),
}

# rows of today's recipe
PRESENT = [name for name, row in ROWS.items() if not set(FORMER) <= set(row.stage_1)]

SMALL_CROPS = ("--crop-px", "129", "--simulated", "1")
TINY = ("--rows", "2", "--epochs", "1", "--batch-size", "2", "--simulated", "1", "--crop-px", "67")
FULL_CROPS = ("--simulated", "4", "--epochs", "1")  # of 227 pixels, which the original's head needs


def refiners(joints, weights, count, epochs=1, crops=SMALL_CROPS):
    """A command of step 5: `count` rows, each with a real estimate and simulated ones in an
    epoch."""
    return (
        "--joints",
        joints,
        "--weights",
        weights,
        "--rows",
        str(count),
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
    rights = ",".join(joint for joint in LSP.joints if joint.startswith("right"))
    return (
        refiners("left_elbow", "none", far, crops=crops),
        refiners("left_wrist,left_ankle", "model_left_elbow.pt", far, crops=crops),
        refiners(
            "left_shoulder,left_hip,left_knee,neck,head", "model_left_elbow.pt", near, crops=crops
        ),
        refiners(rights, "opposite", right, crops=crops),
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


def stage_1_flags(name, size):
    """Flags of step 2 for a row at a size, --weights apart."""
    sizes = SIZES[size]
    kinds = (name, base_of(name), "variants") if is_variant(name) else (name,)
    return (
        *ROWS[name].stage_1,
        *next((sizes[kind] for kind in kinds if kind in sizes), sizes["stage_1"]),
    )


def base_of(name):
    """The row, of the first seed, that a row is compared with, or another seed's run of.

    A row that is compared with none gives itself.
    """
    return (ROWS[name].against or name).removesuffix("_again")


def is_variant(name):
    """Whether a row is compared with another, or is what others are compared with: by the held-out
    images alone."""
    return base_of(name) in {row.against for row in ROWS.values()}


def refiner_commands(name, size, stage):
    """Flags of each command of step 5 that a stage takes for a row at a size, in their order."""
    key = f"stage_{stage}"
    return [
        (*ROWS[name].stage_2, *flags)
        for flags in SIZES[size].get(f"{name}_{key}", SIZES[size][key])
    ]
