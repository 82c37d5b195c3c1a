"""Geometry of boxes, frames and flips: pure NumPy, arrays in, arrays out, no skeleton.

Coordinates are continuous: pixel i covers [i, i + 1), so resizing is x' = s x and mirroring is x' =
width - x. A box is (x0, y0, w, h), in pixels of the image it lies in; a frame's size is (w, h).
Joints are (..., J, 2); an unlabelled joint is NaN and stays NaN through everything here.
"""

import numpy as np


def normalise(joints_px, boxes_px):
    """Joints (..., J, 2) px -> (joints - centre) / (w, h) of their boxes (..., 4) px.

    DeepPose, equation 1. Only arithmetic, so tensors work as well as arrays.
    """
    centres, sizes = _centres_and_sizes(boxes_px)
    return (joints_px - centres) / sizes


def denormalise(joints, boxes_px):
    """The inverse of normalise: joints (..., J, 2), normalised by boxes (..., 4) px -> px."""
    centres, sizes = _centres_and_sizes(boxes_px)
    return joints * sizes + centres


def _centres_and_sizes(boxes_px):
    """Boxes (..., 4) -> centres (..., 1, 2) and sizes (..., 1, 2), to broadcast over joints."""
    sizes = boxes_px[..., None, 2:]
    centres = boxes_px[..., None, :2] + sizes / 2
    return centres, sizes


def box_around(centres_px, sizes_px):
    """Centres (..., 2) px and sizes px, (..., 2) or (...) for squares -> boxes (..., 4) px.

    Tensors work too.
    """
    library = library_of(centres_px)
    if library is np:
        sizes_px = np.asarray(sizes_px, float)
    if sizes_px.ndim < centres_px.ndim:  # squares: one side serves both axes
        sizes_px = sizes_px[..., None]
    sizes_px = library.broadcast_to(sizes_px, centres_px.shape)
    return library.concatenate([centres_px - sizes_px / 2, sizes_px], -1)


def library_of(values):
    """NumPy for arrays, torch for tensors: code for both takes functions named alike from it."""
    if isinstance(values, np.ndarray):
        return np
    # not at the top, so that step 1 runs without torch
    import torch

    return torch


def scale_box(boxes_px, factor):
    """Boxes (..., 4) px, factor times as wide and as high about the same centres."""
    sizes = boxes_px[..., 2:]
    # half of what a box gains or loses lies on either side of it
    corners = boxes_px[..., :2] - sizes * ((factor - 1) / 2)
    return np.concatenate([corners, sizes * factor], -1)


def to_aspect(boxes_px, frame):
    """Boxes (..., 4) px, grown along one axis, about their centres, to a frame's proportions.

    frame  (w, h)
    """
    aspect = frame[0] / frame[1]
    # boxes that are too narrow gain width, boxes that are too low gain height, and no box shrinks
    width = np.maximum(boxes_px[..., 2], boxes_px[..., 3] * aspect)
    height = np.maximum(boxes_px[..., 3], boxes_px[..., 2] / aspect)
    sizes = np.stack([width, height], -1)
    corners = boxes_px[..., :2] + (boxes_px[..., 2:] - sizes) / 2
    return np.concatenate([corners, sizes], -1)


def image_box(size_px):
    """The box (4,) px that covers an image of that (w, h)."""
    return np.array([0.0, 0.0, *size_px])


def view_box(frame, margin):
    """The box (4,) px in the middle of a frame (w, h) whose sides are `margin` times the box's."""
    return scale_box(image_box(frame), 1 / margin)


def joints_box(joints_px):
    """The tight box (4,) px of the labelled joints of (J, 2) px; at least one is labelled."""
    top_left = np.fmin.reduce(joints_px)
    bottom_right = np.fmax.reduce(joints_px)
    return np.concatenate([top_left, bottom_right - top_left])


def image_to_frame(joints_px, boxes_px, frame, flip=None):
    """Joints (..., J, 2) px of an image -> px of the frame (w, h) that shows its box (..., 4) px.

    flip  the skeleton's flip permutation where the frame shows the box mirrored: coordinates are
          mirrored, and left and right joints change places
    """
    scale = np.asarray(frame, float) / boxes_px[..., None, 2:]
    joints = (joints_px - boxes_px[..., None, :2]) * scale
    return joints if flip is None else mirror(joints, frame[0], flip)


def frame_to_image(joints_px, boxes_px, frame, flip=None):
    """The inverse of image_to_frame: joints (..., J, 2) px of the frame -> px of the image."""
    joints = joints_px if flip is None else mirror(joints_px, frame[0], flip)
    scale = boxes_px[..., None, 2:] / np.asarray(frame, float)
    return joints * scale + boxes_px[..., None, :2]


def mirror(joints_px, width_px, flip):
    """Joints (..., J, 2) px of the mirrored image: x' = width - x, left and right exchanged.

    flip  the skeleton's flip permutation (J,)
    """
    mirrored = np.array(joints_px)  # a copy, which may be edited
    mirrored[..., 0] = width_px - mirrored[..., 0]
    return mirrored[..., list(flip), :]


def distance(joints_px, ends):
    """Distance (...) px between two joints of (..., J, 2) px; NaN where one is unlabelled.

    Tensors work too.

    ends  the numbers of the two joints
    """
    first, second = ends
    difference = joints_px[..., first, :] - joints_px[..., second, :]  # (..., 2)
    return (difference**2).sum(-1) ** 0.5


def extent(joints_px):
    """Larger side (...) px of the tight box of the joints (..., J, 2), all of them labelled.

    Tensors work too.
    """
    if isinstance(joints_px, np.ndarray):
        return np.ptp(joints_px, axis=-2).max(-1)
    sides = joints_px.amax(-2) - joints_px.amin(-2)  # (..., 2)
    return sides.amax(-1)


def intersection_over_union(boxes_px, others_px):
    """Area (...) that boxes (..., 4) px share, over the area that either covers.

    Sizes must be above 0.
    """
    # the corners of what they share; boxes apart have these crossed, hence the clip
    top_left = np.maximum(boxes_px[..., :2], others_px[..., :2])
    bottom_right = np.minimum(
        boxes_px[..., :2] + boxes_px[..., 2:], others_px[..., :2] + others_px[..., 2:]
    )
    shared_area = (bottom_right - top_left).clip(0).prod(-1)
    areas = boxes_px[..., 2:].prod(-1)
    other_areas = others_px[..., 2:].prod(-1)
    return shared_area / (areas + other_areas - shared_area)
