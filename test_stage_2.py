"""Step 6: refine stage 1's estimates joint by joint, stage by stage; score all stages side by side.

Reads   model_1.pt  model_<joint>.pt  model_shared.pt  their .json
        test_images.npy  test_labels.npy  test_rows.npy  dataset.json
        what is there of model_3_<joint>.pt  train_output.npy  curves_stage_1.csv  curves_<joint>.csv
        with --model the models from there, the refiners only where --workdir has none
Writes  test_output_2.npy  test_confidence_2.npy  metrics_stage_2.json
        pdj_stage_2.png  poses_stage_2.png  errors_stage_2.png  learning_stage_2.png
        curves_stage_2.png  report.html
        with a stage 3 test_output_3.npy; of data scored by OKS result.json
Run     python test_stage_2.py
"""

import sys

import numpy as np

from deeppose import (
    cascade,
    coco_results,
    csv_files,
    deltas,
    drawing,
    error_plots,
    plots,
    runtime,
    score_output,
    scoring,
    shell,
    tables,
    training_plots,
    workdir,
)
from deeppose.dataset import open_dataset
from deeppose.shell import InputError

DRAWN_ROWS = 1000  # training rows whose errors are drawn


def parse(argv):
    """The command line: see --help."""
    parser = scoring.parser(__doc__)
    parser.add_argument(
        "--refiner-epoch",
        type=shell.at_least(1),
        metavar="N",
        help="take the refiners as they were after epoch N, which --keep-epochs of step 5 kept "
        "(default: each one's best epoch)",
    )
    return parser.parse_args(argv)


def draw(folder, dataset, poses, confidence, model_path):
    """Write the pictures; returns caption -> path.

    poses, confidence  stage's name -> (N, J, 2) px and (N, J)
    """
    true = dataset.test_labels.astype(float)
    skeleton = dataset.skeleton
    sizes = dataset.sizes("test")
    # what the stages make of the test images
    pdj_picture = folder / "pdj_stage_2.png"
    errors_picture = folder / "errors_stage_2.png"
    poses_picture = folder / "poses_stage_2.png"
    mean_pose = {"mean pose": np.broadcast_to(dataset.mean_pose, true.shape)}
    plots.pdj_curves(pdj_picture, mean_pose | poses, true, skeleton, sizes)
    error_plots.error_clouds(errors_picture, poses, true, skeleton, sizes)
    drawing.contact_sheet(
        poses_picture, dataset.test_images, poses, true, skeleton, sizes, confidence
    )
    pictures = {
        "Detected joints (PDJ) over the threshold": pdj_picture,
        "Errors before and after the cascade": errors_picture,
        "The best, median and worst test images": poses_picture,
    }
    # whether stage 2 meets errors of the kind that it learnt from
    clouds = error_samples(folder, dataset, poses["stage 1"], model_path)
    if clouds is not None:
        learning_picture = folder / "learning_stage_2.png"
        pictures["What stage 2 learnt from, and what it meets"] = learning_picture
        error_plots.learning_clouds(learning_picture, clouds, skeleton)
    # how all stages learnt
    return pictures | score_output.draw_training(folder) | draw_refiner_training(folder, skeleton)


def draw_refiner_training(folder, skeleton):
    """Write curves_stage_S.png of the stages that were trained here; returns caption -> path."""
    pictures = {}
    for stage in workdir.STAGES:
        curves = {}
        for refiner_name in (*skeleton.joints, workdir.SHARED):
            curves_path = workdir.curves_path(folder, refiner_name, stage)
            if curves_path.exists():
                curves[refiner_name] = csv_files.load_numbers(
                    curves_path, training_plots.STAGE_2_CURVES
                )
        if curves:
            picture = folder / f"curves_stage_{stage}.png"
            pictures[f"Training of stage {stage}, joint by joint"] = picture
            training_plots.stage_2_training(picture, curves)
    return pictures


