"""Scores as text: one table for both test scripts, at most 100 columns wide."""
from deeppose.metrics import PDJ_THRESHOLDS

MEANS = {"mean_4": "mean of 4 limbs", "mean_6": "mean of 6 parts", "mean_10": "mean of 10 sticks"}


def _row(name, scores, *keys):
    """One line: the score at `keys` of every column, then the last column's difference from the one before it."""
    values = list(scores.values())
    for key in keys:
        values = [value[key] for value in values]
    cells = "".join(f"{value:>11.3f}" for value in values)
    change = f"{values[-1] - values[-2]:>+9.3f}" if "stage 2" in scores else ""
    return f"  {name:<20}{cells}{change}"


def _head(title, scores):
    change = f"{'gained':>9}" if "stage 2" in scores else ""
    return f"{title:<22}" + "".join(f"{name:>11}" for name in scores) + change


def score_table(scores, skeleton):
    """Everything metrics.score gives, as lines of text.

    scores  column name -> score, such as {"mean pose": S, "stage 1": S, "stage 2": S}; with a stage 2 as
            the last, a further column shows what it gained over the one before it
    """
    lines = []
    parts = {part: part.replace("_", " ") for part in skeleton.limbs} | MEANS
    for kind, meaning in (("strict", "both ends"), ("relaxed", "mean of ends")):
        lines += [_head(f"PCP@0.5 {kind}", scores)]
        lines += [_row(name, scores, f"pcp_{kind}", part) for part, name in parts.items()]
        lines += [f"  ({kind}: {meaning} within half the limb's length)", ""]
    lines += [_head("PDJ, all joints", scores)]
    lines += [_row(f"@{t:.2f}", scores, "pdj", f"{t:.2f}") for t in PDJ_THRESHOLDS[2::2]]
    lines += [_row("AUC 0...0.5", scores, "auc"), "", _head("PDJ@0.2 by joint", scores)]
    lines += [_row(joint.replace("_", " "), scores, "pdj_per_joint_0.2", joint)
              for joint in skeleton.joints]
    return "\n".join(lines)
