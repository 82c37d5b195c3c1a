"""Run a row's six steps and record it: scores and predictions, or a variant's line in the table."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import hardware
from deeppose import arrays, cascade, files, metrics, networks
from deeppose.dataset import open_dataset
from deeppose.loader import Frames
from deeppose.shell import RunError
from deeppose.skeletons import LSP
from deeppose.workdir import SHARED, refiner_path, stages_here
from results import ledger, paths, predictions, variants
from results.paths import ROOT
from results.rows import ROWS, is_variant, refiner_commands, stage_1_flags

DIGITS = 6  # of a recorded number: scores are shown with 3


def step(script, *flags):
    """Run one script.

    Returns what it was, without the paths of this machine, and its seconds; RunError if it fails.
    """
    began = time.monotonic()
    child = subprocess.Popen([sys.executable, str(ROOT / script), *map(str, flags)])
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.wait()  # it saves its state
        raise
    if code:
        raise RunError(
            f"{script} ended with exit code {code}, see above; the same command goes on from there"
        )
    shown = [shown_path(flag) if isinstance(flag, Path) else str(flag) for flag in flags]
    return {
        "command": " ".join(["python", script, *shown]),
        "seconds": round(time.monotonic() - began, 1),
    }


def shown_path(path):
    """A path as a row's commands show it: from the folder of the rows on, other files by name
    alone."""
    return f"{path.parent.name}/{path.name}" if path.suffix == ".pt" else path.name


def prepare(folder, source, copies):
    """The arrays of step 1, made once for all rows that want the same: their folder, and the
    flags."""
    workdir = folder / ("data" if copies else "data_no_copies")
    flags = () if copies else ("--no-copies",)
    if not (workdir / "dataset.json").exists():
        step("LSP_data.py", *flags, "--source", source, "--workdir", workdir)
    return workdir, flags


def run_row(name, size, folder, source, part, stages, more):
    """A row's steps, of so many stages, in folder/<size>_<name>, going on where it stopped: folder,
    commands."""
    row = ROWS[name]
    workdir = run_folder(folder, size, name)
    if row.model:
        return score_model(name, size, folder, source, stages, more)
    if row.against and not (run_folder(folder, size, row.against) / "model_1.pt").exists():
        raise RunError(
            f"{run_folder(folder, size, row.against)}: holds no trained model_1.pt of {row.against}, with "
            f"which {name} is compared; run that row first, with --again if it is recorded"
        )
    # step 1, once for all rows that want the same arrays
    steps = [link_arrays(folder, source, row.copies, workdir)]
    # step 2
    weights = part if row.weights == "part" else row.weights
    own = ("--workdir", workdir, *more)
    flags = ("--weights", weights, "--resume", *own)
    steps.append(step("Train_stage_1.py", *stage_1_flags(name, size), *flags))
    # the model's own count of seconds, which holds those before a run was resumed
    steps[-1]["seconds"] = files.load_json(workdir / "model_1.json", "step 2")["seconds"]
    if is_variant(name):
        return workdir, steps  # the test set is for finished runs
    # steps 3 to 6; the ledger's line comes before any score is seen
    enter_in_ledger(name, size, workdir, range(1, min(row.stages, stages) + 1))
    steps.append(step("test_stage_1.py", *own))
    for stage in range(2, min(row.stages, stages) + 1):
        if stage == 2:
            steps.append(step("Generate_train_output.py", *own))
        drawn = ("--make-deltas",) if stage == 2 else ("--stage", str(stage))
        for flags in refiner_commands(name, size, stage):
            flags = [workdir / flag if flag.endswith(".pt") else flag for flag in flags]
            steps.append(step("Train_stage_2.py", *flags, *drawn, "--resume", *own))
            joints = (
                flags[flags.index("--joints") + 1].split(",") if "--joints" in flags else LSP.joints
            )
            trained = [
                files.load_json(refiner_path(workdir, joint, stage).with_suffix(".json"), "step 5")
                for joint in joints
            ]
            steps[-1]["seconds"] = max(
                steps[-1]["seconds"], round(sum(facts["seconds"] for facts in trained), 1)
            )
    if min(row.stages, stages) > 1:
        steps.append(step("test_stage_2.py", *own))
    return workdir, steps


def score_model(name, size, folder, source, stages, more):
    """Score a row's trained model, as run_row does one that it trains."""
    row = ROWS[name]
    workdir = run_folder(folder, size, name)
    steps = [link_arrays(folder, source, row.copies, workdir)]
    model = model_folder(name, workdir)
    refined = refined_stages(name, model, stages)
    enter_in_ledger(name, size, workdir, (1, *refined))
    for script in ("test_stage_1.py", "test_stage_2.py")[: 2 if refined else 1]:
        scored = step(script, "--model", model, "--workdir", workdir, *more)
        shown = f"python {script} --model {row.model} --workdir {workdir.name}"
        steps.append(scored | {"command": shown})
    return workdir, steps


