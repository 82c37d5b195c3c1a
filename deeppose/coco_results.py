"""Poses of the test rows in COCO's format, result.json, and COCO's ten scores of them.

No torch here.
"""

import json

import numpy as np

from deeppose import arrays, coco_scores, files, oks, text_tables
from deeppose.shell import InputError, RunError
from deeppose.workdir import RESULT, TEST_ANNOTATIONS


def score(dataset, poses, confidence):
    """Write the last stage's result.json, and give COCO's ten scores of each stage, name -> scores.

    poses, confidence  stage's name -> joints (N, J, 2) px of the frames, and (N, J)

    The scores are {} for data not scored by OKS, and, with a line printed, without pycocotools or
    without true annotations.
    """
    if "test_annotations" not in dataset.facts or "oks" not in dataset.skeleton.scores:
        return {}
    content = read_annotations(dataset)
    results = {
        stage: results_of(dataset, joints, confidence[stage], content)
        for stage, joints in poses.items()
    }
    # write the last stage's
    path = dataset.folder / RESULT
    last_stage = list(results)[-1]
    # by json alone: save_json, which looks for NaN in each number, takes five times as long
    json_text = json.dumps(results[last_stage], allow_nan=False) + "\n"
    with files.replacing(path) as temporary:
        temporary.write_text(json_text, encoding="utf-8")
    print(f"{path}: {len(results[last_stage])} poses of {last_stage} in COCO's format")
    # score them all
    if not any(annotation["num_keypoints"] for annotation in content["annotations"]):
        print(
            "the test images have no annotations here, so there are no scores: COCO's server takes result.json"
        )
        return {}
    try:
        return {
            stage: coco_scores.compute(content, stage_results, dataset.skeleton.oks_sigmas)
            for stage, stage_results in results.items()
        }
    except RunError as error:  # pycocotools is optional
        print(error)
        return {}


def read_annotations(dataset):
    """Content of test_annotations.json.

    Raises InputError where it is not what step 1 wrote beside the Dataset.
    """
    path = dataset.folder / TEST_ANNOTATIONS
    if arrays.digest(files.present(path, arrays.STEP_1)) != dataset.facts["test_annotations"]:
        raise InputError(
            f"{path}: is not the file that dataset.json belongs to; run {arrays.STEP_1} again"
        )
    return coco_scores.read_content(path)


def results_of(dataset, joints_px, confidence, content):
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
    scores = oks.rescore(peaks, dataset.column("test", "score"))  # (N,)
    joints = dataset.to_photographs(joints_px.astype(float), "test")  # (N, J, 2) px
    # which rows: of detections, those that are left of each person's
    image_ids, annotation_ids = dataset.identities("test")[:, 1:].T.tolist()
    if dataset.detected:
        rows = _without_duplicates(dataset, joints, scores)
    else:
        rows = range(len(joints))
    # their categories: a detection has no annotation that would tell its own
    categories = {
        annotation["id"]: annotation["category_id"] for annotation in content["annotations"]
    }
    first_category = content["categories"][0]["id"]
    results = []
    for row in rows:
        keypoints = np.concatenate([joints[row], peaks[row, :, None]], 1)  # (J, 3)
        category = first_category if dataset.detected else categories[annotation_ids[row]]
        results.append(
            {
                "image_id": image_ids[row],
                "category_id": category,
                "keypoints": keypoints.ravel().round(3).tolist(),
                "score": round(float(scores[row]), 6),
            }
        )
    return results


def _without_duplicates(dataset, joints, scores):
    """The test rows (n,) that oks.nms leaves of each image's, image after image, as a list."""
    boxes = dataset.boxes("test")
    areas = boxes[:, 2] * boxes[:, 3]  # (N,) px^2
    sigmas = dataset.skeleton.oks_sigmas
    # an image's rows stand together, so that each piece is of one image
    images = dataset.column("test", "image")
    starts = np.flatnonzero(np.diff(images)) + 1
    kept_rows = []
    for rows in np.split(np.arange(len(images)), starts):
        kept = oks.nms(joints[rows], scores[rows], areas[rows], sigmas)
        kept_rows += rows[kept].tolist()
    return kept_rows


def score_tables(scores, dataset):
    """The ten scores of each stage as a list of tables, a column a stage; [] without scores."""
    if not scores:
        return []
    boxes = "detections" if dataset.detected else "true boxes"
    rows = []
    for score_name in coco_scores.NAMES:
        cells = [text_tables.score_cell(of_stage[score_name], None) for of_stage in scores.values()]
        rows.append((score_name, cells))
    return [
        text_tables.Table(
            f"COCO's scores, {boxes}",
            (("", tuple(scores)),),
            tuple(rows),
            "OKS of .50 to .95; 50, 75: of .50, .75; m, l: of medium and large people",
        )
    ]
