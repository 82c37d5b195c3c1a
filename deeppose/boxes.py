"""The boxes around people that predict.py is given: x0, y0, x1, y1 px of the upright photograph."""

import argparse

import numpy as np

from deeppose import files, geometry
from deeppose.shell import InputError

LARGEST_PX = 1e9  # no coordinate of a box in any photograph
FARTHEST = 8  # a box may be this many times as large as the photograph


def box(text):
    """argparse type: x0,y0,x1,y1."""
    try:
        x0, y0, x1, y1 = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not x0,y0,x1,y1") from None
    return x0, y0, x1, y1


def as_array(values, name):
    """Boxes (P, 4) px as floats; InputError, which names the photograph, for anything else."""
    try:
        boxes = np.asarray(values, float)
    except (TypeError, ValueError, OverflowError):
        boxes = np.empty(0)
    listed = boxes.ndim == 2 and boxes.shape[1] == 4 and len(boxes) > 0
    if not listed or not (np.abs(boxes) < LARGEST_PX).all():  # so that NaN is refused too
        raise InputError(f"{name}: its boxes must be a list of [x0, y0, x1, y1] in pixels")
    for x0, y0, x1, y1 in boxes:
        if x1 <= x0 or y1 <= y0:
            raise InputError(
                f"{name}: the box {x0:g},{y0:g},{x1:g},{y1:g} is empty; x1,y1 is its lower right corner"
            )
    return boxes


def check_against(boxes_px, size, name):
    """InputError for a box (P, 4) px that shows next to nothing of a photograph of that (w, h)."""
    for x0, y0, x1, y1 in boxes_px:
        box_text = f"{name}: the box {x0:g},{y0:g},{x1:g},{y1:g}"
        if x1 <= 0 or y1 <= 0 or x0 >= size[0] or y0 >= size[1]:
            raise InputError(
                f"{box_text} lies outside the photograph, {size[0]} x {size[1]} pixels"
            )
        if max(x1 - x0, y1 - y0) > FARTHEST * max(size):
            raise InputError(f"{box_text} is more than {FARTHEST} times as large as the photograph")


def regions(boxes_px, size, frame, margin):
    """Boxes (P, 4) x0, y0, x1, y1 px -> the regions (P, 4) x0, y0, w, h px that frames show.

    size    the photograph's (w, h) px, which is the box where boxes_px is None
    frame   (w, h) px, whose proportions the boxes are grown to
    margin  see dataset.Dataset
    """
    if boxes_px is None:
        people = geometry.whole(size)[None]
    else:
        people = np.concatenate([boxes_px[:, :2], boxes_px[:, 2:] - boxes_px[:, :2]], 1)
    return geometry.scale_box(geometry.to_aspect(people, frame), margin)


def read(path, photographs):
    """For each photograph its boxes as a JSON file has them, or None.

    The file holds {name: [[x0, y0, x1, y1], ...]}, or for one photograph its list alone.
    """
    if not path.exists():
        raise InputError(f"{path}: not found; --boxes names a file")
    content = files.parse_json(path, "see --boxes in --help")
    if isinstance(content, list) and len(photographs) == 1:
        return [content]
    if not isinstance(content, dict):
        raise InputError(f"{path}: is no object of photographs' names, each with its list of boxes")
    unused = set(content) - {photo.name for photo in photographs}
    if unused:
        raise InputError(f"{path}: has boxes for {min(unused)}, which is none of the photographs")
    return [content.get(photo.name) for photo in photographs]
