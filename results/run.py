"""Run a row's six steps, then write everything that is known of it to results/<size>_<name>.json."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import hardware
from Cascade_1_net import refine, stages_here
from deeppose import arrays, files, metrics
from deeppose.loader import Frames
from deeppose.predictions import model_name
from deeppose.shell import RunError
from deeppose.skeleton import LSP
from Resnet_stage_1 import load_stage_1, predict_joints
from results.rows import ROWS, is_variant, refiner_commands, stage_1_flags

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "results"
COMPARED = {"pdj_0.2": ("pdj", "0.20"), "pcp_strict_mean_4": ("pcp_strict", "mean_4")}


def step(script, *flags):
    """Run one script; returns what it was, without the paths of this machine, and its seconds; RunError if it fails."""
    began = time.monotonic()
    child = subprocess.Popen([sys.executable, str(ROOT / script), *map(str, flags)])
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.wait()  # it saves its state
        raise
    if code:
        raise RunError(f"{script} ended with exit code {code}, see above; the same command goes on from there")
    shown = [shown_path(flag) if isinstance(flag, Path) else str(flag) for flag in flags]
    return {"command": " ".join(["python", script, *shown]), "seconds": round(time.monotonic() - began, 1)}


def shown_path(path):
    """A path as a row's commands show it: from the folder of the rows on, other files by name alone."""
    return f"{path.parent.name}/{path.name}" if path.suffix == ".pt" else path.name


def prepare(folder, source, copies):
    """The arrays of step 1, made once for all rows that want the same: their folder, and the flags."""
    workdir = folder / ("data" if copies else "data_no_copies")
    flags = () if copies else ("--no-copies",)
    if not (workdir / "dataset.json").exists():
        step("LSP_data.py", *flags, "--source", source, "--workdir", workdir)
    return workdir, flags


def run_row(name, size, folder, source, part, stages, more):
    """A row's steps, of so many stages, in folder/<size>_<name>, going on where it stopped: folder, commands."""
    row, workdir = ROWS[name], folder / f"{size}_{name}"
    if row.against and not path_of(row.against, size).exists():
        raise RunError(f"{row.against}, with which it is compared, is not recorded")
    data, flags = prepare(folder, source, row.copies)
    workdir.mkdir(parents=True, exist_ok=True)
    for path in (*data.glob("t*_*.npy"), data / "dataset.json"):
        if path.name != "train_output.npy" and not (workdir / path.name).exists():
            os.link(path, workdir / path.name)
    weights = part if row.weights == "part" else row.weights
    own = ("--workdir", workdir, *more)
    steps = [{"command": " ".join(["python LSP_data.py", *flags, "--workdir", workdir.name])},
             step("Train_stage_1.py", *stage_1_flags(name, size), "--weights", weights, "--resume", *own)]
    steps[-1]["seconds"] = files.load_json(workdir / "model_1.json", "step 2")["seconds"]  # if resumed, all of it
    if is_variant(name):
        return workdir, steps  # the test set is for finished runs
    steps.append(step("test_stage_1.py", *own))
    for stage in range(2, min(row.stages, stages) + 1):
        if stage == 2:
            steps.append(step("Generate_train_output.py", *own))
        drawn = ("--make-deltas",) if stage == 2 else ("--stage", str(stage))
        for flags in refiner_commands(name, size, stage):
            flags = [workdir / flag if flag.endswith(".pt") else flag for flag in flags]
            steps.append(step("Train_stage_2.py", *flags, *drawn, "--resume", *own))
            joints = flags[flags.index("--joints") + 1].split(",") if "--joints" in flags else LSP.joints
            trained = [files.load_json(workdir / f"{model_name(joint, stage)}.json", "step 5") for joint in joints]
            steps[-1]["seconds"] = max(steps[-1]["seconds"], round(sum(facts["seconds"] for facts in trained), 1))
    if min(row.stages, stages) > 1:
        steps.append(step("test_stage_2.py", *own))
    return workdir, steps


