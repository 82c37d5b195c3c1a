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
    files,
    plots,
    runtime,
    scoring,
    shell,
    tables,
    training_plots,
    workdir,
)
from deeppose.dataset import open_dataset
from deeppose.shell import InputError

SHOWN = 1000  # training rows whose errors are drawn


def draw(folder, data, stages, confidence, model_path):
    """Write the pictures; returns caption -> path."""
    true = data.test_labels.astype(float)
    skeleton = data.skeleton
    sizes = data.sizes("test")
    pictures = {
        caption: folder / f"{name}_stage_2.png"
        for caption, name in (
            ("Detected joints (PDJ) over the threshold", "pdj"),
            ("Errors before and after the cascade", "errors"),
            ("The best, middling and worst test images", "poses"),
        )
    }
    pdj, errors, poses = pictures.values()
    floor = {"mean pose": np.broadcast_to(data.mean_pose, true.shape)}
    plots.pdj_curves(pdj, floor | stages, true, skeleton, sizes)
    error_plots.error_clouds(errors, stages, true, skeleton, sizes)
    drawing.contact_sheet(poses, data.test_images, stages, true, skeleton, sizes, confidence)
    if (clouds := error_samples(folder, data, stages["stage 1"], model_path)) is not None:
        pictures["What stage 2 learnt from, and what it meets"] = folder / "learning_stage_2.png"
        error_plots.learning_clouds(folder / "learning_stage_2.png", clouds, skeleton)
    pictures |= scoring.draw_training(folder)
    for stage in workdir.STAGES:
        curves = {
            name: workdir.curves_path(folder, name, stage)
            for name in (*skeleton.joints, workdir.SHARED)
        }
        curves = {
            name: files.load_csv(path, training_plots.STAGE_2_CURVES)
            for name, path in curves.items()
            if path.exists()
        }
        if curves:
            picture = folder / f"curves_stage_{stage}.png"
            pictures[f"Training of stage {stage}, joint by joint"] = picture
            training_plots.stage_2_training(picture, curves)
    return pictures


def error_samples(folder, data, first, model_path):
    """Errors (J, n, 2) in sizes of the predicted pose: simulated, real on training rows, and real
    on test rows; None without step 4's output.

    first  stage 1's joints (N, J, 2) px of the test rows
    """
    made_from = workdir.origin(folder, data, model=model_path)
    if not workdir.is_made_from(workdir.output_path(folder), made_from):
        return None
    rows = data.trained_on[:: max(1, len(data.trained_on) // SHOWN)]
    predicted = workdir.load_output(folder, data, model=model_path)[rows].astype(float)
    true = data.train_labels[rows].astype(float)
    try:
        _, drawn = deltas.load(folder, data)
    except InputError:  # there are none for these joints: no refiner learnt from any
        return None
    simulated = drawn[:, np.arange(len(rows)) % deltas.DRAWN]  # (J, n, 2) px
    size_trained = np.maximum(data.skeleton.pose_sizes_px(predicted), 1)[:, None]
    size_met = np.maximum(data.skeleton.pose_sizes_px(first), 1)[:, None]
    return {
        "simulated": simulated / size_trained,
        "real, trained on": (predicted - true).swapaxes(0, 1) / size_trained,
        "real, on the test images": (first - data.test_labels).swapaxes(0, 1) / size_met,
    }


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


def find_refiners(options, skeleton):
    """The folder that the refiners come from, and their stages; InputError where there are none."""
    folder = workdir.refiners_from(options.workdir, skeleton, options.model, options.refiner_epoch)
    stages = workdir.stages_here(folder, skeleton, options.refiner_epoch)
    if 2 not in stages:
        missing = workdir.refiner_path(folder, skeleton.joints[0], epoch=options.refiner_epoch)
        makes = f"{workdir.STEP_5} makes it" if options.refiner_epoch is None else workdir.KEPT
        raise InputError(f"{missing}: not found, nor any other refiner; {makes}")
    return folder, stages


def refine(test, refiners, refining, joints, confidence, options):
    """Refine stage 1's joints (N, J, 2) px stage by stage.

    Returns joints and confidence by stage ("stage 1", "stage 2" ...), and gains by stage's number.
    """
    stages = {"stage 1": joints}
    sure = {"stage 1": confidence}
    gains = {}
    rows = np.arange(len(joints))
    epoch = options.refiner_epoch
    for stage in refining:
        if refiners == options.workdir:  # those that came with a model learnt from other arrays
            warn_of_stale(test, stage, options)
        joints, confidence, gains[stage] = cascade.refine_from(
            refiners,
            test.data.skeleton,
            test.frames,
            rows,
            joints,
            confidence,
            test.run,
            stage,
            epoch,
        )
        stages[f"stage {stage}"] = joints
        sure[f"stage {stage}"] = confidence
    return stages, sure, gains


def warn_of_stale(test, stage, options):
    """Say which refiners learnt from what another stage before theirs predicted."""
    stale = workdir.stale_refiners(
        options.workdir, test.data, stage, test.model_path, options.refiner_epoch
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
    refiners, refining = find_refiners(options, open_dataset(folder).skeleton)
    test = scoring.begin(options, stage=2)
    data = test.data
    skeleton = data.skeleton
    run = test.run
    print(f"{run}" + (f"; refiners of {refiners}" if refiners != folder else ""))

    # predict and refine
    joints, confidence = test.predict(options)
    test.model = None  # a refiner's memory is needed more
    stages, confidence, gains = refine(test, refiners, refining, joints, confidence, options)
    if run.rank > 0:  # of several processes the first goes on
        return
    for stage in refining:
        scoring.save_poses(folder, stage, stages[f"stage {stage}"], confidence[f"stage {stage}"])
    by_coco = coco_results.score(data, stages, confidence)
    models = workdir.model_digests(test.model_path, skeleton, refiners, options.refiner_epoch)
    facts = test.facts(options, models, by_coco)
    facts |= {"refiner_epoch": options.refiner_epoch, "gains": gains.pop(2)}
    facts |= {f"gains_stage_{stage}": those for stage, those in gains.items()}
    if data.detected:
        scoring.finish_detected(folder / "metrics_stage_2.json", by_coco, data, facts)
        return

    # score, draw, and tell
    scores, intervals = scoring.evaluate(folder, data, stages, options.threshold)
    pictures = draw(folder, data, stages, confidence, test.model_path)
    score_tables = tables.score_tables(
        scores, intervals, skeleton, len(joints), options.threshold, data.seen_in_training
    ) + coco_results.score_tables(by_coco, data)
    scoring.write_report(folder, data, stages, confidence, score_tables, pictures, run)
    scoring.write(
        folder / "metrics_stage_2.json", scores, intervals, facts | scoring.seen_facts(data)
    )
    scoring.show(score_tables, len(joints))
    print("pictures: " + "  ".join(map(str, pictures.values())))
    print(f"all of it, to look through: {folder / 'report.html'}")


if __name__ == "__main__":
    sys.exit(main())
