"""Published scores by data set, and which variant of each score they are.

Of LSP: the 1,000 test images, person-centric. PCP as its authors or later comparisons print it:
strict PCP@0.5 of 4 limbs or 10 sticks; PCK@0.2 is PDJ@0.2. Of MPII: PCKh@0.5, on two splits of its
training images, since the labels of its test images are not public.
"""

from dataclasses import dataclass

from deeppose.skeletons import MPII


@dataclass(frozen=True)
class Published:
    """Scores that others published on a data set's test images.

    title   of the table
    heads   groups of columns, as text_tables.Table has them; the last column says what was trained on
    keys    where each column stands in metrics.score's dictionary; a tuple of names at its end: the
            mean of theirs
    rows    the author, a fraction or None for each key, and what was trained on
    note    below the table
    images  how many test images they are of
    """

    title: str
    heads: tuple
    keys: tuple
    rows: tuple
    note: str
    images: int


# the 3 to 6 points were measured here, by perturbing true poses
CLIPPED = (
    "† clips predictions to the person's true box before it scores them, which with Gaussian errors\n"
    "of 6 to 10 px adds 3 to 6 points of strict PCP (mean of 6 parts, box extension 1.0)"
)
# author, strict mean of 4, strict mean of 10, relaxed mean of 4, PCK@0.2, trained on
LSP_ROWS = (
    ("deeppose_tf, random weights, true box †", 0.302, 0.373, None, None, "LSP + LSPe"),
    ("deeppose_tf, ImageNet weights, true box †", 0.446, 0.512, None, None, "LSP + LSPe"),
    ("Pishchulin, ICCV 2013", 0.508, 0.580, None, 0.571, "LSP"),
    ("Tompson, NIPS 2014", 0.614, 0.666, None, 0.723, "LSP + LSPe"),
    ("Chen and Yuille, NIPS 2014", 0.693, 0.736, None, 0.734, "LSP"),
    ("Rafi, BMVC 2016", 0.776, 0.812, None, 0.838, ""),
    ("Yu, ECCV 2016", 0.842, 0.854, None, 0.843, ""),
    ("CPM, CVPR 2016", 0.862, 0.883, None, 0.905, "LSP + LSPe + MPII"),
    ("Bulat, ECCV 2016", 0.870, 0.889, None, 0.907, "LSP + LSPe + MPII"),
    # from memory, not checked against the paper, whose wording does not say which PCP it is
    ("DeepPose, stage 1 *", None, None, 0.54, None, "LSP + LSPe"),
    ("DeepPose, stage 2 *", None, None, 0.60, None, "LSP + LSPe"),
    ("DeepPose, stage 3 *", None, None, 0.61, None, "LSP + LSPe"),
)
# MPII's own mean leaves out pelvis and thorax; it is pooled, which for persons with all joints is
# the mean of joints
MPII_JOINTS = tuple(joint for joint in MPII.joints if joint not in ("pelvis", "thorax"))
MPII_LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
# left and right as one: deeppose_tf's total is the mean of these
MPII_GROUPS = tuple(MPII.joint_groups)
NOT_GIVEN = (None,) * 8  # by those who print the mean of 14 joints alone
# author, head top, MPII_LIMBS, mean of 10 groups, mean of 14 joints, trained on
MPII_ROWS = (
    ("deeppose_tf, random †", 0.795, 0.716, 0.521, 0.346, 0.641, 0.583, 0.512, 0.654, None, "MPII"),
    (
        "deeppose_tf, ImageNet †",
        *(0.872, 0.852, 0.696, 0.520, 0.813, 0.697, 0.620, 0.780),
        None,
        "MPII",
    ),
    ("DeepPose, ResNet-50 ‡", *NOT_GIVEN, 0.826, "MPII"),
    ("SimpleBaseline, R-50 ‡", *NOT_GIVEN, 0.882, "MPII"),
    ("HRNet-W32 ‡", *NOT_GIVEN, 0.900, "MPII"),
)
PUBLISHED = {
    "lsp": Published(
        title="Published, LSP test",
        heads=(
            ("strict PCP@0.5", ("4 limbs", "10 sticks")),
            ("relaxed", ("4 limbs",)),
            ("", ("PCK@0.2", "trained on")),
        ),
        keys=(
            ("pcp_strict", "mean_4"),
            ("pcp_strict", "mean_10"),
            ("pcp_relaxed", "mean_4"),
            ("pdj", "0.20"),
        ),
        rows=LSP_ROWS,
        note="* as recalled, not checked; the paper does not say which PCP, most likely relaxed\n"
        f"{CLIPPED}",
        images=1000,
    ),
    "mpii": Published(
        title="Published, MPII",
        heads=(
            ("PCKh@0.5", ("head", "should.", "elbow", "wrist", "hip", "knee", "ankle")),
            ("mean of", ("10", "14")),
            ("", ("data",)),
        ),
        keys=(
            ("pckh_symmetric_0.5", "head_top"),
            *(("pckh_symmetric_0.5", limb) for limb in MPII_LIMBS),
            ("pckh_symmetric_0.5", MPII_GROUPS),
            ("pckh_per_joint_0.5", MPII_JOINTS),
        ),
        rows=MPII_ROWS,
        note="† true boxes; its head is from neck to head top, a third more than MPII's (measured: 1.33)\n"
        "‡ MMPose's models, from ImageNet's weights, on the 2,958 persons of MPII's validation split",
        images=1991,
    ),
}


def own_row(scores, published):
    """Columns of one of metrics.score's dictionaries, to stand beside the published ones."""
    return [_score_at(scores[kind], key) for kind, key in published.keys]


def _score_at(scores, key):
    """The score at a key, or the mean of those at a tuple of keys."""
    if isinstance(key, tuple):
        return sum(scores[each] for each in key) / len(key)
    return scores[key]
