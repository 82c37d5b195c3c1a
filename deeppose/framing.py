"""Cut frames around people out of photographs, on all cores, straight into step 1's arrays.

No torch here, so that step 1 runs without it.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from PIL import Image
from tqdm import tqdm

from deeppose import arrays, dataset_format, downloads, files, geometry, leakage, shell
from deeppose.locks import lock
from deeppose.people import BrokenImages, name_broken
from deeppose.shell import InputError
from deeppose.skeleton import Skeleton

KINDS = ("images", "labels", "rows")  # of the arrays of each part


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


def cut(image, box_px, frame, mirrored=False):
    """The frame uint8 (h, w, 3) that shows a box (4,) px of the image; black outside the image.

    frame  its (w, h)
    """
    x0, y0, width, height = box_px
    # whole pixels around the box; what lies outside the image Pillow fills with black
    left = int(np.floor(x0))
    top = int(np.floor(y0))
    right = int(np.ceil(x0 + width))
    bottom = int(np.ceil(y0 + height))
    around = image.crop((left, top, right, bottom))
    # the box itself, to a fraction of a pixel
    box = (x0 - left, y0 - top, x0 - left + width, y0 - top + height)
    shown = around.resize(frame, Image.Resampling.BILINEAR, box=box)
    if mirrored:
        shown = shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(shown)


def fill(job, out, layout):
    """Decode one photograph, write its rows, and give its people's poses as tests would show them.

    job      a people.Job
    out      name of an array, such as "train_images" -> its Rows
    Returns  a list of poses (J, 2) px of the frame, one for each person
    """
    image = job.read(layout.depth_white or downloads.WHITE)
    frame = layout.frame
    whole = geometry.to_aspect(geometry.whole(image.size), frame)
    poses = {}  # person -> pose by its first row: the others are moved or mirrored copies
    for row in job.rows:
        # cut the frame
        box = whole if row.box is None else row.box
        region = geometry.scale_box(box, layout.margin)
        out[f"{job.part}_images"][row.number] = cut(image, region, frame, row.mirrored)
        # write the labels and the row
        flip = layout.skeleton.flip if row.mirrored else None
        labels = geometry.image_to_frame(row.joints, region, frame, flip)
        out[f"{job.part}_labels"][row.number] = labels.reshape(-1)
        out[f"{job.part}_rows"][row.number] = (
            job.set_number,
            job.image,
            row.person,
            *box,
            row.mirrored,
            row.head_px,
            row.area_px,
            row.score,
        )
        # keep the pose that a test would show
        tested_region = geometry.scale_box(whole, layout.margin) if layout.whole else region
        poses.setdefault(row.person, geometry.image_to_frame(row.joints, tested_region, frame))
    return list(poses.values())


def try_fill(job, *where):
    """`fill`, but the InputError of an image that cannot be used is returned.

    So all such images are found, not only the first.
    """
    try:
        return fill(job, *where)
    except InputError as error:
        return error


def write_arrays(workdir, jobs, counts, layout):
    """Cut all frames into {train,test}_{images,labels,rows}.npy.

    dataset.json is removed as they are being replaced. Raises BrokenImages, which names all images
    that cannot be used; then nothing was written.

    counts   rows a part
    Returns  the poses of each job as tests would show them, and the digests of the files by name
    """
    # see whether the disk has room for them
    planned = _plan_arrays(counts, layout)
    needed_bytes = sum(
        np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in planned.values()
    )
    files.need_space(workdir, needed_bytes, [workdir / f"{name}.npy" for name in planned])
    # threads decode and write in any order; digests are taken in the rows' order
    with ExitStack() as stack, ThreadPoolExecutor(os.cpu_count()) as pool:
        out = {
            name: stack.enter_context(arrays.create(workdir / f"{name}.npy", dtype, shape))
            for name, (dtype, shape) in planned.items()
        }
        digests = {name: rows.begin_digest() for name, rows in out.items()}
        work = pool.map(lambda job: try_fill(job, out, layout), jobs)
        progress = tqdm(work, "cutting frames", len(jobs), unit=" images", disable=None)
        poses = []
        broken = {}
        try:
            for job, filled in zip(jobs, progress):
                poses.append(filled)
                if isinstance(filled, InputError):
                    broken[job.set_number, job.image] = str(filled)
                rows = slice(job.rows[0].number, job.rows[-1].number + 1)
                for kind in KINDS:  # now, while the rows are in the system's cache
                    digests[f"{job.part}_{kind}"].update(out[f"{job.part}_{kind}"][rows])
            if broken:
                raise BrokenImages(broken)
        finally:
            # end the threads before the files are closed that they write into
            pool.shutdown(cancel_futures=True)
        # from here on the former arrays are being replaced
        (workdir / "dataset.json").unlink(missing_ok=True)
    return poses, {f"{name}.npy": digest.hexdigest() for name, digest in digests.items()}


def _plan_arrays(counts, layout):
    """Types and shapes of the arrays: name, such as "train_images" -> (dtype, shape)."""
    width, height = layout.frame
    one_row = {
        "images": (np.uint8, (height, width, 3)),
        "labels": (np.float32, (2 * layout.skeleton.joint_count,)),
        "rows": (np.float64, (len(dataset_format.COLUMNS),)),
    }
    planned = {}
    for part, count in counts.items():
        for kind in KINDS:
            dtype, shape = one_row[kind]
            planned[f"{part}_{kind}"] = (dtype, (count, *shape))
    return planned


def count_rows(jobs):
    """Numbers of rows, "train" and "test" -> how many."""
    counts = {"train": 0, "test": 0}
    for job in jobs:
        counts[job.part] += len(job.rows)
    return counts


def mean_of(poses, layout):
    """The mean (J, 2) of poses (N, J, 2), px of the frame.

    The frame's centre, and a warning, for a joint that is never labelled.
    """
    poses = np.asarray(poses)
    labelled = ~np.isnan(poses).any(2)  # (N, J)
    mean = np.nansum(poses, 0) / np.maximum(labelled.sum(0), 1)[:, None]
    never = ~labelled.any(0)  # (J,)
    if never.any():
        names = ", ".join(np.array(layout.skeleton.joints)[never])
        print(f"warning: no training image has a label for {names}; nothing can be learnt of it")
    return np.where(never[:, None], np.array(layout.frame) / 2, mean)


def not_refined(labels, held_out, skeleton):
    """Names of the joints whose refiner could not be trained, or not be judged.

    No row that is trained on, or no row that is held out, has a label for them.

    labels    (N, 2 J) of all training rows
    held_out  numbers of the rows held out
    """
    labelled = ~np.isnan(labels[:, ::2])  # (N, J)
    trained_on = np.setdiff1d(np.arange(len(labels)), held_out)
    refinable = labelled[held_out].any(0) & labelled[trained_on].any(0)  # (J,)
    return [name for name, fits in zip(skeleton.joints, refinable) if not fits]


def write(workdir, jobs, layout, facts):
    """Cut all frames into the arrays, and write dataset.json, which ends with `facts`, last.

    Returns its content.
    """
    counts = count_rows(jobs)
    poses, digests = write_arrays(workdir, jobs, counts, layout)
    # the mean pose, which is the floor of the scores
    training = []
    for job, job_poses in zip(jobs, poses):
        if job.part == "train" and layout.floor_set in (None, job.set_number):
            training += job_poses
    mean_pose = mean_of(training, layout)  # (J, 2) px
    # the photograph of each row
    for part in counts:
        names = [job.name for job in jobs if job.part == part for _ in job.rows]
        arrays.save_names(workdir / f"{part}_photographs.txt", names)
    # say what the arrays hold
    held_out = [row.number for job in jobs if job.held_out for row in job.rows]
    labels = {part: np.load(workdir / f"{part}_labels.npy") for part in counts}  # (N, 2 J) each
    unlabelled = {part: int(np.isnan(labels[part][:, ::2]).sum()) for part in counts}
    content = {
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
        "not_refined": not_refined(labels["train"], held_out, layout.skeleton),
        "mean_pose_px": mean_pose.round(6).reshape(-1).tolist(),
        "digests": digests,
        "fingerprints": {name: arrays.fingerprint(workdir / name) for name in digests},
    }
    content |= leakage.note_seen(workdir) | facts
    files.save_json(workdir / "dataset.json", content)
    return content


def prepare(options, plan, layout, facts, left_out, places, beside=None):
    """Write a data set's arrays, once, or with --skip-broken again without what could not be used.

    options   --workdir, --seed and --skip-broken
    plan      function of left_out -> list of Job, in the order of their rows
    facts     further entries of dataset.json
    left_out  (set number, image or name) -> what is wrong, as known before any image is opened
    places    where the photographs lie, for the person at the shell
    beside    function of left_out that writes what else the set has, and returns more entries of
              dataset.json
    """
    # name what is known to be wrong, and make sure that no other run writes there
    name_broken(list(left_out.values()), options.skip_broken, layout.most_named)
    files.make_folder(options.workdir, "--workdir names one")
    shell.until_end(lock(options.workdir, "dataset"))
    # images are found to be broken only as they are decoded: then all is planned again without them
    while True:
        jobs = plan(left_out)
        counts = count_rows(jobs)
        print(
            f"{len(jobs)} images from {places} -> {counts['train']} training and {counts['test']} test rows of "
            f"{layout.frame[0]} x {layout.frame[1]} px"
        )
        skipped = sorted(list(key) for key in left_out if isinstance(key[1], int))
        all_facts = {"seed": options.seed, "skipped_images": skipped} | facts
        if beside:
            all_facts |= beside(left_out)
        try:
            content = write(options.workdir, jobs, layout, all_facts)
            break
        except BrokenImages as error:
            name_broken(list(error.faults.values()), options.skip_broken, layout.most_named)
            left_out = left_out | error.faults
    print_table(options.workdir, jobs, layout, content)


def print_table(workdir, jobs, layout, content):
    """Print what was written, for the person at the shell: the rows of each set, and the files."""
    # the rows of each set
    print(f"\n{'rows of':<22}{'images':>8}{'rows':>8}{'mirrored':>10}{'held out':>10}")
    for part, words in (("train", "training"), ("test", "test")):
        for number, name in layout.set_names.items():
            set_jobs = [job for job in jobs if job.part == part and job.set_number == number]
            if not set_jobs:
                continue
            rows = [row for job in set_jobs for row in job.rows]
            mirrored = sum(row.mirrored for row in rows)
            held_out = sum(len(job.rows) for job in set_jobs if job.held_out)
            label = f"{name}, {words}"
            print(f"{label:<22}{len(set_jobs):>8}{len(rows):>8}{mirrored:>10}{held_out:>10}")
    # the files
    print(f"\n{'file':<22}{'shape':<24}{'type':<10}{'MB':>8}  unlabelled joints")
    for name in content["digests"]:
        array = np.load(workdir / name, mmap_mode="r")
        part = name.split("_")[0]
        unlabelled = content["unlabelled_joints"][part] if "labels" in name else ""
        print(
            f"{name:<22}{str(array.shape):<24}{str(array.dtype):<10}"
            f"{array.nbytes / 1e6:>8.1f}  {unlabelled}"
        )
    print(f"dataset.json          written last: step 1 is complete in {workdir}")
