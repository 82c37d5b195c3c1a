"""Curves and clouds: PDJ over its threshold, errors around the cascade, training by epoch."""

import itertools
import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from matplotlib.ticker import LogLocator, NullLocator

from deeppose import joint_metrics, metrics
from deeppose.drawing import save, unit_errors

LOOKS = {  # told apart by the colour-blind (Okabe and Ito), and in grey by the kind of line
    "mean pose": {"color": "#777777", "linestyle": ":"},
    "stage 1": {"color": "#D55E00", "linestyle": "--"},
    "stage 2": {"color": "#0072B2", "linestyle": "-"},
    "stage 3": {"color": "#009E73", "linestyle": "-."},
    "simulated": {"color": "#777777", "linestyle": (0, (1, 1))},
    "real, trained on": {"color": "#D55E00", "linestyle": (0, (5, 1))},
    "real, on the test images": {"color": "#0072B2", "linestyle": (0, ())},
}
# columns of curves_*.csv that are drawn; of stage 1 those of the scores are too
STAGE_1_CURVES = ("epoch", "train_loss", "held_out_loss")
STAGE_2_CURVES = ("epoch", "loss_with_gain", "loss", "loss_without", "gain")
SCORE_LOOKS = ({"color": "#0072B2", "linestyle": "-"}, {"color": "#009E73", "linestyle": "--"})
# looks of the same scores on rows that were trained on
TRAINED_ON_LOOKS = ({"color": "#0072B2", "linestyle": ":"}, {"color": "#009E73", "linestyle": "-."})
COLUMNS = 4  # of small panels
CLOUD_REACH = 1.0  # units shown around the truth
CLOUD_SHARE = 0.5  # of the errors in a drawn ellipse
POINTS = 1000  # of a cloud: more are no clearer


def _panels(count, width, height, columns=COLUMNS, **shared):
    """A figure, sized in inches a panel, and `count` axes of it in rows of `columns`."""
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared).reshape(-1)
    for empty in axes[count:]:
        empty.remove()
    return figure, axes[:count]


def pdj_points(predicted, true, skeleton, sizes, thresholds):
    """PDJ of each joint pair at each threshold: group -> (T,) fractions."""
    units = skeleton.units_px(true, sizes)  # (N,)
    points = {}
    for group, members in skeleton.joint_groups.items():
        group_predicted = predicted[:, list(members)]
        group_true = true[:, list(members)]
        points[group] = [
            joint_metrics.pdj_pooled(group_predicted, group_true, units, threshold)
            for threshold in thresholds
        ]
    return points


def pdj_curves(path, predictions, true, skeleton, sizes=None):
    """Write PDJ over its threshold, up to the skeleton's curve_to, one panel a joint pair.

    predictions  name (one of LOOKS) -> joints (N, J, 2);  true (N, J, 2) px
    """
    thresholds = np.linspace(0, skeleton.curve_to, 51)
    points = {
        name: pdj_points(predicted, true, skeleton, sizes, thresholds)
        for name, predicted in predictions.items()
    }
    figure, panels = _panels(len(skeleton.joint_groups), 2.6, 2.3, sharex=True, sharey=True)
    for axes, (group, members) in zip(panels, skeleton.joint_groups.items()):
        # stage 1 last, so that its dashes show on stage 2's line where that changed nothing
        for name in reversed(predictions):
            axes.plot(thresholds, points[name][group], linewidth=1.8, **LOOKS[name])
        axes.set(title=_title(group, len(members)), xlim=(0, skeleton.curve_to), ylim=(0, 1))
        axes.grid(alpha=0.3)
    figure.supxlabel(f"threshold, {skeleton.unit_name}", fontsize=10)
    figure.supylabel("detected joints (PDJ), fraction", fontsize=10)
    handles = [Line2D([], [], linewidth=1.8, label=name, **LOOKS[name]) for name in predictions]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=10)
    save(figure, path)


