"""Simulated errors of the former stage, deltas.npy, from which refiners learn to mend real ones."""

import numpy as np

from deeppose import arrays, files, runtime
from deeppose.locks import lock
from deeppose.shell import InputError

DRAWN = 40  # simulated errors a joint; DeepPose, section 3.1
OWN = arrays.PROJECT / "deltas.npy"  # the project's own, for LSP


def draw(predicted_px, true_px, skeleton, seed):
    """Simulated prediction errors float32 (J, 40, 2) px, drawn from the real ones of each joint.

    A joint's errors are sorted by size, and one is drawn from each 40th part of them.

    predicted_px, true_px  (N, J, 2) of the held-out rows (original: of training rows, whose errors
                           are too small)

    DeepPose draws from the normal distribution of their variance, but a few gross errors make most
    of that: the median error would come out 1.1 to 2.0 times too large (docs/reference.md).
    """
    drawn = []
    for joint, joint_name in enumerate(skeleton.joints):
        # the joint's own errors, or where these are too few those of all joints
        errors = _labelled(predicted_px[:, joint] - true_px[:, joint])  # (n, 2) px
        if len(errors) < 2:
            errors = _labelled((predicted_px - true_px).reshape(-1, 2))
        if len(errors) < 2:
            raise InputError(
                "deltas.npy: the held-out rows have fewer than 2 labels, too few to draw from; "
                f"run {arrays.STEP_1} with more images"
            )
        by_size = np.argsort(np.linalg.norm(errors, axis=1))
        # one error from each 40th of them, small to large
        within_parts = runtime.rng(seed, "deltas", joint_name).random(DRAWN)
        quantiles = (np.arange(DRAWN) + within_parts) / DRAWN  # (40,) in [0, 1), rising
        ranks = (quantiles * len(errors)).astype(int)
        drawn.append(errors[by_size[ranks]])
    return np.array(drawn, np.float32)


def _labelled(errors_px):
    """The errors (n, 2) px of those (N, 2) that are known, in float64."""
    errors_px = errors_px.astype(float)
    return errors_px[~np.isnan(errors_px).any(1)]


def path_of(workdir, stage=2):
    """Path of a stage's simulated errors: deltas.npy for stage 2, deltas_3.npy for stage 3."""
    return workdir / ("deltas.npy" if stage == 2 else f"deltas_{stage}.npy")


def find(options, dataset, predicted_px, run):
    """Path of a stage's simulated errors, and the errors (J, 40, 2) px.

    Drawn anew on --make-deltas, for stage 3, and where neither the working directory nor the
    project has some for this skeleton and frame; else see load.

    predicted_px  the former stage's, (N, J, 2) px of the training rows
    """
    path = path_of(options.workdir, options.stage)
    has_some = path.exists() or _own_fits(dataset)
    must_draw = options.make_deltas or options.stage > 2 or not has_some
    # one process draws for all, and the others wait for its file
    if run.rank == 0 and must_draw:
        drawn = draw(
            predicted_px[dataset.held_out],
            dataset.train_labels[dataset.held_out],
            dataset.skeleton,
            options.seed,
        )
        # other joints' runs may draw the same ones at the same time
        with lock(options.workdir, path.stem, wait=True):
            # written anew, though it were the same, it would make the earlier joints stale for make
            if not _holds(path, drawn):
                arrays.save(path, drawn)
            # always written: a run that was killed before this line left another's .json, or none
            files.save_json(path.with_suffix(".json"), _description(dataset))
        print(f"{path}: drawn from the errors on {len(dataset.held_out)} held-out rows")
    run.wait()
    return load(options.workdir, dataset, options.stage)


def _description(dataset):
    """The content of deltas.json: the joints, in their order, and the frame of their pixels."""
    return {
        "skeleton": dataset.skeleton.name,
        "joints": list(dataset.skeleton.joints),
        "frame": list(dataset.frame),
    }


def _own_fits(dataset):
    """Whether the project's own deltas.npy is for these joints and frames."""
    own_description = files.load_json(OWN.with_suffix(".json"), "the project")
    return own_description == _description(dataset)


def _holds(path, array):
    """Whether the .npy file holds just this array."""
    try:
        present = arrays.load(path, array.dtype.type, array.shape, "this step")
    except InputError:  # missing or broken: it is replaced
        return False
    return np.array_equal(present, array)


def load(workdir, dataset, stage=2):
    """Path and simulated errors (J, 40, 2) px of a stage: the working directory's, else the project's own.

    The project has its own for stage 2 alone. Raises InputError where they are missing, broken, or
    for another skeleton or frame.
    """
    # find the file
    path = path_of(workdir, stage)
    if stage == 2 and not path.exists():
        path = OWN
    made_by = "Train_stage_2.py --make-deltas"
    # see that it is for this data set, as far as a .json says so
    json_path = path.with_suffix(".json")
    if json_path.exists() and files.load_json(json_path, made_by) != _description(dataset):
        raise InputError(
            f"{path}: was drawn for another skeleton or frame than this; run {made_by}"
        )
    # read it
    shape = (dataset.skeleton.joint_count, DRAWN, 2)
    deltas = arrays.load(path, np.floating, shape, made_by)
    if not np.isfinite(deltas).all():
        raise InputError(f"{path}: holds numbers that are not finite; run {made_by}")
    return path, np.array(deltas, float)
