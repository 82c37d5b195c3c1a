"""What training makes small: errors of coordinates and of heatmaps, over the labelled joints alone.

NaN: no label.
"""

import torch
import torch.nn.functional as F

SMOOTH_L1_BETA = 0.02  # box sides, 4.5 px of a frame: below it smooth-L1 is quadratic
TARGET_PEAK = 255  # of "mse" targets: TF-SimpleHumanPose


def masked_loss(predicted, true, kind="mse", count=None):
    """Mean error of normalised joints (N, ..., 2) over the labelled coordinates.

    NaN in `true` means no label.

    kind   "mse", "l1", "smooth_l1", or "image_mse": the mean over images of each one's mean over
           its joints of the squared distance (deeppose_tf); "none" is 0
    count  what to divide by, where it is not their number in `true`
    """
    labelled = ~torch.isnan(true)
    error = torch.where(labelled, predicted - torch.nan_to_num(true), 0)
    if kind == "none":
        return (error * 0).sum()
    if kind == "image_mse":
        joints = labelled.flatten(1).sum(1).div(2).clamp(min=1)  # (N,): labelled ones an image
        each = error.square().flatten(1).sum(1) / joints
        return each.sum() / (labelled.flatten(1).any(1).sum() if count is None else count).clamp(
            min=1
        )
    if kind == "mse":
        each = error.square()
    elif kind == "l1":
        each = error.abs()
    else:
        each = F.smooth_l1_loss(
            error, torch.zeros_like(error), reduction="none", beta=SMOOTH_L1_BETA
        )
    return each.sum() / (labelled.sum() if count is None else count).clamp(min=1)


def count_of(true, kind):
    """What masked_loss divides by: labelled coordinates, or for "image_mse" images with a label."""
    labelled = ~torch.isnan(true)
    return labelled.flatten(1).any(1).sum() if kind == "image_mse" else labelled.sum()


def heatmap_loss(heatmaps, true, cells, count, kind="cross_entropy"):
    """Difference of heatmaps (N, J, cells) from Gaussians about the joints (N, J, 2), normalised.

    kind   "cross_entropy", of heatmaps that are logarithms of probabilities, or "mse", of heatmaps
           as they are, with Gaussians TARGET_PEAK high
    cells  deeppose.heatmaps.Cells: where the cells are, and the Gaussians' sigma
    count  what to divide by: labelled coordinates, so that it is half the mean over labelled joints
    """
    # (N, J, cells, 2), in cells
    away = (torch.nan_to_num(true)[:, :, None] - cells.centres) / cells.size
    exponent = -away.square().sum(3) / (2 * cells.sigma**2)
    if kind == "cross_entropy":
        each = -(exponent.softmax(2) * heatmaps).sum(2)  # (N, J)
    else:
        each = (heatmaps - TARGET_PEAK * exponent.exp()).square().mean(2)
    return torch.where(torch.isnan(true[..., 0]), 0, each).sum() / count.clamp(min=1)
