"""The runs that the README's tables are made of: what each is, whatever its size."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One run of the pipeline.

    title    what the table calls it
    stage_1  flags of Train_stage_1.py
    stage_2  flags of Train_stage_2.py
    weights  "none", "imagenet", "part" (the file that --part names), or the row whose model it
             starts from
    stages   how many: 1, 2 or 3
    copies   whether step 1 makes the original's copies
    against  the row that it differs from in one thing: it is then judged by the held-out images
             alone
    model    a folder in the project whose trained model is scored as it is: nothing is trained
    boxes    factors of the true joints' boxes, on crops of which step 3 scores stage 1 as well
    looks    flags of steps 3 and 6: how stage 1 looks at an image
    shown    whether the README's table has it too
    """

    title: str
    stage_1: tuple = ()
    weights: str = "none"
    stages: int = 1
    stage_2: tuple = ()
    copies: bool = False
    against: str | None = None
    model: str | None = None
    boxes: str | None = None
    looks: tuple = ()
    shown: bool = True

    @property
    def flip_test(self):
        return "--flip-test" in self.looks

    @property
    def two_pass(self):
        return "--two-pass" in self.looks


def without(entry, *changes, against="variants", seed=0):
    """The best recipe with one thing taken away, from part of ImageNet's weights."""
    flags = tuple(flag for change in changes for flag in ("--vary", change))
    return Row(f"without {entry}", flags + seeded(seed), "part", against=against)


def seeded(seed):
    """Flags for a seed other than the default."""
    return ("--seed", str(seed)) if seed else ()


AUGMENTATION = "all that is drawn anew each epoch"
HEATMAP = ("--network", "heatmap", "--vary", "backbone=resnet34")
ALEXNET = ("--network", "alexnet")
TRUE_BOXES = "1.0,1.2,1.4,1.6,1.8,2.0"  # those that deeppose_tf tests with
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
        shown=False,  # of a budget of its own
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
    "shipped_looks": Row(
        "the model in models/lsp, flip test and two passes",
        stages=3,
        model="models/lsp",
        looks=("--flip-test", "--two-pass"),
    ),
    # as deeppose_tf's: from random weights, and scored on true boxes too
    "alexnet": Row("AlexNet, best recipe", ALEXNET, boxes=TRUE_BOXES),
    "alexnet_views": Row(
        "AlexNet, best recipe, views from .6 to 1.6 times as close",
        (*ALEXNET, "--vary", "scale=0.6"),
        "alexnet",
        boxes=TRUE_BOXES,
        shown=False,
    ),
    "alexnet_deeppose_tf": Row(
        "AlexNet, deeppose_tf's recipe",
        (*ALEXNET, "--recipe", "deeppose_tf"),
        boxes=TRUE_BOXES,
        shown=False,
    ),
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
PRESENT = [row_name for row_name, row in ROWS.items() if not set(FORMER) <= set(row.stage_1)]


def base_of(row_name):
    """The row, of the first seed, that a row is compared with, or another seed's run of.

    A row that is compared with none gives itself.
    """
    return (ROWS[row_name].against or row_name).removesuffix("_again")


def is_variant(row_name):
    """Whether a row is compared with another, or is what others are compared with: by the held-out
    images alone."""
    return base_of(row_name) in {row.against for row in ROWS.values()}