def held_out_poses(workdir, data, stages, run):
    """Each stage's joints (H, J, 2) px of the held-out rows; no more than so many stages."""
    frames, rows = Frames(data.train_images, run.device), data.held_out
    joints = predict_joints(load_stage_1(workdir, data, run), frames, rows, data, run)
    poses = {"stage_1": joints}
    for stage in stages:
        joints, _ = refine(workdir, data, frames, rows, joints, run, stage)
        poses[f"stage_{stage}"] = joints
    return poses


def record(name, size, workdir, steps, most, run):
    """Write results/<size>_<name>.json, of no more than so many stages."""
    row, data = ROWS[name], arrays.open_dataset(workdir)
    stages = [stage for stage in stages_here(workdir, data.skeleton) if stage <= min(row.stages, most)]
    true = data.train_labels[data.held_out].astype(float)
    model = files.load_json(workdir / "model_1.json", "step 2")
    poses = held_out_poses(workdir, data, stages, run)
    found = {"row": name, "size": size, "title": row.title, "seed": model["seed"],
             "commit": commit_of(model),
             "steps": steps, "hardware": hardware(run.device), "run": run.facts(), "dataset": data.digests,
             "rows": model["settings"]["rows"], "epochs": model["settings"]["epochs"],
             "input_px": model["settings"]["input_px"] or data.frame_px, "recipe": model["settings"]["recipe"],
             "initial_weights": model["initial_weights"], "best_epoch": model["epoch"], "history": model["history"],
             "cascade": cascade_facts(workdir, data, stages),
             "held_out": {stage: {"scores": metrics.score(joints, true, data.skeleton),
                                  "intervals": metrics.intervals(joints, true, data.skeleton),
                                  "errors": error_statistics(joints, true, data.skeleton),
                                  "joints_px": [" ".join(f"{x:.1f}" for x in pose.flat) for pose in joints]}
                          for stage, joints in poses.items()}}
    if not is_variant(name):
        found["test"] = files.load_json(workdir / f"metrics_stage_{2 if stages else 1}.json", "step 3")
    if row.against:
        found["against"] = compare(poses["stage_1"], true, data.skeleton, path_of(row.against, size))
    files.save_json(path_of(name, size), found)
    return path_of(name, size)


def path_of(name, size):
    """Where a row's results are."""
    return RECORDS / f"{size}_{name}.json"


def compare(joints, true, skeleton, base_path):
    """What the base row has over these joints on the held-out images, with paired intervals."""
    poses = json.loads(base_path.read_text())["held_out"]["stage_1"]["joints_px"]  # a line an image
    base = np.array([pose.split() for pose in poses], float).reshape(true.shape)
    ends, here, there = (metrics.intervals(base, true, skeleton, before=joints), metrics.score(joints, true, skeleton),
                         metrics.score(base, true, skeleton))
    return {"row": base_path.stem} | {
        name: {"gain": there[kind][key] - here[kind][key], "interval": ends[kind][key]}
        for name, (kind, key) in COMPARED.items()}


def error_statistics(joints, true, skeleton):
    """Mean and covariance of each joint's errors, px: what deltas.npy is drawn from."""
    found = {}
    for joint, name in enumerate(skeleton.joints):
        error = (joints[:, joint] - true[:, joint]).astype(float)
        error = error[~np.isnan(error).any(1)]
        found[name] = {"mean": error.mean(0).tolist(), "covariance": np.cov(error.T).tolist()}
    return found


def cascade_facts(workdir, data, stages):
    """Of each stage's refiners: rows, epochs, gain and held-out losses."""
    found = {}
    for stage in stages:
        facts = {name: json.loads(path.read_text()) for name in data.skeleton.joints
                 if (path := workdir / f"{model_name(name, stage)}.json").exists()}
        found[f"stage_{stage}"] = {name: {key: fact[key] for key in ("epoch", "gain", "held_out", "initial_weights")}
                                   | {key: fact["settings"][key] for key in ("rows", "epochs", "simulated")}
                                   | {"commit": commit_of(fact)}
                                   for name, fact in facts.items()}
    return found


def commit_of(facts):
    """The commit whose code trained a model, from its .json; "unknown" where that names none."""
    return facts.get("run", {}).get("commit") or "unknown"