def link_arrays(folder, source, copies, workdir):
    """Link the arrays of step 1, made where they are not there, into a row's working directory.

    Returns that step, as a record names it.
    """
    data, flags = prepare(folder, source, copies)
    workdir.mkdir(parents=True, exist_ok=True)
    for path in (*data.glob("t*_*.npy"), data / "dataset.json"):
        if path.name != "train_output.npy" and not (workdir / path.name).exists():
            os.link(path, workdir / path.name)
    return {"command": " ".join(["python LSP_data.py", *flags, "--workdir", workdir.name])}


def refined_stages(name, models, most):
    """Stages of which a row's models have a refiner, no more than so many."""
    return [stage for stage in stages_here(models, LSP) if stage <= min(ROWS[name].stages, most)]


def run_folder(folder, size, name):
    """Working directory of a row's run."""
    return folder / f"{size}_{name}"


def model_folder(name, workdir):
    """Folder of a row's models: its working directory, or that of the project which it names."""
    model = ROWS[name].model
    return ROOT / model if model else workdir


def enter_in_ledger(name, size, workdir, stages):
    """Note that a row is about to be scored: before it is, so that no score can be seen without its
    line."""
    path = model_folder(name, workdir) / "model_1.pt"
    model = files.load_json(path.with_suffix(".json"), "step 2")
    count = len(open_dataset(workdir).test_labels)
    digest = ledger.digest_of(arrays.digest(path))
    what = f"python -m results, {digest}, {count:,} test images"
    ledger.append(f"{size}_{name}", stages, commit_of(model), what)


def held_out_poses(folder, data, stages, run):
    """Each stage's joints (H, J, 2) px of the held-out rows, by the models of a folder; no more
    than so many stages."""
    frames = Frames(data.train_images, run.device)
    rows = data.held_out
    model, _ = networks.load(folder, run, data)
    joints, sure = model.predict(frames, rows, run)
    poses = {"stage_1": joints}
    for stage in stages:
        joints, sure, _ = cascade.refine_from(
            folder, data.skeleton, frames, rows, joints, sure, run, stage
        )
        poses[f"stage_{stage}"] = joints
    return poses


def record(name, size, workdir, steps, most, run):
    """Record a row of no more than so many stages: a variant in the table, another in its own file.

    Returns which.
    """
    models = model_folder(name, workdir)
    model = files.load_json(models / "model_1.json", "step 2")
    if is_variant(name):
        variants.save(variant_entry(name, size, workdir, model, run))
        return paths.variants()
    data = open_dataset(workdir)
    stages = refined_stages(name, models, most)
    found = run_facts(name, size, model, data) | {
        "steps": steps,
        "hardware": hardware(run.device),
        "run": run.facts(),
        "dataset": data.digests,
        "recipe": model["settings"]["recipe"],
        "initial_weights": model["initial_weights"],
        "best_epoch": model["epoch"],
        "history": model.get("history", []),  # a shipped model has none
        "cascade": cascade_facts(models, data, stages),
        "held_out": held_out_scores(models, data, stages, run),
        "test": test_scores(name, size, workdir, data, stages),
    }
    files.save_json(paths.record(name, size), rounded(found), indent=0)  # a third smaller
    return paths.record(name, size)


def run_facts(name, size, model, data):
    """What a record and a line of the variants' table both hold of a run."""
    settings = model["settings"]
    return {
        "row": name,
        "size": size,
        "seed": model["seed"],
        "commit": commit_of(model),
        "rows": settings["rows"],
        "epochs": settings["epochs"],
        "input_px": settings["input_px"] or max(data.frame),
    }


