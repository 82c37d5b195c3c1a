"""Step 3: score stage 1 on the test images, beside the mean pose as the floor and the published scores.

Reads   model_1.pt  test_images.npy  test_labels.npy  test_rows.npy  train_rows.npy  dataset.json
        model_1.json  curves_stage_1.csv (if they are there)
Writes  test_output_1.npy  metrics_stage_1.json  pdj_stage_1.png  poses_stage_1.png  curves_stage_1.png
Run     python test_stage_1.py
"""
import sys

import numpy as np

from deeppose import arrays, drawing, files, leakage, plots, runtime, scoring, shell, tables
from deeppose.loader import Frames
from deeppose.locks import lock
from Resnet_stage_1 import load_stage_1, predict_flipped, predict_joints


def draw(workdir, data, joints):
    """Write the pictures; returns their paths."""
    paths = {name: workdir / f"{name}_stage_1.png" for name in ("pdj", "poses", "curves")}
    true, skeleton = data.test_labels.astype(float), data.skeleton
    mean_pose = np.broadcast_to(data.mean_pose, true.shape)
    plots.pdj_curves(paths["pdj"], {"mean pose": mean_pose, "stage 1": joints}, true, skeleton)
    drawing.contact_sheet(paths["poses"], data.test_images, {"stage 1": joints}, true, skeleton)
    if not (workdir / "curves_stage_1.csv").exists():
        return [paths["pdj"], paths["poses"]]
    with lock(workdir, "curves_stage_1", wait=True):  # step 6 draws it too
        plots.stage_1_training(paths["curves"], files.load_csv(workdir / "curves_stage_1.csv", plots.STAGE_1_CURVES))
    return list(paths.values())


@shell.command
def main(argv=None):
    options = scoring.parser(__doc__).parse_args(argv)
    workdir, data = options.workdir, arrays.open_dataset(options.workdir)
    run = runtime.choose(options)
    shell.until_end(lock(workdir, "test_output_1"))
    network = load_stage_1(workdir, data, run)
    leakage.check_model(workdir / "model_1.pt", data)
    print(run)
    rows = np.arange(len(data.test_images))
    predict, frames = predict_flipped if options.flip_test else predict_joints, Frames(data.test_images, run.device)
    joints = predict(network, frames, rows, data, run, what="stage 1, test rows")
    scores, intervals = scoring.evaluate(workdir, data, {"stage 1": joints}, options.threshold)
    arrays.save(workdir / "test_output_1.npy", joints.reshape(len(rows), -1))
    pictures = draw(workdir, data, joints)
    scoring.write(workdir / "metrics_stage_1.json", scores, intervals,
                  {"images": len(rows), "flip_test": options.flip_test, "run": run.facts()}
                  | scoring.seen_facts(data))
    score_tables = tables.score_tables(scores, intervals, data.skeleton, len(rows), options.threshold,
                                       data.seen_in_training)
    scoring.show(score_tables, len(rows))
    print("pictures: " + "  ".join(map(str, pictures)))


if __name__ == "__main__":
    sys.exit(main())
