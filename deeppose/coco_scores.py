"""COCO's ten scores by pycocotools, of results and annotations from anyone. No torch here."""

import contextlib
import io

import numpy as np

from deeppose import json_stream
from deeppose.coco_entries import BOX_FILL, box_around_joints
from deeppose.shell import InputError, RunError

# in pycocotools' order
NAMES = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")


def compute(annotations, results, sigmas):
    """COCO's ten scores, name -> fraction.

    NaN where no person counts, as in APm without medium ones.

    annotations  path of a file in COCO's format, or its content; what it lacks of area, bbox,
                 num_keypoints and iscrowd is filled in: BOX_FILL of the box, the box around the
                 joints, the number of labelled joints, no crowd
    results      list of {image_id, category_id, keypoints [3 J], score}, which may be empty
    sigmas       (J,) of OKS
    Raises RunError where pycocotools cannot be imported, InputError for annotations or results that
    are none.
    """
    COCO, COCOeval = _import_pycocotools()
    sigmas = np.asarray(sigmas, float)
    content = read_content(annotations)
    source = "annotations" if isinstance(annotations, dict) else annotations
    keypoints_length = 3 * len(sigmas)
    # pycocotools prints its progress, and the scores as a table of its own
    with contextlib.redirect_stdout(io.StringIO()):
        true = COCO()
        true.dataset = _true_dataset(content, source, keypoints_length)
        true.createIndex()
        predicted = COCO()
        predicted_people = _predicted_people(results, true, keypoints_length)
        predicted.dataset = {**true.dataset, "annotations": predicted_people}
        predicted.createIndex()
        evaluation = COCOeval(true, predicted, "keypoints")
        evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # -1 is pycocotools' word for a score of nobody
    scores = zip(NAMES, evaluation.stats)
    return {score_name: float(value) if value >= 0 else np.nan for score_name, value in scores}


def read_content(annotations):
    """The lists of a file in COCO's format, without outlines.

    A dictionary is that content already.
    """
    if isinstance(annotations, dict):
        return annotations
    content = {"images": [], "categories": [], "annotations": []}
    for list_name, entry in json_stream.entries(annotations):
        # outlines are most of a file, and no score needs them
        if isinstance(entry, dict):
            entry.pop("segmentation", None)
        if list_name in content:
            content[list_name].append(entry)
    return content


def _import_pycocotools():
    """pycocotools' two classes; RunError, in one line, where they cannot be imported."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise RunError(
            "pycocotools is not installed, so OKS scores (AP, AR) are left out; "
            "pip install -r requirements.txt brings it"
        ) from None
    return COCO, COCOeval


def _true_dataset(content, source, keypoints_length):
    """Content of a file as pycocotools needs it, completed and numbered anew.

    Numbered, since pycocotools takes an annotation with the id 0 for none, and of two with one id
    the later. Raises InputError for what is no such content.

    source  names the content in errors
    """
    try:
        image_ids = {int(image["id"]) for image in content["images"]}
        category_ids = {int(category["id"]) for category in content["categories"]}
        people = []
        strays = []
        for number, annotation in enumerate(content["annotations"], 1):
            person = _true_person(number, annotation, keypoints_length)
            people.append(person)
            if person["image_id"] not in image_ids or person["category_id"] not in category_ids:
                strays.append(person)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
        raise InputError(
            f"{source}: holds no keypoint annotations of {keypoints_length // 3} joints in COCO's format"
        ) from None
    if strays:
        raise InputError(
            f"{source}: annotation {strays[0]['id']} of its list is of image {strays[0]['image_id']} and "
            f"category {strays[0]['category_id']}, which it does not hold"
        )
    return {
        "images": [{"id": image_id} for image_id in image_ids],
        "annotations": people,
        "categories": [{"id": category_id} for category_id in category_ids],
    }


def _true_person(number, annotation, keypoints_length):
    """Annotation with every entry that pycocotools asks for.

    Raises one of several exceptions where an entry is malformed: see _true_dataset.
    """
    keypoints = np.array(annotation.get("keypoints") or np.zeros(keypoints_length), float)
    joints = keypoints.reshape(keypoints_length // 3, 3)  # x, y, and whether it is labelled
    labelled = joints[:, 2] > 0
    box = np.array(annotation.get("bbox") or box_around_joints(joints[labelled, :2]), float)
    x0, y0, width, height = box.tolist()
    area = float(annotation.get("area") or BOX_FILL * width * height)
    labelled_count = annotation.get("num_keypoints")
    if labelled_count is None:
        labelled_count = labelled.sum()
    if not np.isfinite([*keypoints, *box, area]).all():
        raise ValueError("a number that is not finite")
    return {
        "id": number,
        "image_id": int(annotation["image_id"]),
        "category_id": int(annotation["category_id"]),
        "keypoints": keypoints.tolist(),
        "bbox": [x0, y0, width, height],
        "area": area,
        "iscrowd": int(annotation.get("iscrowd") or 0),
        "num_keypoints": int(labelled_count),
    }


def _predicted_people(results, true, keypoints_length):
    """Annotations of results, as pycocotools' loadRes makes them, which fails on an empty list.

    The area is that of the joints' extent: a pose that is no person's counts as wrong in its size
    alone.
    """
    people = []
    for number, result in enumerate(results, 1):
        keypoints, score = _checked_result(number, result, true, keypoints_length)
        extent = np.ptp(keypoints.reshape(-1, 3)[:, :2], axis=0)  # (2,) px
        people.append(
            {
                "id": number,
                "image_id": result["image_id"],
                "category_id": result["category_id"],
                "keypoints": keypoints.tolist(),
                "score": score,
                "area": float(extent.prod()),
            }
        )
    return people


def _checked_result(number, result, true, keypoints_length):
    """Keypoints (3 J,) and score of a result.

    Raises InputError for one that is none: a NaN would count as a hit.
    """
    try:
        keypoints = np.array(result["keypoints"], float)
        score = float(result["score"])
        is_listed = result["image_id"] in true.imgs and result["category_id"] in true.cats
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(
            f"result {number} has not the form {{image_id, category_id, keypoints, score}}"
        ) from None
    if not is_listed:
        raise InputError(
            f"result {number} is of image {result['image_id']} and category {result['category_id']}, "
            "which the annotations do not list"
        )
    is_finite = np.isfinite(keypoints).all() and np.isfinite(score)
    if keypoints.shape != (keypoints_length,) or not is_finite:
        raise InputError(
            f"result {number} has no {keypoints_length} finite keypoints and a finite score"
        )
    return keypoints, score
