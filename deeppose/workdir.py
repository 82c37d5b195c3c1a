"""Files between the steps: their names, what they were made from, and which of them are stale.

No torch here.
"""

import re
from pathlib import Path

import numpy as np

from deeppose import arrays, files
from deeppose.shell import InputError

KEPT = "--keep-epochs K of the training keeps every K-th epoch"
STEP_2 = "Train_stage_1.py (step 2)"
STEP_4 = "Generate_train_output.py (step 4)"
STEP_5 = "Train_stage_2.py (step 5)"
SHARED = "shared"  # the refiner that serves all joints
STAGES = (2, 3)  # of the cascade; DeepPose has three in all
SHIPPED = arrays.PROJECT / "models" / "lsp"  # a trained model, for folders that have none
TEST_ANNOTATIONS = "test_annotations.json"  # the true ones, in COCO's format
RESULT = "result.json"  # the last stage's poses of the test rows, in COCO's format


def refiner_name(joint_name, stage=2):
    """Name of a refiner's files without their ending, such as model_3_head.

    joint_name  of the joint that it serves, or SHARED
    """
    return f"model_{joint_name}" if stage == 2 else f"model_{stage}_{joint_name}"


def refiner_path(folder, joint_name, stage=2, epoch=None):
    """Path of a refiner's checkpoint, or of that of an epoch that was kept."""
    return epoch_path(folder / f"{refiner_name(joint_name, stage)}.pt", epoch)


def epoch_path(path, epoch):
    """model_1.pt -> model_1.epoch_5.pt, which --keep-epochs keeps; as it is without an epoch."""
    return path if epoch is None else path.with_suffix(f".epoch_{epoch}.pt")


def kept_epochs(path):
    """Epochs of model_1.pt, or another checkpoint, that were kept: number -> path, in order."""
    # ASCII, since \d would take any alphabet's digits
    pattern = re.compile(rf"{re.escape(path.stem)}\.epoch_(\d+)\.pt", re.ASCII)
    paths = {}
    for kept_path in path.parent.iterdir():
        if match := pattern.fullmatch(kept_path.name):
            paths[int(match[1])] = kept_path
    return dict(sorted(paths.items()))


def model_path(options):
    """Stage 1's checkpoint that --model and --epoch name.

    Raises InputError where that epoch was not kept, or --model names no model's folder.
    """
    best_path = (options.model or options.workdir) / "model_1.pt"
    path = epoch_path(best_path, options.epoch)
    if options.epoch is not None and not path.is_file():
        epochs = ", ".join(map(str, kept_epochs(best_path))) if best_path.parent.is_dir() else ""
        raise InputError(f"{path}: not found; epochs kept: {epochs or 'none'}; {KEPT}")
    if options.model and not path.is_file():
        raise InputError(f"{path}: not found; --model names the folder of a trained model")
    return path


def curves_path(folder, joint_name, stage=2):
    """Path of the table of a refiner's training, such as curves_head.csv."""
    return folder / f"{refiner_name(joint_name, stage).replace('model', 'curves', 1)}.csv"


def refiners_here(folder, skeleton, stage, epoch=None):
    """Names that a stage's refiners in a folder go by: joints, and SHARED last.

    epoch  of those that were kept; None: the finished ones
    """
    return [
        joint_name
        for joint_name in (*skeleton.joints, SHARED)
        if refiner_path(folder, joint_name, stage, epoch).exists()
    ]


def stages_here(folder, skeleton, epoch=None):
    """Stages of which a folder has a refiner (of that epoch): (), (2,), (3,) or (2, 3)."""
    return tuple(stage for stage in STAGES if refiners_here(folder, skeleton, stage, epoch))


def with_model():
    """The current folder, or SHIPPED where that alone has a model."""
    current_folder = Path(".")
    if not (current_folder / "model_1.pt").exists() and (SHIPPED / "model_1.pt").exists():
        return SHIPPED
    return current_folder


def refiners_from(workdir, skeleton, model_folder=None, epoch=None):
    """Folder of the refiners in use: the working directory, or the model's if only it has some."""
    if model_folder is None or stages_here(workdir, skeleton, epoch):
        return workdir
    return model_folder if stages_here(model_folder, skeleton, epoch) else workdir


def model_digests(model_path, skeleton, refiner_folder=None, epoch=None):
    """sha256 of stage 1's weights and of those of all refiners in a folder, by file name.

    refiner_folder  None: stage 1 alone
    epoch           of the refiners that were kept there; None: the finished ones
    """
    paths = [model_path]
    if refiner_folder is not None:
        for stage in stages_here(refiner_folder, skeleton, epoch):
            for joint_name in refiners_here(refiner_folder, skeleton, stage, epoch):
                paths.append(refiner_path(refiner_folder, joint_name, stage, epoch))
    return {path.name: arrays.digest(path) for path in paths}