def error_clouds(path, stages, true, skeleton, sizes=None):
    """Write each joint's errors, in units, of the first and of the last of the stages.

    stages  name -> joints (N, J, 2) px
    """
    first = list(stages)[0]
    last = list(stages)[-1]
    clouds = {}
    for name in (first, last):
        errors = unit_errors(stages[name], true, skeleton, sizes)  # (N, J, 2)
        clouds[name] = errors.swapaxes(0, 1)
    _clouds(path, clouds, skeleton, " \N{RIGHTWARDS ARROW} ", skeleton.unit_name)


def scores_by_factor(path, scores, intervals, plain, skeleton):
    """Write metrics.headline's scores, with intervals, over the factor that scales true boxes.

    scores, intervals  "x 1.2" -> metrics.score's and metrics.intervals' dictionaries
    plain              metrics.score's on step 1's frames: a level to compare with
    """
    factors = [float(name.removeprefix("x ")) for name in scores]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    plain_scores = metrics.headline(plain, skeleton)
    for look, (column, (name, level)) in zip(SCORE_LOOKS, plain_scores.items()):
        values = [metrics.headline(score, skeleton)[column][1] for score in scores.values()]
        ends = [metrics.headline(interval, skeleton)[column][1] for interval in intervals.values()]
        lows, highs = zip(*ends)
        axes.plot(factors, values, marker="o", linewidth=1.8, label=f"{name}, true boxes", **look)
        axes.fill_between(factors, lows, highs, color=look["color"], alpha=0.15, linewidth=0)
        axes.axhline(
            level,
            color=look["color"],
            linestyle=":",
            linewidth=1.5,
            label=f"{name}, frames of step 1",
        )
    axes.set(
        xlabel="box side / side of the true joints' box", ylabel="score, fraction", ylim=(0, 1)
    )
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9)
    save(figure, path)


def score_name(column):
    """Name of the score in a column of curves_stage_1.csv: pdj_0.2 is PDJ@0.2."""
    kind, _, rest = column.partition("_")
    kind = {"pdj": "PDJ", "pckh": "PCKh", "oks": "OKS", "pcp": "PCP"}.get(kind, kind)
    return f"{kind}@{rest}" if rest[:1].isdigit() else f"{kind} {rest.replace('_', ' ')}".strip()


def learning_clouds(path, clouds, skeleton):
    """Write the errors that each refiner learns from beside those it meets; they should be alike.

    clouds  name -> (J, n, 2) errors in sizes of the predicted pose, NaN where there is no label
    """
    _clouds(path, clouds, skeleton, " | ", "sizes of the pose")


def _clouds(path, clouds, skeleton, between, unit):
    """Write one panel a joint, with the clouds' points, means and half ellipses, in `unit`.

    The clouds' median errors stand above, with `between` between them.
    """
    figure, panels = _panels(skeleton.joint_count, 1.75, 2.05, columns=7, sharex=True, sharey=True)
    for joint, axes in enumerate(panels):
        medians = []
        for position, (name, errors) in enumerate(clouds.items()):
            errors = errors[joint][np.isfinite(errors[joint]).all(1)]  # (n, 2)
            # the first on top: of a joint that was not refined both clouds are one, and the first's
            # broken line shows on the other's
            _draw_cloud(axes, errors, LOOKS[name], 3 + 2 * (len(clouds) - position))
            medians.append(np.median(np.linalg.norm(errors, axis=1)) if len(errors) else np.nan)
        joint_name = skeleton.joints[joint].replace("_", " ")
        median_texts = between.join(f"{median:.2f}" for median in medians)
        axes.set_title(f"{joint_name}\n{median_texts}", fontsize=9)
        axes.set(xlim=(-CLOUD_REACH, CLOUD_REACH), ylim=(CLOUD_REACH, -CLOUD_REACH), aspect="equal")
        axes.axhline(0, color="black", linewidth=0.5)
        axes.axvline(0, color="black", linewidth=0.5)
    # what all panels share
    figure.supxlabel(
        f"error to the right, {unit}; above each joint its median error: {between.join(clouds)}",
        fontsize=10,
    )
    figure.supylabel(f"error downward, {unit}", fontsize=10)
    handles = [Line2D([], [], linewidth=1.8, label=name, **LOOKS[name]) for name in clouds]
    handles += [Line2D([], [], linewidth=0, label="ellipse: half of the errors; +: their mean")]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=10)
    save(figure, path)


