"""Scores while stage 1 trains, as curves_stage_1.csv has them: of which rows, and when."""

import math

import numpy as np
import torch

from deeppose import losses, metrics, runtime

# rows that are trained on and scored beside the held-out ones, as deeppose_tf's "validation"
SCORED_ROWS = 1000
# the largest share of them that is scored, so that scoring takes 3 % of an epoch or less
SCORED_SHARE = 0.07
HEAD_THRESHOLDS = (0.1, 0.5)  # of PCKh, whatever the skeleton has


def predict_rows(model, examples, data, rows, run):
    """Joints (n, J, 2) px of rows of the training part, and the loss of their coordinates."""
    joints, _ = model.predict(examples.frames, rows, run)
    outputs = torch.from_numpy(data.normalised(joints).astype(np.float32))
    return joints, losses.masked_loss(
        outputs, examples.targets[rows].cpu(), examples.recipe.held_out_loss
    ).item()


def score_rows(joints, data, rows):
    """Scores of joints (n, J, 2) px of rows of the training part.

    Raises ValueError where these have no label for one.
    """
    sizes = {name: values[rows] for name, values in data.sizes("train").items()}
    return metrics.score(
        joints, data.train_labels[rows], data.skeleton, sizes, head_thresholds=HEAD_THRESHOLDS
    )


def of_trained_on(model, examples, data, rows, seed, run):
    """Loss and scores of some of the rows that are trained on, always the same: columns of
    curves_stage_1.csv."""
    count = min(SCORED_ROWS, max(1, round(SCORED_SHARE * len(rows))))
    some = runtime.choose_rows(rows, count, seed)
    joints, loss = predict_rows(model, examples, data, some, run)
    try:
        columns = {"loss": loss} | metrics.columns(score_rows(joints, data, some), data.skeleton)
    except ValueError:  # so few may have no label that a score needs
        columns = {"loss": loss}
    return {f"{metrics.TRAINED_ON}{name}": value for name, value in columns.items()}


def next_scored(state, steps, every):
    """The epoch's step before which scores are due next: every so many of the run's, and at the
    epoch's end.

    That may be the step at which a resumed run stands, if it was stopped before it had its scores.
    """
    if every is None:
        return steps
    before = steps * (state.epoch - 1)
    recorded = state.history[-1].get("step", before) if state.history else 0
    least = max(recorded + 1, before + state.step)
    return min(math.ceil(least / every) * every - before, steps)
