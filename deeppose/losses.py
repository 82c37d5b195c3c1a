"""What training makes small: errors of coordinates and of heatmaps, over the labelled joints alone. NaN: no label."""
import torch
import torch.nn.functional as F

SMOOTH_L1_BETA = 0.02     # box sides, 4.5 px of a frame: below it smooth-L1 is quadratic
HEATMAP_SIGMA = 1.0       # cells: spread of the Gaussian that a heatmap should be


def masked_loss(predicted, true, kind="mse", count=None):
    """Mean error of (N, K) over the labelled coordinates; NaN in `true` means no label.

    kind   "mse", "l1" or "smooth_l1"
    count  what to divide by, where it is not their number in `true`
    """
    labelled = ~torch.isnan(true)
    error = torch.where(labelled, predicted - torch.nan_to_num(true), 0)
    each = (error.square() if kind == "mse" else error.abs() if kind == "l1" else
            F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=SMOOTH_L1_BETA))
    return each.sum() / (labelled.sum() if count is None else count).clamp(min=1)


def heatmap_loss(log_heatmaps, true, cells, count):
    """Cross-entropy of heatmaps (N, J, cells), as logarithms, and Gaussians about the joints (N, J, 2), normalised.

    cells  where the cells are, (cells, 2), normalised, x fastest
    count  what to divide by: labelled coordinates, so that it is half the mean over labelled joints
    """
    cell = cells[1, 0] - cells[0, 0]
    distance = (torch.nan_to_num(true)[:, :, None] - cells).square().sum(3)  # (N, J, cells)
    wanted = (-distance / (2 * (HEATMAP_SIGMA * cell) ** 2)).softmax(2)
    each = -(wanted * log_heatmaps).sum(2)  # (N, J)
    return torch.where(torch.isnan(true[..., 0]), 0, each).sum() / count.clamp(min=1)
