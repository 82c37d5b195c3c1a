"""Heatmaps and the joints they mean: integral regression (Sun et al., ECCV 2018), and how sure it is. Pure torch."""
from typing import NamedTuple

import torch

NEAR_CELLS = 1.5  # a joint's confidence is its heatmap's share within that many cells of it, along both axes


class Output(NamedTuple):
    """What a network makes of N images, or of N crops for one joint each.

    joints      (N, J, 2), or (N, 2) for one joint each, normalised
    confidence  (N, J) or (N,) in [0, 1], NaN where the network has no heatmaps; None while training
    heatmaps    (N, J, cells), as the recipe's heatmap_loss takes them; None while predicting, or without any
    """
    joints: torch.Tensor
    confidence: torch.Tensor | None = None
    heatmaps: torch.Tensor | None = None


class Cells(NamedTuple):
    """A heatmap's cells.

    centres  (h * w, 2), normalised, x fastest
    size     (2,): their width and height, normalised
    """
    centres: torch.Tensor
    size: torch.Tensor


def grid(x, y):
    """Cells at the places x (w,) and y (h,), normalised."""
    return Cells(torch.cartesian_prod(y, x).flip(1), torch.stack([x[1] - x[0], y[1] - y[0]]))


def mean_place(log_heatmaps, cells):
    """The mean place (..., 2) under heatmaps (..., cells), given as logarithms of probabilities."""
    return log_heatmaps.exp() @ cells.centres


def confidence(log_heatmaps, cells, joints):
    """The heatmaps' share (...) within NEAR_CELLS of the joints (..., 2)."""
    near = ((cells.centres - joints[..., None, :]).abs() <= NEAR_CELLS * cells.size).all(-1)  # (..., cells)
    return (log_heatmaps.exp() * near).sum(-1).clamp(0, 1)


def unsure(joints):
    """The confidence of joints (..., 2) that come without heatmaps: NaN."""
    return torch.full_like(joints[..., 0], torch.nan)
