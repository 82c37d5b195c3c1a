"""Step 1: cut square frames around the people of LSP and LSPe, with their joints, into arrays.

Reads   images_1/ and joints_1.mat (LSP), images_2/ and joints_2.mat (LSPe), or the sets as they are
        downloaded: lsp_dataset/ and lspet_dataset/, or their .zip files
Writes  train_images.npy  train_labels.npy  train_rows.npy
        test_images.npy   test_labels.npy   test_rows.npy   dataset.json
Run     python LSP_data.py
"""
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np

from deeppose import arrays, downloads, files, framing, geometry, leakage, shell
from deeppose.framing import FRAME_PX
from deeppose.locks import lock
from deeppose.photo_sets import BrokenImages, Job, PhotoSet, check_images, name_broken
from deeppose.shell import InputError, command
from deeppose.skeleton import LSP

BOX_SCALE = (1.1, 1.8)        # training box side / joints' extent; a letterboxed test image has 1.13-1.79
SHIFT_PX = 10                 # the box centre moves by up to this, in pixels of the frame (original: 5)
SMALLEST_BOX_PX = 20          # of the photograph: an image with one labelled joint still gets a box
COPY_PROBABILITY = 0.5        # a moved copy of an image, then a mirrored copy of each: as in the original
HELD_OUT_EVERY = 5            # every fifth LSP training image chooses checkpoints and gains
LSP_NUMBER, LSPE_NUMBER = 1, 2  # the sets' numbers in *_rows.npy
PLACES = {  # where a set may lie: folder of images and labels, or a zip file with both inside
    LSP_NUMBER: (("images_1", "joints_1.mat"), ("lsp_dataset/images", "lsp_dataset/joints.mat"),
                 ("lsp_dataset_original/images", "lsp_dataset_original/joints.mat"),
                 "lsp_dataset.zip", "lsp_dataset_original.zip"),
    LSPE_NUMBER: (("images_2", "joints_2.mat"), ("lspet_dataset/images", "lspet_dataset/joints.mat"),
                  "lspet_dataset.zip"),
}
PAGES = {LSP_NUMBER: "http://sam.johnson.io/research/lsp.html",
         LSPE_NUMBER: "http://sam.johnson.io/research/lspet.html"}
LARGEST_COORDINATE_PX = 1e5
IMAGE_NAME = re.compile(r"im(\d{1,9})\.jpe?g", re.IGNORECASE | re.ASCII)
LIKE_AN_IMAGE = re.compile(r"[^.].*\.(jpe?g|png|bmp|gif|tiff?|webp)", re.IGNORECASE | re.DOTALL)


def open_set(source, number):
    """The PhotoSet that lies in one of PLACES below `source`; InputError where there is none."""
    for place in PLACES[number]:
        if isinstance(place, str) and (source / place).is_file():
            place = source / place
            entries = downloads.open_zip(place)
            images = {name: opener for name, opener in entries.items() if name.split("/")[-2:-1] == ["images"]}
            labels = [name for name in entries if name.split("/")[-1] == "joints.mat"]
            if not labels:
                raise InputError(f"{place}: holds no joints.mat; download it again")
            joints = read_joints(f"{place}/{labels[0]}", entries[labels[0]], number)
            break
        if not isinstance(place, str) and (source / place[0]).is_dir():
            place, labels = source / place[0], source / place[1]
            if not labels.is_file():
                raise InputError(f"{labels}: not found; it belongs to the images, see {PAGES[number]}")
            images, joints = downloads.listing(place), read_joints(labels, partial(open, labels, "rb"), number)
            break
    else:
        name = "images_1 and joints_1.mat" if number == LSP_NUMBER else "images_2 and joints_2.mat"
        raise InputError(f"{source}: no {name} here; download the set from {PAGES[number]}, or render sample "
                         f"people instead: python -m deeppose.sample {source}")
    return PhotoSet(number, joints, *number_images(images, place), str(place))


def number_images(images, place):
    """A PhotoSet's openers and misnamed, from its files (name -> what opens it): im0001.jpg is image 1."""
    openers, misnamed = {}, {}
    for name, opener in images.items():
        short, name = name.split("/")[-1], f"{place}/{name}"
        if match := IMAGE_NAME.fullmatch(short):
            if int(match[1]) in openers:
                raise InputError(f"{name}: is image number {int(match[1])} again; remove one of the two")
            openers[int(match[1])] = name, opener
        elif LIKE_AN_IMAGE.fullmatch(short):
            misnamed[name] = f"{name}: is not named like im0001.jpg, so its labels are unknown"
    return openers, misnamed


