"""Step 4: write what stage 1 predicts for every training row, held-out rows included.

Reads   model_1.pt  model_1.json  train_images.npy  train_rows.npy  test_rows.npy  dataset.json
Writes  train_output.npy, float32 (N, 2 J), pixels of the frame
        training_output.npy, the same again
        train_output.json: which data and which model_1.pt it was made from; step 5 compares them
Run     python Generate_train_output.py
"""

import sys

import numpy as np

from deeppose import arrays, leakage, networks, run_flags, runtime, shell, workdir
from deeppose.dataset import open_dataset
from deeppose.loader import Frames
from deeppose.locks import lock
from deeppose.shell import InputError

SECOND_NAME = "training_output.npy"  # original: its README calls train_output.npy by both names


@shell.command
def main(argv=None):
    parser = run_flags.parser(__doc__)
    run_flags.add_model_argument(parser)
    run_flags.add_log_argument(parser)
    options = parser.parse_args(argv)
    # open the training rows and stage 1
    shell.until_end(runtime.log(options))
    dataset = open_dataset(options.workdir)
    run = runtime.choose(options, parallel=True)
    if run.rank == 0:
        shell.until_end(lock(options.workdir, "train_output"))
    model_path = workdir.model_path(options)
    model, _ = networks.load_file(model_path, run, dataset)
    leakage.check_model(model_path, dataset)
    # before the prediction, so that files that change meanwhile are noticed by step 5
    made_from = workdir.origin(options.workdir, dataset, model_path=model_path)
    print(run)
    # predict
    rows = np.arange(len(dataset.train_images))
    frames = Frames(dataset.train_images, run.device)
    joints_px, _ = model.predict(frames, rows, run, label="stage 1, training rows")  # (N, J, 2)
    if not np.isfinite(joints_px).all():
        raise InputError(
            f"{model_path}: predicts numbers that are not finite; {workdir.STEP_2} makes it"
        )
    if run.rank > 0:  # of several processes only the first writes
        return
    # write train_output.npy last: it is what step 5 reads
    arrays.save(options.workdir / SECOND_NAME, joints_px.reshape(len(rows), -1))
    path = workdir.output_path(options.workdir)
    workdir.save_output(path, joints_px, made_from)
    print(f"{path}: {len(rows)} poses, also as {SECOND_NAME}; next: Train_stage_2.py")


if __name__ == "__main__":
    sys.exit(main())
