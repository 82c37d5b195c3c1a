"""Step 3: score stage 1 on the test images, beside the mean pose and the published scores.

Reads   model_1.pt  model_1.json  test_images.npy  test_labels.npy  test_rows.npy  dataset.json
        if it is there, curves_stage_1.csv
        with --box-scale test_photographs.txt and the photographs
Writes  test_output_1.npy  test_confidence_1.npy  metrics_stage_1.json
        pdj_stage_1.png  poses_stage_1.png  curves_stage_1.png
        report.html, where there is no refiner yet
        with --box-scale box_scale_stage_1.png; of data scored by OKS result.json
Run     python test_stage_1.py
"""

import sys
from pathlib import Path

import numpy as np

from deeppose import (
    coco_results,
    drawing,
    plots,
    runtime,
    score_output,
    scoring,
    shell,
    tables,
    true_boxes,
    workdir,
)


def parse(argv):
    """The command line: see --help."""
    parser = scoring.parser(__doc__)
    parser.add_argument(
        "--box-scale",
        type=true_boxes.factors,
        metavar="F,F,...",
        help="score as well on crops of the true joints' boxes, this many times as wide and high, such "
        'as 1.0,1.2,1.4,1.6,1.8,2.0: marked "true boxes" (default: only on step 1\'s frames)',
    )
    parser.add_argument(
        "--source",
        type=Path,
        default=Path("."),
        help="of --box-scale: the folder of photographs that step 1 was given (default: .)",
    )
    options = parser.parse_args(argv)
    if options.box_scale and options.sample:
        parser.error("--box-scale: of all test rows, not of a --sample")
    if options.box_scale and options.two_pass:
        parser.error("--box-scale: crops of true boxes are looked at once; leave --two-pass out")
    return options


def draw(folder, dataset, joints, confidence):
    """Write the pictures; returns caption -> path."""
    true = dataset.test_labels.astype(float)
    skeleton = dataset.skeleton
    sizes = dataset.sizes("test")
    # how many joints are found, beside the mean pose's
    pdj_picture = folder / "pdj_stage_1.png"
    poses = {"mean pose": np.broadcast_to(dataset.mean_pose, true.shape), "stage 1": joints}
    plots.pdj_curves(pdj_picture, poses, true, skeleton, sizes)
    # what right and wrong poses look like
    poses_picture = folder / "poses_stage_1.png"
    drawing.contact_sheet(
        poses_picture,
        dataset.test_images,
        {"stage 1": joints},
        true,
        skeleton,
        sizes,
        {"stage 1": confidence},
    )
    pictures = {
        "Detected joints (PDJ) over the threshold": pdj_picture,
        "The best, median and worst test images": poses_picture,
    }
    return pictures | score_output.draw_training(folder)


def score_true_boxes(photographs, test, options, scores):
    """Score stage 1 on crops of the true joints' boxes, and draw the scores over their size.

    Returns the table, the entry of metrics_stage_1.json, and caption -> path.

    photographs  a TrueBoxes
    scores       metrics.score's dictionary on step 1's frames: a level to compare with
    """
    stretch = true_boxes.is_stretched(test.provenance)
    factor_scores, factor_intervals = photographs.score(
        test.model, options.box_scale, stretch, test.run.alone(), options.flip_test
    )
    picture = options.workdir / "box_scale_stage_1.png"
    skeleton = test.dataset.skeleton
    plots.scores_by_factor(picture, factor_scores, factor_intervals, scores, skeleton)
    table = true_boxes.table(factor_scores, test.dataset, stretch)
    entry = true_boxes.described(factor_scores, factor_intervals, stretch)
    return table, entry, {"Scores over the size of true boxes": picture}


@shell.command
def main(argv=None):
    options = parse(argv)
    shell.until_end(runtime.log(options))
    folder = options.workdir
    test = scoring.begin(options, stage=1)
    dataset = test.dataset
    run = test.run
    # before the predictions, so that a missing photograph is an error at once
    photographs = None
    if options.box_scale:
        photographs = true_boxes.open_photographs(dataset, options.source)
    print(run)

    # predict
    joints, confidence = test.predict(options)
    if run.rank > 0:  # of several processes the first goes on
        return
    score_output.save_poses(folder, 1, joints, confidence)
    poses = {"stage 1": joints}
    confidences = {"stage 1": confidence}
    by_coco = coco_results.score(dataset, poses, confidences)
    models = workdir.model_digests(test.model_path, dataset.skeleton)
    facts = test.facts(options, models, by_coco)
    scores_path = folder / "metrics_stage_1.json"
    if dataset.detected:
        score_output.finish_detected(scores_path, by_coco, dataset, facts)
        return

    # score and draw
    scores, intervals = scoring.evaluate(dataset, poses, options.threshold)
    pictures = draw(folder, dataset, joints, confidence)
    score_tables = tables.score_tables(
        scores,
        intervals,
        dataset.skeleton,
        len(joints),
        options.threshold,
        dataset.seen_in_training,
    )
    score_tables += coco_results.score_tables(by_coco, dataset)
    if photographs:
        table, entry, picture = score_true_boxes(photographs, test, options, scores["stage 1"])
        score_tables.append(table)
        facts["true_boxes"] = entry
        pictures |= picture

    # write and tell; where there are refiners, the report is step 6's, of all stages
    refined = bool(workdir.stages_here(folder, dataset.skeleton))
    if not refined:
        score_output.write_report(dataset, poses, confidences, score_tables, pictures, run)
    facts |= score_output.seen_facts(dataset)
    score_output.write_scores(scores_path, scores, intervals, facts)
    score_output.print_tables(score_tables, len(joints))
    print("pictures: " + "  ".join(map(str, pictures.values())))
    when = ", when step 6 has written it anew" if refined else ""
    print(f"all of it, to look through: {folder / 'report.html'}{when}")


if __name__ == "__main__":
    sys.exit(main())
