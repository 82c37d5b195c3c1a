"""Shared by both test scripts: open, predict, score, write every score as JSON, print the tables."""

import argparse
import functools
import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deeppose import (
    arrays,
    coco_results,
    csv_files,
    files,
    leakage,
    metrics,
    networks,
    report,
    run_flags,
    runtime,
    shell,
    tables,
    training_plots,
    workdir,
)
from deeppose.dataset import Dataset, open_dataset
from deeppose.loader import Frames
from deeppose.locks import lock
from deeppose.shell import InputError
from deeppose.stage_1 import Stage_1

SAMPLE_SEED = 0  # so that all runs score the same sample


def parser(description):
    """An ArgumentParser with what both test scripts take."""
    arguments = run_flags.parser(description)
    run_flags.add_model_argument(arguments)
    run_flags.add_log_argument(arguments)
    arguments.add_argument(
        "--threshold",
        type=_threshold,
        metavar="T",
        help="PDJ within T units, such as torso diameters, as well (default: the data set's alone)",
    )
    arguments.add_argument(
        "--flip-test",
        action="store_true",
        help="stage 1 is the mean of what it says of an image and of its mirror image; stage 2 "
        "refines that mean from the image alone (default: off)",
    )
    arguments.add_argument(
        "--two-pass",
        action="store_true",
        help="stage 1 looks again, at a box around the pose that it found at first, where that is "
        "another one, cut from the stored frame (default: off)",
    )
    arguments.add_argument(
        "--sample",
        type=shell.at_least(1),
        metavar="N",
        help="score one in N of the test rows alone, drawn at random and always the same "
        "(default: all)",
    )
    return arguments


@dataclass
class Test:
    """Stage 1 and the test rows that it is scored on.

    data        the Dataset, with the rows that --sample asks for
    frames      these rows' images
    model       stage 1
    model_path  its checkpoint
    provenance  its model_1.json
    sample      the entry of metrics_stage_N.json about the sample, or {}
    """

    data: Dataset
    frames: Frames
    model: Stage_1
    model_path: Path
    provenance: dict
    sample: dict
    run: runtime.Runtime

    def predict(self, options):
        """Stage 1's joints (N, J, 2) px of the frames, and their confidence (N, J)."""
        rows = np.arange(len(self.data.test_images))
        return self.model.predict(
            self.frames,
            rows,
            self.run,
            "stage 1, test rows",
            options.flip_test,
            options.two_pass,
        )

    def facts(self, options, models, by_coco):
        """Entries of metrics_stage_N.json about the run.

        models   workdir.model_digests
        by_coco  coco_results.score
        """
        facts = {
            "images": len(self.data.test_images),
            "flip_test": options.flip_test,
            "two_pass": options.two_pass,
            "epoch": options.epoch,
            "models": models,
            "run": self.run.facts(),
        }
        if by_coco:
            facts["coco"] = keyed(by_coco)
        return facts | self.sample


def begin(options, stage):
    """Open the data and stage 1, and lock test_output_<stage>.npy; returns a Test.

    InputError where --flip-test is not possible, or where a file is missing or does not fit.
    """
    data = open_dataset(options.workdir)
    check_flip_test(options, data.skeleton)
    model_path = workdir.model_path(options)
    run = runtime.choose(options, parallel=True)
    if run.rank == 0:
        shell.until_end(lock(options.workdir, f"test_output_{stage}"))
    data, sample = sampled(data, options.sample)
    model, provenance = networks.load_file(model_path, run, data)
    leakage.check_model(model_path, data)
    frames = Frames(data.test_images, run.device)
    return Test(data, frames, model, model_path, provenance, sample, run)


