"""Twice over a picture: a box around the pose that stage 1 found at first, for it to look at anew.

No truth is used.

A person who is small in a wide photograph gets few of the network's pixels, and a scale that it
hardly met while it was trained.
"""

import numpy as np

from deeppose import geometry

# box side / extent of the predicted pose: the middle of the 1.1 to 1.8 that LSP's training rows
# show
SCALE = 1.45
# sides of the first box: a pose that is all in one point does not tell the person's size
SMALLEST = 0.1
LARGEST = 1.5  # likewise: a person hardly reaches that far out of what was seen
KEY = "two_pass"  # of model_1.json: whether predict.py looks twice unless it is told otherwise


def boxes_around(poses_px, seen_px, margin=1.0, scale=SCALE):
    """What is to be seen anew (N, 4) px, of the proportions of what was seen first.

    poses_px  (N, J, 2), predicted; of one that is not finite what was seen first is seen again
    seen_px   (N, 4), what was seen first
    margin    how many times as wide and high as the person's box that is, see arrays.Dataset
    """
    poses_px = np.asarray(poses_px, float)
    finite = np.isfinite(poses_px).all((1, 2))
    poses_px = np.where(finite[:, None, None], poses_px, 0)
    low = poses_px.min(1)
    high = poses_px.max(1)
    sides = scale * margin * (high - low).max(1)
    # a square of this side is grown to the proportions of what was seen
    shorter = seen_px[:, 2:].min(1)
    sides = sides.clip(SMALLEST * shorter, LARGEST * shorter)
    sizes = seen_px[:, 2:] * (sides / shorter)[:, None]
    return np.where(finite[:, None], geometry.box_around((low + high) / 2, sizes), seen_px)
