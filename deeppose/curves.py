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


def predict_rows(model, examples, dataset, rows, run):
    """Joints (n, J, 2) px of rows (n,) of the training part, and the loss of their coordinates."""
    joints_px, _ = model.predict(examples.frames, rows, run)
    # the loss is of normalised joints, as in training
    predicted = torch.from_numpy(dataset.normalised(joints_px).astype(np.float32))
    targets = examples.targets[rows].cpu()  # (n, J, 2)
    loss = losses.masked_loss(predicted, targets, examples.recipe.held_out_loss)
    return joints_px, loss.item()


def score_rows(joints_px, dataset, rows):
    """Scores of joints (n, J, 2) px of rows (n,) of the training part.

    Raises ValueError where the rows have no label that a score needs.
    """
    sizes = dataset.sizes("train", rows)
    return metrics.score(
        joints_px,
        dataset.train_labels[rows],
        dataset.skeleton,
        sizes,
        head_thresholds=HEAD_THRESHOLDS,
    )


def of_trained_on(model, examples, dataset, rows, seed, run):
    """Columns of curves_stage_1.csv: loss and scores of some of the rows (N,) that are trained on.

    They are always the same rows, so that epochs can be compared.
    """
    # predict some rows
    count = min(SCORED_ROWS, max(1, round(SCORED_SHARE * len(rows))))
    scored_rows = runtime.choose_rows(rows, count, seed)
    joints_px, loss = predict_rows(model, examples, dataset, scored_rows, run)
    # score them
    columns = {"loss": loss}
    try:
        scores = score_rows(joints_px, dataset, scored_rows)
        columns |= metrics.columns(scores, dataset.skeleton)
    except ValueError:
        pass  # so few rows may have no label that a score needs
    return {f"{metrics.TRAINED_ON}{column}": number for column, number in columns.items()}


def next_scored(state, epoch_steps, interval):
    """The epoch's step before which scores are due next, at most epoch_steps, its number of steps.

    They are due whenever `interval` steps of the run are done, and at each epoch's end; None: at
    the end alone. That may be the step at which a resumed run stands, if it was stopped before it
    had its scores.
    """
    if interval is None:
        return epoch_steps
    # count in steps of the run
    steps_before = epoch_steps * (state.epoch - 1)
    last_scored = state.history[-1].get("step", steps_before) if state.history else 0
    earliest = max(last_scored + 1, steps_before + state.step)
    due_step = math.ceil(earliest / interval) * interval
    return min(due_step - steps_before, epoch_steps)