def variant_entry(name, size, workdir, model, run):
    """A variant's line of the table: its held-out scores, and what its base has over it."""
    row = ROWS[name]
    data = open_dataset(workdir)
    true = data.train_labels[data.held_out].astype(float)
    joints = held_out_poses(workdir, data, [], run)["stage_1"]
    gains = {}
    if row.against:
        base = base_poses(run_folder(workdir.parent, size, row.against), data, run)
        gains = compare(joints, true, data.skeleton, base) | {"row": row.against}
    flags = " ".join(
        [*stage_1_flags(name, size), "--weights", "FILE" if row.weights == "part" else row.weights]
    )
    facts = run_facts(name, size, model, data) | {
        "weights": row.weights,
        "images": len(true),
        "flags": flags,
    }
    return variants.entry(facts, metrics.score(joints, true, data.skeleton), gains)


def base_poses(workdir, data, run):
    """Held-out joints (H, J, 2) px of the run in a working directory.

    Raises RunError where it had other arrays.
    """
    own = open_dataset(workdir)
    if own.digests != data.digests:
        raise RunError(
            f"{workdir}: was run on other arrays than the row that is compared with it; remove it, and run "
            "both again"
        )
    return held_out_poses(workdir, own, [], run)["stage_1"]


def held_out_scores(folder, data, stages, run):
    """Scores, intervals and errors of each stage on the held-out images, by a folder's models."""
    true = data.train_labels[data.held_out].astype(float)
    return {
        stage: {
            "scores": metrics.score(joints, true, data.skeleton),
            "intervals": metrics.intervals(joints, true, data.skeleton),
            "errors": error_statistics(joints, true, data.skeleton),
        }
        for stage, joints in held_out_poses(folder, data, stages, run).items()
    }


def test_scores(name, size, workdir, data, stages):
    """Facts of metrics_stage_N.json, with scores and intervals of the predictions as they are
    recorded here."""
    shape = data.test_labels.shape
    numbers = [1, *stages]
    for stage in numbers:
        path = workdir / f"test_output_{stage}.npy"
        made_by = "test_stage_1.py (step 3)" if stage == 1 else "test_stage_2.py (step 6)"
        joints = arrays.load(path, np.float32, (shape[0], shape[1] * shape[2]), made_by)
        predictions.save(paths.predictions(name, size, stage), np.array(joints).reshape(shape))
    facts = files.load_json(workdir / f"metrics_stage_{2 if stages else 1}.json", "step 3")
    scores, intervals = predictions.scores_of(
        workdir, data, predictions.load_stages(name, size, numbers, shape)
    )
    return facts | scores | {"intervals": facts["intervals"] | intervals}


def rounded(content):
    """The same nested lists and dictionaries with DIGITS decimals in every number."""
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    if isinstance(content, list):
        return [rounded(value) for value in content]
    return round(content, DIGITS) if isinstance(content, float) else content


def is_recorded(name, size):
    """Whether a row's scores are on record."""
    return variants.has(name, size) if is_variant(name) else paths.record(name, size).exists()


def compare(joints, true, skeleton, base):
    """What the base's joints have over these on the held-out images, with paired intervals.

    All joints are (H, J, 2) px.
    """
    ends = metrics.intervals(base, true, skeleton, before=joints)
    here = metrics.score(joints, true, skeleton)
    there = metrics.score(base, true, skeleton)
    return {
        name: {"gain": there[kind][key] - here[kind][key], "interval": ends[kind][key]}
        for name, (kind, key) in variants.SCORES.items()
    }


def error_statistics(joints, true, skeleton):
    """Mean and covariance of each joint's errors, px: what deltas.npy is drawn from."""
    found = {}
    for joint, name in enumerate(skeleton.joints):
        error = (joints[:, joint] - true[:, joint]).astype(float)
        error = error[~np.isnan(error).any(1)]
        found[name] = {"mean": error.mean(0).tolist(), "covariance": np.cov(error.T).tolist()}
    return found


def cascade_facts(folder, data, stages):
    """Of each stage's refiners in a folder: rows, epochs, gain and held-out losses."""
    found = {}
    for stage in stages:
        facts = {
            name: json.loads(path.read_text())
            for name in (*data.skeleton.joints, SHARED)
            if (path := refiner_path(folder, name, stage).with_suffix(".json")).exists()
        }
        found[f"stage_{stage}"] = {
            name: {key: fact[key] for key in ("epoch", "gain", "held_out", "initial_weights")}
            | {key: fact["settings"][key] for key in ("rows", "epochs", "simulated")}
            | {"commit": commit_of(fact)}
            for name, fact in facts.items()
        }
    return found


def commit_of(facts):
    """The commit whose code trained a model, from its .json; "unknown" where that names none."""
    return facts.get("run", {}).get("commit") or "unknown"
