"""Step 4: write what stage 1 predicts for every training row, held-out rows included.

Reads   model_1.pt  train_images.npy  dataset.json
Writes  train_output.npy, float32 (N, 28), pixels of the frame, and the same again as training_output.npy
Run     python Generate_train_output.py
"""
import sys

import numpy as np

from deeppose import arrays, runtime, shell
from deeppose.loader import Frames
from deeppose.shell import InputError
from Resnet_stage_1 import STEP_2, load_stage_1, predict_joints

NAMES = ("train_output.npy", "training_output.npy")  # original: its README calls the one file by both names


@shell.command
def main(argv=None):
    options = runtime.parser(__doc__).parse_args(argv)
    data = arrays.open_dataset(options.workdir)
    run = runtime.choose(options)
    network = load_stage_1(options.workdir, data, run)
    print(run)
    rows = np.arange(len(data.train_images))
    frames = Frames(data.train_images, run.device)
    joints = predict_joints(network, frames, rows, data, run, what="stage 1, training rows")
    if not np.isfinite(joints).all():
        raise InputError(f"{options.workdir / 'model_1.pt'}: predicts numbers that are not finite; {STEP_2}")
    for name in NAMES:
        arrays.save(options.workdir / name, joints.reshape(len(rows), -1))
    print(f"{options.workdir / NAMES[0]}: {len(rows)} poses, also as {NAMES[1]}; next: Train_stage_2.py")


if __name__ == "__main__":
    sys.exit(main())
