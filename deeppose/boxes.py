"""Boxes around people as predict.py is given them: x0, y0, x1, y1 px of the upright photograph."""

import argparse
from pathlib import Path

import numpy as np

from deeppose import files, geometry
from deeppose.shell import InputError

LARGEST_PX = 1e9  # no coordinate of a box in any photograph
FARTHEST = 8  # a box may be this many times as large as the photograph


def add_arguments(parser):
    """Add the flags that say where people are."""
    parser.add_argument(
        "--box",
        type=box,
        action="append",
        metavar="X0,Y0,X1,Y1",
        help="a person in the one photograph, in its pixels; again for another "
        "(default: one person, the whole photograph)",
    )
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="FILE",
        help='JSON with the people of many: {"photo.jpg": [[x0, y0, x1, y1], ...], ...}',
    )


def box(text):
    """argparse type: x0,y0,x1,y1."""
    try:
        x0, y0, x1, y1 = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not x0,y0,x1,y1") from None
    return x0, y0, x1, y1


def join_box_flags(arguments):
    """The arguments (a list of texts) with each `--box BOX` as one, `--box=BOX`.

    Apart, argparse takes a box that begins with a minus sign for a flag.
    """
    joined = list(arguments)
    # from the end, so that the positions before stay right
    for position in reversed(range(len(joined) - 1)):
        if arguments[position] == "--box":
            joined[position : position + 2] = [f"--box={joined[position + 1]}"]
    return joined


def as_array(listed_boxes, photo_name):
    """Boxes (P, 4) px as floats; InputError, which names the photograph, for anything else."""
    try:
        boxes_px = np.asarray(listed_boxes, float)
    except (TypeError, ValueError, OverflowError):
        boxes_px = np.empty(0)
    is_table = boxes_px.ndim == 2 and boxes_px.shape[1] == 4 and len(boxes_px) > 0
    # written so that NaN is refused too
    if not is_table or not (np.abs(boxes_px) < LARGEST_PX).all():
        raise InputError(f"{photo_name}: its boxes must be a list of [x0, y0, x1, y1] in pixels")
    for x0, y0, x1, y1 in boxes_px:
        if x1 <= x0 or y1 <= y0:
            raise InputError(
                f"{photo_name}: the box {x0:g},{y0:g},{x1:g},{y1:g} is empty; x1,y1 is its lower right corner"
            )
    return boxes_px


def check_against(boxes_px, photo_size, photo_name):
    """InputError for a box (P, 4) px that shows next to nothing of a photograph of that (w, h)."""
    width, height = photo_size
    for x0, y0, x1, y1 in boxes_px:
        box_text = f"{photo_name}: the box {x0:g},{y0:g},{x1:g},{y1:g}"
        if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
            raise InputError(f"{box_text} lies outside the photograph, {width} x {height} pixels")
        if max(x1 - x0, y1 - y0) > FARTHEST * max(photo_size):
            raise InputError(f"{box_text} is more than {FARTHEST} times as large as the photograph")


def regions(boxes_px, photo_size, frame, margin):
    """Boxes (P, 4) x0, y0, x1, y1 px -> the regions (P, 4) x0, y0, w, h px that frames show.

    photo_size  the photograph's (w, h) px, which is the box where boxes_px is None
    frame       (w, h) px, whose proportions the boxes are grown to
    margin      see Dataset
    """
    if boxes_px is None:
        people_px = geometry.image_box(photo_size)[None]
    else:
        sizes = boxes_px[:, 2:] - boxes_px[:, :2]
        people_px = np.concatenate([boxes_px[:, :2], sizes], 1)
    return geometry.scale_box(geometry.to_aspect(people_px, frame), margin)


def read(path, photographs):
    """Boxes of each photograph as a JSON file lists them, or None where it has none for it.

    The file holds {name: [[x0, y0, x1, y1], ...]}, or for one photograph its list alone.
    """
    if not path.exists():
        raise InputError(f"{path}: not found; --boxes names a file")
    content = files.parse_json(path, "see --boxes in --help")
    if isinstance(content, list) and len(photographs) == 1:
        return [content]
    if not isinstance(content, dict):
        raise InputError(f"{path}: is no object of photographs' names, each with its list of boxes")
    # a name that is none of the photographs is more likely misspelt than meant
    unused_names = set(content) - {photo.name for photo in photographs}
    if unused_names:
        raise InputError(
            f"{path}: has boxes for {min(unused_names)}, which is none of the photographs"
        )
    return [content.get(photo.name) for photo in photographs]
