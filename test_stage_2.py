"""Step 6: refine stage 1's estimates joint by joint, then score both stages side by side.

Reads   model_1.pt  model_<joint>.pt  test_images.npy  test_labels.npy  test_rows.npy  dataset.json
        curves_stage_1.csv  curves_<joint>.csv (if they are there)
Writes  test_output_2.npy  metrics_stage_2.json  pdj_stage_2.png  poses_stage_2.png  errors_stage_2.png
        curves_stage_2.png  report.html
Run     python test_stage_2.py
"""
import sys

import numpy as np

from Cascade_1_net import STEP_5, box_sides, load_cascade, refine_joint
from deeppose import arrays, drawing, files, plots, report, runtime, scoring, shell, tables
from deeppose.loader import Frames
from deeppose.locks import lock
from deeppose.shell import InputError
from Resnet_stage_1 import load_stage_1, predict_flipped, predict_joints


def refine(workdir, data, frames, joints_px, run):
    """Stage-2 joints (N, J, 2) px from stage 1's, one network in memory at a time, and each joint's gain.

    A joint whose checkpoint is missing keeps its estimate; its gain is None.
    """
    rows, refined, gains = np.arange(len(joints_px)), joints_px.copy(), {}
    sides = box_sides(joints_px, data.skeleton)
    for joint, name in enumerate(data.skeleton.joints):
        network = load_cascade(workdir, name, run)
        gains[name] = None if network is None else network.gain.item()
        if network is not None:
            refined[:, joint] = refine_joint(network, frames, rows, joints_px[:, joint], sides, run)
        print(f"  {name:<16}" + (f"gain {gains[name]:.2f}" if network is not None else
                                 f"keeps its stage-1 estimate: no model_{name}.pt"), flush=True)
    return refined, gains


def draw(workdir, data, stages):
    """Write the pictures; returns caption -> path."""
    true, skeleton = data.test_labels.astype(float), data.skeleton
    pictures = {caption: workdir / f"{name}_stage_2.png" for caption, name in (
        ("Detected joints (PDJ) over the threshold", "pdj"), ("Errors before and after stage 2", "errors"),
        ("The best, middling and worst test images", "poses"))}
    pdj, errors, poses = pictures.values()
    plots.pdj_curves(pdj, {"mean pose": np.broadcast_to(data.mean_pose, true.shape)} | stages, true, skeleton)
    plots.error_clouds(errors, *stages.values(), true, skeleton)
    drawing.contact_sheet(poses, data.test_images, stages, true, skeleton)
    if (workdir / "curves_stage_1.csv").exists():
        pictures["Training of stage 1"] = workdir / "curves_stage_1.png"
        plots.stage_1_training(workdir / "curves_stage_1.png", files.load_csv(workdir / "curves_stage_1.csv"))
    curves = {name: workdir / f"curves_{name}.csv" for name in skeleton.joints}
    curves = {name: files.load_csv(path) for name, path in curves.items() if path.exists()}
    if curves:
        pictures["Training of stage 2, joint by joint"] = workdir / "curves_stage_2.png"
        plots.stage_2_training(workdir / "curves_stage_2.png", curves)
    return pictures


def write_report(workdir, data, stages, score_tables, pictures, run):
    """Write report.html."""
    rows = arrays.load(workdir / "test_rows.npy", np.float64, (len(data.test_images), 6), arrays.STEP_1)
    names = [f"test row {n}, image {int(number)} of {'LSP' if which == 1 else 'LSPe'}"
             for n, (which, number) in enumerate(rows[:, :2])]
    poses = {name.replace(" ", "_"): joints for name, joints in stages.items()} | {"true": data.test_labels}
    report.write(workdir / "report.html", "DeepPose: both stages on the test images",
                 f"{len(names)} images from {workdir.resolve()}; {run}", score_tables, pictures,
                 data.test_images, names, poses, data.skeleton)


@shell.command
def main(argv=None):
    options = scoring.parser(__doc__).parse_args(argv)
    workdir, data = options.workdir, arrays.open_dataset(options.workdir)
    skeleton, images = data.skeleton, data.test_images
    if not any((workdir / f"model_{name}.pt").exists() for name in skeleton.joints):
        raise InputError(f"{workdir / f'model_{skeleton.joints[0]}.pt'}: not found, nor any other joint's; {STEP_5}")
    run = runtime.choose(options)
    shell.until_end(lock(workdir, "test_output_2"))
    network = load_stage_1(workdir, data, run)
    print(run)
    predict, frames = predict_flipped if options.flip_test else predict_joints, Frames(images, run.device)
    first = predict(network, frames, np.arange(len(images)), data, run, what="stage 1, test rows")
    del network
    print("stage 2, joint by joint:")
    second, gains = refine(workdir, data, frames, first, run)
    stages = {"stage 1": first, "stage 2": second}
    scores, intervals = scoring.evaluate(workdir, data, stages, options.threshold)
    arrays.save(workdir / "test_output_2.npy", second.reshape(len(second), -1))
    pictures = draw(workdir, data, stages)
    score_tables = tables.score_tables(scores, intervals, skeleton, len(images), options.threshold)
    write_report(workdir, data, stages, score_tables, pictures, run)
    scoring.write(workdir / "metrics_stage_2.json", scores, intervals,
                  {"images": len(images), "flip_test": options.flip_test, "gains": gains, "run": run.facts()})
    scoring.show(score_tables, len(images))
    print("pictures: " + "  ".join(map(str, pictures.values())))
    print(f"all of it, to look through: {workdir / 'report.html'}")


if __name__ == "__main__":
    sys.exit(main())
