"""Published scores by data set, and which variant of each score they are.

Of LSP: the 1,000 test images, person-centric. PCP as its authors or later comparisons print it: strict PCP@0.5 of 4
limbs or 10 sticks; PCK@0.2 is PDJ@0.2.
"""
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """Scores that others published on a data set's test images.

    heads   groups of columns, as tables.Table has them; the last column says what was trained on
    keys    where each column stands in metrics.score's dictionary
    images  how many test images they are of
    """
    title: str
    heads: tuple
    keys: tuple
    rows: tuple
    note: str
    images: int


LSP_ROWS = (  # name, strict mean of 4, strict mean of 10, relaxed mean of 4, PCK@0.2, trained on
    ("deeppose_tf, random weights, true boxes", .302, .373, None, None, "LSP + LSPe"),
    ("deeppose_tf, ImageNet weights, true boxes", .446, .512, None, None, "LSP + LSPe"),
    ("Pishchulin, ICCV 2013", .508, .580, None, .571, "LSP"),
    ("Tompson, NIPS 2014", .614, .666, None, .723, "LSP + LSPe"),
    ("Chen and Yuille, NIPS 2014", .693, .736, None, .734, "LSP"),
    ("Rafi, BMVC 2016", .776, .812, None, .838, ""),
    ("Yu, ECCV 2016", .842, .854, None, .843, ""),
    ("CPM, CVPR 2016", .862, .883, None, .905, "LSP + LSPe + MPII"),
    ("Bulat, ECCV 2016", .870, .889, None, .907, "LSP + LSPe + MPII"),
    # from memory, not checked against the paper, whose wording does not say which PCP it is
    ("DeepPose, stage 1 *", None, None, .54, None, "LSP + LSPe"),
    ("DeepPose, stage 2 *", None, None, .60, None, "LSP + LSPe"),
    ("DeepPose, stage 3 *", None, None, .61, None, "LSP + LSPe"),
)
PUBLISHED = {
    "lsp": Published(
        "Published, LSP test",
        (("strict PCP@0.5", ("4 limbs", "10 sticks")), ("relaxed", ("4 limbs",)), ("", ("PCK@0.2", "trained on"))),
        (("pcp_strict", "mean_4"), ("pcp_strict", "mean_10"), ("pcp_relaxed", "mean_4"), ("pdj", "0.20")), LSP_ROWS,
        "* as recalled, not checked; the paper does not say which PCP, most likely relaxed\n"
        "deeppose_tf clips predictions to the person's true box before it scores them, which adds\n"
        ".03 to .06 of strict PCP at errors of 6 to 10 pixels (box extension 1.0)", 1000),
}


def own_row(scores, published):
    """The columns of one of metrics.score's dictionaries, to stand beside the published ones."""
    return [scores[kind][key] for kind, key in published.keys]
