"""Each stage's predictions of the training rows, tied to the data and the models they were made from. No torch here."""
import numpy as np

from deeppose import arrays, files
from deeppose.shell import InputError

STEP_4 = "Generate_train_output.py (step 4)"


def model_name(joint, stage=2):
    """What a joint's checkpoint is called, without .pt: model_head of stage 2, model_3_head of stage 3."""
    return f"model_{joint}" if stage == 2 else f"model_{stage}_{joint}"


def curves_name(joint, stage=2):
    """What the table of a joint's training is called."""
    return model_name(joint, stage).replace("model", "curves", 1) + ".csv"


def path_of(workdir, stage=1):
    """train_output.npy of stage 1, train_output_2.npy of stage 2."""
    return workdir / ("train_output.npy" if stage == 1 else f"train_output_{stage}.npy")


def origin(workdir, data, stage=1):
    """What a stage's predictions depend on, as digests: the Dataset, models, the former stage's (None for no file)."""
    sources = ["model_1.pt"] if stage == 1 else [path_of(workdir, stage - 1).name] + [
        f"{model_name(joint, stage)}.pt" for joint in data.skeleton.joints]
    return {"dataset": data.digests} | {
        name: arrays.digest(workdir / name) if (workdir / name).is_file() else None for name in sources}


def save(path, joints_px, made_from):
    """Write joints (N, J, 2) as the rows of `path` (.npy), and beside it (.json) its digest and its origin()."""
    arrays.save(path, joints_px.reshape(len(joints_px), -1))
    files.save_json(path.with_suffix(".json"), {"digest": arrays.digest(path), "made_from": made_from})


def load(workdir, data, stage=1):
    """A stage's predictions of the training rows, float32 (N, J, 2) px.

    InputError where they are missing, not finite, or made from something else than what is there now.
    """
    path, shape = path_of(workdir, stage), data.train_labels.shape
    joints = np.array(arrays.load(path, np.float32, (shape[0], shape[1] * shape[2]), STEP_4)).reshape(shape)
    check_origin(path, origin(workdir, data, stage), STEP_4)
    if not np.isfinite(joints).all():
        raise InputError(f"{path}: holds numbers that are not finite; run {STEP_4} again")
    return joints


def made_from(path, origin_now):
    """Whether the array at `path` is there, with the .json that says it was made from just this origin()."""
    said = path.with_suffix(".json")
    if not path.exists() or not said.exists():
        return False
    known = files.load_json(said, STEP_4)
    return known.get("made_from") == origin_now and known.get("digest") == arrays.digest(path)


def stale_refiners(workdir, data, stage):
    """Joints whose refiner learnt from other predictions of the former stage than its models make now.

    Those predictions' file tells; where it is missing, or a refiner has no .json, nothing is known, and none is stale.
    """
    path = path_of(workdir, stage - 1)
    if not path.exists() or not path.with_suffix(".json").exists():
        return []
    now = arrays.digest(path) if made_from(path, origin(workdir, data, stage - 1)) else None
    stale = []
    for joint in data.skeleton.joints:
        model = workdir / f"{model_name(joint, stage)}.pt"
        if model.exists() and model.with_suffix(".json").exists():
            settings = files.load_json(model.with_suffix(".json"), "Train_stage_2.py (step 5)").get("settings")
            if isinstance(settings, dict) and settings.get("train_output", now) != now:
                stale.append(joint)
    return stale


def check_origin(path, made_from, made_by):
    """InputError where the .json beside `path` says that it was made from something else than what is there now.

    An array without one was not made by this project's step, and passes.
    """
    if not path.with_suffix(".json").exists():
        return
    known = files.load_json(path.with_suffix(".json"), made_by)
    if known.get("digest") != arrays.digest(path):
        raise InputError(f"{path}: is not the array that {path.stem}.json belongs to; run {made_by} again")
    then = known.get("made_from")
    for name, value in made_from.items():
        if value is not None and (not isinstance(then, dict) or then.get(name) != value):
            raise InputError(f"{path}: was made from another {name} than the one here; run {made_by} again")
