"""Augmentation: images mirrored, turned, scaled, moved, recoloured, partly hidden.

What happens to each image is drawn by NumPy from a seed, so that a resumed run draws the same on
any device; it is applied to whole batches on the images' device, together with the crop: one
resampling, no copies kept. Coordinates are normalised: (0, 0) is the box's centre, and 1 its width
or height.
"""

from dataclasses import dataclass

import numpy as np
import torch

from deeppose import crops

SMALLEST_HIDDEN = 0.1  # widths and heights of the hidden box, in those of the image
LARGEST_HIDDEN = 0.4
GREY = (0.299, 0.587, 0.114)  # of R, G, B: ITU-R BT.601
TURN_LIMIT = 2.0  # standard deviations at which drawn angles are clipped: SimpleBaseline's


@dataclass(frozen=True)
class Ranges:
    """Ranges from which each image's view is drawn: evenly, but for angles where turn_share is given."""

    turn_deg: float = 0.0  # by up to this, either way
    # above 0: only this share of the images is turned, by angles of a normal distribution whose
    # standard deviation is turn_deg
    turn_share: float = 0.0
    scale: float = 0.0  # by 1 / (1 + scale) ... 1 + scale
    shift: float = 0.0  # by up to this many widths and heights
    mirror: float = 0.0  # probability
    # brightness, contrast and saturation are each multiplied by 1 / (1 + colour) ... 1 + colour
    colour: float = 0.0
    hide: float = 0.0  # probability that a box of the image is made grey

    @property
    def moves(self):
        """Whether some view moves the joints."""
        return any((self.turn_deg, self.scale, self.shift, self.mirror))


@dataclass(frozen=True)
class Views:
    """Views of N images, as they were drawn.

    linear, shift  (N, 2, 2), (N, 2): a point p of the image is seen at linear @ p + shift
    mirrored       (N,) booleans: left and right joints change places
    colour         (N, 3): factors of brightness, contrast, saturation
    hidden         (N, 4): the hidden box as x0, y0, x1, y1, normalised; empty where nothing is
                   hidden
    """

    linear: np.ndarray
    shift: np.ndarray
    mirrored: np.ndarray
    colour: np.ndarray
    hidden: np.ndarray

    def __getitem__(self, selected):
        """The Views of the images that a slice or an array of numbers selects."""
        return Views(*(drawn[selected] for drawn in vars(self).values()))


def draw(count, ranges, rng, aspect=1.0):
    """Views of `count` images, w / h = aspect."""
    # turn, scale and mirror, as one matrix
    angles = np.radians(_draw_angles(count, ranges, rng))
    scales = (1 + ranges.scale) ** rng.uniform(-1, 1, count)
    mirrored = rng.random(count) < ranges.mirror
    cos = scales * np.cos(angles)
    sin = scales * np.sin(angles)
    sign = np.where(mirrored, -1, 1)
    # The turn is one of pixels: in widths and heights its corners off the diagonal are stretched by
    # the aspect.
    linear = np.stack([cos * sign, -sin / aspect, sin * sign * aspect, cos], 1)  # (count, 4)
    linear = linear.reshape(count, 2, 2)
    # the hidden box, without sides where nothing is hidden
    sides = rng.uniform(SMALLEST_HIDDEN, LARGEST_HIDDEN, (count, 1))
    sides *= rng.random((count, 1)) < ranges.hide
    centres = rng.uniform(-0.5, 0.5, (count, 2))
    hidden = np.concatenate([centres - sides / 2, centres + sides / 2], 1)  # (count, 4)
    # shift and colour, which come last: another order would draw other views from the same seed
    shift = rng.uniform(-ranges.shift, ranges.shift, (count, 2))
    colour = (1 + ranges.colour) ** rng.uniform(-1, 1, (count, 3))
    return Views(linear, shift, mirrored, colour, hidden)


def _draw_angles(count, ranges, rng):
    """Angles (count,) in degrees: uniform; with turn_share, normal for that share of the images, and
    0 for the rest."""
    if not ranges.turn_share:
        return rng.uniform(-ranges.turn_deg, ranges.turn_deg, count)
    turned = rng.random(count) < ranges.turn_share
    deviations = rng.standard_normal(count).clip(-TURN_LIMIT, TURN_LIMIT)
    return np.where(turned, ranges.turn_deg * deviations, 0)


