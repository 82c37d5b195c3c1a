"""Heatmaps, the joints that they stand for, and the confidence in these: pure torch.

A joint is the mean position under its heatmap (integral regression, Sun et al., ECCV 2018) or its
peak.
"""

import math
from typing import NamedTuple

import torch

# cells: standard deviation of the Gaussian that a heatmap should be, unless its network has another
TARGET_SIGMA = 1.0
# in heights of a perfect heatmap: smaller values are raised to it, as their logarithms tell nothing
SMALLEST_VALUE = 1e-6
# cells: a joint's confidence is the share of its heatmap that lies so near, along both axes
NEAR_CELLS = 1.5


class Output(NamedTuple):
    """Joints that a network predicts for N images, or for N crops of one joint each.

    joints      (N, J, 2), or (N, 2) for one joint each, normalised
    confidence  (N, J) or (N,) in [0, 1], NaN where the network has no heatmaps; None while training
    heatmaps    (N, J, cells), as the recipe's heatmap_loss takes them; None while predicting, or
                without any
    """

    joints: torch.Tensor
    confidence: torch.Tensor | None = None
    heatmaps: torch.Tensor | None = None


class Cells(NamedTuple):
    """A heatmap's cells, h x w of them.

    centres  (h * w, 2), normalised, x fastest
    size     (2,): a cell's width and height, normalised
    sigma    of the Gaussian that the heatmap should be, in cells
    """

    centres: torch.Tensor
    size: torch.Tensor
    sigma: float = TARGET_SIGMA


def grid(x_centres, y_centres, sigma=TARGET_SIGMA):
    """Cells whose centres are at x_centres (w,) and y_centres (h,), normalised, evenly spaced."""
    centres = torch.cartesian_prod(y_centres, x_centres).flip(1)  # (h * w, 2), as x and y
    cell_size = torch.stack([x_centres[1] - x_centres[0], y_centres[1] - y_centres[0]])
    return Cells(centres, cell_size, sigma)


def mean_position(log_heatmaps, cells):
    """The mean position (..., 2) under heatmaps (..., cells), given as logarithms of probabilities."""
    return log_heatmaps.exp() @ cells.centres


def confidence(log_heatmaps, cells, joints):
    """The heatmaps' share (...) within NEAR_CELLS of the joints (..., 2)."""
    distances = (cells.centres - joints[..., None, :]).abs()  # (..., cells, 2)
    is_near = (distances <= NEAR_CELLS * cells.size).all(-1)  # (..., cells)
    return (log_heatmaps.exp() * is_near).sum(-1).clamp(0, 1)


def integrate(logits, cells, training):
    """The Output of maps of logits (N, J, h, w): each joint is the mean position under its heatmap.

    In float32 even under autocast: a bfloat16 has 8 bits, too few for a place.
    """
    with torch.autocast(logits.device.type, enabled=False):
        log_heatmaps = logits.float().flatten(2).log_softmax(2)  # (N, J, h * w)
        joints = mean_position(log_heatmaps, cells)  # (N, J, 2)
        if training:
            return Output(joints, heatmaps=log_heatmaps)
        return Output(joints, confidence(log_heatmaps, cells, joints))


def unknown_confidence(joints):
    """The confidence of joints (..., 2) that come without heatmaps: NaN."""
    return torch.full_like(joints[..., 0], torch.nan)


def highest_share(sigma):
    """The share that the highest cell has of a Gaussian of sigma cells whose mean it is."""
    reach = max(32, math.ceil(5 * sigma))  # cells: what lies farther does not count
    offsets = torch.arange(-reach, reach + 1)  # along one axis
    along_one_axis = (-offsets.square() / (2 * sigma**2)).exp().sum().item()
    return along_one_axis**-2


def quarter_shift(heatmaps, peak_cells):
    """Offsets (N, J, 2), in cells, of joints from the highest cells: a quarter along each axis.

    They go toward the higher of the two neighbours, as in Newell et al., ECCV 2016. At the edge,
    where a neighbour is missing, the offset along that axis is 0.

    heatmaps    (N, J, h, w)
    peak_cells  (N, J): the highest cell's number, row by row
    """
    values, from_middle = _values_about_peak(heatmaps, peak_cells)
    quarter = 0.25 * (values[..., 2] - values[..., 0]).sign()
    return torch.where(from_middle == 0, quarter, 0)


def vertex_shift(heatmaps, peak_cells):
    """As quarter_shift, but to the vertex of a parabola along each axis.

    The parabola goes through the logarithms of three cells, so its vertex is a Gaussian's mean,
    exactly: Zhang et al., CVPR 2020, without mixed derivatives, which a round Gaussian has not. At
    the edge the three cells are the last ones, and the vertex may lie half a cell beyond them.
    """
    values, from_middle = _values_about_peak(heatmaps, peak_cells)
    before, middle, behind = values.clamp(min=SMALLEST_VALUE).log().unbind(3)  # (N, J, 2) each
    bend = before - 2 * middle + behind  # below 0 about a peak
    vertex = (before - behind) / (2 * bend) - from_middle
    return torch.where(bend < 0, vertex, 0).clamp(-0.5, 0.5)


SHIFTS = {"quarter": quarter_shift, "vertex": vertex_shift}


def _values_about_peak(heatmaps, peak_cells):
    """Values (N, J, 2, 3) of three cells in a line along x and along y, about the highest cell.

    Also gives where among the three the highest cell is, (N, J, 2): in the middle, 0, except at an
    edge, where it is -1 or 1.

    heatmaps, peak_cells  as quarter_shift takes them
    """
    # x and y of the highest cells, and of the middle ones, which have neighbours on both sides
    height, width = heatmaps.shape[2:]
    highest = torch.stack([peak_cells % width, peak_cells // width], 2)  # (N, J, 2)
    last_middle = highest.new_tensor([width, height]) - 2
    middle = torch.minimum(highest.clamp(min=1), last_middle)
    # the values of the three about each middle
    steps = torch.arange(-1, 2, device=heatmaps.device)
    x, y = (middle[..., None] + steps).unbind(2)  # (N, J, 3) each
    flat_heatmaps = heatmaps.flatten(2)  # (N, J, h * w)
    along_x = flat_heatmaps.gather(2, highest[..., 1:] * width + x)
    along_y = flat_heatmaps.gather(2, y * width + highest[..., :1])
    return torch.stack([along_x, along_y], 2), highest - middle
