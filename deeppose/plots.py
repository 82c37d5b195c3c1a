"""Pictures: PDJ curves, and poses drawn on images. Works without a display."""
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deeppose import arrays, metrics
from deeppose.geometry import torso_diameter

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe and Ito: told apart by the colour-blind
STYLES = (":", "--", "-")                               # mean pose, stage 1, stage 2: in grey as well
LEFT, RIGHT, MIDDLE = "#56B4E9", "#E69F00", "#F0F0F0"   # of the skeleton, by the person's own sides
PANELS = ("legs", "arms")                               # as in the paper's figures


def _save(figure, path):
    FigureCanvasAgg(figure)
    with arrays.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _groups_of(panel, skeleton):
    """The joint groups that a panel shows: those at the ends of the limbs called upper_<panel> and lower_<panel>."""
    names = {name for part, sticks in skeleton.limbs.items() if part.endswith(panel)
             for stick in sticks for end in stick for name in end}
    indices = {skeleton.index(name) for name in names}
    return {group: members for group, members in skeleton.joint_groups.items() if indices & set(members)}


def pdj_curves(path, predictions, true, skeleton):
    """Write PDJ over threshold 0 ... 0.5 of the joint pairs of legs and arms.

    predictions  name -> joints (N, J, 2), at most three: drawn dotted, dashed, solid
    true         (N, J, 2) px
    """
    thresholds = np.linspace(0, 0.5, 51)
    diameter = torso_diameter(true, skeleton.torso_ends)
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS):
        groups = _groups_of(panel, skeleton)
        for colour, members in zip(COLOURS, groups.values()):
            members = list(members)
            for style, predicted in zip(STYLES[-len(predictions):], predictions.values()):
                rates = [metrics.pdj_pooled(predicted[:, members], true[:, members], diameter, t) for t in thresholds]
                axes.plot(thresholds, rates, style, color=colour, linewidth=1.8)
        handles = [Line2D([], [], color=colour, label=f"{group}s") for colour, group in zip(COLOURS, groups)]
        handles += [Line2D([], [], color="black", linestyle=style, label=name)
                    for style, name in zip(STYLES[-len(predictions):], predictions)]
        axes.legend(handles=handles, loc="upper left", fontsize=9)
        axes.set(title=panel.capitalize(), xlabel="threshold, torso diameters", xlim=(0, 0.5), ylim=(0, 1))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("percentage of detected joints (PDJ), fraction")
    _save(figure, path)


def _draw_skeleton(axes, joints_px, skeleton):
    for first, second in skeleton.bone_ends:
        names = skeleton.joints[first] + skeleton.joints[second]
        left, right = "left_" in names, "right_" in names
        colour = MIDDLE if left == right else LEFT if left else RIGHT
        ends = joints_px[[first, second]]  # NaN ends are not drawn
        axes.plot(*ends.T, color="black", linewidth=3.4, solid_capstyle="round")
        axes.plot(*ends.T, color=colour, linewidth=1.8, solid_capstyle="round")


def poses(path, images, predictions, true, skeleton, count=7):
    """Write a sheet of `count` images, spread evenly over all: the true pose above the predicted ones.

    images       uint8 (N, H, W, 3);  true (N, J, 2) px;  predictions  name -> joints (N, J, 2) px
    Under each prediction stands its PDJ@0.2 on that image.
    """
    chosen = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int))
    diameter = torso_diameter(true, skeleton.torso_ends)
    rows = {"true": true} | predictions
    height, width = images.shape[1:3]
    figure = Figure(figsize=(1.9 * len(chosen) + 0.4, 2.2 * len(rows) + 0.5), layout="constrained")
    grid = figure.subplots(len(rows), len(chosen), squeeze=False)
    for row_axes, (name, joints) in zip(grid, rows.items()):
        for axes, n in zip(row_axes, chosen):
            axes.imshow(images[n])
            _draw_skeleton(axes, joints[n], skeleton)
            axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
            one = slice(n, n + 1)
            detected = metrics.pdj_pooled(joints[one], true[one], diameter[one], 0.2)
            axes.set_xlabel(f"test row {n}" if name == "true" else f"PDJ@0.2 {detected:.2f}", fontsize=9)
        row_axes[0].set_ylabel(name)
    handles = [Line2D([], [], color=colour, linewidth=3, label=f"the person's {side}")
               for colour, side in ((LEFT, "left"), (RIGHT, "right"))]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9)
    _save(figure, path)
