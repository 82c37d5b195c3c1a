"""Scores while stage 1 trains, as curves_stage_1.csv has them: of which rows, and when."""

import math

import numpy as np
import torch

from deeppose import losses, metrics, runtime

# so many of the rows that are trained on are scored beside the held-out ones: they are
# deeppose_tf's "validation"
SCORED_ROWS = 1000
# the largest share of the rows that is scored: scoring takes 3 % of an epoch or less
SCORED_SHARE = 0.07
HEAD_THRESHOLDS = (0.1, 0.5)  # of PCKh, whatever the skeleton has


def predict_rows(model, examples, data, rows, run):
    """Joints (n, J, 2) px of rows (n,) of the training part, and the loss of their coordinates."""
    joints, _ = model.predict(examples.frames, rows, run)
    outputs = torch.from_numpy(data.normalised(joints).astype(np.float32))
    targets = examples.targets[rows].cpu()
    loss = losses.masked_loss(outputs, targets, examples.recipe.held_out_loss)
    return joints, loss.item()


def score_rows(joints, data, rows):
    """Scores of joints (n, J, 2) px of rows (n,) of the training part.

    Raises ValueError where the rows have no label that a score needs.
    """
    sizes = {name: values[rows] for name, values in data.sizes("train").items()}
    return metrics.score(
        joints, data.train_labels[rows], data.skeleton, sizes, head_thresholds=HEAD_THRESHOLDS
    )


def of_trained_on(model, examples, data, rows, seed, run):
    """Columns of curves_stage_1.csv: loss and scores of some of the rows (N,) that are trained on.

    They are always the same rows, so that epochs can be compared.
    """
    # predict some rows
    count = min(SCORED_ROWS, max(1, round(SCORED_SHARE * len(rows))))
    scored_rows = runtime.choose_rows(rows, count, seed)
    joints, loss = predict_rows(model, examples, data, scored_rows, run)
    # score them
    columns = {"loss": loss}
    try:
        scores = score_rows(joints, data, scored_rows)
        columns |= metrics.columns(scores, data.skeleton)
    except ValueError:
        pass  # so few rows may have no label that a score needs
    return {f"{metrics.TRAINED_ON}{name}": value for name, value in columns.items()}


def next_scored(state, steps, every):
    """The epoch's step before which scores are due next, of its `steps`.

    They are due every so many steps of the run, and at each epoch's end. That may be the step at
    which a resumed run stands, if it was stopped before it had its scores.
    """
    if every is None:
        return steps
    # count in steps of the run
    before = steps * (state.epoch - 1)
    recorded = state.history[-1].get("step", before) if state.history else 0
    earliest = max(recorded + 1, before + state.step)
    due = math.ceil(earliest / every) * every
    return min(due - before, steps)