def read_joints(name, opener, number):
    """Joints (N, J, 2) px, NaN where there is no label, from a set's .mat file; `name` is for the errors."""
    values = downloads.read_mat(name, opener, "joints")
    axes, expected = ((2, 1, 0), (3, LSP.joint_count)) if number == LSP_NUMBER else ((2, 0, 1), (LSP.joint_count, 3))
    if values.ndim != 3 or values.shape[:2] != expected or not values.shape[2]:
        raise InputError(f"{name}: `joints` is {values.shape}, not {(*expected, 'N')}; are LSP and LSPe mixed up?")
    if number == LSP_NUMBER and values.shape[2] % 2:
        raise InputError(f"{name}: LSP is half for training, half for testing, but {values.shape[2]} images are odd")
    values = values.transpose(axes)  # (N, J, 3)
    labelled = np.ones(values.shape[:2], bool)  # LSP's third value is "occluded", and such joints are labelled
    if number == LSPE_NUMBER:
        labelled = values[:, :, 2] == 1  # LSPe's is "labelled": 0 comes with junk coordinates
    coordinates = values[:, :, :2]
    if not np.isfinite(coordinates[labelled]).all():
        raise InputError(f"{name}: a labelled joint is not a finite number")
    if (np.abs(coordinates[labelled]) > LARGEST_COORDINATE_PX).any():
        raise InputError(f"{name}: a joint lies at {np.abs(coordinates[labelled]).max():g} pixels; fetch the set again")
    return np.where(labelled[..., None], coordinates, np.nan)


def draw_box(joints_px, rng):
    """A training box (3,) px around the labelled joints (J, 2): BOX_SCALE of their extent, moved by up to SHIFT_PX."""
    centre, extent = geometry.joints_extent(joints_px)
    side = max(extent * rng.uniform(*BOX_SCALE), SMALLEST_BOX_PX)
    return geometry.box_around(centre + rng.uniform(-SHIFT_PX, SHIFT_PX, 2) * side / FRAME_PX, side)


def plan(lsp, lspe, options, left_out):
    """All images in the order of their numbers, each with its rows: list of Job, and rows per part.

    left_out  (set number, image number) of those that cannot be used
    """
    limit, copies, seed = options.limit, not options.no_copies, options.seed
    half = len(lsp.joints) // 2  # LSP: 1-1000 train, 1001-2000 test
    train = [(lsp, n) for n in range(1, half + 1)][:limit] + [(lspe, n) for n in range(1, len(lspe.joints) + 1)][:limit]
    test = [(lsp, n) for n in range(half + 1, len(lsp.joints) + 1)][:limit]
    jobs, counts = [], {"train": 0, "test": 0}
    for part, images in (("train", train), ("test", test)):
        for photo_set, number in images:
            if (photo_set.number, number) in left_out:
                continue
            held_out = part == "train" and photo_set is lsp and number % HELD_OUT_EVERY == 1
            joints = photo_set.joints[number - 1]
            if part == "test" or held_out or np.isnan(joints).all():
                views = [(None, False)]
            else:
                rng = np.random.default_rng((seed, photo_set.number, number))  # the same rows whatever the limit
                views = draw_views(joints, copies, rng)
            rows = tuple((counts[part] + k, *view) for k, view in enumerate(views))
            counts[part] += len(views)
            jobs.append(Job(part, photo_set, number, rows, held_out))
    if not counts["test"] or not any(job.held_out for job in jobs) or all(job.held_out for job in jobs):
        raise InputError(f"{lsp.place}: too few images are left to train on, to hold out and to test on; "
                         f"download the set again from {PAGES[LSP_NUMBER]}")
    return jobs, counts


def draw_views(joints_px, copies, rng):
    """The rows of one training image as (box, mirrored): itself, then by chance a moved copy, then mirrored ones."""
    views = [(draw_box(joints_px, rng), False)]
    if copies and rng.random() < COPY_PROBABILITY:
        views.append((draw_box(joints_px, rng), False))
    if copies:
        views += [(box, True) for box, _ in views if rng.random() < COPY_PROBABILITY]
    return views


