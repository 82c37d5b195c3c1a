"""Object keypoint similarity, OKS-NMS, and COCO's ten scores by pycocotools. No torch here.

exp(-d^2 / (2 s^2 k^2)) for a joint d pixels from the truth, with s^2 the person's area and k twice
the joint's sigma: a distance counts by how large the person is and how far annotators differ on
that joint. https://cocodataset.org/#keypoints-eval
"""

import contextlib
import io

import numpy as np

from deeppose import json_stream
from deeppose.coco_entries import BOX_FILL, box_around_joints
from deeppose.shell import InputError, RunError

NMS_THRESHOLD = 0.9  # poses that are more alike are one person
PEAK_THRESHOLD = 0.2  # a joint whose heatmap peaks lower says nothing about the pose's score
# in pycocotools' order
NAMES = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")


def _similarity(predicted, true, sigmas, areas):
    """Similarity (..., J) in [0, 1] of joints (..., J, 2) px; 0 for a predicted NaN.

    sigmas (J,), areas (...) px^2
    """
    squared_distances = ((predicted - true) ** 2).sum(-1)  # (..., J) px^2
    variances = (2 * np.asarray(sigmas, float)) ** 2  # (J,), a share of the area
    # the spacing is COCO's, so that an area of 0 divides nothing by 0
    scales = np.asarray(areas, float)[..., None] + np.spacing(1)  # (..., 1) px^2
    return np.nan_to_num(np.exp(-squared_distances / variances / scales / 2), nan=0.0)


def oks(predicted, true, sigmas, areas):
    """Object keypoint similarity (N,) in [0, 1], the mean over a person's labelled joints.

    NaN for a person without any.

    predicted, true  (N, J, 2) px of the photograph, in which areas are measured; NaN in `true`
                     where not labelled
    sigmas           (J,), how far annotators differ on a joint, in square roots of the area
    areas            (N,) px^2, the person's; NaN gives NaN
    """
    predicted = np.asarray(predicted, float)
    true = np.asarray(true, float)
    areas = np.asarray(areas, float)
    if predicted.shape != true.shape or predicted.ndim != 3 or predicted.shape[2] != 2:
        raise ValueError(
            f"joints must be two equal (N, J, 2), not {predicted.shape} and {true.shape}"
        )
    labelled = ~np.isnan(true).any(-1)  # (N, J)
    similarity_sums = (_similarity(predicted, true, sigmas, areas) * labelled).sum(1)  # (N,)
    labelled_counts = labelled.sum(1)  # (N,)
    scored = (labelled_counts > 0) & ~np.isnan(areas)
    unknown = np.full(len(true), np.nan)
    return np.divide(similarity_sums, labelled_counts, out=unknown, where=scored)


def nms(joints, scores, areas, sigmas, threshold=NMS_THRESHOLD):
    """Indices of one image's poses that are no duplicates of a better one, best score first.

    joints     (M, J, 2) px
    scores     (M,)
    areas      (M,) px^2; two poses are compared by the mean of theirs (the attention authors': of
               the widened boxes)
    threshold  a pose whose OKS with a better one is above it goes
    """
    joints = np.asarray(joints, float)
    areas = np.asarray(areas, float)
    # stable: of equal scores the first given comes first
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    kept = []
    while len(order):
        best = order[0]
        others = order[1:]
        kept.append(int(best))
        mean_areas = (areas[others] + areas[best]) / 2
        similarity = _similarity(joints[others], joints[best], sigmas, mean_areas)
        order = others[similarity.mean(-1) <= threshold]
    return kept


def rescore(peaks, box_scores, threshold=PEAK_THRESHOLD):
    """Scores (M,) of poses: the mean of a pose's peaks above the threshold, times its box's score.

    It is 0 for a pose without such a peak.

    peaks       (M, J), of the heatmaps
    box_scores  (M,)
    """
    peaks = np.asarray(peaks, float)
    counted = peaks > threshold
    counts = counted.sum(1)
    peak_sums = np.where(counted, peaks, 0).sum(1)
    means = np.divide(peak_sums, counts, out=np.zeros(len(peaks)), where=counts > 0)
    return means * np.asarray(box_scores, float)


