"""deltas.npy: simulated errors of the former stage, from which refiners learn to mend real ones."""

import numpy as np

from deeppose import arrays, files, runtime
from deeppose.locks import lock
from deeppose.shell import InputError

DRAWN = 40  # simulated errors a joint; DeepPose, section 3.1
OWN = arrays.PROJECT / "deltas.npy"


def draw(predicted_px, true_px, skeleton, seed):
    """Simulated prediction errors float32 (J, 40, 2) px, drawn from the real ones of each joint.

    A joint's errors are sorted by size, and one is drawn from each 40th part of them.

    predicted_px, true_px  (N, J, 2) of the held-out rows (original: of training rows, whose errors
                           are too small)

    DeepPose draws from the normal distribution of their variance, but a few gross errors make most
    of that: the median error would come out 1.1 to 2.0 times too large (docs/reference.md).
    """
    draws = []
    for joint, name in enumerate(skeleton.joints):
        errors = _labelled(predicted_px[:, joint] - true_px[:, joint])
        if len(errors) < 2:  # too few of its own: those of all joints
            errors = _labelled((predicted_px - true_px).reshape(-1, 2))
        if len(errors) < 2:
            raise InputError(
                "deltas.npy: the held-out rows have fewer than 2 labels, too few to draw from; "
                f"run {arrays.STEP_1} with more images"
            )
        by_size = np.argsort(np.linalg.norm(errors, axis=1))
        # one error from each 40th of them
        within_parts = runtime.rng(seed, "deltas", name).random(DRAWN)
        shares = (np.arange(DRAWN) + within_parts) / DRAWN  # (40,) in [0, 1), rising
        draws.append(errors[by_size[(shares * len(errors)).astype(int)]])
    return np.array(draws, np.float32)


def _labelled(errors_px):
    """The errors (n, 2) px of those (N, 2) that are known, in float64."""
    errors_px = errors_px.astype(float)
    return errors_px[~np.isnan(errors_px).any(1)]


def path_of(workdir, stage=2):
    """Path of a stage's simulated errors: deltas.npy for stage 2, deltas_3.npy for stage 3."""
    return workdir / ("deltas.npy" if stage == 2 else f"deltas_{stage}.npy")


def find(options, data, predicted_px, run):
    """Path and deltas (J, 40, 2) px of a stage.

    Drawn anew on --make-deltas, for stage 3, and where neither the working directory nor the
    project has some for this skeleton and frame; else see load.
    """
    path = path_of(options.workdir, options.stage)
    have_some = path.exists() or _own_fits(data)
    must_draw = options.make_deltas or options.stage > 2 or not have_some
    # one process draws for all, and the others wait for its file
    if run.rank == 0 and must_draw:
        drawn = draw(
            predicted_px[data.held_out],
            data.train_labels[data.held_out],
            data.skeleton,
            options.seed,
        )
        # other joints' runs may draw the same ones at the same time
        with lock(options.workdir, path.stem, wait=True):
            # written anew, though it were the same, it would make the earlier joints stale for make
            if not _holds(path, drawn):
                arrays.save(path, drawn)
            # always written: a run that was killed before this line left another's .json, or none
            files.save_json(path.with_suffix(".json"), _facts(data))
        print(f"{path}: drawn from the errors on {len(data.held_out)} held-out rows")
    run.wait()
    return load(options.workdir, data, options.stage)


def _facts(data):
    """Facts about deltas: the joints, in their order, and the frame whose pixels they are in."""
    return {
        "skeleton": data.skeleton.name,
        "joints": list(data.skeleton.joints),
        "frame": list(data.frame),
    }


def _own_fits(data):
    """Whether the project's own deltas.npy are for these joints and frames."""
    return files.load_json(OWN.with_suffix(".json"), "the project") == _facts(data)


def _holds(path, array):
    """Whether the .npy file holds just this array."""
    try:
        present = arrays.load(path, array.dtype.type, array.shape, "this step")
    except InputError:  # missing or broken: it is replaced
        return False
    return np.array_equal(present, array)


def load(workdir, data, stage=2):
    """Path and deltas (J, 40, 2) px of a stage: the working directory's, else the project's own.

    The project has its own for stage 2 alone. Raises InputError where they are missing, broken, or
    for another skeleton or frame.
    """
    # find the file
    path = path_of(workdir, stage)
    if stage == 2 and not path.exists():
        path = OWN
    made_by = "Train_stage_2.py --make-deltas"
    # see that it is for this data, as far as a .json says so
    facts_path = path.with_suffix(".json")
    if facts_path.exists() and files.load_json(facts_path, made_by) != _facts(data):
        raise InputError(
            f"{path}: was drawn for another skeleton or frame than this; run {made_by}"
        )
    # read it
    deltas = arrays.load(path, np.floating, (data.skeleton.joint_count, DRAWN, 2), made_by)
    if not np.isfinite(deltas).all():
        raise InputError(f"{path}: holds numbers that are not finite; run {made_by}")
    return path, np.array(deltas, float)