def _draw_cloud(axes, errors, look, zorder):
    """Draw errors (N, 2) as points, a cross at their mean, and the ellipse that holds half."""
    axes.scatter(*errors[:POINTS].T, s=3, alpha=0.4, linewidths=0, color=look["color"])
    if len(errors) < 3:  # they have no shape
        return
    centre, width, height, angle = half_ellipse(errors)
    axes.add_patch(
        Ellipse(
            centre,
            width,
            height,
            angle=angle,
            fill=False,
            linewidth=1.6,
            zorder=zorder,
            edgecolor=look["color"],
            linestyle=look["linestyle"],
        )
    )
    axes.plot(*centre, "+", color=look["color"], markersize=9, markeredgewidth=1.6, zorder=zorder)


def _title(group, count):
    """A group of joints in words: "left_foot" and "right_foot" are "feet"."""
    name = group.replace("_", " ")
    if count == 1:
        return name
    return name.replace("foot", "feet") if name.endswith("foot") else f"{name}s"


def half_ellipse(errors):
    """Centre (2,), width, height and angle in degrees of the ellipse that holds half of (N, 2).

    It has the covariance's shape. It is not that of half of a normal distribution, which what is
    far off, such as a left joint taken for the right one, would widen.
    """
    centre = errors.mean(0)
    covariance = np.cov(errors.T)
    variances, axes = np.linalg.eigh(covariance)  # (2,), and the axes as columns (2, 2)
    offsets = errors - centre
    # squared distances in variances (Mahalanobis), of which the ellipse reaches to the middle one
    squared_distances = ((offsets @ np.linalg.pinv(covariance)) * offsets).sum(1)  # (N,)
    reach = np.quantile(squared_distances, CLOUD_SHARE)
    width, height = 2 * np.sqrt(reach * np.maximum(variances, 0))
    return centre, width, height, np.degrees(np.arctan2(axes[1, 0], axes[0, 0]))


