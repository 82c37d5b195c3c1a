"""Run a row's six steps as commands, from where they stopped, or score a trained model of it."""

import os
import subprocess
import sys
import time
from pathlib import Path

from deeppose import arrays, files, training_state
from deeppose.dataset import open_dataset
from deeppose.shell import RunError
from deeppose.skeletons import LSP
from deeppose.workdir import refiner_path, stages_here
from results import ledger
from results.paths import ROOT
from results.rows import ROWS, is_variant
from results.sizes import refiner_commands, stage_1_flags


def run_row(row_name, size, folder, source, part_weights, most_stages, machine_flags):
    """Run a row's steps in folder/<size>_<row>, going on where it stopped.

    Returns its working directory, and its steps as a record holds them.

    part_weights   the file that --part names, or None
    most_stages    no more stages than so many
    machine_flags  flags of every step but the first, such as --device
    """
    row = ROWS[row_name]
    workdir = run_folder(folder, size, row_name)
    if row.model:
        return score_model(row_name, size, folder, source, most_stages, machine_flags)
    if row.against:
        trained_folder(row.against, size, folder, f"{row_name} is compared with it")
    weights = part_weights if row.weights == "part" else row.weights
    if weights in ROWS:
        weights = trained_folder(weights, size, folder, f"{row_name} starts from it")
    stage_count = min(row.stages, most_stages)
    common_flags = ("--workdir", workdir, *machine_flags)
    # step 1, once for all rows that want the same arrays
    steps = [link_arrays(folder, source, row.copies, workdir)]
    # step 2
    flags = ("--weights", weights, "--resume", *common_flags)
    steps.append(run_step("Train_stage_1.py", *stage_1_flags(row_name, size), *flags))
    # the model's own count of seconds, which holds those before a run was resumed
    steps[-1]["seconds"] = files.load_json(workdir / "model_1.json", "step 2")["seconds"]
    if is_variant(row_name):
        return workdir, steps  # the test set is for finished runs
    # steps 3 to 6; the ledger's line comes before any score is seen
    enter_in_ledger(row_name, size, workdir, range(1, stage_count + 1))
    box_flags = ("--box-scale", row.boxes, "--source", source) if row.boxes else ()
    steps.append(run_step("test_stage_1.py", *box_flags, *row.looks, *common_flags))
    if stage_count > 1:
        steps.append(run_step("Generate_train_output.py", *common_flags))
    for stage in range(2, stage_count + 1):
        steps += train_refiners(row_name, size, workdir, stage, common_flags)
    if stage_count > 1:
        steps.append(run_step("test_stage_2.py", *row.looks, *common_flags))
    return workdir, steps


def trained_folder(row_name, size, folder, why):
    """Working directory of a row's run; RunError, which says why it is needed, where that has no
    trained model."""
    workdir = run_folder(folder, size, row_name)
    model_path = workdir / "model_1.pt"
    if not model_path.exists() or training_state.state_path(model_path).exists():
        raise RunError(
            f"{workdir}: holds no trained model_1.pt of {row_name}; {why}; first run "
            f"python -m results --size {size} {row_name}, with --again if it is recorded, which scores "
            "it once more"
        )
    return workdir


def train_refiners(row_name, size, workdir, stage, common_flags):
    """Run a stage's commands of step 5; returns them as a record's steps."""
    simulation_flags = ("--make-deltas",) if stage == 2 else ("--stage", str(stage))
    steps = []
    for command_flags in refiner_commands(row_name, size, stage):
        flags = [workdir / flag if flag.endswith(".pt") else flag for flag in command_flags]
        steps.append(
            run_step("Train_stage_2.py", *flags, *simulation_flags, "--resume", *common_flags)
        )
        # the models' own counts of seconds, as for step 2
        joints = LSP.joints
        if "--joints" in flags:
            joints = flags[flags.index("--joints") + 1].split(",")
        trained_seconds = 0
        for joint in joints:
            provenance_path = refiner_path(workdir, joint, stage).with_suffix(".json")
            trained_seconds += files.load_json(provenance_path, "step 5")["seconds"]
        steps[-1]["seconds"] = max(steps[-1]["seconds"], round(trained_seconds, 1))
    return steps


def score_model(row_name, size, folder, source, most_stages, machine_flags):
    """Score a row's trained model, as run_row does one that it trains."""
    row = ROWS[row_name]
    workdir = run_folder(folder, size, row_name)
    steps = [link_arrays(folder, source, row.copies, workdir)]
    models = model_folder(row_name, workdir)
    stages = refined_stages(row_name, models, most_stages)
    enter_in_ledger(row_name, size, workdir, (1, *stages))
    scripts = ("test_stage_1.py", "test_stage_2.py") if stages else ("test_stage_1.py",)
    for script in scripts:
        step = run_step(script, "--model", models, *row.looks, "--workdir", workdir, *machine_flags)
        # the model by its path in the project, which a step shows by its last part alone
        flags = ("--model", row.model, *row.looks, "--workdir", workdir.name)
        command = " ".join(["python", script, *flags])
        steps.append(step | {"command": command})
    return workdir, steps


def link_arrays(folder, source, copies, workdir):
    """Link the arrays of step 1, made where they are not there, into a row's working directory.

    Returns that step, as a record names it.
    """
    arrays_folder, flags = prepare(folder, source, copies)
    workdir.mkdir(parents=True, exist_ok=True)
    names = arrays_folder.glob("t*_photographs.txt")
    for path in (*arrays_folder.glob("t*_*.npy"), *names, arrays_folder / "dataset.json"):
        if path.name != "train_output.npy" and not (workdir / path.name).exists():
            os.link(path, workdir / path.name)
    return {"command": " ".join(["python LSP_data.py", *flags, "--workdir", workdir.name])}


def prepare(folder, source, copies):
    """The arrays of step 1, made once for all rows that want the same: their folder, and the
    flags."""
    workdir = folder / ("data" if copies else "data_no_copies")
    flags = () if copies else ("--no-copies",)
    if not (workdir / "dataset.json").exists():
        run_step("LSP_data.py", *flags, "--source", source, "--workdir", workdir)
    return workdir, flags


def run_step(script, *flags):
    """Run one script.

    Returns its command, without the paths of this machine, and its seconds; RunError if it fails.
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


def enter_in_ledger(row_name, size, workdir, stages):
    """Note that a row is about to be scored: before it is, so that no score can be seen without its
    line."""
    model_path = model_folder(row_name, workdir) / "model_1.pt"
    provenance = files.load_json(model_path.with_suffix(".json"), "step 2")
    image_count = len(open_dataset(workdir).test_labels)
    scored = ledger.scored(arrays.digest(model_path), ROWS[row_name].looks)
    what = f"python -m results, {scored}, {image_count:,} test images"
    ledger.append(f"{size}_{row_name}", stages, commit_of(provenance), what)


def run_folder(folder, size, row_name):
    """Working directory of a row's run."""
    return folder / f"{size}_{row_name}"


def model_folder(row_name, workdir):
    """Folder of a row's models: its working directory, or that of the project which it names."""
    model = ROWS[row_name].model
    return ROOT / model if model else workdir


def refined_stages(row_name, models, most_stages):
    """Stages of which a row's models have a refiner, no more than so many."""
    last_stage = min(ROWS[row_name].stages, most_stages)
    return [stage for stage in stages_here(models, LSP) if stage <= last_stage]


def commit_of(provenance):
    """The commit whose code trained a model, from its .json; "unknown" where that names none."""
    return provenance.get("run", {}).get("commit") or "unknown"
