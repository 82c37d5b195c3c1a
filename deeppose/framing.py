"""Cut square frames out of photographs, on all cores, straight into the arrays between the steps. No torch here."""
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
from PIL import Image
from tqdm import tqdm

from deeppose import arrays, files, geometry
from deeppose.photo_sets import BrokenImages
from deeppose.shell import InputError

FRAME_PX = 227  # side of the frames: both networks' input


def cut(image, box_px, mirrored):
    """The frame uint8 (FRAME_PX, FRAME_PX, 3) that shows a box (3,) px of the image; black outside the image."""
    x0, y0, side = box_px
    left, top = int(np.floor(x0)), int(np.floor(y0))
    right, bottom = int(np.ceil(x0 + side)), int(np.ceil(y0 + side))
    around = image.crop((left, top, right, bottom))  # Pillow fills what lies outside with black
    frame = around.resize((FRAME_PX, FRAME_PX), Image.Resampling.BILINEAR,
                          box=(x0 - left, y0 - top, x0 - left + side, y0 - top + side))
    return np.asarray(frame.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else frame)


def fill(job, out, flip):
    """Decode one image and write its rows; return its letterboxed joints (J, 2) px."""
    image, joints = job.photo_set.read(job.number)
    letterbox = geometry.letterbox(*image.size)
    for row, box, mirrored in job.rows:
        box = letterbox if box is None else box
        out[f"{job.part}_images"][row] = cut(image, box, mirrored)
        labels = geometry.image_to_frame(joints, box, FRAME_PX, flip if mirrored else None)
        out[f"{job.part}_labels"][row] = labels.reshape(-1)
        out[f"{job.part}_rows"][row] = (job.photo_set.number, job.number, *box, mirrored)
    return geometry.image_to_frame(joints, letterbox, FRAME_PX)


def fill_or_say(job, *where):
    """fill, but an image that cannot be used is returned as its InputError, so that all of them are found."""
    try:
        return fill(job, *where)
    except InputError as error:
        return error


def write(workdir, jobs, counts, skeleton):
    """Cut all frames into {train,test}_{images,labels,rows}.npy; dataset.json is removed as they are being replaced.

    counts   rows a part
    Returns  the letterboxed joints (J, 2) px of each job, and the digests of the files by name
    BrokenImages names all images that cannot be used; then nothing was written.
    """
    layout = {"images": (np.uint8, (FRAME_PX, FRAME_PX, 3)), "labels": (np.float32, (2 * skeleton.joint_count,)),
              "rows": (np.float64, (6,))}
    names = {f"{part}_{kind}": (dtype, (counts[part], *shape))
             for part in counts for kind, (dtype, shape) in layout.items()}
    files.need_space(workdir, sum(np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in names.values()),
                     [workdir / f"{name}.npy" for name in names])
    with ExitStack() as stack, ThreadPoolExecutor(os.cpu_count()) as pool:
        out = {name: stack.enter_context(arrays.create(workdir / f"{name}.npy", dtype, shape))
               for name, (dtype, shape) in names.items()}
        digests, letterboxed, broken = {name: file.begin_digest() for name, file in out.items()}, [], {}
        work = pool.map(lambda job: fill_or_say(job, out, skeleton.flip), jobs)
        try:
            for job, said in zip(jobs, tqdm(work, "cutting frames", len(jobs), unit=" images", disable=None)):
                letterboxed.append(said)
                if isinstance(said, InputError):
                    broken[job.photo_set.number, job.number] = str(said)
                rows = slice(job.rows[0][0], job.rows[-1][0] + 1)
                for kind in layout:  # while they are in the cache
                    digests[f"{job.part}_{kind}"].update(out[f"{job.part}_{kind}"][rows])
            if broken:
                raise BrokenImages(broken)
        finally:
            pool.shutdown(cancel_futures=True)  # before the files are closed, in which its threads write
        (workdir / "dataset.json").unlink(missing_ok=True)  # from here on the former arrays are being replaced
    return letterboxed, {f"{name}.npy": digest.hexdigest() for name, digest in digests.items()}