def output_path(workdir, stage=1):
    """Path of a stage's predictions of the training rows: train_output.npy, train_output_2.npy."""
    return workdir / ("train_output.npy" if stage == 1 else f"train_output_{stage}.npy")


def save_output(path, joints_px, made_from):
    """Write joints (N, J, 2) px as rows (N, 2 J) of `path`, a .npy, and beside it a .json.

    made_from  their origin(), which the .json holds with the array's digest
    """
    arrays.save(path, joints_px.reshape(len(joints_px), -1))
    provenance = {"digest": arrays.digest(path), "made_from": made_from}
    files.save_json(path.with_suffix(".json"), provenance)


def load_output(workdir, dataset, stage=1, model_path=None):
    """Predictions of a stage of the training rows, float32 (N, J, 2) px.

    model_path  of stage 1 (default: model_1.pt in the working directory)
    Raises InputError where they are missing, not finite, or made from something else than what is
    there now.
    """
    path = output_path(workdir, stage)
    row_count, joint_count, _ = dataset.train_labels.shape
    made_by = STEP_4 if stage == 1 else STEP_5
    joints_px = arrays.load(path, np.float32, (row_count, 2 * joint_count), made_by)
    joints_px = np.array(joints_px).reshape(row_count, joint_count, 2)
    _check_origin(path, origin(workdir, dataset, stage, model_path), made_by)
    if not np.isfinite(joints_px).all():
        raise InputError(f"{path}: holds numbers that are not finite; run {made_by} again")
    return joints_px


def origin(workdir, dataset, stage=1, model_path=None):
    """Digests of all that a stage's predictions of the training rows depend on (None for no file).

    model_path  of stage 1 (default: model_1.pt in the working directory)
    """
    if stage == 1:
        source_paths = {"model_1.pt": model_path or workdir / "model_1.pt"}
    else:
        former_output = output_path(workdir, stage - 1)
        source_paths = {former_output.name: former_output}
        for joint_name in (*dataset.skeleton.joints, SHARED):
            path = refiner_path(workdir, joint_name, stage)
            source_paths[path.name] = path
    digests = {"dataset": dataset.digests}
    for file_name, path in source_paths.items():
        digests[file_name] = arrays.digest(path) if path.is_file() else None
    return digests


def _check_origin(path, origin_now, made_by):
    """Raise InputError where `path` was made from something else than is there now.

    Its .json tells. An array without one was not made by this project's step, and passes.
    """
    provenance_path = path.with_suffix(".json")
    if not provenance_path.exists():
        return
    provenance = files.load_json(provenance_path, made_by)
    if provenance.get("digest") != arrays.digest(path):
        raise InputError(
            f"{path}: is not the array that {path.stem}.json belongs to; run {made_by} again"
        )
    origin_then = provenance.get("made_from")
    if not isinstance(origin_then, dict):
        origin_then = {}
    for source, digest_now in origin_now.items():
        # what is not there now cannot differ
        if digest_now is not None and origin_then.get(source) != digest_now:
            raise InputError(
                f"{path}: was made from another {source} than the one here; run {made_by} again"
            )


def is_made_from(path, origin_now):
    """Whether the array at `path` is there, made from just this origin(), as its .json tells.

    False where that cannot be read.
    """
    provenance_path = path.with_suffix(".json")
    if not path.exists() or not provenance_path.exists():
        return False
    try:
        provenance = files.load_json(provenance_path, STEP_4)
    except InputError:
        return False
    has_origin = provenance.get("made_from") == origin_now
    return has_origin and provenance.get("digest") == arrays.digest(path)


def stale_refiners(workdir, dataset, stage, model_path=None, epoch=None):
    """Refiners trained on other predictions of the former stage than its models make now.

    The .json beside those predictions tells; where it is missing, or a refiner has none, nothing is
    known, and none is stale. Returns a list of names as refiners_here gives them.
    """
    path = output_path(workdir, stage - 1)
    if not path.exists() or not path.with_suffix(".json").exists():
        return []
    # the predictions' digest, or None where they are stale themselves
    is_current = is_made_from(path, origin(workdir, dataset, stage - 1, model_path))
    digest_now = arrays.digest(path) if is_current else None
    stale = []
    for joint_name in refiners_here(workdir, dataset.skeleton, stage, epoch):
        refiner_json = refiner_path(workdir, joint_name, stage, epoch).with_suffix(".json")
        if not refiner_json.exists():
            continue
        settings = files.load_json(refiner_json, STEP_5).get("settings")
        # a refiner that does not tell what it was trained on passes
        if not isinstance(settings, dict):
            continue
        if settings.get("train_output", digest_now) != digest_now:
            stale.append(joint_name)
    return stale
