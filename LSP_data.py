"""Step 1 for the Leeds Sports images: cut square frames around people, with their joints.

Reads   images_1/ and joints_1.mat (LSP), images_2/ and joints_2.mat (LSPe)
        or the sets as they are downloaded: lsp_dataset/ and lspet_dataset/, or their .zip files
        with --mpii what MPII_data.py reads
Writes  train_images.npy  train_labels.npy  train_rows.npy  train_photographs.txt
        test_images.npy   test_labels.npy   test_rows.npy   test_photographs.txt   dataset.json
Run     python LSP_data.py
"""

import re
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

import MPII_data
from deeppose import downloads, framing, geometry, shell
from deeppose.framing import Layout
from deeppose.people import Job, Row
from deeppose.shell import InputError, command
from deeppose.skeleton import LSP, MPII

FRAME = (227, 227)  # both networks' input; original
# training box side / joints' extent; a letterboxed test image has 1.13-1.79
BOX_SCALE = (1.1, 1.8)
# the box's centre moves by up to this, in pixels of the frame (original: 5)
SHIFT_PX = 10
SMALLEST_BOX_PX = 20  # of the photograph: an image with one labelled joint still gets a box
# that an image gets a moved copy, and then each of the two a mirrored one; original
COPY_PROBABILITY = 0.5
HELD_OUT_EVERY = 5  # every fifth LSP training image chooses checkpoints and gains
LSP_NUMBER = 1  # the sets' numbers in *_rows.npy
LSPE_NUMBER = 2
PLACES = {  # where a set may lie: folder of images and labels, or a zip file with both inside
    LSP_NUMBER: (
        ("images_1", "joints_1.mat"),
        ("lsp_dataset/images", "lsp_dataset/joints.mat"),
        ("lsp_dataset_original/images", "lsp_dataset_original/joints.mat"),
        "lsp_dataset.zip",
        "lsp_dataset_original.zip",
    ),
    LSPE_NUMBER: (
        ("images_2", "joints_2.mat"),
        ("lspet_dataset/images", "lspet_dataset/joints.mat"),
        "lspet_dataset.zip",
    ),
}
PAGES = {
    LSP_NUMBER: "http://sam.johnson.io/research/lsp.html",
    LSPE_NUMBER: "http://sam.johnson.io/research/lspet.html",
}
# MPII's other 12 joints of LSP's are called alike
MPII_NAMES = {"neck": "upper_neck", "head": "head_top"}
LARGEST_COORDINATE_PX = 1e5
IMAGE_NAME = re.compile(r"im(\d{1,9})\.jpe?g", re.IGNORECASE | re.ASCII)
LIKE_AN_IMAGE = re.compile(r"[^.].*\.(jpe?g|png|bmp|gif|tiff?|webp)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class PhotoSet:
    """LSP or LSPe, whose images are numbered from 1.

    number    of the set, in *_rows.npy
    joints    (N, J, 2) px, NaN where there is no label
    openers   image number -> its name in the set, and what opens it
    misnamed  name of an image without a number -> a line that says so
    place     where it lies, for the person at the shell
    """

    number: int
    joints: np.ndarray
    openers: dict
    misnamed: dict
    place: Path


def open_set(source, number):
    """The PhotoSet that lies in one of PLACES below `source`; InputError where there is none."""
    for place in PLACES[number]:
        if isinstance(place, str):
            if (source / place).is_file():
                return open_archive(source / place, number)
        elif (source / place[0]).is_dir():
            return open_folder(*(source / part for part in place), number)
    name = "images_1 and joints_1.mat" if number == LSP_NUMBER else "images_2 and joints_2.mat"
    raise InputError(
        f"{source}: no {name} here; download the set from {PAGES[number]}, or render sample "
        f"people instead: python -m deeppose.sample {source}"
    )


def open_archive(path, number):
    """The PhotoSet in a zip file as it was downloaded; nothing is unpacked to disk."""
    entries = downloads.open_zip(path)
    images = {
        name: opener for name, opener in entries.items() if name.split("/")[-2:-1] == ["images"]
    }
    labels = [name for name in entries if name.split("/")[-1] == "joints.mat"]
    if not labels:
        raise InputError(f"{path}: holds no joints.mat; download it again")
    joints = read_joints(f"{path}/{labels[0]}", entries[labels[0]], number)
    return PhotoSet(number, joints, *number_images(images, path), path)


def open_folder(images, labels, number):
    """The PhotoSet of a folder of images and the .mat file that belongs to it."""
    if not labels.is_file():
        raise InputError(f"{labels}: not found; it belongs to the images, see {PAGES[number]}")
    joints = read_joints(labels, partial(open, labels, "rb"), number)
    numbered = number_images(downloads.listing(images), images)
    return PhotoSet(number, joints, *numbered, images)


def number_images(images, place):
    """A PhotoSet's openers and misnamed, from its files (name -> what opens it): im0001.jpg is
    image 1."""
    openers = {}
    misnamed = {}
    for name, opener in images.items():
        short = name.split("/")[-1]
        if match := IMAGE_NAME.fullmatch(short):
            if int(match[1]) in openers:
                raise InputError(
                    f"{place}/{name}: is image number {int(match[1])} again; remove one of the two"
                )
            openers[int(match[1])] = name, opener
        elif LIKE_AN_IMAGE.fullmatch(short):
            misnamed[name] = (
                f"{place}/{name}: is not named like im0001.jpg, so its labels are unknown"
            )
    return openers, misnamed


def read_joints(name, opener, number):
    """Joints (N, J, 2) px, NaN where there is no label, from a set's .mat file.

    name  what errors call it
    """
    values = downloads.read_mat(name, opener, "joints")
    if number == LSP_NUMBER:
        axes = (2, 1, 0)
        expected = (3, LSP.joint_count)
    else:
        axes = (2, 0, 1)
        expected = (LSP.joint_count, 3)
    if values.ndim != 3 or values.shape[:2] != expected or not values.shape[2]:
        raise InputError(
            f"{name}: `joints` is {values.shape}, not {(*expected, 'N')}; are LSP and LSPe mixed up?"
        )
    if number == LSP_NUMBER and values.shape[2] % 2:
        raise InputError(
            f"{name}: LSP is half for training, half for testing, but {values.shape[2]} images are odd"
        )
    values = values.transpose(axes)  # (N, J, 3)
    # LSP's third value is "occluded", and such joints are labelled
    labelled = np.ones(values.shape[:2], bool)
    if number == LSPE_NUMBER:
        labelled = values[:, :, 2] == 1  # LSPe's is "labelled": 0 comes with junk coordinates
    coordinates = values[:, :, :2]
    if not np.isfinite(coordinates[labelled]).all():
        raise InputError(f"{name}: a labelled joint is not a finite number")
    if (np.abs(coordinates[labelled]) > LARGEST_COORDINATE_PX).any():
        raise InputError(
            f"{name}: a joint lies at {np.abs(coordinates[labelled]).max():g} pixels; fetch the set again"
        )
    return np.where(labelled[..., None], coordinates, np.nan)


def draw_box(joints_px, rng):
    """A training box (4,) px around the labelled joints (J, 2): BOX_SCALE of their extent, moved by
    up to SHIFT_PX."""
    low = np.nanmin(joints_px, 0)
    high = np.nanmax(joints_px, 0)
    side = max((high - low).max() * rng.uniform(*BOX_SCALE), SMALLEST_BOX_PX)
    shift = rng.uniform(-SHIFT_PX, SHIFT_PX, 2) * side / FRAME[0]
    return geometry.box_around((low + high) / 2 + shift, side)


def draw_views(joints_px, copies, rng):
    """The rows of one training image as (box, mirrored): itself, then by chance a moved copy, then
    mirrored ones."""
    views = [(draw_box(joints_px, rng), False)]
    if copies and rng.random() < COPY_PROBABILITY:
        views.append((draw_box(joints_px, rng), False))
    if copies:
        views += [(box, True) for box, _ in views if rng.random() < COPY_PROBABILITY]
    return views


def numbered_images(lsp, lspe, limit):
    """(part, set, image number) of all images wanted, in the order of their rows."""
    half = len(lsp.joints) // 2  # LSP: 1-1000 train, 1001-2000 test
    parts = [
        ("train", lsp, range(1, half + 1)),
        ("train", lspe, range(1, len(lspe.joints) + 1)),
        ("test", lsp, range(half + 1, len(lsp.joints) + 1)),
    ]
    return [
        (part, photo_set, number)
        for part, photo_set, numbers in parts
        for number in numbers[:limit]
    ]


def plan(lsp, lspe, options, left_out):
    """All images in the order of their numbers, each with its rows: a list of Job.

    left_out  (set number, image number) of those that cannot be used
    """
    jobs = []
    counts = {"train": 0, "test": 0}
    for part, photo_set, number in numbered_images(lsp, lspe, options.limit):
        if (photo_set.number, number) in left_out:
            continue
        held_out = part == "train" and photo_set is lsp and number % HELD_OUT_EVERY == 1
        joints = photo_set.joints[number - 1]
        # a test shows an image once, as it is; training may show moved and mirrored copies
        views = [(None, False)]
        if part == "train" and not held_out and not np.isnan(joints).all():
            # seeded by the image, so that its rows are the same whatever --limit is
            rng = np.random.default_rng((options.seed, photo_set.number, number))
            views = draw_views(joints, not options.no_copies, rng)
        rows = tuple(
            Row(counts[part] + k, joints, box, mirrored=mirrored)
            for k, (box, mirrored) in enumerate(views)
        )
        counts[part] += len(rows)
        name, opener = photo_set.openers.get(number, ("", None))
        path = f"{photo_set.place}/{name}"
        jobs.append(
            Job(
                part,
                photo_set.number,
                number,
                f"{photo_set.place.name}/{name}",
                path,
                opener,
                rows,
                held_out,
            )
        )
    held_out = [job.held_out for job in jobs if job.part == "train"]
    if not counts["test"] or not any(held_out) or all(held_out):
        raise InputError(
            f"{lsp.place}: too few images are left to train on, to hold out and to test on; "
            f"download the set again from {PAGES[LSP_NUMBER]}"
        )
    return jobs


def plan_mpii(photo_set, options, left_out, row_count):
    """The training persons of MPII's default split, each with the rows that draw_views makes: a
    list of Job.

    row_count  of the training rows before them
    """
    order = [MPII.index(MPII_NAMES.get(name, name)) for name in LSP.joints]
    jobs = []
    train, _ = MPII_data.split(photo_set)
    for people in MPII_data.by_image(train)[: options.limit]:
        number = people[0].image_index + 1
        rows = []
        for person in people:
            joints = person.joints[order]
            if not np.isnan(joints).all():
                rng = np.random.default_rng(
                    (options.seed, MPII_data.SET_NUMBER, number, person.rect)
                )
                rows += [
                    Row(row_count + len(rows) + k, joints, box, person.rect + 1, mirrored)
                    for k, (box, mirrored) in enumerate(
                        draw_views(joints, not options.no_copies, rng)
                    )
                ]
        if rows and (MPII_data.SET_NUMBER, number) not in left_out:
            jobs.append(MPII_data.job_of("train", people, tuple(rows), photo_set.images))
            row_count += len(rows)
    return jobs


def plan_all(lsp, lspe, mpii, options, left_out):
    """`plan`, and where `mpii` is a PersonSet `plan_mpii` after it."""
    jobs = plan(lsp, lspe, options, left_out)
    return jobs + (
        plan_mpii(mpii, options, left_out, framing.count_rows(jobs)["train"]) if mpii else []
    )


def check_images(sets, jobs):
    """What is wrong before any image is opened: (set number, image number or name) -> a line that
    names the file."""
    found = {}
    places = {photo_set.number: photo_set.place for photo_set in sets}
    for photo_set in sets:
        found |= {(photo_set.number, name): line for name, line in photo_set.misnamed.items()}
        count = len(photo_set.joints)
        for number in sorted(n for n in photo_set.openers if not 1 <= n <= count):
            name = f"{photo_set.place}/{photo_set.openers[number][0]}"
            found[photo_set.number, number] = (
                f"{name}: has no labels, joints are those of images 1 to {count}"
            )
    for job in jobs:
        if job.opener is None:
            found[job.set_number, job.image] = (
                f"{places[job.set_number]}: image number {job.image} is missing; "
                "fetch the set again"
            )
    return found


def parse(argv):
    """The command line: see --help."""
    parser = shell.parser(__doc__)
    shell.add_source_arguments(
        parser, "the first N images of LSP's training, LSP's test, LSPe and MPII"
    )
    parser.add_argument(
        "--mpii",
        type=Path,
        metavar="FOLDER",
        help="train on the people of MPII's training images in FOLDER as well, those of "
        "MPII_data.py's default split (default: without)",
    )
    parser.add_argument(
        "--no-copies", action="store_true", help="one row an image: no moved, no mirrored copies"
    )
    return parser.parse_args(argv)


@command
def main(argv=None):
    options = parse(argv)
    lsp, lspe = (open_set(options.source, number) for number in (LSP_NUMBER, LSPE_NUMBER))
    mpii = MPII_data.open_set(options.mpii) if options.mpii else None
    jobs = plan_all(lsp, lspe, mpii, options, {})
    left_out = check_images((lsp, lspe), jobs)
    set_names = {LSP_NUMBER: "LSP", LSPE_NUMBER: "LSPe"}
    facts = {"options": {"limit": options.limit, "copies": not options.no_copies}}
    places = f"{lsp.place} and {lspe.place}"
    if mpii:
        left_out |= MPII_data.check_images(jobs, mpii.images)
        set_names[MPII_data.SET_NUMBER] = "MPII"
        facts["options"]["mpii"] = True
        places = f"{lsp.place}, {lspe.place} and {mpii.images}"
    layout = Layout(LSP, FRAME, 1.0, set_names, whole=True, floor_set=LSP_NUMBER)
    framing.prepare(
        options, partial(plan_all, lsp, lspe, mpii, options), layout, facts, left_out, places
    )


if __name__ == "__main__":
    sys.exit(main())
