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
    # scores; a network without heatmaps does not say how sure it is, and so it counts as sure
    peaks = np.nan_to_num(confidence.astype(float), nan=1.0)  # (N, J)
    scores = oks.rescore(peaks, data.column("test", "score"))
    joints = data.to_photographs(joints_px.astype(float), "test")
    # which rows: of detections, those that are left of each person's
    images, people = data.identities("test")[:, 1:].T.tolist()
    if data.detected:
        rows = _without_duplicates(data, joints, scores)
    else:
        rows = range(len(joints))
    # their categories: a detection has no annotation that would tell its own
    categories = {entry["id"]: entry["category_id"] for entry in content["annotations"]}
    first = content["categories"][0]["id"]
    results = []
    for row in rows:
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
    """The test rows (n,) that oks.nms leaves of each image's, image after image, as a list."""
    boxes = data.boxes("test")
    areas = boxes[:, 2] * boxes[:, 3]
    # an image's rows stand together, so that each piece is of one image
    images = data.column("test", "image")
    starts = np.flatnonzero(np.diff(images)) + 1
    kept = []
    for rows in np.split(np.arange(len(images)), starts):
        stay = oks.nms(joints[rows], scores[rows], areas[rows], data.skeleton.oks_sigmas)
        kept += rows[stay].tolist()
    return kept


def score(data, stages, confidence):
    """Write the last stage's result.json, and give COCO's ten scores of each stage, name -> scores.

    stages, confidence  name -> joints (N, J, 2) px of the frames, and (N, J)

    The scores are {}, and a line is printed, without pycocotools or without true annotations.
    """
    if "test_annotations" not in data.facts or "oks" not in data.skeleton.scores:
        return {}
    content = read_annotations(data)
    results = {
        name: results_of(data, joints, confidence[name], content) for name, joints in stages.items()
    }
    # write the last stage's
    path = data.folder / RESULT
    last_stage = list(results)[-1]
    text = json.dumps(results[last_stage], allow_nan=False) + "\n"
    with files.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{path}: {len(results[last_stage])} poses of {last_stage} in COCO's format")
    # score them all
    if not any(entry["num_keypoints"] for entry in content["annotations"]):
        print(
            "the test images have no annotations here, so there are no scores: COCO's server takes result.json"
        )
        return {}
    try:
        return {
            name: oks.coco_scores(content, poses, data.skeleton.oks_sigmas)
            for name, poses in results.items()
        }
    except RunError as error:
        print(error)
        return {}


def score_tables(scores, data):
    """The ten scores of each stage as a list of tables, a column a stage; [] without scores."""
    if not scores:
        return []
    boxes = "detections" if data.detected else "true boxes"
    rows = [
        (name, [tables.score_cell(of_stage[name], None) for of_stage in scores.values()])
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
