"""Stage 2's predictions for the training rows, from which a third learns: train_output_2.npy."""

import numpy as np

from deeppose import cascade, workdir
from deeppose.locks import lock
from deeppose.shell import InputError
from deeppose.workdir import STEP_5


def predict(dataset, frames, joints_px, run):
    """Stage 2's joints (N, J, 2) px of the training rows: train_output_2.npy, written unless it is
    still right.

    joints_px  stage 1's, (N, J, 2)
    """
    folder = dataset.folder
    path = workdir.output_path(folder, 2)
    if 2 not in workdir.stages_here(folder, dataset.skeleton):
        missing = workdir.refiner_path(folder, dataset.skeleton.joints[0])
        raise InputError(f"{missing}: not found, nor any other refiner; {STEP_5} makes it")
    with lock(folder, path.stem, wait=True):  # other joints' runs want the same
        made_from = workdir.origin(folder, dataset, 2)
        if not workdir.is_made_from(path, made_from):
            rows = np.arange(len(joints_px))
            unknown_confidence = np.full(joints_px.shape[:2], np.nan)
            refined_px, _, _ = cascade.refine_from(
                folder, dataset.skeleton, frames, rows, joints_px, unknown_confidence, run.alone()
            )
            workdir.save_output(path, refined_px, made_from)
    return workdir.load_output(folder, dataset, 2)
