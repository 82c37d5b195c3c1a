"""Losses that training makes small, of coordinates and of heatmaps, over labelled joints alone.

NaN in the true joints means no label.
"""

import torch
import torch.nn.functional as F

SMOOTH_L1_BETA = 0.02  # box sides, 4.5 px of a frame: below it smooth-L1 is quadratic
TARGET_PEAK = 255  # of "mse" targets: TF-SimpleHumanPose


def masked_loss(predicted_joints, true_joints, loss_name="mse", divisor=None):
    """Mean error of normalised joints (N, ..., 2) over the labelled coordinates.

    NaN in true_joints means no label.

    loss_name  "mse", "l1", "smooth_l1", or "image_mse": the mean over images of each one's mean
               over its joints of the squared distance (deeppose_tf); "none" is 0. Raises ValueError
               for any other
    divisor    what to divide by, where it is not count_of(true_joints)
    """
    labelled = ~torch.isnan(true_joints)
    # without NaN even where there is no label, since NaN times 0 would spoil the gradient
    errors = torch.where(labelled, predicted_joints - torch.nan_to_num(true_joints), 0)
    if loss_name == "none":
        return (errors * 0).sum()  # 0, but with a gradient, as every other loss
    if loss_name == "image_mse":
        labelled_joints = labelled.flatten(1).sum(1).div(2).clamp(min=1)  # (N,)
        losses = errors.square().flatten(1).sum(1) / labelled_joints  # (N,)
    elif loss_name == "mse":
        losses = errors.square()
    elif loss_name == "l1":
        losses = errors.abs()
    elif loss_name == "smooth_l1":
        zeros = torch.zeros_like(errors)
        losses = F.smooth_l1_loss(errors, zeros, reduction="none", beta=SMOOTH_L1_BETA)
    else:
        raise ValueError(f"{loss_name!r} is no loss of joints")
    if divisor is None:
        divisor = count_of(true_joints, loss_name)
    return losses.sum() / divisor.clamp(min=1)  # a batch without any label has the loss 0


def count_of(true_joints, loss_name):
    """Number that masked_loss divides by: labelled coordinates, or for "image_mse" their images."""
    labelled = ~torch.isnan(true_joints)
    if loss_name == "image_mse":
        return labelled.flatten(1).any(1).sum()
    return labelled.sum()


def heatmap_loss(heatmaps, true_joints, cells, divisor, loss_name="cross_entropy"):
    """Difference of heatmaps (N, J, cells) from Gaussians about the joints (N, J, 2), normalised.

    cells      deeppose.heatmaps.Cells: where the cells are, and the Gaussians' sigma
    divisor    the number of labelled coordinates: the loss is half the mean over labelled joints
    loss_name  "cross_entropy", of heatmaps that are logarithms of probabilities, or "mse", of
               heatmaps as they are, with Gaussians TARGET_PEAK high; raises ValueError for any other
    """
    # the Gaussian about each joint, as exponents at the cells' centres
    joints = torch.nan_to_num(true_joints)[:, :, None]  # (N, J, 1, 2)
    offsets = (joints - cells.centres) / cells.size  # (N, J, cells, 2), in sides of a cell
    exponents = -offsets.square().sum(3) / (2 * cells.sigma**2)  # (N, J, cells)
    if loss_name == "cross_entropy":
        losses = -(exponents.softmax(2) * heatmaps).sum(2)  # (N, J)
    elif loss_name == "mse":
        losses = (heatmaps - TARGET_PEAK * exponents.exp()).square().mean(2)  # (N, J)
    else:
        raise ValueError(f"{loss_name!r} is no loss of heatmaps")
    # a joint's two coordinates are labelled together, so x alone tells
    unlabelled = torch.isnan(true_joints[..., 0])  # (N, J)
    return torch.where(unlabelled, 0, losses).sum() / divisor.clamp(min=1)
