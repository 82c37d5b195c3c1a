"""The files between the steps: what they are called, what they were made from, and which are stale.

No torch here.
"""

import re
from pathlib import Path

import numpy as np

from deeppose import arrays, files
from deeppose.shell import InputError

KEPT = "--keep-epochs K of the training keeps every K-th epoch"
STEP_4 = "Generate_train_output.py (step 4)"
STEP_5 = "Train_stage_2.py (step 5)"
SHARED = "shared"  # the refiner that serves all joints
STAGES = (2, 3)  # of the cascade; DeepPose has three in all
SHIPPED = arrays.PROJECT / "models" / "lsp"  # a trained model, for folders that have none
TEST_ANNOTATIONS = "test_annotations.json"  # the true ones, in COCO's format
# the last stage's poses of the test rows in COCO's format
RESULT = "result.json"


def refiner_name(name, stage=2):
    """Name of a refiner's files without their ending, such as model_3_head.

    name  a joint's, or SHARED
    """
    return f"model_{name}" if stage == 2 else f"model_{stage}_{name}"


def refiner_path(folder, name, stage=2, epoch=None):
    """A refiner's checkpoint, or that of an epoch that was kept."""
    return epoch_path(folder / f"{refiner_name(name, stage)}.pt", epoch)


def epoch_path(path, epoch):
    """model_1.pt -> model_1.epoch_5.pt, which --keep-epochs keeps; as it is without an epoch."""
    return path if epoch is None else path.with_suffix(f".epoch_{epoch}.pt")


def kept_epochs(path):
    """The epochs of model_1.pt, or another checkpoint, that were kept: number -> path, in order."""
    numbers = {}
    for kept in path.parent.iterdir():
        if match := re.fullmatch(rf"{re.escape(path.stem)}\.epoch_(\d+)\.pt", kept.name, re.ASCII):
            numbers[int(match[1])] = kept
    return dict(sorted(numbers.items()))


def model_path(options):
    """Stage 1's checkpoint that --model and --epoch name.

    Raises InputError where that epoch was not kept.
    """
    path = (options.model or options.workdir) / "model_1.pt"
    if options.epoch is not None and not epoch_path(path, options.epoch).is_file():
        kept = ", ".join(map(str, kept_epochs(path))) if path.parent.is_dir() else ""
        raise InputError(
            f"{epoch_path(path, options.epoch)}: not found; epochs kept: {kept or 'none'}; {KEPT}"
        )
    return epoch_path(path, options.epoch)


def curves_path(folder, name, stage=2):
    """The table of a refiner's training."""
    return folder / f"{refiner_name(name, stage).replace('model', 'curves', 1)}.csv"


def refiners_here(folder, skeleton, stage, epoch=None):
    """The names of a stage's refiners that a folder has, or has of an epoch that was kept: joints',
    and SHARED last."""
    return [
        name
        for name in (*skeleton.joints, SHARED)
        if refiner_path(folder, name, stage, epoch).exists()
    ]


def stages_here(folder, skeleton, epoch=None):
    """The stages of the cascade of which a folder has a refiner (of that epoch): (), (2,) or (2,
    3)."""
    return tuple(stage for stage in STAGES if refiners_here(folder, skeleton, stage, epoch))


def with_model():
    """The current folder where it has a model_1.pt, or where there is no SHIPPED model either.

    Else it is SHIPPED.
    """
    here = Path(".")
    has_own = (here / "model_1.pt").exists()
    return here if has_own or not (SHIPPED / "model_1.pt").exists() else SHIPPED


def refiners_from(workdir, skeleton, model=None, epoch=None):
    """The folder whose refiners are used: the working directory, or where that has none the
    model's, if that has."""
    if (
        model is not None
        and not stages_here(workdir, skeleton, epoch)
        and stages_here(model, skeleton, epoch)
    ):
        return model
    return workdir


