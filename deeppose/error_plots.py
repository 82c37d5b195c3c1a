"""Clouds of errors around the true joints, before and after the cascade."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse

from deeppose.drawing import save, unit_errors
from deeppose.plots import LOOKS, make_panels

REACH = 1.0  # units shown around the truth
ELLIPSE_SHARE = 0.5  # of the errors in a drawn ellipse
MOST_POINTS = 1000  # of a cloud: more are no clearer


def error_clouds(path, stages, true_px, skeleton, sizes=None):
    """Write each joint's errors, in units, of the first and of the last of the stages.

    stages   name -> joints (N, J, 2) px
    true_px  (N, J, 2)
    sizes    of the images as Dataset.sizes has them, for units that are not of the pose
    """
    first_stage = list(stages)[0]
    last_stage = list(stages)[-1]
    clouds = {}
    for stage in (first_stage, last_stage):
        errors = unit_errors(stages[stage], true_px, skeleton, sizes)  # (N, J, 2)
        clouds[stage] = errors.swapaxes(0, 1)
    _draw_clouds(path, clouds, skeleton, " \N{RIGHTWARDS ARROW} ", skeleton.unit_name)


def learning_clouds(path, clouds, skeleton):
    """Write the errors that each refiner learns from beside those it meets; they should be alike.

    clouds  name -> (J, n, 2) errors in sizes of the predicted pose, NaN where there is no label
    """
    _draw_clouds(path, clouds, skeleton, " | ", "sizes of the pose")


def half_ellipse(errors):
    """Ellipse that holds half of the errors (N, 2): centre (2,), width, height, angle in degrees.

    It has the covariance's shape. It is not the ellipse of half of a normal distribution, which
    gross errors, such as a left joint taken for the right one, would widen.
    """
    centre = errors.mean(0)
    covariance = np.cov(errors.T)
    variances, axes = np.linalg.eigh(covariance)  # (2,), and the axes as columns (2, 2)
    offsets = errors - centre
    # squared distances in variances (Mahalanobis), of which the ellipse reaches to the middle one
    squared_distances = ((offsets @ np.linalg.pinv(covariance)) * offsets).sum(1)  # (N,)
    reach = np.quantile(squared_distances, ELLIPSE_SHARE)
    width, height = 2 * np.sqrt(reach * np.maximum(variances, 0))
    return centre, width, height, np.degrees(np.arctan2(axes[1, 0], axes[0, 0]))


def _draw_clouds(path, clouds, skeleton, separator, unit):
    """Write one panel a joint, with the clouds' points, means and half ellipses.

    The clouds' median errors stand above, with the separator between them.

    clouds  name (one of LOOKS) -> errors (J, N, 2), in `unit`
    """
    joint_count = skeleton.joint_count
    figure, panels = make_panels(joint_count, 1.75, 2.05, columns=7, sharex=True, sharey=True)
    for joint, axes in enumerate(panels):
        medians = []
        for position, (cloud_name, joint_errors) in enumerate(clouds.items()):
            errors = joint_errors[joint][np.isfinite(joint_errors[joint]).all(1)]  # (n, 2)
            # the first on top: of a joint that was not refined both clouds are one, and the first's
            # broken line shows on the other's
            zorder = 3 + 2 * (len(clouds) - position)
            _draw_cloud(axes, errors, LOOKS[cloud_name], zorder)
            medians.append(np.median(np.linalg.norm(errors, axis=1)) if len(errors) else np.nan)
        joint_name = skeleton.joints[joint].replace("_", " ")
        median_texts = separator.join(f"{median:.2f}" for median in medians)
        axes.set_title(f"{joint_name}\n{median_texts}", fontsize=9)
        axes.set(xlim=(-REACH, REACH), ylim=(REACH, -REACH), aspect="equal")
        axes.axhline(0, color="black", linewidth=0.5)
        axes.axvline(0, color="black", linewidth=0.5)
    # what all panels share
    figure.supxlabel(
        f"error to the right, {unit}; above each joint its median error: {separator.join(clouds)}",
        fontsize=10,
    )
    figure.supylabel(f"error downward, {unit}", fontsize=10)
    handles = [Line2D([], [], linewidth=1.8, label=name, **LOOKS[name]) for name in clouds]
    handles += [Line2D([], [], linewidth=0, label="ellipse: half of the errors; +: their mean")]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=10)
    save(figure, path)


def _draw_cloud(axes, errors, look, zorder):
    """Draw errors (N, 2) as points, a cross at their mean, and the ellipse that holds half."""
    axes.scatter(*errors[:MOST_POINTS].T, s=3, alpha=0.4, linewidths=0, color=look["color"])
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
