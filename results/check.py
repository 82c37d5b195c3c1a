"""Recompute every score and interval of the records from their predictions, and compare."""

import itertools
import math

from deeppose import metrics
from deeppose.dataset import open_dataset
from deeppose.shell import RunError
from results import paths, predictions, table
from results.rows import ROWS
from results.run import DIGITS, prepare, rounded

CLOSE = 1.5 * 10.0**-DIGITS  # two roundings of one number, on machines that sum in another order
COMPARED = (("pcp_strict", "mean_4"), ("pdj", "0.20"))


def check(folder, source):
    """Lines that say what came of each record, and of each two rows' last stages.

    Raises RunError where a number differs.
    """
    lines = []
    wrong = []
    poses = {}
    for result in table.found():
        name = result["row"]
        size = result["size"]
        stages = stage_numbers(result["test"])
        missing = [
            path.name
            for stage in stages
            if not (path := paths.predictions(name, size, stage)).exists()
        ]
        if missing:
            lines.append(
                f"{size}_{name}: {', '.join(missing)} not recorded, nothing to recompute it from"
            )
            continue
        workdir, data = test_labels(folder, source, result)
        stages = predictions.load_stages(name, size, stages, data.test_labels.shape)
        poses[f"{size}_{name}"] = (data, list(stages.values())[-1])
        found = differences(result["test"], *predictions.scores_of(workdir, data, stages))
        wrong += [f"{size}_{name}: {text}" for text in found]
        lines.append(
            f"{size}_{name}: {len(stages)} stages, {len(found) or 'no'} numbers differ from the record's"
        )
    lines += paired(poses)
    return lines, wrong


def stage_numbers(test):
    """Numbers of the stages that a record has test scores of."""
    return [int(stage.removeprefix("stage_")) for stage in table.stages_of(test)]


def test_labels(folder, source, result):
    """Step 1's working directory and Dataset with the record's test labels.

    Raises RunError where they are others.
    """
    workdir, _ = prepare(folder, source, ROWS[result["row"]].copies)
    data = open_dataset(workdir)
    if data.digests["test_labels.npy"] != result["dataset"]["test_labels.npy"]:
        raise RunError(
            f"{workdir / 'test_labels.npy'}: not the labels that {result['size']}_{result['row']} was "
            "scored with; --source must name the photographs it was run on, and --workdir a folder "
            "without other arrays"
        )
    return workdir, data


def differences(test, scores, intervals):
    """Numbers of a record that differ from recomputed ones, each as text."""
    return [
        *_differing(test, rounded(scores)),
        *_differing(test["intervals"], rounded(intervals), "intervals "),
    ]


def _differing(recorded, now, where=""):
    """Every place in `now` where the record has another number, or none."""
    if isinstance(now, dict):
        for key, value in now.items():
            yield from _differing(
                recorded.get(key) if isinstance(recorded, dict) else None, value, f"{where}{key} "
            )
    elif isinstance(now, list):
        known = (
            recorded
            if isinstance(recorded, list) and len(recorded) == len(now)
            else [None] * len(now)
        )
        for value, other in zip(now, known):
            yield from _differing(other, value, where)
    elif not _close(recorded, now):
        yield f"{where}is {recorded}, and {now} of the predictions"


def _close(recorded, now):
    if isinstance(now, float) and math.isnan(now):
        return recorded is None
    if isinstance(now, float) and isinstance(recorded, (int, float)):
        return abs(recorded - now) <= CLOSE
    return recorded == now


def paired(poses):
    """Lines: what each row's last stage has over each other's, with intervals paired image by
    image.

    poses  row -> Dataset, joints (N, J, 2) px
    """
    lines = []
    for (one, (data, joints)), (other, (_, others)) in itertools.combinations(poses.items(), 2):
        true = data.test_labels.astype(float)
        ends = metrics.intervals(others, true, data.skeleton, before=joints)
        scores = [metrics.score(pose, true, data.skeleton) for pose in (joints, others)]
        cells = [
            f"{kind} {key} "
            + table.cell(scores[1][kind][key] - scores[0][kind][key], ends[kind][key], "+")
            for kind, key in COMPARED
        ]
        lines.append(f"{other} over {one}: " + ", ".join(cells))
    return lines


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
