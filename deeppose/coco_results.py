"""Poses of the test rows in COCO's format, result.json, and COCO's ten scores of them.

No torch here.
"""

import json

import numpy as np

from deeppose import arrays, files, oks, tables
from deeppose.shell import InputError, RunError
from deeppose.workdir import RESULT, TEST_ANNOTATIONS


def read_annotations(data):
    """Content of test_annotations.json.

    Raises InputError where it is not what step 1 wrote beside the Dataset.
    """
    path = data.folder / TEST_ANNOTATIONS
    if arrays.digest(files.present(path, arrays.STEP_1)) != data.facts["test_annotations"]:
        raise InputError(
            f"{path}: is not the file that dataset.json belongs to; run {arrays.STEP_1} again"
        )
    return oks.content_of(path)


def results_of(data, joints_px, confidence, content):
    """Poses of the test rows as COCO's results: {image_id, category_id, keypoints [3 J], score}.

    joints_px, confidence  (N, J, 2) px of the frames, and (N, J), which is the third of a
                           keypoint's numbers
    content                of test_annotations.json

    A pose's score is the mean confidence of its surer joints times the box's score; where the boxes
    are detections, poses that are alike are one person, and the best one stays (the attention
    authors').
    """
    # a network without heatmaps does not say how sure it is
    peaks = np.nan_to_num(confidence.astype(float), nan=1.0)
    scores = oks.rescore(peaks, data.column("test", "score"))
    joints = data.to_photographs(joints_px.astype(float), "test")
    categories = {entry["id"]: entry["category_id"] for entry in content["annotations"]}
    first = content["categories"][0]["id"]
    images, people = data.identities("test")[:, 1:].T.tolist()
    results = []
    for row in _without_duplicates(data, joints, scores) if data.detected else range(len(joints)):
        keypoints = np.concatenate([joints[row], peaks[row, :, None]], 1)
        results.append(
            {
                "image_id": images[row],
                "category_id": first if data.detected else categories[people[row]],
                "keypoints": keypoints.ravel().round(3).tolist(),
                "score": round(float(scores[row]), 6),
            }
        )
    return results


def _without_duplicates(data, joints, scores):
    """The test rows (n,) that oks.nms leaves of each image's, image after image."""
    boxes = data.boxes("test")
    areas = boxes[:, 2] * boxes[:, 3]
    numbers = data.column("test", "image")
    kept = []
    # an image's rows stand together, so that each piece is of one image
    for rows in np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(numbers)) + 1):
        stay = oks.nms(joints[rows], scores[rows], areas[rows], data.skeleton.oks_sigmas)
        kept += rows[stay].tolist()
    return kept


def score(data, stages, confidence):
    """Write the last stage's result.json, and give COCO's ten scores of each stage, name -> scores.

    stages, confidence  name -> joints (N, J, 2) px of the frames, and (N, J)

    The scores are {}, which it says, without pycocotools or without true annotations.
    """
    if "test_annotations" not in data.facts or "oks" not in data.skeleton.scores:
        return {}
    content = read_annotations(data)
    results = {
        name: results_of(data, joints, confidence[name], content) for name, joints in stages.items()
    }
    path = data.folder / RESULT
    with files.replacing(path) as temporary:
        temporary.write_text(
            json.dumps(list(results.values())[-1], allow_nan=False) + "\n", encoding="utf-8"
        )
    print(
        f"{path}: {len(list(results.values())[-1])} poses of {list(results)[-1]} in COCO's format"
    )
    if not any(entry["num_keypoints"] for entry in content["annotations"]):
        print(
            "the test images have no annotations here, so there are no scores: COCO's server takes result.json"
        )
        return {}
    try:
        return {
            name: oks.coco_scores(content, own, data.skeleton.oks_sigmas)
            for name, own in results.items()
        }
    except RunError as error:
        print(error)
        return {}


def score_tables(scores, data):
    """The ten scores as tables, a column a stage; none where there are no scores."""
    if not scores:
        return []
    boxes = "detections" if data.detected else "true boxes"
    rows = [
        (name, [tables.score_cell(own[name], None) for own in scores.values()])
        for name in oks.NAMES
    ]
    return [
        tables.Table(
            f"COCO's scores, {boxes}",
            (("", tuple(scores)),),
            tuple(rows),
            "OKS of .50 to .95; 50, 75: of .50, .75; m, l: of medium and large people",
        )
    ]
