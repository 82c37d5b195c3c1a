"""Poses drawn on images: the contact sheet of a test, and one photograph with its people.

Works without a display.
"""

import numpy as np
from matplotlib import patheffects
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deeppose import files, joint_metrics
from deeppose.photos import MOST_PICTURE_PX

# colours by the person's own sides; printed in grey, one side is light and the other dark
LEFT = "#56B4E9"
RIGHT = "#D55E00"
MIDDLE = "#F0F0F0"
DPI = 120
KINDS = ("best", "median", "worst")
FAINT_BELOW = 0.25  # confidence: what is less sure is drawn faint
FAINT = 0.35  # how opaque that is
LEAST_PICTURE_PX = 480  # of a photograph's picture, its longer side; photos.MOST_PICTURE_PX at most


def save(figure, path):
    """Write a figure as PNG."""
    FigureCanvasAgg(figure)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)


def side_colour(skeleton, *joint_names):
    """The colour of a joint or bone, by the names of its joints."""
    sides = {skeleton.side(joint_name) for joint_name in joint_names} - {None}
    if sides == {"left"}:
        return LEFT
    if sides == {"right"}:
        return RIGHT
    return MIDDLE


def draw_skeleton(axes, joints_px, skeleton, width=1.8, confidence=None):
    """Draw the bones of one pose (J, 2), and a dot on each joint; what is NaN is left out.

    confidence  (J,) in [0, 1]: bones and joints that are unsure are drawn faint; none are where it
                is NaN or None
    """
    joint_opacity = opacity(skeleton, confidence)  # (J,)
    # bones, each as faint as its fainter end
    for first, second in skeleton.bone_ends:
        alpha = min(joint_opacity[first], joint_opacity[second])
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
        color=[side_colour(skeleton, joint_name) for joint_name in skeleton.joints],
        alpha=joint_opacity,
    )


def opacity(skeleton, confidence):
    """Opacity (J,) in [0, 1] with which each joint is drawn."""
    if confidence is None:
        return np.ones(skeleton.joint_count)
    return np.where(np.asarray(confidence) < FAINT_BELOW, FAINT, 1.0)  # NaN is not less


def unit_errors(predicted_px, true_px, skeleton, sizes):
    """Errors (N, J, 2), predicted - true, in the skeleton's units.

    NaN without a label, or without a unit of some length.

    predicted_px, true_px  (N, J, 2)
    """
    units_px = skeleton.units_px(true_px, sizes)[:, None, None]  # (N, 1, 1)
    return (predicted_px - true_px) / np.where(units_px > 0, units_px, np.nan)


def image_errors(predicted_px, true_px, skeleton, sizes):
    """Mean error (N,) of each image's labelled joints, in units.

    NaN without a unit or a labelled joint.
    """
    errors = unit_errors(predicted_px, true_px, skeleton, sizes)  # (N, J, 2)
    lengths = np.linalg.norm(errors, axis=2)  # (N, J)
    joint_counts = (~np.isnan(lengths)).sum(1)
    means = np.nansum(lengths, 1) / np.maximum(joint_counts, 1)
    return np.where(joint_counts > 0, means, np.nan)


def pick(errors, count):
    """Row numbers of the `count` best, median and worst of errors (N,): one of KINDS -> (n,).

    No row is picked twice, so `count` shrinks where errors are few; fewer than three share rows.
    """
    order = np.argsort(errors)[: np.isfinite(errors).sum()]  # NaN is last
    count = min(count, len(order) // len(KINDS)) or min(1, len(order))
    middle = (len(order) - count) // 2
    best = order[:count]
    median = order[middle : middle + count]
    worst = order[len(order) - count :]
    return dict(zip(KINDS, (best, median, worst)))


def contact_sheet(
    path, images, predictions, true_px, skeleton, sizes=None, confidence=None, count=3
):
    """Write a sheet of the best, median and worst images: the true pose above the predicted ones.

    Under each prediction stand its mean error in units and the share of its joints within 0.2 of
    one; the last of the predictions chooses the images.

    images       uint8 (N, H, W, 3)
    predictions  name -> joints (N, J, 2) px
    true_px      (N, J, 2)
    sizes        of the images as Dataset.sizes has them, for units that are not of the pose
    confidence   name -> (N, J), of predictions: unsure joints are drawn faint
    count        images of each kind
    """
    # choose the images
    confidence = confidence or {}
    predictions = {name: np.asarray(joints_px, float) for name, joints_px in predictions.items()}
    units_px = skeleton.units_px(true_px, sizes)  # (N,)
    errors = {
        name: image_errors(joints_px, true_px, skeleton, sizes)
        for name, joints_px in predictions.items()
    }
    last_name = list(predictions)[-1]
    picked = pick(errors[last_name], count)
    # draw a block for each kind: a row for each pose, a column for each image
    poses = {"true": true_px} | predictions
    column_count = sum(map(len, picked.values()))
    size = (1.66 * column_count + 0.5, 1.98 * len(poses) + 0.6)  # inches
    figure = Figure(figsize=size, layout="constrained")
    blocks = figure.subfigures(1, len(picked), wspace=0.02)
    for block, (kind, rows) in zip(blocks, picked.items()):
        block.suptitle(f"{kind} by {last_name}", fontsize=11)
        grid = block.subplots(len(poses), max(len(rows), 1), squeeze=False)
        for pose_axes, (name, joints_px) in zip(grid, poses.items()):
            for axes, row in zip(pose_axes, rows):
                joint_confidence = confidence[name][row] if name in confidence else None
                _draw_panel(axes, images[row], joints_px[row], skeleton, joint_confidence)
                caption = f"test row {row}"
                if name != "true":
                    one = slice(row, row + 1)
                    detected = joint_metrics.pdj_pooled(
                        joints_px[one], true_px[one], units_px[one], 0.2
                    )
                    error = f"{errors[name][row]:.2f} {skeleton.unit_name}"
                    caption = f"error {error}\nwithin 0.2: {detected:.2f}"
                axes.set_xlabel(caption, fontsize=8)
            pose_axes[0].set_ylabel(name if block is blocks[0] else "")
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
    """Write one photograph with the skeletons of its people, its longer side LEAST_PICTURE_PX to
    photos.MOST_PICTURE_PX.

    image       a Pillow image, RGB
    poses_px    (P, J, 2) in pixels of the image
    confidence  (P, J)
    """
    # the picture is the image, larger or smaller
    longer_side = max(image.size)
    scale = np.clip(longer_side, LEAST_PICTURE_PX, MOST_PICTURE_PX) / longer_side
    picture_size = [max(1, round(side * scale)) for side in image.size]  # px
    figure = Figure(figsize=(picture_size[0] / DPI, picture_size[1] / DPI))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image.resize(picture_size), extent=(0, image.width, image.height, 0), aspect="auto")
    # the people upon it, with lines that grow with the picture
    line_width = max(picture_size) / 250
    for person, joints_px in enumerate(poses_px):
        joint_confidence = None if confidence is None else confidence[person]
        draw_skeleton(axes, joints_px, skeleton, line_width, joint_confidence)
    axes.set(xlim=(0, image.width), ylim=(image.height, 0))
    axes.axis("off")
    save(figure, path)
