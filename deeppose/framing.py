"""Step 1 of any data set: its people's frames, and dataset.json, which says what the arrays hold.

No torch here, so that step 1 runs without it.
"""

from dataclasses import dataclass

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


def prepare(options, jobs, layout, set_facts, left_out, source, write_beside=None):
    """Write a data set's arrays, once, or with --skip-broken again without what could not be used.

    options       --workdir, --seed and --skip-broken
    jobs          list of people.Job, in the order of their rows; those in left_out do not count
    set_facts     further entries of dataset.json
    left_out      (set number, image or name) -> what is wrong, as known before any image is opened
    source        where the photographs lie, for the person at the shell
    write_beside  function of left_out that writes what else the set has, and returns more entries
                  of dataset.json
    Raises InputError for images that cannot be used, unless they are to be skipped, and where too
    few are left.
    """
    # name what is known to be wrong, and make sure that no other run writes there
    name_broken(list(left_out.values()), options.skip_broken, layout.most_named)
    files.make_folder(options.workdir, "--workdir names one")
    shell.until_end(lock(options.workdir, "dataset"))
    # images are found to be broken only as they are decoded: then all is cut again without them
    while True:
        jobs = [job for job in jobs if (job.set_number, job.image) not in left_out]
        _check_parts(jobs, source)
        counts = _count_rows(jobs)
        print(
            f"{len(jobs)} images from {source} -> {counts['train']} training and {counts['test']} test rows of "
            f"{layout.frame[0]} x {layout.frame[1]} px"
        )
        skipped = sorted(list(key) for key in left_out if isinstance(key[1], int))
        last_entries = {"seed": options.seed, "skipped_images": skipped} | set_facts
        if write_beside:
            last_entries |= write_beside(left_out)
        try:
            dataset_json = _write(options.workdir, jobs, layout, last_entries)
            break
        except BrokenImages as error:
            name_broken(list(error.faults.values()), options.skip_broken, layout.most_named)
            left_out = left_out | error.faults
    _print_table(options.workdir, jobs, layout, dataset_json)


def _check_parts(jobs, source):
    """Raise InputError where no image is left to train on, to hold out or to test on."""
    held_out_flags = [job.held_out for job in jobs if job.part == "train"]
    has_test = len(held_out_flags) < len(jobs)
    if not has_test or not any(held_out_flags) or all(held_out_flags):
        raise InputError(
            f"{source}: too few images with people are left; at least one to train on, one to hold out "
            "and one to test on are needed: fetch or label more"
        )


def _count_rows(jobs):
    """Numbers of rows, "train" and "test" -> how many."""
    counts = {"train": 0, "test": 0}
    for job in jobs:
        counts[job.part] += len(job.rows)
    return counts


def _write(workdir, jobs, layout, last_entries):
    """Cut all frames into the arrays, and write dataset.json last, with `last_entries` at its end.

    Returns its content.
    """
    counts = _count_rows(jobs)
    poses, digests = write_arrays(workdir, jobs, counts, layout)
    mean_pose = _mean_pose(poses, layout)  # (J, 2) px
    # the photograph of each row
    for part in counts:
        photo_names = [job.name for job in jobs if job.part == part for _ in job.rows]
        arrays.save_names(workdir / f"{part}_photographs.txt", photo_names)
    # say what the arrays hold
    held_out = []
    for job, numbers in zip(jobs, row_numbers(jobs)):
        held_out += numbers if job.held_out else []
    labels = {part: np.load(workdir / f"{part}_labels.npy") for part in counts}  # (N, 2 J) each
    unlabelled = {part: int(np.isnan(labels[part][:, ::2]).sum()) for part in counts}
    dataset_json = {
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
    dataset_json |= leakage.note_seen(workdir) | last_entries
    files.save_json(workdir / "dataset.json", dataset_json)
    return dataset_json


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
