"""Step 3: score stage 1 on the test images, beside the mean pose as the floor.

Reads   model_1.pt  test_images.npy  test_labels.npy  dataset.json
Writes  test_output_1.npy  metrics_stage_1.json  pdj_stage_1.png  poses_stage_1.png
Run     python test_stage_1.py
"""
import sys

import numpy as np

from deeppose import arrays, metrics, plots, runtime, shell, tables
from deeppose.loader import Frames
from deeppose.locks import lock
from Resnet_stage_1 import load_stage_1, predict_joints


@shell.command
def main(argv=None):
    options = runtime.parser(__doc__).parse_args(argv)
    workdir, data = options.workdir, arrays.open_dataset(options.workdir)
    run = runtime.choose(options)
    shell.until_end(lock(workdir, "test_output_1"))
    network = load_stage_1(workdir, data, run)
    print(run)
    rows = np.arange(len(data.test_images))
    joints = predict_joints(network, Frames(data.test_images, run.device), rows, data, run, what="stage 1, test rows")
    arrays.save(workdir / "test_output_1.npy", joints.reshape(len(rows), -1))
    scores = {"mean pose": metrics.score(np.tile(data.mean_pose, (len(rows), 1, 1)), data.test_labels, data.skeleton),
              "stage 1": metrics.score(joints, data.test_labels, data.skeleton)}
    arrays.save_json(workdir / "metrics_stage_1.json", {name.replace(" ", "_"): score for name, score in scores.items()}
                     | {"images": len(rows), "run": run.facts()})
    plots.pdj_curves(workdir / "pdj_stage_1.png", {"stage 1": joints}, data.test_labels, data.skeleton)
    plots.poses(workdir / "poses_stage_1.png", data.test_images, {"stage 1": joints}, data.test_labels, data.skeleton)
    print(f"{len(rows)} test images, all scores as fractions\n\n{tables.score_table(scores, data.skeleton)}\n")
    print("pictures: " + "  ".join(str(workdir / name) for name in ("pdj_stage_1.png", "poses_stage_1.png")))


if __name__ == "__main__":
    sys.exit(main())
