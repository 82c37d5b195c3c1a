"""Losses that training makes small, of coordinates and of heatmaps, over labelled joints alone.

NaN in the true joints means no label.
"""

import torch
import torch.nn.functional as F

SMOOTH_L1_BETA = 0.02  # box sides, 4.5 px of a frame: below it smooth-L1 is quadratic
TARGET_PEAK = 255  # of "mse" targets: TF-SimpleHumanPose


def masked_loss(predicted, true, kind="mse", count=None):
    """Mean error of normalised joints (N, ..., 2) over the labelled coordinates.

    NaN in `true` means no label.

    kind   "mse", "l1", "smooth_l1", or "image_mse": the mean over images of each one's mean over
           its joints of the squared distance (deeppose_tf); "none" is 0. ValueError for another
    count  what to divide by, where it is not their number in `true`
    """
    labelled = ~torch.isnan(true)
    # without NaN even where there is no label, since NaN times 0 would spoil the gradient
    errors = torch.where(labelled, predicted - torch.nan_to_num(true), 0)
    if kind == "none":
        return (errors * 0).sum()  # 0, but with a gradient, as every other loss
    if kind == "image_mse":
        labelled_joints = labelled.flatten(1).sum(1).div(2).clamp(min=1)  # (N,)
        losses = errors.square().flatten(1).sum(1) / labelled_joints  # (N,)
    elif kind == "mse":
        losses = errors.square()
    elif kind == "l1":
        losses = errors.abs()
    elif kind == "smooth_l1":
        zeros = torch.zeros_like(errors)
        losses = F.smooth_l1_loss(errors, zeros, reduction="none", beta=SMOOTH_L1_BETA)
    else:
        raise ValueError(f"{kind!r} is no loss of joints")
    divisor = count_of(true, kind) if count is None else count
    return losses.sum() / divisor.clamp(min=1)  # a batch without any label has the loss 0


def count_of(true, kind):
    """Number that masked_loss divides by: labelled coordinates, or for "image_mse" their images."""
    labelled = ~torch.isnan(true)
    return labelled.flatten(1).any(1).sum() if kind == "image_mse" else labelled.sum()


def heatmap_loss(heatmaps, true, cells, count, kind="cross_entropy"):
    """Difference of heatmaps (N, J, cells) from Gaussians about the joints (N, J, 2), normalised.

    kind   "cross_entropy", of heatmaps that are logarithms of probabilities, or "mse", of heatmaps
           as they are, with Gaussians TARGET_PEAK high; ValueError for another
    cells  deeppose.heatmaps.Cells: where the cells are, and the Gaussians' sigma
    count  what to divide by: labelled coordinates, so that it is half the mean over labelled joints
    """
    joints = torch.nan_to_num(true)[:, :, None]  # (N, J, 1, 2)
    offsets = (joints - cells.centres) / cells.size  # (N, J, cells, 2), in sides of a cell
    exponents = -offsets.square().sum(3) / (2 * cells.sigma**2)  # (N, J, cells)
    if kind == "cross_entropy":
        losses = -(exponents.softmax(2) * heatmaps).sum(2)  # (N, J)
    elif kind == "mse":
        losses = (heatmaps - TARGET_PEAK * exponents.exp()).square().mean(2)  # (N, J)
    else:
        raise ValueError(f"{kind!r} is no loss of heatmaps")
    unlabelled = torch.isnan(true[..., 0])
    return torch.where(unlabelled, 0, losses).sum() / count.clamp(min=1)