def sampled(data, one_in):
    """The Dataset with the test rows that --sample asks for, and the entry about them.

    one_in  of so many rows one is kept; None: all
    """
    if one_in is None:
        return data, {}
    count = len(data.test_rows)
    rows = runtime.choose_rows(np.arange(count), max(1, count // one_in), SAMPLE_SEED)
    print(f"a sample of {len(rows)} of the {count} test rows")
    seen = leakage.seen_in_training(data.identities("train"), data.identities("test")[rows])
    data = replace(
        data,
        test_images=data.test_images[rows],
        test_labels=data.test_labels[rows],
        test_rows=data.test_rows[rows],
        facts=data.facts | {"seen_in_training": seen},
    )
    return data, {"sample": {"one_in": one_in, "of": count, "rows": rows.tolist()}}


def check_flip_test(options, skeleton):
    """InputError where --flip-test is asked for, and the skeleton does not tell left from right."""
    if options.flip_test and not skeleton.has_sides:
        raise InputError("--flip-test: no joint of this data has an opposite one; leave it out")


def _threshold(text):
    if not math.isfinite(value := float(text)) or value < 0:
        raise argparse.ArgumentTypeError(f"{text} is no distance")
    return value


def evaluate(folder, data, stages, threshold=None):
    """Scores and intervals of the stages' predictions, name -> joints (N, J, 2) px, beside the mean
    pose's.

    Returns two dictionaries by column name: metrics.score's for the mean pose and every stage,
    metrics.intervals' for every stage, for what each gained over the one before ("gained by stage
    2"), and the last over the first ("gained").
    """
    true = data.test_labels.astype(float)
    skeleton = data.skeleton
    sizes = data.sizes("test")
    thresholds = () if threshold is None else (threshold,)
    poses = {"mean pose": np.broadcast_to(data.mean_pose, true.shape)} | stages
    try:
        scores = {
            name: metrics.score(joints, true, skeleton, sizes, thresholds)
            for name, joints in poses.items()
        }
    except ValueError as error:
        raise InputError(
            f"{folder / 'test_labels.npy'}: {error}; run {arrays.STEP_1} again"
        ) from None
    intervals = {
        name: metrics.intervals(joints, true, skeleton, sizes, thresholds)
        for name, joints in stages.items()
    }

    @functools.cache  # of two stages the one before is the first
    def gained(before, after):
        return metrics.intervals(stages[after], true, skeleton, sizes, thresholds, stages[before])

    names = list(stages)
    intervals |= {
        f"gained by {after}": gained(before, after) for before, after in itertools.pairwise(names)
    }
    if len(names) > 1:
        intervals["gained"] = gained(names[0], names[-1])
    return scores, intervals


def write(path, scores, intervals, facts):
    """Write metrics_stage_N.json: a column a key, all intervals under "intervals", and the facts of
    the run."""
    files.save_json(
        path,
        keyed(scores)
        | facts
        | {
            "intervals": {"per_cent": metrics.LEVEL, "resamples": metrics.RESAMPLES}
            | keyed(intervals)
        },
    )


def keyed(columns):
    """Columns by name, "stage 1", as metrics_stage_N.json has them: "stage_1"."""
    return {name.replace(" ", "_"): column for name, column in columns.items()}


def seen_facts(data):
    """The mark of metrics_stage_N.json where test images were trained on: {"seen_in_training":
    rows}, or {}."""
    return {"seen_in_training": data.seen_in_training} if data.seen_in_training else {}


def finish_detected(path, by_coco, data, facts):
    """Write metrics_stage_N.json and print COCO's scores: detections have no labels, so there is
    nothing else."""
    write(path, {}, {}, facts | seen_facts(data))
    show(coco_results.score_tables(by_coco, data), len(data.test_rows))


def show(score_tables, image_count):
    """Print the tables."""
    print(f"{image_count} test images, all scores as fractions\n")
    for table in score_tables:
        print(tables.text(table) + "\n")


def save_poses(folder, stage, joints, confidence):
    """Write test_output_S.npy and test_confidence_S.npy, from joints (N, J, 2) px and confidence
    (N, J)."""
    arrays.save(folder / f"test_output_{stage}.npy", joints.reshape(len(joints), -1))
    arrays.save(folder / f"test_confidence_{stage}.npy", confidence.astype(np.float32))


def draw_training(folder):
    """Write curves_stage_1.png where stage 1 was trained here; returns caption -> path."""
    table = folder / "curves_stage_1.csv"
    picture = folder / "curves_stage_1.png"
    if not table.exists():
        return {}
    with lock(folder, "curves_stage_1", wait=True):  # the other test step draws it too
        training_plots.stage_1_training(
            picture, files.load_csv(table, training_plots.STAGE_1_CURVES)
        )
    return {"Training of stage 1": picture}


def write_report(folder, data, stages, confidence, score_tables, pictures, run):
    """Write report.html: the tables, the pictures, and every test image with the stages' poses."""
    set_names = data.facts.get("sets", {})
    numbers = zip(data.column("test", "set"), data.column("test", "image"))
    names = [
        f"test row {n}, image {image:.0f} of {set_names.get(f'{number:.0f}', f'set {number:.0f}')}"
        for n, (number, image) in enumerate(numbers)
    ]
    poses = {name.replace(" ", "_"): joints for name, joints in stages.items()} | {
        "true": data.test_labels
    }
    units = data.skeleton.units_px(data.test_labels.astype(float), data.sizes("test"))
    sure = {name.replace(" ", "_"): values for name, values in confidence.items()}
    count = f"{len(stages)} stages" if len(stages) > 1 else "stage 1"
    seen = (
        f"; {tables.seen_note(data.seen_in_training, len(names))}" if data.seen_in_training else ""
    )
    with lock(folder, "report", wait=True):  # the other test step writes it too
        report.write(
            folder / "report.html",
            f"DeepPose: {count} on the test images",
            f"{len(names)} images from {folder.resolve()}; {run}{seen}",
            score_tables,
            pictures,
            data.test_images,
            names,
            poses,
            data.skeleton,
            units,
            sure,
        )
