"""Step 6: refine stage 1's estimates joint by joint, stage by stage, then score all stages side by side.

Reads   model_1.pt  model_<joint>.pt  test_images.npy  test_labels.npy  test_rows.npy  dataset.json
        and what is there of model_1.json  train_rows.npy  model_3_<joint>.pt  train_output.npy
        curves_stage_1.csv  curves_<joint>.csv
Writes  test_output_2.npy  metrics_stage_2.json  pdj_stage_2.png  poses_stage_2.png  errors_stage_2.png
        learning_stage_2.png  curves_stage_2.png  report.html; with a stage 3 test_output_3.npy
Run     python test_stage_2.py
"""
import sys

import numpy as np

from Cascade_1_net import STAGES, STEP_5, refine, stages_here
from deeppose import (
    arrays,
    deltas,
    drawing,
    files,
    leakage,
    plots,
    predictions,
    report,
    runtime,
    scoring,
    shell,
    tables,
)
from deeppose.geometry import SIGMA, box_sides
from deeppose.loader import Frames
from deeppose.locks import lock
from deeppose.predictions import curves_name
from deeppose.shell import InputError
from Resnet_stage_1 import load_stage_1, predict_flipped, predict_joints

SHOWN = 1000  # training rows whose errors are drawn


def draw(workdir, data, stages):
    """Write the pictures; returns caption -> path."""
    true, skeleton = data.test_labels.astype(float), data.skeleton
    pictures = {caption: workdir / f"{name}_stage_2.png" for caption, name in (
        ("Detected joints (PDJ) over the threshold", "pdj"), ("Errors before and after the cascade", "errors"),
        ("The best, middling and worst test images", "poses"))}
    pdj, errors, poses = pictures.values()
    plots.pdj_curves(pdj, {"mean pose": np.broadcast_to(data.mean_pose, true.shape)} | stages, true, skeleton)
    plots.error_clouds(errors, stages, true, skeleton)
    drawing.contact_sheet(poses, data.test_images, stages, true, skeleton)
    if (clouds := learnt_and_met(workdir, data, stages["stage 1"])) is not None:
        pictures["What stage 2 learnt from, and what it meets"] = workdir / "learning_stage_2.png"
        plots.learning_clouds(workdir / "learning_stage_2.png", clouds, skeleton)
    if (workdir / "curves_stage_1.csv").exists():
        pictures["Training of stage 1"] = workdir / "curves_stage_1.png"
        curves = files.load_csv(workdir / "curves_stage_1.csv", plots.STAGE_1_CURVES)
        with lock(workdir, "curves_stage_1", wait=True):  # step 3 draws it too
            plots.stage_1_training(workdir / "curves_stage_1.png", curves)
    for stage in STAGES:
        curves = {name: workdir / curves_name(name, stage) for name in skeleton.joints}
        curves = {name: files.load_csv(path, plots.STAGE_2_CURVES) for name, path in curves.items() if path.exists()}
        if curves:
            pictures[f"Training of stage {stage}, joint by joint"] = picture = workdir / f"curves_stage_{stage}.png"
            plots.stage_2_training(picture, curves)
    return pictures


def learnt_and_met(workdir, data, first):
    """Errors (J, n, 2) in torso diameters: simulated, real on training rows, real on test rows; None without step 4's.

    first  stage 1's joints (N, J, 2) px of the test rows
    """
    if not predictions.made_from(predictions.path_of(workdir), predictions.origin(workdir, data)):
        return None
    rows = data.trained_on[::max(1, len(data.trained_on) // SHOWN)]
    predicted, true = predictions.load(workdir, data)[rows].astype(float), data.train_labels[rows].astype(float)
    simulated = deltas.load(workdir, data.skeleton)[1][:, np.arange(len(rows)) % deltas.DRAWN]  # (J, n, 2) px
    diameters = {"trained": box_sides(predicted, data.skeleton) / SIGMA, "met": box_sides(first, data.skeleton) / SIGMA}
    return {"simulated": simulated / diameters["trained"][:, None],
            "real, trained on": (predicted - true).swapaxes(0, 1) / diameters["trained"][:, None],
            "real, on the test images": (first - data.test_labels).swapaxes(0, 1) / diameters["met"][:, None]}


def write_report(workdir, data, stages, score_tables, pictures, run):
    """Write report.html."""
    names = [f"test row {n}, image {image} of {'LSP' if number == 1 else 'LSPe'}"
             for n, (number, image, _) in enumerate(data.identities("test"))]
    poses = {name.replace(" ", "_"): joints for name, joints in stages.items()} | {"true": data.test_labels}
    subtitle = f"{len(names)} images from {workdir.resolve()}; {run}"
    if data.seen_in_training:
        subtitle += f"; {tables.seen_note(data.seen_in_training, len(names))}"
    report.write(workdir / "report.html", f"DeepPose: {len(stages)} stages on the test images", subtitle,
                 score_tables, pictures, data.test_images, names, poses, data.skeleton)


@shell.command
def main(argv=None):
    options = scoring.parser(__doc__).parse_args(argv)
    workdir, data = options.workdir, arrays.open_dataset(options.workdir)
    skeleton, images, refining = data.skeleton, data.test_images, stages_here(workdir, data.skeleton)
    if 2 not in refining:
        raise InputError(f"{workdir / f'model_{skeleton.joints[0]}.pt'}: not found, nor any other joint's; {STEP_5}")
    run = runtime.choose(options)
    shell.until_end(lock(workdir, "test_output_2"))
    network = load_stage_1(workdir, data, run)
    leakage.check_model(workdir / "model_1.pt", data)
    print(run)
    predict, frames = predict_flipped if options.flip_test else predict_joints, Frames(images, run.device)
    rows = np.arange(len(images))
    joints, gains = predict(network, frames, rows, data, run, what="stage 1, test rows"), {}
    stages = {"stage 1": joints}
    del network
    for stage in refining:
        if stale := predictions.stale_refiners(workdir, data, stage):
            print(f"warning: stage {stage}'s refiners of {', '.join(stale)} learnt from what an earlier stage "
                  f"{stage - 1} predicted; train them again (step 5), or remove them")
        joints, gains[stage] = refine(workdir, data, frames, rows, joints, run, stage)
        stages[f"stage {stage}"] = joints
    scores, intervals = scoring.evaluate(workdir, data, stages, options.threshold)
    for stage in refining:
        arrays.save(workdir / f"test_output_{stage}.npy", stages[f"stage {stage}"].reshape(len(images), -1))
    pictures = draw(workdir, data, stages)
    score_tables = tables.score_tables(scores, intervals, skeleton, len(images), options.threshold,
                                       data.seen_in_training)
    write_report(workdir, data, stages, score_tables, pictures, run)
    scoring.write(workdir / "metrics_stage_2.json", scores, intervals,
                  {"images": len(images), "flip_test": options.flip_test, "gains": gains.pop(2), "run": run.facts()}
                  | {f"gains_stage_{stage}": those for stage, those in gains.items()}
                  | scoring.seen_facts(data))
    scoring.show(score_tables, len(images))
    print("pictures: " + "  ".join(map(str, pictures.values())))
    print(f"all of it, to look through: {workdir / 'report.html'}")


if __name__ == "__main__":
    sys.exit(main())
