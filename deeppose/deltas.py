"""deltas.npy: simulated errors of the former stage, from which refiners learn to correct real ones."""

import numpy as np

from deeppose import arrays, files, runtime
from deeppose.locks import lock
from deeppose.shell import InputError

DRAWN = 40  # simulated errors a joint; DeepPose, section 3.1
OWN = arrays.PROJECT / "deltas.npy"


def draw(predicted_px, true_px, skeleton, seed):
    """Simulated prediction errors float32 (J, 40, 2) px: of each joint's, sorted by size, one from
    each 40th part.

    predicted_px, true_px  (N, J, 2) of the held-out rows (original: of training rows, whose errors
                           are too small)

    DeepPose draws from the normal distribution of their variance, but a few gross errors make most
    of that: the median error would come out 1.1 to 2.0 times too large (docs/reference.md).
    """
    draws = []
    for joint, name in enumerate(skeleton.joints):
        error = (predicted_px[:, joint] - true_px[:, joint]).astype(float)  # (N, 2)
        error = error[~np.isnan(error).any(1)]
        if len(error) < 2:  # too few of its own: those of all joints
            error = (predicted_px - true_px).astype(float).reshape(-1, 2)
            error = error[~np.isnan(error).any(1)]
        if len(error) < 2:
            raise InputError(
                "deltas.npy: the held-out rows have fewer than 2 labels, too few to draw from; "
                f"run {arrays.STEP_1} with more images"
            )
        by_size = np.argsort(np.linalg.norm(error, axis=1))
        # one error from each 40th of them
        parts = (np.arange(DRAWN) + runtime.rng(seed, "deltas", name).random(DRAWN)) / DRAWN
        draws.append(error[by_size[(parts * len(error)).astype(int)]])
    return np.array(draws, np.float32)


def path_of(workdir, stage=2):
    """deltas.npy of stage 2, deltas_3.npy of stage 3."""
    return workdir / ("deltas.npy" if stage == 2 else f"deltas_{stage}.npy")


def find(options, data, predicted_px, run):
    """Path and deltas (J, 40, 2) of a stage.

    Drawn anew on --make-deltas, for stage 3, and where neither the working directory nor the
    project has some for this skeleton and frame; else see load.
    """
    path = path_of(options.workdir, options.stage)
    wanted = options.make_deltas or options.stage > 2 or not (path.exists() or _own_fits(data))
    if run.rank == 0 and wanted:
        drawn = draw(
            predicted_px[data.held_out],
            data.train_labels[data.held_out],
            data.skeleton,
            options.seed,
        )
        with lock(options.workdir, path.stem, wait=True):  # other joints' runs draw the same ones
            if not _holds(path, drawn):  # or make would find the joints before this one stale
                arrays.save(path, drawn)
            # always, since a run that was killed before this line left another's, or none
            files.save_json(path.with_suffix(".json"), _facts(data))
        print(f"{path}: drawn from the errors on {len(data.held_out)} held-out rows")
    run.wait()
    return load(options.workdir, data, options.stage)


def _facts(data):
    """What deltas are made for: the joints, in their order, and the frame whose pixels they are
    in."""
    return {
        "skeleton": data.skeleton.name,
        "joints": list(data.skeleton.joints),
        "frame": list(data.frame),
    }


def _own_fits(data):
    """Whether the project's own deltas.npy are for these joints and frames."""
    return files.load_json(OWN.with_suffix(".json"), "the project") == _facts(data)


def _holds(path, array):
    try:
        return np.array_equal(arrays.load(path, array.dtype.type, array.shape, "this step"), array)
    except InputError:  # missing or broken: it is replaced
        return False


def load(workdir, data, stage=2):
    """Path and deltas (J, 40, 2) px of a stage: the working directory's, or else, of stage 2, the
    project's own."""
    path = path_of(workdir, stage)
    path = path if path.exists() or stage > 2 else OWN
    made_by = "Train_stage_2.py --make-deltas"
    beside = path.with_suffix(".json")
    if beside.exists() and files.load_json(beside, made_by) != _facts(data):
        raise InputError(
            f"{path}: was drawn for another skeleton or frame than this; run {made_by}"
        )
    deltas = arrays.load(path, np.floating, (data.skeleton.joint_count, DRAWN, 2), made_by)
    if not np.isfinite(deltas).all():
        raise InputError(f"{path}: holds numbers that are not finite; run {made_by}")
    return path, np.array(deltas, float)
