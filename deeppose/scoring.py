"""The common part of both test scripts: open the arrays and stage 1, predict, score every stage."""

import functools
import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deeppose import (
    arrays,
    leakage,
    metrics,
    networks,
    run_flags,
    runtime,
    shell,
    workdir,
)
from deeppose.dataset import Dataset, open_dataset
from deeppose.loader import Frames
from deeppose.locks import lock
from deeppose.score_output import keyed
from deeppose.shell import InputError
from deeppose.stage_1 import Stage_1, check_flip_test

SAMPLE_SEED = 0  # so that all runs score the same sample
MOST_THRESHOLD = 100  # units


def parser(description):
    """An ArgumentParser with what both test scripts take."""
    arguments = run_flags.parser(description)
    run_flags.add_model_argument(arguments)
    run_flags.add_log_argument(arguments)
    arguments.add_argument(
        "--threshold",
        type=shell.at_least(0, float, most=MOST_THRESHOLD),
        metavar="T",
        help="PDJ within T units, such as torso diameters, as well (default: the data set's alone)",
    )
    run_flags.add_flip_test_argument(arguments)
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

    dataset     the Dataset, with the rows that --sample asks for
    frames      these rows' images
    model       stage 1
    model_path  its checkpoint
    provenance  its model_1.json
    sample      the entry of metrics_stage_N.json about the sample, or {}
    run         the Runtime that it predicts with
    """

    dataset: Dataset
    frames: Frames
    model: Stage_1
    model_path: Path
    provenance: dict
    sample: dict
    run: runtime.Runtime

    def predict(self, options):
        """Stage 1's joints (N, J, 2) px of the frames, and their confidence (N, J)."""
        rows = np.arange(len(self.dataset.test_images))
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
            "images": len(self.dataset.test_images),
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
    """Open the arrays and stage 1, and lock test_output_<stage>.npy; returns a Test.

    InputError where --flip-test is not possible, or where a file is missing or does not fit.
    """
    dataset = open_dataset(options.workdir)
    if options.sample and dataset.detected:
        raise InputError("--sample: detections are scored all together, by COCO's server")
    check_flip_test(options.flip_test, dataset.skeleton)
    model_path = workdir.model_path(options)
    run = runtime.choose(options, parallel=True)
    # of several processes the first one writes the files
    if run.rank == 0:
        shell.until_end(lock(options.workdir, f"test_output_{stage}"))
    dataset, sample_facts = sampled(dataset, options.sample)
    model, provenance = networks.load_file(model_path, run, dataset)
    leakage.check_model(model_path, dataset)
    frames = Frames(dataset.test_images, run.device)
    return Test(dataset, frames, model, model_path, provenance, sample_facts, run)


def sampled(dataset, one_in):
    """The Dataset with the test rows that --sample asks for, and the entry about them.

    one_in  of so many rows one is kept; None: all
    """
    if one_in is None:
        return dataset, {}
    row_count = len(dataset.test_rows)
    rows = runtime.choose_rows(np.arange(row_count), max(1, row_count // one_in), SAMPLE_SEED)
    print(f"a sample of {len(rows)} of the {row_count} test rows")
    # count anew: fewer test rows may show images that were trained on
    seen = leakage.seen_in_training(dataset.identities("train"), dataset.identities("test")[rows])
    facts = dataset.facts | {"seen_in_training": seen}
    # COCO's scores are of all true people: those that are not in the sample would count as missed
    if facts.pop("test_annotations", None):
        print("COCO's scores are of all test rows, so they and result.json are left out")
    sampled_dataset = replace(
        dataset,
        test_images=dataset.test_images[rows],
        test_labels=dataset.test_labels[rows],
        test_rows=dataset.test_rows[rows],
        facts=facts,
    )
    return sampled_dataset, {"sample": {"one_in": one_in, "of": row_count, "rows": rows.tolist()}}


def evaluate(dataset, poses, threshold=None):
    """Scores and intervals of the stages' poses, name -> joints (N, J, 2) px, beside the mean
    pose's.

    Returns two dictionaries by column name: metrics.score's for the mean pose and every stage,
    metrics.intervals' for every stage, for what each gained over the one before ("gained by stage
    2"), and the last over the first ("gained").

    threshold  a further one of PDJ
    Raises InputError where the labels do not suffice.
    """
    true = dataset.test_labels.astype(float)
    skeleton = dataset.skeleton
    sizes = dataset.sizes("test")
    thresholds = () if threshold is None else (threshold,)
    # the mean pose is what a model must beat
    scored_poses = {"mean pose": np.broadcast_to(dataset.mean_pose, true.shape)} | poses
    try:
        scores = {
            column: metrics.score(joints, true, skeleton, sizes, thresholds)
            for column, joints in scored_poses.items()
        }
    except ValueError as error:
        raise InputError(
            f"{dataset.folder / 'test_labels.npy'}: {error}; run {arrays.STEP_1} again"
        ) from None
    # by bootstrap, each stage for itself
    intervals = {
        stage: metrics.intervals(joints, true, skeleton, sizes, thresholds)
        for stage, joints in poses.items()
    }

    @functools.cache  # of two stages the one before is the first
    def gain_interval(before, after):
        return metrics.intervals(poses[after], true, skeleton, sizes, thresholds, poses[before])

    # gains, paired image by image
    stages = list(poses)
    for before, after in itertools.pairwise(stages):
        intervals[f"gained by {after}"] = gain_interval(before, after)
    if len(stages) > 1:
        intervals["gained"] = gain_interval(stages[0], stages[-1])
    return scores, intervals
