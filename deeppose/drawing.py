"""Poses drawn on images: the contact sheet of a test, and one photograph with its people.

Works without a display.
"""

import numpy as np
from matplotlib import patheffects
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deeppose import files, joint_metrics

# colours by the person's own sides; printed in grey, one side is light and the other dark
LEFT = "#56B4E9"
RIGHT = "#D55E00"
MIDDLE = "#F0F0F0"
DPI = 120
KINDS = ("best", "median", "worst")
FAINT_BELOW = 0.25  # confidence: what is less sure is drawn faint
FAINT = 0.35  # how opaque that is
# the least and the greatest longer side of a photograph's picture
PICTURE_PX = (480, 2000)


def save(figure, path):
    """Write a figure as PNG."""
    FigureCanvasAgg(figure)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)


def side_colour(skeleton, *names):
    """The colour of a joint or bone, by the names of its joints."""
    sides = {skeleton.side(name) for name in names} - {None}
    return {("left",): LEFT, ("right",): RIGHT}.get(tuple(sides), MIDDLE)


def draw_skeleton(axes, joints_px, skeleton, width=1.8, confidence=None):
    """Draw the bones of one pose (J, 2), and a dot on each joint; what is NaN is left out.

    confidence  (J,) in [0, 1]: bones and joints that are unsure are drawn faint; NaN, or None, is
                not
    """
    opaque = opacity(skeleton, confidence)  # (J,)
    # bones, each as faint as its fainter end
    for first, second in skeleton.bone_ends:
        alpha = min(opaque[first], opaque[second])
        # the edge needs the alpha too, or it would stay opaque
        edge = patheffects.withStroke(linewidth=1.9 * width, foreground="black", alpha=alpha)
        axes.plot(
            *joints_px[[first, second]].T,
            linewidth=width,
            color=side_colour(skeleton, skeleton.joints[first], skeleton.joints[second]),
            solid_capstyle="round",
            path_effects=[edge],
            alpha=alpha,
        )
    # dots upon them
    axes.scatter(
        *joints_px.T,
        s=(1.7 * width) ** 2,
        zorder=3,
        edgecolors="black",
        linewidths=0.3 * width,
        color=[side_colour(skeleton, name) for name in skeleton.joints],
        alpha=opaque,
    )


def opacity(skeleton, confidence):
    """How opaque each joint (J,) is drawn."""
    if confidence is None:
        return np.ones(skeleton.joint_count)
    return np.where(np.asarray(confidence) < FAINT_BELOW, FAINT, 1.0)  # NaN is not less


def unit_errors(predicted, true, skeleton, sizes):
    """Errors (N, J, 2), predicted - true, in the skeleton's units.

    predicted, true  (N, J, 2) px
    NaN without a label, or without a unit of some length.
    """
    unit_px = skeleton.units_px(true, sizes)[:, None, None]
    return (predicted - true) / np.where(unit_px > 0, unit_px, np.nan)


def image_errors(predicted, true, skeleton, sizes):
    """Mean error (N,) of each image's labelled joints, in units.

    NaN without a unit or a labelled joint.
    """
    errors = np.linalg.norm(unit_errors(predicted, true, skeleton, sizes), axis=2)  # (N, J)
    joint_counts = (~np.isnan(errors)).sum(1)
    means = np.nansum(errors, 1) / np.maximum(joint_counts, 1)
    return np.where(joint_counts > 0, means, np.nan)


