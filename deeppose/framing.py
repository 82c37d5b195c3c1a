"""Step 1 of any data set: its people's frames, and dataset.json, which says what the arrays hold.

No torch here, so that step 1 runs without it.
"""

from dataclasses import dataclass, replace

import numpy as np

from deeppose import arrays, dataset_format, files, leakage, shell
from deeppose.cutting import write_arrays
from deeppose.locks import lock
from deeppose.people import BrokenImages, name_broken, row_numbers
from deeppose.shell import InputError
from deeppose.skeleton import Skeleton


@dataclass(frozen=True)
class Layout:
    """The frames of a data set, and what its script says of all its rows.

    skeleton     the data set's Skeleton
    frame        (w, h) px of the frames
    margin       frame sides / box sides
    set_names    number -> the set's name in the table
    whole        whether tests see whole photographs: then so does the mean pose
    floor_set    the set whose training poses the mean pose is of; None for all
    depth_white  of images that are depth: the 16-bit value shown white; None: they are photographs
    most_named   how many images that cannot be used are named, the rest being counted; None: all
    """

    skeleton: Skeleton
    frame: tuple
    margin: float
    set_names: dict
    whole: bool = False
    floor_set: int | None = None
    depth_white: int | None = None
    most_named: int | None = None

    def is_in_mean_pose(self, job):
        """Whether the mean pose, which is the floor of the scores, is of a Job's people as well."""
        return job.part == "train" and self.floor_set in (None, job.set_number)


def prepare(options, jobs, layout, set_facts, faults, source, is_held_out=None, write_beside=None):
    """Write a data set's arrays; with --skip-broken, without the images that cannot be used.

    options       --workdir, --seed, --limit and --skip-broken
    jobs          list of people.Job, in the order of their rows
    layout        a Layout
    set_facts     further entries of dataset.json
    faults        (set number, image or name) -> what is wrong, as known before any image is opened;
                  the Jobs of such images are dropped
    source        where the photographs lie, for the person at the shell
    is_held_out   function of a training image's index among those that are left, and of their
                  count; None: those are held out whose Job says so
    write_beside  function of faults that writes what else the set has, and returns more entries of
                  dataset.json
    Raises InputError for images that cannot be used, unless they are to be skipped, and where none
    is left to train on, to hold out or to test on.
    """
    # name what is known to be wrong, and make sure that no other run writes there
    name_broken(list(faults.values()), options.skip_broken, layout.most_named)
    files.make_folder(options.workdir, "--workdir names one")
    shell.until_end(lock(options.workdir, "dataset"))
    # images are found to be broken only as they are decoded: then all is cut again without them
    while True:
        jobs = [job for job in jobs if (job.set_number, job.image) not in faults]
        jobs = _hold_out(jobs, is_held_out)
        _check_parts(jobs, source, options.limit)
        counts = _count_rows(jobs)
        print(
            f"{len(jobs)} images from {source} -> {counts['train']} training and {counts['test']} test rows of "
            f"{layout.frame[0]} x {layout.frame[1]} px"
        )
        try:
            poses, digests = write_arrays(options.workdir, jobs, counts, layout)
            break
        except BrokenImages as error:
            name_broken(list(error.faults.values()), options.skip_broken, layout.most_named)
            faults = faults | error.faults
    # the former arrays are gone: write what is beside the new ones, and last what they hold
    skipped = sorted(list(key) for key in faults if isinstance(key[1], int))
    last_entries = {"seed": options.seed, "skipped_images": skipped} | set_facts
    if write_beside:
        last_entries |= write_beside(faults)
    dataset_json = _describe(options.workdir, jobs, layout, poses, digests)
    dataset_json |= leakage.note_seen(options.workdir) | last_entries
    files.save_json(options.workdir / "dataset.json", dataset_json)
    _print_table(options.workdir, jobs, layout, dataset_json)


def _hold_out(jobs, is_held_out):
    """The Jobs, with those of training held out that is_held_out chooses, see `prepare`.

    A photograph that is listed more than once is held out wherever it is listed.
    """
    training = [job for job in jobs if job.part == "train"]
    if is_held_out:
        count = len(training)
        held_out = {job.path for index, job in enumerate(training) if is_held_out(index, count)}
    else:
        held_out = {job.path for job in training if job.held_out}
    return [replace(job, held_out=job.part == "train" and job.path in held_out) for job in jobs]


def _check_parts(jobs, source, limit):
    """Raise InputError where no image is left to train on, to hold out or to test on."""
    counts = {"train on": 0, "hold out": 0, "test on": 0}
    for job in jobs:
        if job.part == "test":
            counts["test on"] += 1
        else:
            counts["hold out" if job.held_out else "train on"] += 1
    for purpose, count in counts.items():
        if not count:
            advice = "raise --limit" if limit else "fetch or label more"
            raise InputError(
                f"{source}: of {len(jobs)} images with people none is left to {purpose}; {advice}"
            )