def apply(images, boxes_px, views, ranges, size):
    """Crops (N * K, 3, h, w) of images as the views show them, in one resampling.

    Black outside the image.

    images    (N, 3, H, W) in [0, 1]
    boxes_px  (N, K, 4) in pixels of the images, NumPy
    views     Views of N * K crops, drawn from the ranges
    size      (w, h) of the crops
    """
    image_count, box_count = boxes_px.shape[:2]
    linear = views.linear.reshape(image_count, box_count, 2, 2)
    shift = views.shift.reshape(image_count, box_count, 2)
    # crop: without turns each view is itself an upright box, which is faster to cut
    if ranges.turn_deg:
        images = crops.crop_turned(images, boxes_px, linear, shift, size)
    elif ranges.moves or not _are_whole(images, boxes_px, size):
        view_boxes = _view_boxes(boxes_px, linear, shift).astype(np.float32)
        images = crops.crop(images, torch.from_numpy(view_boxes).to(images.device), size)
    # change the pixels
    if ranges.colour:
        images = _recolour(images, torch.from_numpy(views.colour).to(images))
    if ranges.hide:
        images = _hide(images, torch.from_numpy(views.hidden).to(images))
    return images


def _are_whole(images, boxes_px, size):
    """Whether the images need no crop: each is wanted as a whole, at the size that it has."""
    image_size = (images.shape[3], images.shape[2])
    if tuple(size) != image_size or boxes_px.shape[1] != 1:
        return False
    return (boxes_px == (0, 0, *image_size)).all()


def _view_boxes(boxes_px, linear, shift):
    """The upright boxes (N, K, 4) px that views without a turn show of boxes (N, K, 4) px."""
    scales = linear[..., [0, 1], [0, 1]]  # (N, K, 2); a mirrored view's is negative along x
    sizes = boxes_px[..., 2:] / scales
    centres = boxes_px[..., :2] + boxes_px[..., 2:] / 2 - sizes * shift
    return np.concatenate([centres - sizes / 2, sizes], -1)


def _recolour(images, factors):
    """Brightness, contrast about an image's mean grey, and saturation, times the factors (N, 3)."""
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(
        1
    )  # (N, 1, 1, 1) each
    images = images * brightness
    grey = (images * images.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)  # (N, 1, H, W)
    images = grey + saturation * (images - grey)
    mean_grey = grey.mean((2, 3), keepdim=True)  # (N, 1, 1, 1)
    return (mean_grey + contrast * (images - mean_grey)).clamp_(0, 1)


def _hide(images, boxes):
    """Images (N, 3, H, W), grey within their boxes (N, 4), normalised."""
    x0, y0, x1, y1 = boxes[:, :, None].unbind(1)  # (N, 1) each
    x = _pixel_centres(images.shape[3], images.device)
    y = _pixel_centres(images.shape[2], images.device)
    inside_columns = (x0 <= x) & (x < x1)  # (N, W)
    inside_rows = (y0 <= y) & (y < y1)  # (N, H)
    inside = inside_rows[:, :, None] & inside_columns[:, None, :]  # (N, H, W)
    return images.masked_fill(inside[:, None], 0.5)


def _pixel_centres(count, device):
    """Centres (count,) of an image's pixels along one axis, normalised."""
    return (torch.arange(count, device=device) + 0.5) / count - 0.5


def move(joints, views, flip):
    """Normalised joints (N, J, 2), a tensor -> where the views show them, NaN outside the box.

    flip  the skeleton's flip permutation
    """
    # a mirrored view's left joints are the image's right ones
    mirrored = torch.from_numpy(views.mirrored).to(joints.device)[:, None, None]  # (N, 1, 1)
    joints = torch.where(mirrored, joints[:, list(flip)], joints)
    # linear @ p + shift; a joint that is not seen has no place that a network could find
    linear = torch.from_numpy(views.linear).to(joints)
    shift = torch.from_numpy(views.shift).to(joints)
    joints = joints @ linear.transpose(1, 2) + shift[:, None]
    inside = (joints.abs() <= 0.5).all(2, keepdim=True)
    return torch.where(inside, joints, torch.nan)
