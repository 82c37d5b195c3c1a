"""Frames cut around people out of photographs, on all cores, straight into step 1's arrays.

No torch here, so that step 1 runs without it.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
from PIL import Image
from tqdm import tqdm

from deeppose import arrays, dataset_format, downloads, files, geometry
from deeppose.people import BrokenImages, row_numbers
from deeppose.shell import InputError

KINDS = ("images", "labels", "rows")  # the arrays of "train" and of "test"


def write_arrays(workdir, jobs, counts, layout):
    """Cut all frames into {train,test}_{images,labels,rows}.npy.

    dataset.json is removed as they are being replaced. Raises BrokenImages, which names all images
    that cannot be used; then nothing was written.

    counts   rows of "train" and of "test"
    layout   a framing.Layout
    Returns  the poses that the mean pose is of, a list, and the digests of the files by name
    """
    # see whether the disk has room for them
    planned = _plan_arrays(counts, layout)
    needed_bytes = 0
    for dtype, shape in planned.values():
        needed_bytes += np.dtype(dtype).itemsize * int(np.prod(shape))
    files.need_space(
        workdir, needed_bytes, [workdir / f"{array_name}.npy" for array_name in planned]
    )
    # threads decode and write in any order; digests are taken in the rows' order
    with ExitStack() as stack, ThreadPoolExecutor(os.cpu_count()) as pool:
        written = {
            array_name: stack.enter_context(
                arrays.create(workdir / f"{array_name}.npy", dtype, shape)
            )
            for array_name, (dtype, shape) in planned.items()
        }
        digests = {array_name: rows.begin_digest() for array_name, rows in written.items()}
        numbers_of_jobs = row_numbers(jobs)
        results = pool.map(
            lambda job, numbers: _try_fill(job, numbers, written, layout), jobs, numbers_of_jobs
        )
        progress = tqdm(results, "cutting frames", len(jobs), unit=" images", disable=None)
        poses = []
        broken = {}
        try:
            for job, numbers, result in zip(jobs, numbers_of_jobs, progress):
                if isinstance(result, InputError):
                    broken[job.set_number, job.image] = str(result)
                else:
                    poses += result
                for kind in KINDS:  # now, while the rows are in the system's cache
                    array_name = f"{job.part}_{kind}"
                    written[array_name].add_to_digest(digests[array_name], numbers)
            if broken:
                raise BrokenImages(broken)
        finally:
            # end the threads before the files are closed that they write into
            pool.shutdown(cancel_futures=True)
        # from here on the former arrays are being replaced
        (workdir / "dataset.json").unlink(missing_ok=True)
    return poses, {
        f"{array_name}.npy": digest.hexdigest() for array_name, digest in digests.items()
    }


def _plan_arrays(counts, layout):
    """Types and shapes of the arrays: name, such as "train_images" -> (dtype, shape)."""
    width, height = layout.frame
    one_row = {
        "images": (np.uint8, (height, width, 3)),
        "labels": (np.float32, (2 * layout.skeleton.joint_count,)),
        "rows": (np.float64, (len(dataset_format.COLUMNS),)),
    }
    planned = {}
    for part, row_count in counts.items():
        for kind in KINDS:
            dtype, row_shape = one_row[kind]
            planned[f"{part}_{kind}"] = (dtype, (row_count, *row_shape))
    return planned


def _try_fill(job, numbers, written, layout):
    """`_fill`, but the InputError of an image that cannot be used is returned.

    So all such images are found, not only the first.
    """
    try:
        return _fill(job, numbers, written, layout)
    except InputError as error:
        return error


def _fill(job, numbers, written, layout):
    """Decode one photograph, write its rows, and give its people's poses for the mean pose.

    job      a people.Job
    numbers  of its rows in the arrays
    written  name of an array, such as "train_images" -> its Rows
    Returns  a list of poses (J, 2) px of the frame, one for each person, as tests would show them;
             empty where the mean pose is not of this photograph
    """
    image = job.read(layout.depth_white or downloads.WHITE)
    frame = layout.frame
    in_mean_pose = layout.is_in_mean_pose(job)
    if in_mean_pose or any(row.box is None for row in job.rows):
        whole_box = geometry.to_aspect(geometry.image_box(image.size), frame)
    poses = {}  # person -> pose by its first row: the others are moved or mirrored copies
    for number, row in zip(numbers, job.rows):
        # cut the frame
        box = whole_box if row.box is None else row.box
        region = geometry.scale_box(box, layout.margin)
        written[f"{job.part}_images"][number] = cut(image, region, frame, row.mirrored)
        # write the labels and the row
        flip = layout.skeleton.flip if row.mirrored else None
        labels = geometry.image_to_frame(row.joints, region, frame, flip)  # (J, 2) px
        written[f"{job.part}_labels"][number] = labels.reshape(-1)
        written[f"{job.part}_rows"][number] = (
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
        if in_mean_pose and row.person not in poses:
            tested_box = whole_box if layout.whole else box
            tested_region = geometry.scale_box(tested_box, layout.margin)
            poses[row.person] = geometry.image_to_frame(row.joints, tested_region, frame)
    return list(poses.values())


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
    surroundings = image.crop((left, top, right, bottom))
    # the box itself, to a fraction of a pixel
    box = (x0 - left, y0 - top, x0 - left + width, y0 - top + height)
    shown = surroundings.resize(frame, Image.Resampling.BILINEAR, box=box)
    if mirrored:
        shown = shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(shown)
