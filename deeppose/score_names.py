"""Names of scores, units and thresholds, as Skeletons and metrics_stage_N.json have them."""

SCORES = ("pcp", "pdj", "pckh", "oks", "loss")
UNITS = ("head", "box")  # beside the distance of two joints
ALL_STICKS = "sticks"  # a mean over all sticks, not over parts


def threshold_key(threshold):
    """Key of a threshold in "pdj" of metrics_stage_N.json: 0.2 -> "0.20", 0.125 -> "0.125"."""
    return max(f"{threshold:.2f}", f"{threshold:g}", key=len)
