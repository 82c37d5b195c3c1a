"""Recompute every score and interval of the records from their predictions, and compare."""

import itertools
import math

from deeppose import metrics
from deeppose.dataset import open_dataset
from deeppose.shell import RunError
from results import paths, predictions, records
from results.markdown import cell
from results.recording import DIGITS, rounded
from results.rows import ROWS
from results.run import prepare

CLOSE = 1.5 * 10.0**-DIGITS  # two roundings of one number, on machines that sum in another order
COMPARED = (("pcp_strict", "mean_4"), ("pdj", "0.20"))


def report(folder, source):
    """Print what check finds; RunError with the first number that differs."""
    lines, wrong = check(folder, source)
    for line in lines + wrong:
        print(line)
    if wrong:
        raise RunError(
            f"{paths.RECORDS}: {len(wrong)} recorded numbers are not those of the recorded predictions, "
            f"first {wrong[0]}; record that row again with --again"
        )


def check(folder, source):
    """Lines that say what came of each record, and of each two rows' last stages.

    Also returns the numbers that differ, each as text. Raises RunError where a record was scored
    with other labels.
    """
    lines = []
    wrong = []
    last_poses = {}
    for result in records.load_all():
        row_name = result["row"]
        size = result["size"]
        title = f"{size}_{row_name}"
        # its predictions
        stages = stage_numbers(result["test"])
        prediction_paths = [paths.predictions(row_name, size, stage) for stage in stages]
        missing = [path.name for path in prediction_paths if not path.exists()]
        if missing:
            lines.append(
                f"{title}: {', '.join(missing)} not recorded, nothing to recompute it from"
            )
            continue
        dataset = test_labels(folder, source, result)
        poses = predictions.load_stages(row_name, size, stages, dataset.test_labels.shape)
        last_poses[title] = (dataset, list(poses.values())[-1])
        # their scores beside the record's
        scores, intervals = predictions.scores_of(dataset, poses)
        texts = differences(result["test"], scores, intervals)
        wrong += [f"{title}: {text}" for text in texts]
        lines.append(
            f"{title}: {len(poses)} stages, {len(texts) or 'no'} numbers differ from the record's"
        )
    lines += paired(last_poses)
    return lines, wrong


def stage_numbers(test_scores):
    """Numbers of the stages that a record has test scores of."""
    return [int(stage.removeprefix("stage_")) for stage in records.stages_of(test_scores)]


def test_labels(folder, source, result):
    """Step 1's Dataset with the record's test labels.

    Raises RunError where they are others.
    """
    workdir, _ = prepare(folder, source, ROWS[result["row"]].copies)
    dataset = open_dataset(workdir)
    if dataset.digests["test_labels.npy"] != result["dataset"]["test_labels.npy"]:
        raise RunError(
            f"{workdir / 'test_labels.npy'}: not the labels that {result['size']}_{result['row']} was "
            "scored with; --source must name the photographs it was run on, and --workdir a folder "
            "without other arrays"
        )
    return dataset


def differences(recorded, scores, intervals):
    """Numbers of a record's test scores that differ from recomputed ones, each as text."""
    return [
        *_differing(recorded, rounded(scores)),
        *_differing(recorded["intervals"], rounded(intervals), "intervals "),
    ]


def _differing(recorded, computed, keys=""):
    """Every place in `computed` where the record has another number, or none.

    keys  the way there, as text
    """
    if isinstance(computed, dict):
        for key, value in computed.items():
            known = recorded.get(key) if isinstance(recorded, dict) else None
            yield from _differing(known, value, f"{keys}{key} ")
    elif isinstance(computed, list):
        known = [None] * len(computed)
        if isinstance(recorded, list) and len(recorded) == len(computed):
            known = recorded
        for recorded_value, value in zip(known, computed):
            yield from _differing(recorded_value, value, keys)
    elif not _is_close(recorded, computed):
        yield f"{keys}is {recorded}, and {computed} of the predictions"


def _is_close(recorded, computed):
    """Whether two numbers are one, but for their rounding; JSON has None for NaN."""
    if isinstance(computed, float) and math.isnan(computed):
        return recorded is None
    if isinstance(computed, float) and isinstance(recorded, (int, float)):
        return abs(recorded - computed) <= CLOSE
    return recorded == computed


def paired(last_poses):
    """Lines: what each row's last stage has over each other's, with intervals paired image by
    image.

    last_poses  row -> Dataset, joints (N, J, 2) px
    """
    lines = []
    for one, other in itertools.combinations(last_poses, 2):
        dataset, joints = last_poses[one]
        _, other_joints = last_poses[other]
        true = dataset.test_labels.astype(float)
        intervals = metrics.intervals(other_joints, true, dataset.skeleton, before=joints)
        scores = metrics.score(joints, true, dataset.skeleton)
        other_scores = metrics.score(other_joints, true, dataset.skeleton)
        cells = []
        for kind, key in COMPARED:
            gain = other_scores[kind][key] - scores[kind][key]
            cells.append(f"{kind} {key} {cell(gain, intervals[kind][key], '+')}")
        lines.append(f"{other} over {one}: " + ", ".join(cells))
    return lines
