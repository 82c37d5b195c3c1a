"""Boxes, frames and flips: pure NumPy, arrays in, arrays out.

Coordinates are continuous: pixel i covers [i, i + 1), so resizing is x' = s x and mirroring is
x' = width - x. A box is (x0, y0, side): a square, in pixels of the image it lies in. Joints are
(..., J, 2); an unlabelled joint is NaN and stays NaN through everything here.
"""
import numpy as np

SIGMA = 2.0            # the cascade's box side / torso diameter of the former stage's pose; DeepPose, section 4.1 (LSP)
SMALLEST_SIDE_PX = 40  # of the 227 frame: a collapsed pose still gets a box with something in it


def centres_and_sides(boxes_px):
    """Boxes (..., 3) -> centres (..., 1, 2) and sides (..., 1, 1), ready to broadcast over joints."""
    sides = boxes_px[..., None, 2:]
    return boxes_px[..., None, :2] + sides / 2, sides


def normalise(joints_px, boxes_px):
    """Joints (..., J, 2) px -> (joints - centre) / side of their boxes (..., 3): DeepPose, equation 1.

    Only arithmetic, so tensors work as well as arrays.
    """
    centres, sides = centres_and_sides(boxes_px)
    return (joints_px - centres) / sides


def denormalise(joints, boxes_px):
    """The inverse of normalise: joints (..., J, 2) in box sides from its centre -> px."""
    centres, sides = centres_and_sides(boxes_px)
    return joints * sides + centres


def box_around(centres_px, sides_px):
    """Centres (..., 2) px and sides (...) px -> boxes (..., 3) px."""
    sides_px = np.asarray(sides_px)[..., None]
    return np.concatenate([centres_px - sides_px / 2, np.broadcast_to(sides_px, (*centres_px.shape[:-1], 1))], -1)


def letterbox(width_px, height_px):
    """The smallest square that holds the whole image, centred on it: a box (3,) px."""
    side = max(width_px, height_px)
    return np.array([(width_px - side) / 2, (height_px - side) / 2, side], float)


def joints_extent(joints_px):
    """Centre (2,) and larger side of the tight box of the labelled joints of (J, 2) px; at least one is labelled."""
    low, high = np.nanmin(joints_px, 0), np.nanmax(joints_px, 0)
    return (low + high) / 2, (high - low).max()


def image_to_frame(joints_px, box_px, frame_px, flip=None):
    """Joints (..., J, 2) in pixels of an image -> pixels of the frame that shows its box (..., 3).

    frame_px  the frame's side
    flip      the skeleton's flip permutation where the frame shows the box mirrored: coordinates are
              mirrored and left and right joints change places
    """
    scale = frame_px / box_px[..., None, 2:]
    joints = (joints_px - box_px[..., None, :2]) * scale
    return joints if flip is None else mirror(joints, frame_px, flip)


def frame_to_image(joints_px, box_px, frame_px, flip=None):
    """The inverse of image_to_frame."""
    joints = joints_px if flip is None else mirror(joints_px, frame_px, flip)
    return joints * (box_px[..., None, 2:] / frame_px) + box_px[..., None, :2]


def mirror(joints_px, width_px, flip):
    """Joints (..., J, 2) of the mirrored image: x' = width - x, then left and right change places."""
    mirrored = np.array(joints_px)
    mirrored[..., 0] = width_px - mirrored[..., 0]
    return mirrored[..., list(flip), :]


def torso_diameter(joints_px, torso_ends):
    """Distance (...) px of the two torso joints of (..., J, 2); NaN where one is unlabelled. Tensors work too."""
    first, second = torso_ends
    return ((joints_px[..., first, :] - joints_px[..., second, :]) ** 2).sum(-1) ** 0.5


def box_sides(poses_px, skeleton):
    """Sides (N,) px of the cascade's boxes from the former stage's poses (N, J, 2), never from partly refined ones.

    original: the side changed as soon as a hip or shoulder had been refined.
    """
    return np.maximum(SIGMA * torso_diameter(poses_px, skeleton.torso_ends), SMALLEST_SIDE_PX)
