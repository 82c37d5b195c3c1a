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


def draw(folder, data, joints, confidence):
    """Write the pictures; returns caption -> path."""
    true = data.test_labels.astype(float)
    skeleton = data.skeleton
    sizes = data.sizes("test")
    pdj = folder / "pdj_stage_1.png"
    poses = folder / "poses_stage_1.png"
    mean_pose = np.broadcast_to(data.mean_pose, true.shape)
    plots.pdj_curves(pdj, {"mean pose": mean_pose, "stage 1": joints}, true, skeleton, sizes)
    drawing.contact_sheet(
        poses, data.test_images, {"stage 1": joints}, true, skeleton, sizes, {"stage 1": confidence}
    )
    pictures = {
        "Detected joints (PDJ) over the threshold": pdj,
        "The best, middling and worst test images": poses,
    }
    return pictures | scoring.draw_training(folder)


@shell.command
def main(argv=None):
    options = parse(argv)
    shell.until_end(runtime.log(options))
    folder = options.workdir
    test = scoring.begin(options, stage=1)
    data = test.data
    run = test.run
    in_photographs = None
    if options.box_scale:
        in_photographs = true_boxes.open_photographs(data, options.source)
    print(run)

    # predict
    joints, confidence = test.predict(options)
    if run.rank > 0:  # of several processes the first goes on
        return
    scoring.save_poses(folder, 1, joints, confidence)
    by_coco = coco_results.score(data, {"stage 1": joints}, {"stage 1": confidence})
    models = workdir.model_digests(test.model_path, data.skeleton)
    facts = test.facts(options, models, by_coco)
    if data.detected:
        scoring.finish_detected(folder / "metrics_stage_1.json", by_coco, data, facts)
        return

    # score, draw, and tell
    scores, intervals = scoring.evaluate(folder, data, {"stage 1": joints}, options.threshold)
    pictures = draw(folder, data, joints, confidence)
    score_tables = tables.score_tables(
        scores, intervals, data.skeleton, len(joints), options.threshold, data.seen_in_training
    ) + coco_results.score_tables(by_coco, data)
    if in_photographs:
        stretch = true_boxes.is_stretched(test.provenance)
        boxed, boxed_intervals = in_photographs.score(
            test.model, options.box_scale, stretch, run.alone(), options.flip_test
        )
        picture = folder / "box_scale_stage_1.png"
        plots.scores_by_factor(picture, boxed, boxed_intervals, scores["stage 1"], data.skeleton)
        pictures["Scores over the size of true boxes"] = picture
        score_tables.append(true_boxes.table(boxed, data, stretch))
        facts["true_boxes"] = true_boxes.described(boxed, boxed_intervals, stretch)
    refined = bool(workdir.stages_here(folder, data.skeleton))
    if not refined:  # else the report is step 6's, of all stages
        scoring.write_report(
            folder, data, {"stage 1": joints}, {"stage 1": confidence}, score_tables, pictures, run
        )
    scoring.write(
        folder / "metrics_stage_1.json", scores, intervals, facts | scoring.seen_facts(data)
    )
    scoring.show(score_tables, len(joints))
    print("pictures: " + "  ".join(map(str, pictures.values())))
    when = ", when step 6 has written it anew" if refined else ""
    print(f"all of it, to look through: {folder / 'report.html'}{when}")


if __name__ == "__main__":
    sys.exit(main())