def write(workdir, jobs, counts, facts):
    """Cut all frames into the arrays; dataset.json last. Returns dataset.json's content."""
    letterboxed, digests = framing.write(workdir, jobs, counts, LSP)
    lsp_training = [pose for job, pose in zip(jobs, letterboxed)
                    if job.part == "train" and job.photo_set.number == LSP_NUMBER]
    labels = {part: np.load(workdir / f"{part}_labels.npy") for part in counts}
    facts = facts | {
        "rows": counts, "unlabelled_joints": {part: int(np.isnan(labels[part][:, ::2]).sum()) for part in counts},
        "held_out_rows": [job.rows[0][0] for job in jobs if job.held_out],
        "mean_pose_px": np.mean(lsp_training, 0).round(6).reshape(-1).tolist(),
        "digests": digests,
        "fingerprints": {name: arrays.fingerprint(workdir / name) for name in digests},
    } | leakage.note_seen(workdir)
    files.save_json(workdir / "dataset.json", facts)
    return facts


def print_table(workdir, jobs, facts):
    """What was written, for the person at the shell."""
    print(f"\n{'rows of':<22}{'images':>8}{'rows':>8}{'mirrored':>10}{'held out':>10}")
    for part, number, name in (("train", LSP_NUMBER, "LSP, training"), ("train", LSPE_NUMBER, "LSPe, training"),
                               ("test", LSP_NUMBER, "LSP, test")):
        own = [job for job in jobs if job.part == part and job.photo_set.number == number]
        rows = [row for job in own for row in job.rows]
        print(f"{name:<22}{len(own):>8}{len(rows):>8}{sum(row[2] for row in rows):>10}"
              f"{sum(job.held_out for job in own):>10}")
    print(f"\n{'file':<22}{'shape':<24}{'type':<10}{'MB':>8}  unlabelled joints")
    for name in facts["digests"]:
        array = np.load(workdir / name, mmap_mode="r")
        empty = facts["unlabelled_joints"][name.split("_")[0]] if "labels" in name else ""
        print(f"{name:<22}{str(array.shape):<24}{str(array.dtype):<10}{array.nbytes / 1e6:>8.1f}  {empty}")
    print(f"dataset.json          written last: step 1 is complete in {workdir}")


def parse(argv):
    """The command line: see --help."""
    parser = shell.parser(__doc__)
    parser.add_argument("--source", type=Path, default=Path("."), help="folder with the downloaded sets (default: .)")
    parser.add_argument("--limit", type=shell.at_least(1), metavar="N",
                        help="only the first N images of LSP's training, LSP's test and LSPe (default: all)")
    parser.add_argument("--no-copies", action="store_true", help="one row an image: no moved, no mirrored copies")
    parser.add_argument("--skip-broken", action="store_true",
                        help="name images that cannot be used, and go on without them (default: name them and stop)")
    parser.add_argument("--seed", type=shell.at_least(0), default=0, help="of the boxes and copies (default: 0)")
    return parser.parse_args(argv)


@command
def main(argv=None):
    options = parse(argv)
    lsp, lspe = (open_set(options.source, number) for number in (LSP_NUMBER, LSPE_NUMBER))
    jobs, counts = plan(lsp, lspe, options, {})
    left_out = check_images((lsp, lspe), jobs)
    name_broken(list(left_out.values()), options.skip_broken)
    if left_out:
        jobs, counts = plan(lsp, lspe, options, left_out)
    files.make_folder(options.workdir, "--workdir names one")
    shell.until_end(lock(options.workdir, "dataset"))
    facts = None
    while not facts:  # once, or with --skip-broken again without what could not be used
        print(f"{len(jobs)} images from {lsp.place} and {lspe.place} -> {counts['train']} training "
              f"and {counts['test']} test rows of {FRAME_PX} x {FRAME_PX} px")
        known = {"format": 1, "skeleton": LSP.name, "joints": list(LSP.joints), "frame_px": FRAME_PX,
                 "options": {"limit": options.limit, "copies": not options.no_copies}, "seed": options.seed,
                 "skipped_images": sorted(key for key in left_out if isinstance(key[1], int))}
        try:
            facts = write(options.workdir, jobs, counts, known)
        except BrokenImages as error:
            name_broken(list(error.found.values()), options.skip_broken)
            left_out = left_out | error.found
            jobs, counts = plan(lsp, lspe, options, left_out)
    print_table(options.workdir, jobs, facts)


if __name__ == "__main__":
    sys.exit(main())
