"""Names of scores, units and thresholds, as Skeletons and metrics_stage_N.json have them."""

SCORES = ("pcp", "pdj", "pckh", "oks", "loss")
UNITS = ("head", "box")  # beside the distance of two joints
ALL_STICKS = "sticks"  # a mean over all sticks, not over parts
PCKH_THRESHOLD = 0.5  # of the head's size: MPII


def pckh_thresholds(skeleton):
    """Thresholds at which PCKh is given: the skeleton's where heads are its unit, else 0.5."""
    return skeleton.thresholds if skeleton.unit == "head" else (PCKH_THRESHOLD,)


def threshold_key(threshold):
    """Key of a threshold in "pdj" of metrics_stage_N.json: 0.2 -> "0.20", 0.125 -> "0.125"."""
    return max(f"{threshold:.2f}", f"{threshold:g}", key=len)