def pick(errors, count):
    """Row numbers of the `count` best, middling and worst of errors (N,), none twice, by KINDS.

    Fewer where there are few.
    """
    order = np.argsort(errors)[: np.isfinite(errors).sum()]  # NaN is last
    count = min(count, len(order) // len(KINDS)) or min(1, len(order))
    middle = (len(order) - count) // 2
    best = order[:count]
    median = order[middle : middle + count]
    worst = order[len(order) - count :]
    return dict(zip(KINDS, (best, median, worst)))


def contact_sheet(path, images, predictions, true, skeleton, sizes=None, confidence=None, count=3):
    """Write a sheet of the best, middling and worst images: the true pose above the predicted ones.

    images       uint8 (N, H, W, 3)
    predictions  name -> joints (N, J, 2) px
    true         (N, J, 2) px
    sizes        of the images as arrays.Dataset.sizes has them, for units that are not of the pose
    confidence   name -> (N, J), of predictions: unsure joints are drawn faint
    Under each prediction stand its mean error in units and the share of its joints within 0.2 of
    one; the last of the predictions chooses the images.
    """
    # choose the images
    confidence = confidence or {}
    predictions = {name: np.asarray(joints, float) for name, joints in predictions.items()}
    units = skeleton.units_px(true, sizes)
    errors = {
        name: image_errors(joints, true, skeleton, sizes) for name, joints in predictions.items()
    }
    last = list(predictions)[-1]
    picked = pick(errors[last], count)
    # draw a block for each kind: a row for each pose, a column for each image
    rows = {"true": true} | predictions
    columns = sum(map(len, picked.values()))
    size = (1.66 * columns + 0.5, 1.98 * len(rows) + 0.6)  # inches
    figure = Figure(figsize=size, layout="constrained")
    parts = figure.subfigures(1, len(picked), wspace=0.02)
    for part, (kind, chosen) in zip(parts, picked.items()):
        part.suptitle(f"{kind} by {last}", fontsize=11)
        grid = part.subplots(len(rows), max(len(chosen), 1), squeeze=False)
        for row_axes, (name, joints) in zip(grid, rows.items()):
            for axes, n in zip(row_axes, chosen):
                joint_confidence = confidence[name][n] if name in confidence else None
                _draw_panel(axes, images[n], joints[n], skeleton, joint_confidence)
                caption = f"test row {n}"
                if name != "true":
                    row = slice(n, n + 1)
                    detected = joint_metrics.pdj_pooled(joints[row], true[row], units[row], 0.2)
                    error = f"{errors[name][n]:.2f} {skeleton.unit_name}"
                    caption = f"error {error}\nwithin 0.2: {detected:.2f}"
                axes.set_xlabel(caption, fontsize=8)
            row_axes[0].set_ylabel(name if part is parts[0] else "")
    figure.legend(handles=_side_handles(), loc="outside lower center", ncols=2, fontsize=9)
    save(figure, path)


def _draw_panel(axes, image, joints_px, skeleton, confidence=None):
    """Draw one image uint8 (H, W, 3) with its pose (J, 2) px."""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0))  # pixel i covers [i, i + 1)
    draw_skeleton(axes, joints_px, skeleton, confidence=confidence)
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])


def _side_handles():
    """Entries of the legend: the colour of each side."""
    return [
        Line2D([], [], color=colour, linewidth=3, label=f"the person's {side}")
        for colour, side in ((LEFT, "left"), (RIGHT, "right"))
    ]


def photograph(path, image, poses_px, skeleton, confidence=None):
    """Write one photograph with the skeletons of its people, its longer side within PICTURE_PX.

    image       a Pillow image, RGB
    poses_px    (P, J, 2) in pixels of the image
    confidence  (P, J)
    """
    # the picture is the image, larger or smaller
    longest = max(image.size)
    scale = np.clip(longest, *PICTURE_PX) / longest
    size = [max(1, round(side * scale)) for side in image.size]
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image.resize(size), extent=(0, image.width, image.height, 0), aspect="auto")
    # upon it the people
    for person, joints_px in enumerate(poses_px):
        joint_confidence = None if confidence is None else confidence[person]
        draw_skeleton(axes, joints_px, skeleton, max(size) / 250, joint_confidence)
    axes.set(xlim=(0, image.width), ylim=(image.height, 0))
    axes.axis("off")
    save(figure, path)
