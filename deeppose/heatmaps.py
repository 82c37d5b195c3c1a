"""Heatmaps, the joints they mean, and how sure that is: pure torch.

A joint is the mean place under its heatmap (integral regression, Sun et al., ECCV 2018) or its peak.
"""

from typing import NamedTuple

import torch

# cells, the spread of the Gaussian that a heatmap should be where its network names no other
TARGET_SIGMA = 1.0
# in heights of a perfect heatmap; below it a logarithm tells nothing
SMALLEST_VALUE = 1e-6
# cells: a joint's confidence is its heatmap's share within so many of it, along both axes
NEAR_CELLS = 1.5


class Output(NamedTuple):
    """What a network makes of N images, or of N crops for one joint each.

    joints      (N, J, 2), or (N, 2) for one joint each, normalised
    confidence  (N, J) or (N,) in [0, 1], NaN where the network has no heatmaps; None while training
    heatmaps    (N, J, cells), as the recipe's heatmap_loss takes them; None while predicting, or
                without any
    """

    joints: torch.Tensor
    confidence: torch.Tensor | None = None
    heatmaps: torch.Tensor | None = None


class Cells(NamedTuple):
    """A heatmap's cells.

    centres  (h * w, 2), normalised, x fastest
    size     (2,): their width and height, normalised
    sigma    of the Gaussian that the heatmap should be, in cells
    """

    centres: torch.Tensor
    size: torch.Tensor
    sigma: float = TARGET_SIGMA


def grid(x, y, sigma=TARGET_SIGMA):
    """Cells at the places x (w,) and y (h,), normalised."""
    return Cells(torch.cartesian_prod(y, x).flip(1), torch.stack([x[1] - x[0], y[1] - y[0]]), sigma)


def mean_place(log_heatmaps, cells):
    """The mean place (..., 2) under heatmaps (..., cells), given as logarithms of probabilities."""
    return log_heatmaps.exp() @ cells.centres


def confidence(log_heatmaps, cells, joints):
    """The heatmaps' share (...) within NEAR_CELLS of the joints (..., 2)."""
    # (..., cells)
    near = ((cells.centres - joints[..., None, :]).abs() <= NEAR_CELLS * cells.size).all(-1)
    return (log_heatmaps.exp() * near).sum(-1).clamp(0, 1)


def integrate(maps, cells, training):
    """The Output of maps (N, J, h, w) of logits, in float32: each joint is the mean place under its
    heatmap."""
    with torch.autocast(maps.device.type, enabled=False):
        log_heatmaps = maps.float().flatten(2).log_softmax(2)  # (N, J, h * w)
        joints = mean_place(log_heatmaps, cells)
        if training:
            return Output(joints, heatmaps=log_heatmaps)
        return Output(joints, confidence(log_heatmaps, cells, joints))


def unsure(joints):
    """The confidence of joints (..., 2) that come without heatmaps: NaN."""
    return torch.full_like(joints[..., 0], torch.nan)


def highest_share(sigma):
    """The share that the highest cell has of a Gaussian of sigma cells whose mean it is."""
    cells = torch.arange(-32, 33)
    return (-cells.square() / (2 * sigma**2)).exp().sum().item() ** -2


def quarter_shift(maps, places):
    """How far joints lie from the highest cells, (N, J, 2) in cells: a quarter toward each axis'
    higher neighbour.

    maps    (N, J, h, w)
    places  (N, J), numbers of the highest cells
    Newell et al., ECCV 2016. At the edge, where a neighbour is missing, 0 along that axis.
    """
    values, from_middle = _neighbours(maps, places)
    quarter = 0.25 * (values[..., 2] - values[..., 0]).sign()
    return torch.where(from_middle == 0, quarter, 0)


def vertex_shift(maps, places):
    """As quarter_shift, but to the vertex of the parabola through the logarithms of three cells
    along each axis.

    That is a Gaussian's mean, exactly: Zhang et al., CVPR 2020, without mixed derivatives, which a
    round one has not. At the edge the three cells are the last ones, and the vertex may lie half a
    cell beyond them.
    """
    values, from_middle = _neighbours(maps, places)
    before, middle, behind = values.clamp(min=SMALLEST_VALUE).log().unbind(3)
    bend = before - 2 * middle + behind  # below 0 about a peak
    vertex = (before - behind) / (2 * bend) - from_middle
    return torch.where(bend < 0, vertex, 0).clamp(-0.5, 0.5)


SHIFTS = {"quarter": quarter_shift, "vertex": vertex_shift}


def _neighbours(maps, places):
    """The values (N, J, 2, 3) of three cells in a line along x and y, and where among them the
    highest cell is.

    That is in the middle, 0, but at an edge, where it is -1 or 1: (N, J, 2).
    """
    height, width = maps.shape[2:]
    highest = torch.stack([places % width, places // width], 2)  # (N, J, 2)
    last_middle = highest.new_tensor([width, height]) - 2
    middle = torch.minimum(highest.clamp(min=1), last_middle)
    x, y = (middle[..., None] + torch.arange(-1, 2, device=maps.device)).unbind(2)  # (N, J, 3) each
    flat = maps.flatten(2)
    along_x = flat.gather(2, highest[..., 1:] * width + x)
    along_y = flat.gather(2, y * width + highest[..., :1])
    return torch.stack([along_x, along_y], 2), highest - middle