def coco_scores(annotations, results, sigmas):
    """COCO's ten scores by pycocotools, name -> fraction.

    NaN where no person counts, as in APm without medium ones.

    annotations  path of a file in COCO's format, or its content; what it lacks of area, bbox,
                 num_keypoints and iscrowd is filled in: BOX_FILL of the box, the box around the
                 joints, the number of labelled joints, no crowd
    results      list of {image_id, category_id, keypoints [3 J], score}, which may be empty
    sigmas       (J,) of OKS
    Raises RunError where pycocotools cannot be imported, InputError for annotations or results that
    are none.
    """
    COCO, COCOeval = _tools()
    sigmas = np.asarray(sigmas, float)
    content = content_of(annotations)
    name = "annotations" if isinstance(annotations, dict) else annotations
    length = 3 * len(sigmas)
    # pycocotools prints its progress, and the scores as a table of its own
    with contextlib.redirect_stdout(io.StringIO()):
        true = COCO()
        true.dataset = _true_dataset(content, name, length)
        true.createIndex()
        predicted = COCO()
        predicted_people = _predicted_people(results, true, length)
        predicted.dataset = {**true.dataset, "annotations": predicted_people}
        predicted.createIndex()
        evaluation = COCOeval(true, predicted, "keypoints")
        evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # -1 is pycocotools' word for a score of nobody
    scores = zip(NAMES, evaluation.stats)
    return {name: float(value) if value >= 0 else np.nan for name, value in scores}


def _tools():
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


def content_of(annotations):
    """The lists of a file in COCO's format, without outlines.

    A dictionary is that content already.
    """
    if isinstance(annotations, dict):
        return annotations
    content = {"images": [], "categories": [], "annotations": []}
    for key, entry in json_stream.entries(annotations):
        if isinstance(entry, dict):
            entry.pop("segmentation", None)
        if key in content:
            content[key].append(entry)
    return content


def _true_dataset(content, name, length):
    """Content of a file as pycocotools needs it, completed and numbered anew.

    Numbered, since pycocotools takes an annotation with the id 0 for none, and of two with one id
    the later. Raises InputError for what is no such content.
    """
    try:
        images = {int(image["id"]) for image in content["images"]}
        categories = {int(category["id"]) for category in content["categories"]}
        people = []
        strays = []
        for number, entry in enumerate(content["annotations"], 1):
            person = _true_person(number, entry, length)
            people.append(person)
            if person["image_id"] not in images or person["category_id"] not in categories:
                strays.append(person)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
        raise InputError(
            f"{name}: holds no keypoint annotations of {length // 3} joints in COCO's format"
        ) from None
    if strays:
        raise InputError(
            f"{name}: annotation {strays[0]['id']} of its list is of image {strays[0]['image_id']} and "
            f"category {strays[0]['category_id']}, which it does not hold"
        )
    return {
        "images": [{"id": number} for number in images],
        "annotations": people,
        "categories": [{"id": number} for number in categories],
    }


def _true_person(number, entry, length):
    """Annotation with all that pycocotools asks for.

    Raises one of several exceptions where it cannot be had: see _true_dataset.
    """
    keypoints = np.array(entry.get("keypoints") or np.zeros(length), float)
    joints = keypoints.reshape(length // 3, 3)
    labelled = joints[:, 2] > 0
    box = np.array(entry.get("bbox") or box_around_joints(joints[labelled, :2]), float)
    x0, y0, width, height = box.tolist()
    area = float(entry.get("area") or BOX_FILL * width * height)
    count = entry.get("num_keypoints")
    if not np.isfinite([*keypoints, *box, area]).all():
        raise ValueError("a number that is not finite")
    return {
        "id": number,
        "image_id": int(entry["image_id"]),
        "category_id": int(entry["category_id"]),
        "keypoints": keypoints.tolist(),
        "bbox": [x0, y0, width, height],
        "area": area,
        "iscrowd": int(entry.get("iscrowd") or 0),
        "num_keypoints": int(labelled.sum()) if count is None else int(count),
    }


def _predicted_people(results, true, length):
    """Annotations of results, as pycocotools' loadRes makes them, which fails on an empty list.

    The area is that of the joints' extent: a pose that is no person's counts as wrong in its size
    alone.
    """
    people = []
    for number, entry in enumerate(results, 1):
        keypoints, score = _checked_result(number, entry, true, length)
        extent = np.ptp(keypoints.reshape(-1, 3)[:, :2], axis=0)
        people.append(
            {
                "id": number,
                "image_id": entry["image_id"],
                "category_id": entry["category_id"],
                "keypoints": keypoints.tolist(),
                "score": score,
                "area": float(extent.prod()),
            }
        )
    return people


def _checked_result(number, entry, true, length):
    """Keypoints (3 J,) and score of a result.

    Raises InputError for one that is none: a NaN would count as a hit.
    """
    try:
        keypoints = np.array(entry["keypoints"], float)
        score = float(entry["score"])
        is_listed = entry["image_id"] in true.imgs and entry["category_id"] in true.cats
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(
            f"result {number} has not the form {{image_id, category_id, keypoints, score}}"
        ) from None
    if not is_listed:
        raise InputError(
            f"result {number} is of image {entry['image_id']} and category {entry['category_id']}, "
            "which the annotations do not list"
        )
    if keypoints.shape != (length,) or not np.isfinite(keypoints).all() or not np.isfinite(score):
        raise InputError(f"result {number} has no {length} finite keypoints and a finite score")
    return keypoints, score
