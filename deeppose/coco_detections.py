"""Detections in COCO's format: boxes that a detector found, each with its score. No torch here."""

import math

import numpy as np

from deeppose import json_stream
from deeppose.coco_entries import LARGEST_COORDINATE_PX, as_numbers, is_whole_number
from deeppose.shell import InputError

MOST_DETECTIONS = 3_000_000


def read_detections(path, images, score_above=-math.inf, category_id=1):
    """Detections of one category in a list of {image_id, category_id, bbox, score}.

    images       those that are asked for, by id; what lies on others is left out
    score_above  what scores no higher is left out
    Returns image ids int64 (D,), boxes (D, 4) x0, y0, w, h px, and scores (D,), in the file's
    order; InputError for a file that is no such list, or with a box or score that cannot be right.
    """
    image_ids = []
    boxes = []
    scores = []
    for number, (key, detection) in enumerate(json_stream.entries(path), start=1):
        # pass over what is not asked for
        if key is not None or not isinstance(detection, dict):
            raise InputError(
                f"{path}: is no list of detections: {{image_id, category_id, bbox, score}}"
            )
        if detection.get("category_id") != category_id:
            continue
        if not is_whole_number(detection.get("image_id")):
            raise InputError(f"{path}: detection {number} has no whole number as its image_id")
        if detection["image_id"] not in images:
            continue
        # check the others, those with a low score too
        box, score = _box_and_score(path, number, detection)
        if len(scores) == MOST_DETECTIONS:
            raise InputError(
                f"{path}: holds more than {MOST_DETECTIONS} detections; --score-above leaves some out"
            )
        # keep those that score high enough
        if score > score_above:
            image_ids.append(detection["image_id"])
            boxes.append(box)
            scores.append(score)
    return (
        np.array(image_ids, np.int64),
        np.array(boxes, float).reshape(-1, 4),
        np.array(scores, float),
    )


def _box_and_score(path, number, detection):
    """Box (4,) x0, y0, w, h px and score of a detection.

    number  of the detection in the file, counted from 1
    Raises InputError where one of them cannot be right.
    """
    box = as_numbers(detection.get("bbox"))
    is_box = box is not None and len(box) == 4 and (box[2:] > 0).all()
    if not is_box or np.abs(box).max() > LARGEST_COORDINATE_PX:
        raise InputError(
            f"{path}: detection {number} has no box of 4 numbers, with width and height above 0"
        )
    scores = as_numbers([detection.get("score")])
    if scores is None:
        raise InputError(f"{path}: detection {number} has no number as its score")
    return box, scores[0]
