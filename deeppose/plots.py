"""Curves of scores: PDJ over its threshold, and scores over the size of the boxes."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deeppose import joint_metrics, metrics
from deeppose.drawing import save

LOOKS = {  # told apart by the colour-blind (Okabe and Ito), and in grey by the kind of line
    "mean pose": {"color": "#777777", "linestyle": ":"},
    "stage 1": {"color": "#D55E00", "linestyle": "--"},
    "stage 2": {"color": "#0072B2", "linestyle": "-"},
    "stage 3": {"color": "#009E73", "linestyle": "-."},
    "simulated": {"color": "#777777", "linestyle": (0, (1, 1))},
    "real, trained on": {"color": "#D55E00", "linestyle": (0, (5, 1))},
    "real, on the test images": {"color": "#0072B2", "linestyle": (0, ())},
}
SCORE_LOOKS = ({"color": "#0072B2", "linestyle": "-"}, {"color": "#009E73", "linestyle": "--"})
PANEL_COLUMNS = 4


def pdj_curves(path, predictions, true_px, skeleton, sizes=None):
    """Write PDJ over its threshold, up to the skeleton's curve_to, one panel a joint pair.

    predictions  name (one of LOOKS) -> joints (N, J, 2) px
    true_px      (N, J, 2)
    sizes        of the images as Dataset.sizes has them, for units that are not of the pose
    """
    thresholds = np.linspace(0, skeleton.curve_to, 51)
    curves = {
        name: pdj_points(joints_px, true_px, skeleton, sizes, thresholds)
        for name, joints_px in predictions.items()
    }
    figure, panels = make_panels(len(skeleton.joint_groups), 2.6, 2.3, sharex=True, sharey=True)
    for axes, (group, members) in zip(panels, skeleton.joint_groups.items()):
        # later stages first: stage 1's dashes then show on stage 2's line where that changed nothing
        for name in reversed(predictions):
            axes.plot(thresholds, curves[name][group], linewidth=1.8, **LOOKS[name])
        axes.set(title=_group_title(group, len(members)), xlim=(0, skeleton.curve_to), ylim=(0, 1))
        axes.grid(alpha=0.3)
    # what all panels share
    figure.supxlabel(f"threshold, {skeleton.unit_name}", fontsize=10)
    figure.supylabel("detected joints (PDJ), fraction", fontsize=10)
    handles = [Line2D([], [], linewidth=1.8, label=name, **LOOKS[name]) for name in predictions]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=10)
    save(figure, path)


def pdj_points(predicted_px, true_px, skeleton, sizes, thresholds):
    """PDJ of each joint pair at each threshold: name of the pair -> list of T fractions."""
    units_px = skeleton.units_px(true_px, sizes)  # (N,)
    points = {}
    for group, members in skeleton.joint_groups.items():
        group_predicted_px = predicted_px[:, list(members)]
        group_true_px = true_px[:, list(members)]
        points[group] = [
            joint_metrics.pdj_pooled(group_predicted_px, group_true_px, units_px, threshold)
            for threshold in thresholds
        ]
    return points


def scores_by_factor(path, scores, intervals, plain_scores, skeleton):
    """Write metrics.headline's scores, with intervals, over the factor that scales true boxes.

    scores        "x 1.2" -> dictionary of metrics.score
    intervals     "x 1.2" -> dictionary of metrics.intervals
    plain_scores  dictionary of metrics.score on step 1's frames: a level to compare with
    """
    factors = [float(name.removeprefix("x ")) for name in scores]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    levels = metrics.headline(plain_scores, skeleton)
    for look, (column, (score_name, level)) in zip(SCORE_LOOKS, levels.items()):
        # the score and its interval at each factor
        values = [metrics.headline(score, skeleton)[column][1] for score in scores.values()]
        ends = [metrics.headline(interval, skeleton)[column][1] for interval in intervals.values()]
        lows, highs = zip(*ends)
        label = f"{score_name}, true boxes"
        axes.plot(factors, values, marker="o", linewidth=1.8, label=label, **look)
        axes.fill_between(factors, lows, highs, color=look["color"], alpha=0.15, linewidth=0)
        # the level of step 1's frames
        axes.axhline(
            level,
            color=look["color"],
            linestyle=":",
            linewidth=1.5,
            label=f"{score_name}, frames of step 1",
        )
    axes.set(
        xlabel="box side / side of the true joints' box", ylabel="score, fraction", ylim=(0, 1)
    )
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9)
    save(figure, path)


def make_panels(count, width, height, columns=PANEL_COLUMNS, **shared):
    """A figure, sized in inches a panel, and `count` axes of it in rows of `columns`.

    shared  arguments of Figure.subplots
    """
    row_count = math.ceil(count / columns)
    figure_size = (width * columns, height * row_count + 0.5)
    figure = Figure(figsize=figure_size, layout="constrained")
    all_axes = figure.subplots(row_count, columns, squeeze=False, **shared).reshape(-1)
    for empty_axes in all_axes[count:]:
        empty_axes.remove()
    return figure, all_axes[:count]


def _group_title(group, member_count):
    """A group of joints in words: "left_foot" and "right_foot" are "feet"."""
    words = group.replace("_", " ")
    if member_count == 1:
        return words
    if words.endswith("foot"):
        return words.replace("foot", "feet")
    return f"{words}s"
