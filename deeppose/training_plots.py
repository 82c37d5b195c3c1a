"""Curves of training: losses, scores and gains by epoch, and scores over the images seen."""

import itertools

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from deeppose import metrics
from deeppose.drawing import save
from deeppose.plots import LOOKS, SCORE_LOOKS, make_panels

# columns of curves_*.csv that are drawn; of stage 1 those of the scores are too
STAGE_1_CURVES = ("epoch", "train_loss", "held_out_loss")
STAGE_2_CURVES = ("epoch", "loss_with_gain", "loss", "loss_without", "gain")
# looks of the scores of SCORE_LOOKS on rows that were trained on
TRAINED_ON_LOOKS = ({"color": "#0072B2", "linestyle": ":"}, {"color": "#009E73", "linestyle": "-."})


def stage_1_training(path, curves):
    """Write stage 1's loss and its first scores by epoch.

    curves  column of curves_stage_1.csv -> (rows,)
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    loss_axes, score_axes = figure.subplots(1, 2)
    score_columns = _held_out_scores(curves)
    _draw_losses(loss_axes, curves)
    _draw_scores(score_axes, curves, score_columns)
    # the epoch that was chosen, in both
    epochs = curves["epoch"]
    chosen_epoch = _chosen_epoch(curves, score_columns)
    for axes in (loss_axes, score_axes):
        label = f"epoch {chosen_epoch:.0f}: chosen"
        axes.axvline(chosen_epoch, color="black", linestyle=":", label=label)
        axes.set(xlabel="epoch", xlim=_epoch_limits(epochs))
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
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
    figure, panels = make_panels(len(curves), 1.9, 2.1, columns=column_count, sharex=True)
    # the axis is the longest run's, since a joint may be trained for longer
    longest_run = max((columns["epoch"] for columns in curves.values()), key=len)
    for axes, (joint, columns) in zip(panels, curves.items()):
        epochs = columns["epoch"]
        for column, (_, look) in lines.items():
            axes.plot(epochs, columns[column], linewidth=1.5, **look, **_marks(epochs))
        # of equally good epochs the last, which is the one that was kept
        best = len(epochs) - 1 - np.argmin(columns["loss_with_gain"][::-1])
        joint_name = joint.replace("_", " ")
        gain = columns["gain"][best]
        axes.set_title(f"{joint_name}\ngain {gain:.2f} (epoch {epochs[best]:.0f})", fontsize=9)
        axes.set(xlim=_epoch_limits(longest_run))
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        # the errors themselves, not what they differ by from a number above the panel
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    # what all panels share
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel("mean truncated error,\nsizes of the pose", fontsize=9)
    handles = [Line2D([], [], linewidth=1.5, label=label, **look) for label, look in lines.values()]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=10)
    save(figure, path)


def learning_curves(path, curves):
    """Write held-out PDJ@0.2 and strict PCP of several runs over the training images seen so far.

    curves  run -> {"images", "pdj_0.2", "pcp_strict_mean_4"}, (epochs,) each
    """
    figure = Figure(figsize=(10, 3.6 + 0.2 * len(curves)), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    titles = {"pdj_0.2": "PDJ@0.2", "pcp_strict_mean_4": "strict PCP, mean of 4"}
    for axes, (column, title) in zip(panels, titles.items()):
        styles = itertools.cycle(("-", "--", "-.", ":"))
        for (run_name, curve), style in zip(curves.items(), styles):
            axes.plot(curve["images"], curve[column], style, marker=".", label=run_name)
        axes.set(
            title=f"held-out {title}", xscale="log", ylim=(0, None), xlabel="training images seen"
        )
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda image_count, _: f"{image_count:,.0f}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("fraction")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", fontsize=9)
    save(figure, path)


def _held_out_scores(curves):
    """The columns that are scores of the held-out rows; the first one chooses the epoch."""
    others = (*STAGE_1_CURVES, "step")
    return [
        column
        for column in curves
        if column not in others and not column.startswith(metrics.TRAINED_ON)
    ]


def _chosen_epoch(curves, score_columns):
    """The epoch of the highest first score; not a place between epochs, which --score-every adds."""
    epochs = curves["epoch"]
    whole_epochs = epochs[epochs == np.round(epochs)]
    if not score_columns or not len(whole_epochs):
        return epochs[-1]
    scores = curves[score_columns[0]][np.isin(epochs, whole_epochs)]
    return whole_epochs[np.argmax(scores)]


def _draw_losses(axes, curves):
    """Draw the loss of the rows that are trained on, and of the held-out ones."""
    epochs = curves["epoch"]
    for column, style, colour, label in (
        ("train_loss", "--", "#D55E00", "training rows, the recipe's whole loss"),
        ("held_out_loss", "-", "#0072B2", "held-out rows, of the coordinates alone"),
    ):
        axes.plot(epochs, curves[column], style, color=colour, label=label, **_marks(epochs))
    axes.set(title="loss", ylabel="loss", yscale="log")


def _draw_scores(axes, curves, score_columns):
    """Draw scores of held-out rows, and of rows that are trained on where the curves have them."""
    epochs = curves["epoch"]
    for column, look, trained_on_look in zip(score_columns, SCORE_LOOKS, TRAINED_ON_LOOKS):
        score_name = _score_name(column)
        label = f"{score_name}, held-out rows"
        axes.plot(epochs, curves[column], **look, label=label, **_marks(epochs))
        trained_on_column = metrics.TRAINED_ON + column
        if trained_on_column in curves:
            label = f"{score_name}, rows trained on"
            axes.plot(
                epochs, curves[trained_on_column], **trained_on_look, linewidth=1, label=label
            )
    axes.set(title="scores", ylabel="fraction", ylim=(0, None))


def _score_name(column):
    """Name of the score in a column of curves_stage_1.csv: pdj_0.2 is PDJ@0.2."""
    prefix, _, rest = column.partition("_")
    abbreviation = {"pdj": "PDJ", "pckh": "PCKh", "oks": "OKS", "pcp": "PCP"}.get(prefix, prefix)
    if rest[:1].isdigit():
        return f"{abbreviation}@{rest}"
    return f"{abbreviation} {rest.replace('_', ' ')}".strip()


def _marks(epochs):
    """Marks on a curve whose points can still be told apart."""
    return {"marker": "o", "markersize": 3} if len(epochs) < 30 else {}


def _epoch_limits(epochs):
    """Limits of the epoch axis, which has a width even for a single epoch."""
    return epochs.min() - 0.5, epochs.max() + 0.5
