"""Step 6: refine stage 1's estimates joint by joint, then score both stages side by side.

Reads   model_1.pt  model_<joint>.pt  test_images.npy  test_labels.npy  dataset.json
Writes  test_output_2.npy  metrics_stage_2.json  pdj_stage_2.png  poses_stage_2.png
Run     python test_stage_2.py
"""
import sys

import numpy as np

from Cascade_1_net import STEP_5, box_sides, load_cascade, refine_joint
from deeppose import arrays, metrics, plots, runtime, shell, tables
from deeppose.loader import Frames
from deeppose.locks import lock
from deeppose.shell import InputError
from Resnet_stage_1 import load_stage_1, predict_joints


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


@shell.command
def main(argv=None):
    options = runtime.parser(__doc__).parse_args(argv)
    workdir, data = options.workdir, arrays.open_dataset(options.workdir)
    skeleton, true, images = data.skeleton, data.test_labels, data.test_images
    if not any((workdir / f"model_{name}.pt").exists() for name in skeleton.joints):
        raise InputError(f"{workdir / f'model_{skeleton.joints[0]}.pt'}: not found, nor any other joint's; {STEP_5}")
    run = runtime.choose(options)
    shell.until_end(lock(workdir, "test_output_2"))
    network = load_stage_1(workdir, data, run)
    print(run)
    frames = Frames(images, run.device)
    first = predict_joints(network, frames, np.arange(len(images)), data, run, what="stage 1, test rows")
    del network
    print("stage 2, joint by joint:")
    second, gains = refine(workdir, data, frames, first, run)
    poses = {"mean pose": np.tile(data.mean_pose, (len(images), 1, 1)), "stage 1": first, "stage 2": second}
    scores = {name: metrics.score(joints, true, skeleton) for name, joints in poses.items()}
    arrays.save(workdir / "test_output_2.npy", second.reshape(len(second), -1))
    arrays.save_json(workdir / "metrics_stage_2.json", {name.replace(" ", "_"): score for name, score in scores.items()}
                     | {"images": len(images), "gains": gains, "run": run.facts()})
    stages = {"stage 1": first, "stage 2": second}
    plots.pdj_curves(workdir / "pdj_stage_2.png", stages, true, skeleton)
    plots.poses(workdir / "poses_stage_2.png", images, stages, true, skeleton)
    print(f"{len(images)} test images, all scores as fractions\n\n{tables.score_table(scores, skeleton)}\n")
    print("pictures: " + "  ".join(str(workdir / name) for name in ("pdj_stage_2.png", "poses_stage_2.png")))


if __name__ == "__main__":
    sys.exit(main())
