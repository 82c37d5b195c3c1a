"""Training images as they might also have been taken: mirrored, turned, scaled, moved, recoloured, partly hidden.

What happens to each image is drawn by NumPy from a seed, so that a resumed run draws the same on any device; it
is applied to whole batches on the images' device, before anything else is: one resampling, no copies kept.
Coordinates are normalised: (0, 0) is the frame's centre and 1 its side.
"""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

SMALLEST_HIDDEN, LARGEST_HIDDEN = 0.1, 0.4  # sides of the hidden box, in sides of the frame
GREY = (0.299, 0.587, 0.114)                # of R, G, B: ITU-R BT.601


@dataclass(frozen=True)
class Ranges:
    """What is drawn, evenly, for each image."""
    turn_deg: float = 0.0   # by up to this, either way
    scale: float = 0.0      # by 1 / (1 + scale) ... 1 + scale
    shift: float = 0.0      # by up to this many frame sides along each axis
    mirror: float = 0.0     # probability
    colour: float = 0.0     # brightness, contrast and saturation each by 1 / (1 + colour) ... 1 + colour
    hide: float = 0.0       # probability that a box of the image is made grey

    @property
    def moves(self):
        """Whether joints change their places."""
        return any((self.turn_deg, self.scale, self.shift, self.mirror))


@dataclass(frozen=True)
class Views:
    """What was drawn for N images.

    linear, offset  (N, 2, 2), (N, 2): a point p of the image is seen at linear @ p + offset
    mirrored        (N,) booleans: left and right joints change places
    colour          (N, 3): factors of brightness, contrast, saturation
    hidden          (N, 4): the hidden box as x0, y0, x1, y1, normalised; empty where nothing is hidden
    """
    linear: np.ndarray
    offset: np.ndarray
    mirrored: np.ndarray
    colour: np.ndarray
    hidden: np.ndarray

    def __getitem__(self, part):
        return Views(*(value[part] for value in vars(self).values()))


def draw(count, ranges, rng):
    """Views of `count` images."""
    angle = np.radians(rng.uniform(-ranges.turn_deg, ranges.turn_deg, count))
    scale = (1 + ranges.scale) ** rng.uniform(-1, 1, count)
    mirrored = rng.random(count) < ranges.mirror
    cos, sin, sign = scale * np.cos(angle), scale * np.sin(angle), np.where(mirrored, -1, 1)
    linear = np.stack([cos * sign, -sin, sin * sign, cos], 1).reshape(count, 2, 2)
    side = rng.uniform(SMALLEST_HIDDEN, LARGEST_HIDDEN, (count, 1)) * (rng.random((count, 1)) < ranges.hide)
    centre = rng.uniform(-0.5, 0.5, (count, 2))
    return Views(linear, rng.uniform(-ranges.shift, ranges.shift, (count, 2)), mirrored,
                 (1 + ranges.colour) ** rng.uniform(-1, 1, (count, 3)),
                 np.concatenate([centre - side / 2, centre + side / 2], 1))


def see(images, views, ranges, size_px):
    """Images (N, 3, H, W) in [0, 1] -> what the views show of them, (N, 3, size_px, size_px), black outside."""
    if ranges.moves or images.shape[-1] != size_px:
        back = np.linalg.inv(views.linear)  # grid_sample asks where each pixel comes from
        back = np.concatenate([back, -2 * back @ views.offset[:, :, None]], 2)  # its coordinates are twice ours
        theta = torch.from_numpy(back.astype(np.float32)).to(images.device)
        grid = F.affine_grid(theta, [len(images), 3, size_px, size_px], align_corners=False)
        images = F.grid_sample(images, grid.to(images.dtype), align_corners=False)
    if ranges.colour:
        images = _recolour(images, torch.from_numpy(views.colour).to(images))
    if ranges.hide:
        images = _hide(images, torch.from_numpy(views.hidden).to(images))
    return images


def _recolour(images, factors):
    """Brightness, contrast about the image's mean grey, and saturation, times the factors (N, 3)."""
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(1)
    images = images * brightness
    grey = (images * images.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)
    images = grey + saturation * (images - grey)
    mean = grey.mean((2, 3), keepdim=True)
    return (mean + contrast * (images - mean)).clamp_(0, 1)


def _hide(images, boxes):
    """Make what lies in the boxes (N, 4) grey."""
    size = images.shape[-1]
    at = (torch.arange(size, device=images.device) + 0.5) / size - 0.5
    x0, y0, x1, y1 = boxes[:, :, None].unbind(1)
    across, down = (x0 <= at) & (at < x1), (y0 <= at) & (at < y1)  # (N, size)
    return images.masked_fill((down[:, :, None] & across[:, None, :])[:, None], 0.5)


def move(joints, views, flip):
    """Normalised joints (N, J, 2), a tensor -> where the views show them; NaN for those that leave the frame.

    flip  the skeleton's flip permutation
    """
    mirrored = torch.from_numpy(views.mirrored).to(joints.device)[:, None, None]
    joints = torch.where(mirrored, joints[:, list(flip)], joints)
    linear, offset = (torch.from_numpy(part).to(joints) for part in (views.linear, views.offset))
    joints = joints @ linear.transpose(1, 2) + offset[:, None]
    return torch.where((joints.abs() <= 0.5).all(2, keepdim=True), joints, torch.nan)
