"""Record a row that was run: its scores and predictions, or a variant's line in the table."""

import json

import numpy as np

from benchmarks.measure import hardware
from deeppose import arrays, cascade, files, metrics, networks
from deeppose.dataset import open_dataset
from deeppose.loader import Frames
from deeppose.shell import RunError
from deeppose.workdir import SHARED, refiner_path
from results import paths, predictions, variants
from results.rows import ROWS, is_variant
from results.run import commit_of, model_folder, refined_stages, run_folder
from results.sizes import SIZES, stage_1_flags

DIGITS = 6  # of a recorded number: scores are shown with 3


def is_recorded(row_name, size):
    """Whether a row's scores are on record; those of a model that is there, of whatever size."""
    if ROWS[row_name].model:
        return any(paths.record(row_name, any_size).exists() for any_size in SIZES)
    if is_variant(row_name):
        return variants.has(row_name, size)
    return paths.record(row_name, size).exists()


def record(row_name, size, workdir, steps, most_stages, run):
    """Record a row of no more than so many stages: a variant in the table, another in its own file.

    Returns the path of that table or file.
    """
    models = model_folder(row_name, workdir)
    provenance = files.load_json(models / "model_1.json", "step 2")
    if is_variant(row_name):
        variants.save(variant_entry(row_name, size, workdir, provenance, run))
        return paths.variants()
    dataset = open_dataset(workdir)
    stages = refined_stages(row_name, models, most_stages)
    content = run_facts(row_name, size, provenance, dataset) | {
        "steps": steps,
        "hardware": hardware(run.device),
        "run": run.facts(),
        "dataset": dataset.digests,
        "recipe": provenance["settings"]["recipe"],
        "initial_weights": provenance["initial_weights"],
        "best_epoch": provenance["epoch"],
        "history": provenance.get("history", []),  # a shipped model has none
        "cascade": cascade_facts(models, dataset, stages),
        "held_out": held_out_scores(models, dataset, stages, run, ROWS[row_name]),
        "test": test_scores(row_name, size, workdir, dataset, stages),
    }
    path = paths.record(row_name, size)
    files.save_json(path, rounded(content), indent=0)  # a third smaller
    return path


def run_facts(row_name, size, provenance, dataset):
    """Entries that a record and a line of the variants' table both hold of a run.

    provenance  its model_1.json
    """
    settings = provenance["settings"]
    return {
        "row": row_name,
        "size": size,
        "seed": provenance["seed"],
        "commit": commit_of(provenance),
        "rows": settings["rows"],
        "epochs": settings["epochs"],
        "input_px": settings["input_px"] or max(dataset.frame),
    }


def variant_entry(row_name, size, workdir, provenance, run):
    """A variant's line of the table: its held-out scores, and what its base has over it."""
    row = ROWS[row_name]
    dataset = open_dataset(workdir)
    true = dataset.train_labels[dataset.held_out].astype(float)
    joints = held_out_poses(workdir, dataset, [], run, row)["stage_1"]
    # what the row that it is compared with has over it
    gains = {}
    if row.against:
        base_folder = run_folder(workdir.parent, size, row.against)
        base_joints = base_poses(base_folder, dataset, run, ROWS[row.against])
        gains = compare(joints, true, dataset.skeleton, base_joints) | {"row": row.against}
    # the line
    weights = "FILE" if row.weights == "part" else row.weights
    flags = " ".join([*stage_1_flags(row_name, size), "--weights", weights])
    facts = run_facts(row_name, size, provenance, dataset) | {
        "weights": row.weights,
        "images": len(true),
        "flags": flags,
    }
    return variants.entry(facts, metrics.score(joints, true, dataset.skeleton), gains)


def base_poses(workdir, dataset, run, row):
    """Held-out joints (H, J, 2) px of the run of a Row in a working directory.

    Raises RunError where it had other arrays.
    """
    base_dataset = open_dataset(workdir)
    if base_dataset.digests != dataset.digests:
        raise RunError(
            f"{workdir}: was run on other arrays than the row that is compared with it; remove it, and run "
            "both again"
        )
    return held_out_poses(workdir, base_dataset, [], run, row)["stage_1"]


