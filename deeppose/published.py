"""Published scores on the 1,000 LSP test images, person-centric, and which variant of each score they are.

PCP as its authors or later comparisons print it: strict PCP@0.5 of 4 limbs or 10 sticks; PCK@0.2 is PDJ@0.2.
"""
PUBLISHED = (  # name, strict mean of 4, strict mean of 10, relaxed mean of 4, PCK@0.2, trained on
    ("deeppose_tf, random weights, true box †", .302, .373, None, None, "LSP + LSPe"),
    ("deeppose_tf, ImageNet weights, true box †", .446, .512, None, None, "LSP + LSPe"),
    ("Pishchulin, ICCV 2013", .508, .580, None, .571, "LSP"),
    ("Tompson, NIPS 2014", .614, .666, None, .723, "LSP + LSPe"),
    ("Chen and Yuille, NIPS 2014", .693, .736, None, .734, "LSP"),
    ("Rafi, BMVC 2016", .776, .812, None, .838, ""),
    ("Yu, ECCV 2016", .842, .854, None, .843, ""),
    ("CPM, CVPR 2016", .862, .883, None, .905, "LSP + LSPe + MPII"),
    ("Bulat, ECCV 2016", .870, .889, None, .907, "LSP + LSPe + MPII"),
)
CLIPPED = ("† clips predictions to the person's true box before it scores them, which with Gaussian errors\n"
           "of 6 to 10 px adds 3 to 6 points of strict PCP (mean of 6 parts, box extension 1.0)")  # measured
RECALLED = (  # from memory, not checked against the paper, whose wording does not say which PCP it is
    ("DeepPose, stage 1", None, None, .54, None, "LSP + LSPe"),
    ("DeepPose, stage 2", None, None, .60, None, "LSP + LSPe"),
    ("DeepPose, stage 3", None, None, .61, None, "LSP + LSPe"),
)


def own_row(name, scores):
    """The row of one of metrics.score's dictionaries, to stand beside the published ones."""
    return (name, scores["pcp_strict"]["mean_4"], scores["pcp_strict"]["mean_10"], scores["pcp_relaxed"]["mean_4"],
            scores["pdj"]["0.20"], "")
