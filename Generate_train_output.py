"""Step 4: write what stage 1 predicts for every training row, held-out rows included.

Reads   model_1.pt  train_images.npy  dataset.json
Writes  train_output.npy, float32 (N, 28), pixels of the frame, and the same again as training_output.npy
        train_output.json: which data and which model_1.pt it was made from; step 5 compares them
Run     python Generate_train_output.py

For a third stage, after step 5: --stage 2 writes what stage 2 makes of train_output.npy, train_output_2.npy.
"""
import sys

import numpy as np

from Cascade_1_net import STEP_5, refine, stages_here
from deeppose import arrays, predictions, runtime, shell
from deeppose.loader import Frames
from deeppose.locks import lock
from deeppose.shell import InputError
from Resnet_stage_1 import STEP_2, load_stage_1, predict_joints

SECOND_NAME = "training_output.npy"  # original: its README calls train_output.npy by both names


def stage_1(workdir, data, frames, run):
    """Stage 1's joints (N, J, 2) px of all training rows."""
    network = load_stage_1(workdir, data, run)
    joints = predict_joints(network, frames, np.arange(len(data.train_images)), data, run, "stage 1, training rows")
    if not np.isfinite(joints).all():
        raise InputError(f"{workdir / 'model_1.pt'}: predicts numbers that are not finite; {STEP_2}")
    return joints


def stage_2(workdir, data, frames, run):
    """Stage 2's joints (N, J, 2) px of all training rows, from train_output.npy."""
    if 2 not in stages_here(workdir, data.skeleton):
        raise InputError(f"{workdir}: has no checkpoint of any joint; {STEP_5}")
    first = predictions.load(workdir, data)
    return refine(workdir, data, frames, np.arange(len(first)), first, run)[0]


@shell.command
def main(argv=None):
    parser = runtime.parser(__doc__)
    parser.add_argument("--stage", type=int, choices=(1, 2), default=1, help="whose predictions (default: 1)")
    options = parser.parse_args(argv)
    workdir, data = options.workdir, arrays.open_dataset(options.workdir)
    run = runtime.choose(options)
    path = predictions.path_of(workdir, options.stage)
    shell.until_end(lock(workdir, path.stem))
    made_from = predictions.origin(workdir, data, options.stage)
    print(run)
    frames = Frames(data.train_images, run.device)
    joints = (stage_1 if options.stage == 1 else stage_2)(workdir, data, frames, run)
    if options.stage == 1:
        arrays.save(workdir / SECOND_NAME, joints.reshape(len(joints), -1))
    predictions.save(path, joints, made_from)
    print(f"{path}: {len(joints)} poses{f', also as {SECOND_NAME}' if options.stage == 1 else ''}; "
          f"next: Train_stage_2.py{' --stage 3' if options.stage == 2 else ''}")


if __name__ == "__main__":
    sys.exit(main())