def compare(joints, true, skeleton, base_joints):
    """Gains of the base's joints over these on the held-out images, with paired intervals.

    All joints are (H, J, 2) px.
    """
    intervals = metrics.intervals(base_joints, true, skeleton, before=joints)
    scores = metrics.score(joints, true, skeleton)
    base_scores = metrics.score(base_joints, true, skeleton)
    return {
        column: {
            "gain": base_scores[kind][key] - scores[kind][key],
            "interval": intervals[kind][key],
        }
        for column, (kind, key) in variants.SCORES.items()
    }


def held_out_poses(folder, dataset, stages, run, row):
    """Joints (H, J, 2) px of the held-out rows after stage 1 and each of the stages, by the models
    of a folder, which look as a Row's do."""
    frames = Frames(dataset.train_images, run.device)
    rows = dataset.held_out
    model, _ = networks.load(folder, run, dataset)
    joints, confidence = model.predict(
        frames, rows, run, flip_test=row.flip_test, two_pass=row.two_pass
    )
    poses = {"stage_1": joints}
    for stage in stages:
        joints, confidence, _ = cascade.refine_from(
            folder, dataset.skeleton, frames, rows, joints, confidence, run, stage
        )
        poses[f"stage_{stage}"] = joints
    return poses


def held_out_scores(folder, dataset, stages, run, row):
    """Scores, intervals and errors of each stage on the held-out images, by a folder's models,
    which look as a Row's do."""
    true = dataset.train_labels[dataset.held_out].astype(float)
    return {
        stage: {
            "scores": metrics.score(joints, true, dataset.skeleton),
            "intervals": metrics.intervals(joints, true, dataset.skeleton),
            "errors": error_statistics(joints, true, dataset.skeleton),
        }
        for stage, joints in held_out_poses(folder, dataset, stages, run, row).items()
    }


def error_statistics(joints, true, skeleton):
    """Mean and covariance of each joint's errors, px: what deltas.npy is drawn from."""
    statistics = {}
    for index, joint in enumerate(skeleton.joints):
        errors = (joints[:, index] - true[:, index]).astype(float)  # (H, 2) px
        errors = errors[~np.isnan(errors).any(1)]
        covariance = np.cov(errors.T)
        statistics[joint] = {"mean": errors.mean(0).tolist(), "covariance": covariance.tolist()}
    return statistics


def test_scores(row_name, size, workdir, dataset, refined):
    """Entries of metrics_stage_N.json, with scores and intervals of the predictions as they are
    recorded here."""
    shape = dataset.test_labels.shape
    stages = [1, *refined]
    # record the predictions
    for stage in stages:
        output_path = workdir / f"test_output_{stage}.npy"
        made_by = "test_stage_1.py (step 3)" if stage == 1 else "test_stage_2.py (step 6)"
        joints = arrays.load(output_path, np.float32, (shape[0], shape[1] * shape[2]), made_by)
        predictions.save(paths.predictions(row_name, size, stage), np.array(joints).reshape(shape))
    # score them, rounded as they are now
    facts = files.load_json(workdir / f"metrics_stage_{2 if refined else 1}.json", "step 3")
    poses = predictions.load_stages(row_name, size, stages, shape)
    scores, intervals = predictions.scores_of(dataset, poses)
    return facts | scores | {"intervals": facts["intervals"] | intervals}


def cascade_facts(folder, dataset, stages):
    """Of each stage's refiners in a folder: rows, epochs, gain and held-out losses."""
    facts = {}
    for stage in stages:
        refiners = {}
        for refiner_name in (*dataset.skeleton.joints, SHARED):
            path = refiner_path(folder, refiner_name, stage).with_suffix(".json")
            if path.exists():
                refiners[refiner_name] = _refiner_facts(json.loads(path.read_text()))
        facts[f"stage_{stage}"] = refiners
    return facts


def _refiner_facts(provenance):
    """Entries of a record about one refiner, from its .json."""
    facts = {key: provenance[key] for key in ("epoch", "gain", "held_out", "initial_weights")}
    facts |= {key: provenance["settings"][key] for key in ("rows", "epochs", "simulated")}
    return facts | {"commit": commit_of(provenance)}


def rounded(content):
    """The same nested lists and dictionaries with DIGITS decimals in every number."""
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    if isinstance(content, list):
        return [rounded(value) for value in content]
    return round(content, DIGITS) if isinstance(content, float) else content