def stage_1_training(path, curves):
    """Write stage 1's loss and its first scores by epoch.

    curves  column of curves_stage_1.csv -> (rows,)
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    names = _held_out_scores(curves)
    _draw_losses(losses, curves)
    _draw_scores(scores, curves, names)
    # the epoch that was chosen, in both
    epochs = curves["epoch"]
    chosen = _chosen_epoch(curves, names)
    for axes in (losses, scores):
        axes.axvline(chosen, color="black", linestyle=":", label=f"epoch {chosen:.0f}: chosen")
        axes.set(xlabel="epoch", xlim=_around(epochs))
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    save(figure, path)


def _held_out_scores(curves):
    """The columns that are scores of the held-out rows; the first one chooses the epoch."""
    others = (*STAGE_1_CURVES, "step")
    return [
        name for name in curves if name not in others and not name.startswith(metrics.TRAINED_ON)
    ]


def _chosen_epoch(curves, names):
    """The epoch of the highest first score; not a place between epochs, which --score-every adds."""
    epochs = curves["epoch"]
    whole_epochs = epochs[epochs == np.round(epochs)]
    if not names or not len(whole_epochs):
        return epochs[-1]
    scores_of_epochs = curves[names[0]][np.isin(epochs, whole_epochs)]
    return whole_epochs[np.argmax(scores_of_epochs)]


def _draw_losses(axes, curves):
    """The loss of the rows that are trained on, and of the held-out ones."""
    epochs = curves["epoch"]
    for column, line, colour, label in (
        ("train_loss", "--", "#D55E00", "training rows, the recipe's whole loss"),
        ("held_out_loss", "-", "#0072B2", "held-out rows, of the coordinates alone"),
    ):
        axes.plot(epochs, curves[column], line, color=colour, label=label, **_marks(epochs))
    axes.set(title="loss", ylabel="loss", yscale="log")


def _draw_scores(axes, curves, names):
    """Scores of held-out rows, and of some that are trained on where the curves have them."""
    epochs = curves["epoch"]
    for name, look, trained_on_look in zip(names, SCORE_LOOKS, TRAINED_ON_LOOKS):
        label = f"{score_name(name)}, held-out rows"
        axes.plot(epochs, curves[name], **look, label=label, **_marks(epochs))
        trained_on = metrics.TRAINED_ON + name
        if trained_on in curves:
            label = f"{score_name(name)}, rows trained on"
            axes.plot(epochs, curves[trained_on], **trained_on_look, linewidth=1, label=label)
    axes.set(title="scores", ylabel="fraction", ylim=(0, None))


def learning_curves(path, curves):
    """Write held-out PDJ@0.2 and strict PCP of several runs over the training images seen so far.

    curves  run -> {"images", "pdj_0.2", "pcp_strict_mean_4"}, (epochs,) each
    """
    figure = Figure(figsize=(10, 3.6 + 0.2 * len(curves)), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    titles = {"pdj_0.2": "PDJ@0.2", "pcp_strict_mean_4": "strict PCP, mean of 4"}
    for axes, (key, title) in zip(panels, titles.items()):
        styles = itertools.cycle(("-", "--", "-.", ":"))
        for (name, curve), style in zip(curves.items(), styles):
            axes.plot(curve["images"], curve[key], style, marker=".", label=name)
        axes.set(
            title=f"held-out {title}", xscale="log", ylim=(0, None), xlabel="training images seen"
        )
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("fraction")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", fontsize=9)
    save(figure, path)


def stage_2_training(path, curves):
    """Write every joint's held-out error by epoch.

    curves  joint -> column of curves_<joint>.csv -> (epochs,)
    """
    lines = {
        "loss_with_gain": ("held-out rows, refined with the gain", LOOKS["stage 2"]),
        "loss": ("held-out rows, refined in full", LOOKS["stage 1"]),
        # drawn last, on top: with a gain of 0 it lies on the other line
        "loss_without": ("held-out rows, unrefined", LOOKS["mean pose"]),
    }
    column_count = min(7, max(3, len(curves)))
    figure, panels = _panels(len(curves), 1.9, 2.1, columns=column_count, sharex=True)
    # the axis is the longest run's, since a joint may be trained for longer
    longest = max((columns["epoch"] for columns in curves.values()), key=len)
    for axes, (joint, columns) in zip(panels, curves.items()):
        epochs = columns["epoch"]
        for key, (_, look) in lines.items():
            axes.plot(epochs, columns[key], linewidth=1.5, **look, **_marks(epochs))
        # of equally good epochs the last, which is the one that was kept
        best = len(epochs) - 1 - np.argmin(columns["loss_with_gain"][::-1])
        joint_name = joint.replace("_", " ")
        gain = columns["gain"][best]
        axes.set_title(f"{joint_name}\ngain {gain:.2f} (epoch {epochs[best]:.0f})", fontsize=9)
        axes.set(xlim=_around(longest))
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel("mean truncated error,\nsizes of the pose", fontsize=9)
    handles = [Line2D([], [], linewidth=1.5, label=label, **look) for label, look in lines.values()]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=10)
    save(figure, path)


def _marks(epochs):
    """Marks on a curve whose points can still be told apart."""
    return {"marker": "o", "markersize": 3} if len(epochs) < 30 else {}


def _around(epochs):
    """Limits of the epoch axis: of a single epoch as well."""
    return epochs.min() - 0.5, epochs.max() + 0.5