def model_digests(model_path, skeleton, refiners=None, epoch=None):
    """sha256 of stage 1's weights, and of those of all refiners in a folder, or of an epoch that
    was kept there.

    refiners  None: of stage 1 alone
    """
    paths = [model_path]
    if refiners is not None:
        paths += [
            refiner_path(refiners, name, stage, epoch)
            for stage in stages_here(refiners, skeleton, epoch)
            for name in refiners_here(refiners, skeleton, stage, epoch)
        ]
    return {path.name: arrays.digest(path) for path in paths}


def output_path(workdir, stage=1):
    """train_output.npy of stage 1, train_output_2.npy of stage 2."""
    return workdir / ("train_output.npy" if stage == 1 else f"train_output_{stage}.npy")


def origin(workdir, data, stage=1, model=None):
    """What a stage's predictions of the training rows depend on, as digests (None for no file).

    model  the path of stage 1's checkpoint (default: model_1.pt in the working directory)
    """
    if stage == 1:
        sources = {"model_1.pt": model or workdir / "model_1.pt"}
    else:
        sources = {output_path(workdir, stage - 1).name: output_path(workdir, stage - 1)}
        for name in (*data.skeleton.joints, SHARED):
            path = refiner_path(workdir, name, stage)
            sources[path.name] = path
    digests = {
        name: arrays.digest(path) if path.is_file() else None for name, path in sources.items()
    }
    return {"dataset": data.digests} | digests


def save_output(path, joints_px, made_from):
    """Write joints (N, J, 2) as the rows of `path` (.npy), and beside it (.json) its digest and its
    origin()."""
    arrays.save(path, joints_px.reshape(len(joints_px), -1))
    files.save_json(
        path.with_suffix(".json"), {"digest": arrays.digest(path), "made_from": made_from}
    )


def load_output(workdir, data, stage=1, model=None):
    """A stage's predictions of the training rows, float32 (N, J, 2) px.

    InputError where they are missing, not finite, or made from something else than what is there
    now.
    """
    path = output_path(workdir, stage)
    count, joint_count, _ = data.train_labels.shape
    joints = arrays.load(path, np.float32, (count, 2 * joint_count), STEP_4)
    joints = np.array(joints).reshape(count, joint_count, 2)
    _check_origin(path, origin(workdir, data, stage, model), STEP_4)
    if not np.isfinite(joints).all():
        raise InputError(f"{path}: holds numbers that are not finite; run {STEP_4} again")
    return joints


def is_made_from(path, origin_now):
    """Whether the array at `path` is there, with the .json that says it was made from just this
    origin()."""
    beside = path.with_suffix(".json")
    if not path.exists() or not beside.exists():
        return False
    known = files.load_json(beside, STEP_4)
    return known.get("made_from") == origin_now and known.get("digest") == arrays.digest(path)


def stale_refiners(workdir, data, stage, model=None, epoch=None):
    """Refiners that learnt from other predictions of the former stage than its models make now.

    Those predictions' file tells; where it is missing, or a refiner has no .json, nothing is known,
    and none is stale.
    """
    path = output_path(workdir, stage - 1)
    if not path.exists() or not path.with_suffix(".json").exists():
        return []
    now = (
        arrays.digest(path) if is_made_from(path, origin(workdir, data, stage - 1, model)) else None
    )
    stale = []
    for name in refiners_here(workdir, data.skeleton, stage, epoch):
        facts = refiner_path(workdir, name, stage, epoch).with_suffix(".json")
        if facts.exists():
            settings = files.load_json(facts, STEP_5).get("settings")
            if isinstance(settings, dict) and settings.get("train_output", now) != now:
                stale.append(name)
    return stale


def _check_origin(path, made_from, made_by):
    """InputError where the .json beside `path` says that it was made from something else than what
    is there now.

    An array without one was not made by this project's step, and passes.
    """
    if not path.with_suffix(".json").exists():
        return
    known = files.load_json(path.with_suffix(".json"), made_by)
    if known.get("digest") != arrays.digest(path):
        raise InputError(
            f"{path}: is not the array that {path.stem}.json belongs to; run {made_by} again"
        )
    then = known.get("made_from")
    for name, value in made_from.items():
        if value is not None and (not isinstance(then, dict) or then.get(name) != value):
            raise InputError(
                f"{path}: was made from another {name} than the one here; run {made_by} again"
            )
