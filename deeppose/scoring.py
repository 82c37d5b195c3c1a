"""What both test scripts do with their poses: score them, write every score as JSON, print the tables."""
import argparse
import functools
import itertools
import math

import numpy as np

from deeppose import arrays, files, metrics, runtime, tables
from deeppose.shell import InputError


def parser(description):
    """An ArgumentParser with what both test scripts take."""
    arguments = runtime.parser(description)
    arguments.add_argument("--threshold", type=_threshold, metavar="T",
                           help="PDJ within T torso diameters as well, by joint (default: 0.1, 0.2 and 0.5 alone)")
    arguments.add_argument("--flip-test", action="store_true",
                           help="stage 1 is the mean of what it says of an image and of its mirror image; stage 2 "
                                "refines that mean from the image alone (default: off)")
    return arguments


def _threshold(text):
    if not math.isfinite(value := float(text)) or value < 0:
        raise argparse.ArgumentTypeError(f"{text} is no distance in torso diameters")
    return value


def evaluate(workdir, data, stages, threshold=None):
    """Scores and intervals of the stages' predictions, name -> joints (N, J, 2) px, beside the mean pose's.

    Returns two dictionaries by column name: metrics.score's for the mean pose and every stage, metrics.intervals'
    for every stage, for what each gained over the one before ("gained by stage 2"), and the last over the first
    ("gained").
    """
    true, skeleton = data.test_labels.astype(float), data.skeleton
    thresholds = () if threshold is None else (threshold,)
    poses = {"mean pose": np.broadcast_to(data.mean_pose, true.shape)} | stages
    try:
        scores = {name: metrics.score(joints, true, skeleton, thresholds) for name, joints in poses.items()}
    except ValueError as error:
        raise InputError(f"{workdir / 'test_labels.npy'}: {error}; run {arrays.STEP_1} again") from None
    intervals = {name: metrics.intervals(joints, true, skeleton, thresholds) for name, joints in stages.items()}

    @functools.cache  # of two stages the one before is the first
    def gained(before, after):
        return metrics.intervals(stages[after], true, skeleton, thresholds, stages[before])
    names = list(stages)
    intervals |= {f"gained by {after}": gained(before, after) for before, after in itertools.pairwise(names)}
    if len(names) > 1:
        intervals["gained"] = gained(names[0], names[-1])
    return scores, intervals


def write(path, scores, intervals, facts):
    """Write metrics_stage_N.json: a column a key, all intervals under "intervals", and the facts of the run."""
    def keyed(columns):
        return {name.replace(" ", "_"): column for name, column in columns.items()}
    files.save_json(path, keyed(scores) | facts | {
        "intervals": {"per_cent": metrics.LEVEL, "resamples": metrics.RESAMPLES} | keyed(intervals)})


def seen_facts(data):
    """The mark of metrics_stage_N.json where test images were trained on: {"seen_in_training": rows}, or {}."""
    return {"seen_in_training": data.seen_in_training} if data.seen_in_training else {}


def show(score_tables, image_count):
    """Print the tables."""
    print(f"{image_count} test images, all scores as fractions\n")
    for table in score_tables:
        print(tables.text(table) + "\n")