def _count_rows(jobs):
    """Numbers of rows, "train" and "test" -> how many."""
    counts = {"train": 0, "test": 0}
    for job in jobs:
        counts[job.part] += len(job.rows)
    return counts


def _describe(workdir, jobs, layout, poses, digests):
    """Write the photographs' names; returns the entries of dataset.json that say what the arrays
    hold.

    poses, digests  what write_arrays returned
    """
    counts = _count_rows(jobs)
    mean_pose = _mean_pose(poses, layout)  # (J, 2) px
    # the photograph of each row
    for part in counts:
        photo_names = [job.name for job in jobs if job.part == part for _ in job.rows]
        arrays.save_names(workdir / f"{part}_photographs.txt", photo_names)
    # say what the arrays hold
    held_out = []
    for job, numbers in zip(jobs, row_numbers(jobs)):
        if job.held_out:
            held_out += numbers
    labels = {part: np.load(workdir / f"{part}_labels.npy") for part in counts}  # (N, 2 J) each
    unlabelled = {part: int(np.isnan(labels[part][:, ::2]).sum()) for part in counts}
    return {
        "format": dataset_format.FORMAT,
        "skeleton": layout.skeleton.described(),
        "frame": list(layout.frame),
        "margin": layout.margin,
        "depth_white": layout.depth_white,
        "columns": list(dataset_format.COLUMNS),
        "sets": layout.set_names,
        "rows": counts,
        "unlabelled_joints": unlabelled,
        "held_out_rows": held_out,
        "not_refined": _not_refined(labels["train"], held_out, layout.skeleton),
        "mean_pose_px": mean_pose.round(6).reshape(-1).tolist(),
        "digests": digests,
        "fingerprints": {name: arrays.fingerprint(workdir / name) for name in digests},
    }


def _mean_pose(poses, layout):
    """The mean (J, 2) of poses (N, J, 2), px of the frame.

    The frame's centre, and a warning, for a joint that is never labelled.
    """
    poses = np.asarray(poses)
    labelled = ~np.isnan(poses).any(2)  # (N, J)
    mean = np.nansum(poses, 0) / np.maximum(labelled.sum(0), 1)[:, None]
    never_labelled = ~labelled.any(0)  # (J,)
    if never_labelled.any():
        joint_names = ", ".join(np.array(layout.skeleton.joints)[never_labelled])
        print(
            f"warning: no training image has a label for {joint_names}; nothing can be learnt of it"
        )
    return np.where(never_labelled[:, None], np.array(layout.frame) / 2, mean)


def _not_refined(labels, held_out, skeleton):
    """Names of the joints whose refiner could not be trained, or not be judged.

    No row that is trained on, or no row that is held out, has a label for them.

    labels    (N, 2 J) of all training rows
    held_out  numbers of the rows held out
    """
    labelled = ~np.isnan(labels[:, ::2])  # (N, J)
    trained_on = np.setdiff1d(np.arange(len(labels)), held_out)
    refinable = labelled[held_out].any(0) & labelled[trained_on].any(0)  # (J,)
    return [joint for joint, is_refinable in zip(skeleton.joints, refinable) if not is_refinable]


def _print_table(workdir, jobs, layout, dataset_json):
    """Print what was written, for the person at the shell: the rows of each set, and the files."""
    # the rows of each set
    print(f"\n{'rows of':<22}{'images':>8}{'rows':>8}{'mirrored':>10}{'held out':>10}")
    for part, words in (("train", "training"), ("test", "test")):
        for set_number, set_name in layout.set_names.items():
            set_jobs = [job for job in jobs if job.part == part and job.set_number == set_number]
            if not set_jobs:
                continue
            rows = [row for job in set_jobs for row in job.rows]
            mirrored = sum(row.mirrored for row in rows)
            held_out = sum(len(job.rows) for job in set_jobs if job.held_out)
            label = f"{set_name}, {words}"
            print(f"{label:<22}{len(set_jobs):>8}{len(rows):>8}{mirrored:>10}{held_out:>10}")
    # the files
    print(f"\n{'file':<22}{'shape':<24}{'type':<10}{'MB':>8}  unlabelled joints")
    for file_name in dataset_json["digests"]:
        array = np.load(workdir / file_name, mmap_mode="r")
        part = file_name.split("_")[0]
        unlabelled = dataset_json["unlabelled_joints"][part] if "labels" in file_name else ""
        print(
            f"{file_name:<22}{str(array.shape):<24}{str(array.dtype):<10}"
            f"{array.nbytes / 1e6:>8.1f}  {unlabelled}"
        )
    print(f"dataset.json          written last: step 1 is complete in {workdir}")
