"""Recorded predictions of the test images, from which every score and interval is recomputed.

They are int16 in 1/64 px: float16 would flip thresholds.

A record's scores are those of its recorded predictions, so that recomputing gives the same numbers,
not nearly so.
"""

import zipfile

import numpy as np

from deeppose import files, scoring
from deeppose.score_output import keyed
from deeppose.shell import InputError
from results import paths

STEPS_PER_PX = 64  # rounding moves a joint by at most 1/128 px
ADVICE = "record the row again with --again"


def save(path, joints_px):
    """Write joints (N, J, 2) px.

    What lies beyond 511 px of the frame's corner is recorded at 511 px.
    """
    if not np.isfinite(joints_px).all():
        raise InputError(f"{path}: a predicted joint is not finite; run step 3 or 6 again")
    limits = np.iinfo(np.int16)
    steps = np.rint(np.asarray(joints_px, float) * STEPS_PER_PX)  # (N, J, 2)
    steps = steps.clip(limits.min, limits.max).astype(np.int16)
    files.make_folder(path.parent, "remove it")
    with files.replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, joints=steps)


def load(path, shape):
    """Joints (N, J, 2) px as recorded.

    Raises InputError where the file is missing, broken or of another shape.
    """
    try:
        with np.load(files.present(path, "python -m results"), allow_pickle=False) as content:
            steps = content["joints"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise InputError(f"{path}: holds no recorded predictions; {ADVICE}") from None
    if steps.dtype != np.int16 or steps.shape != tuple(shape):
        raise InputError(
            f"{path}: is {steps.dtype} {steps.shape}, not int16 {tuple(shape)}; {ADVICE}"
        )
    return steps / STEPS_PER_PX


def load_stages(row_name, size, stages, shape):
    """Recorded joints of several stages of a row, "stage 1" -> (N, J, 2) px."""
    return {
        f"stage {stage}": load(paths.predictions(row_name, size, stage), shape) for stage in stages
    }


def scores_of(dataset, poses):
    """Scores and intervals of stages' joints, keyed as in metrics_stage_N.json: two
    dictionaries."""
    scores, intervals = scoring.evaluate(dataset, poses)
    return keyed(scores), keyed(intervals)