def error_samples(folder, dataset, stage_1_joints, model_path):
    """Errors (J, n, 2) in sizes of the predicted pose: simulated, real on training rows, and real
    on test rows; None without step 4's output.

    stage_1_joints  (N, J, 2) px of the test rows
    """
    made_from = workdir.origin(folder, dataset, model_path=model_path)
    if not workdir.is_made_from(workdir.output_path(folder), made_from):
        return None
    # real errors of some training rows
    trained_on = dataset.trained_on
    rows = trained_on[:: max(1, len(trained_on) // DRAWN_ROWS)]
    predicted = workdir.load_output(folder, dataset, model_path=model_path)[rows].astype(float)
    true = dataset.train_labels[rows].astype(float)
    # simulated ones, as many
    try:
        _, drawn_deltas = deltas.load(folder, dataset)
    except InputError:  # there are none for these joints: no refiner learnt from any
        return None
    simulated = drawn_deltas[:, np.arange(len(rows)) % deltas.DRAWN]  # (J, n, 2) px
    # the sizes that a refiner's boxes are made by, (n, 1) and (N, 1) px
    skeleton = dataset.skeleton
    trained_sizes = np.maximum(skeleton.pose_sizes_px(predicted), 1)[:, None]
    test_sizes = np.maximum(skeleton.pose_sizes_px(stage_1_joints), 1)[:, None]
    test_errors = stage_1_joints - dataset.test_labels  # (N, J, 2) px
    return {
        "simulated": simulated / trained_sizes,
        "real, trained on": (predicted - true).swapaxes(0, 1) / trained_sizes,
        "real, on the test images": test_errors.swapaxes(0, 1) / test_sizes,
    }


def find_refiners(options, skeleton):
    """The folder that the refiners come from, and their stages; InputError where there are none."""
    workdir.model_path(options)  # before the refiners: --model may name no folder of a model
    epoch = options.refiner_epoch
    folder = workdir.refiners_from(options.workdir, skeleton, options.model, epoch)
    stages = workdir.stages_here(folder, skeleton, epoch)
    if 2 not in stages:
        missing = workdir.refiner_path(folder, skeleton.joints[0], epoch=epoch)
        advice = f"{workdir.STEP_5} makes it" if epoch is None else workdir.KEPT
        raise InputError(f"{missing}: not found, nor any other refiner; {advice}")
    return folder, stages


def refine(test, refiner_folder, stages, joints, confidence, options):
    """Refine stage 1's joints (N, J, 2) px stage by stage.

    Returns joints and confidence by stage ("stage 1", "stage 2" ...), and gains by stage's number.
    """
    poses = {"stage 1": joints}
    confidences = {"stage 1": confidence}
    gains = {}
    rows = np.arange(len(joints))
    for stage in stages:
        # refiners that came with a model learnt from other arrays: theirs cannot be compared
        if refiner_folder == options.workdir:
            warn_of_stale(test, stage, options)
        joints, confidence, gains[stage] = cascade.refine_from(
            refiner_folder,
            test.dataset.skeleton,
            test.frames,
            rows,
            joints,
            confidence,
            test.run,
            stage,
            options.refiner_epoch,
        )
        poses[f"stage {stage}"] = joints
        confidences[f"stage {stage}"] = confidence
    return poses, confidences, gains


def warn_of_stale(test, stage, options):
    """Say which refiners learnt from what another stage before theirs predicted."""
    stale = workdir.stale_refiners(
        options.workdir, test.dataset, stage, test.model_path, options.refiner_epoch
    )
    if stale:
        print(
            f"warning: stage {stage}'s refiners of {', '.join(stale)} learnt from what an earlier stage "
            f"{stage - 1} predicted; train them again (step 5), or remove them"
        )


@shell.command
def main(argv=None):
    options = parse(argv)
    shell.until_end(runtime.log(options))
    folder = options.workdir
    skeleton = open_dataset(folder).skeleton
    refiner_folder, stages = find_refiners(options, skeleton)
    test = scoring.begin(options, stage=2)
    dataset = test.dataset
    run = test.run
    print(f"{run}" + (f"; refiners of {refiner_folder}" if refiner_folder != folder else ""))

    # predict and refine
    joints, confidence = test.predict(options)
    test.model = None  # a refiner's memory is needed more
    poses, confidences, gains = refine(test, refiner_folder, stages, joints, confidence, options)
    if run.rank > 0:  # of several processes the first goes on
        return
    for stage in stages:
        stage_name = f"stage {stage}"
        score_output.save_poses(folder, stage, poses[stage_name], confidences[stage_name])
    by_coco = coco_results.score(dataset, poses, confidences)
    models = workdir.model_digests(test.model_path, skeleton, refiner_folder, options.refiner_epoch)
    facts = test.facts(options, models, by_coco)
    facts |= {"refiner_epoch": options.refiner_epoch, "gains": gains.pop(2)}
    facts |= {f"gains_stage_{stage}": stage_gains for stage, stage_gains in gains.items()}
    scores_path = folder / "metrics_stage_2.json"
    if dataset.detected:
        score_output.finish_detected(scores_path, by_coco, dataset, facts)
        return

    # score and draw
    scores, intervals = scoring.evaluate(dataset, poses, options.threshold)
    pictures = draw(folder, dataset, poses, confidences, test.model_path)
    score_tables = tables.score_tables(
        scores, intervals, skeleton, len(joints), options.threshold, dataset.seen_in_training
    )
    score_tables += coco_results.score_tables(by_coco, dataset)

    # write and tell
    score_output.write_report(dataset, poses, confidences, score_tables, pictures, run)
    facts |= score_output.seen_facts(dataset)
    score_output.write_scores(scores_path, scores, intervals, facts)
    score_output.print_tables(score_tables, len(joints))
    print("pictures: " + "  ".join(map(str, pictures.values())))
    print(f"all of it, to look through: {folder / 'report.html'}")


if __name__ == "__main__":
    sys.exit(main())
