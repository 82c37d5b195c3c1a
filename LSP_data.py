"""Step 1 for the Leeds Sports images: cut square frames around people, with their joints.

Reads   images_1/ and joints_1.mat (LSP), images_2/ and joints_2.mat (LSPe)
        or the sets as they are downloaded: lsp_dataset/ and lspet_dataset/, or their .zip files
        with --mpii what MPII_data.py reads
Writes  train_images.npy  train_labels.npy  train_rows.npy  train_photographs.txt
        test_images.npy   test_labels.npy   test_rows.npy   test_photographs.txt   dataset.json
Run     python LSP_data.py
"""

import sys
from pathlib import Path

import numpy as np

import MPII_data
from deeppose import framing, geometry, lsp, shell
from deeppose.framing import Layout
from deeppose.mpii_split import split
from deeppose.people import Job, Row
from deeppose.shell import command
from deeppose.skeletons import LSP, MPII

FRAME = (227, 227)  # both networks' input; original
# training box side / joints' extent; a letterboxed test image has 1.13-1.79
BOX_SCALE = (1.1, 1.8)
# the box's centre moves by up to this, in pixels of the frame (original: 5)
SHIFT_PX = 10
SMALLEST_BOX_PX = 20  # of the photograph: an image with one labelled joint still gets a box
# of a moved copy of an image, and then of a mirrored copy of each of the two; original
COPY_PROBABILITY = 0.5
HELD_OUT_EVERY = 5  # every fifth LSP training image chooses checkpoints and gains
# LSP's joint -> MPII's name for it; the other 12 have the same
MPII_NAMES = {"neck": "upper_neck", "head": "head_top"}


def draw_box(joints_px, rng):
    """A training box (4,) px around the labelled joints (J, 2): BOX_SCALE of their extent, moved by
    up to SHIFT_PX."""
    # as nanmin and nanmax, in a third of their time
    top_left = np.fmin.reduce(joints_px)
    bottom_right = np.fmax.reduce(joints_px)
    extent = (bottom_right - top_left).max()
    side = max(extent * rng.uniform(*BOX_SCALE), SMALLEST_BOX_PX)
    shift = rng.uniform(-SHIFT_PX, SHIFT_PX, 2) * side / FRAME[0]
    return geometry.box_around((top_left + bottom_right) / 2 + shift, side)


def draw_views(joints_px, copies, rng):
    """The rows of one training image as (box, mirrored): itself, then by chance copies of it.

    copies  whether a moved one and mirrored ones are drawn
    """
    views = [(draw_box(joints_px, rng), False)]
    if copies and rng.random() < COPY_PROBABILITY:
        views.append((draw_box(joints_px, rng), False))
    if copies:
        views += [(box, True) for box, _ in views if rng.random() < COPY_PROBABILITY]
    return views


def numbered_images(lsp_set, lspe_set, limit):
    """(part, PhotoSet, image number) of all images wanted, in the order of their rows.

    limit  images of each set's part; None for all
    """
    half = len(lsp_set.joints) // 2  # LSP: 1-1000 train, 1001-2000 test
    ranges = [
        ("train", lsp_set, range(1, half + 1)),
        ("train", lspe_set, range(1, len(lspe_set.joints) + 1)),
        ("test", lsp_set, range(half + 1, len(lsp_set.joints) + 1)),
    ]
    images = []
    for part, photo_set, image_numbers in ranges:
        for image_number in image_numbers[:limit]:
            images.append((part, photo_set, image_number))
    return images


def plan(lsp_set, lspe_set, options):
    """The images that are there, in the order of their numbers, each with its rows: a list of
    Job."""
    jobs = []
    for part, photo_set, image_number in numbered_images(lsp_set, lspe_set, options.limit):
        if image_number not in photo_set.openers:
            continue
        is_lsp = photo_set is lsp_set
        held_out = part == "train" and is_lsp and image_number % HELD_OUT_EVERY == 1
        joints = photo_set.joints[image_number - 1]  # (J, 2) px
        # a test shows an image once, as it is; training may show moved and mirrored copies
        views = [(None, False)]
        if part == "train" and not held_out and not np.isnan(joints).all():
            # seeded by the image, so that its rows are the same whatever --limit is
            rng = np.random.default_rng((options.seed, photo_set.number, image_number))
            views = draw_views(joints, not options.no_copies, rng)
        jobs.append(job_of(part, photo_set, image_number, rows_of(views, joints), held_out))
    return jobs


def rows_of(views, joints_px, person=0):
    """A Row for each view of one person."""
    return tuple(Row(joints_px, box, person, mirrored) for box, mirrored in views)


def job_of(part, photo_set, image_number, rows, held_out):
    """The Job of one image."""
    name, opener = photo_set.openers[image_number]
    return Job(
        part,
        photo_set.number,
        image_number,
        f"{photo_set.place.name}/{name}",
        f"{photo_set.place}/{name}",
        opener,
        rows,
        held_out,
    )


def plan_mpii(mpii_set, options):
    """The training images of MPII's default split, each with the rows that draw_views makes of its
    persons: a list of Job."""
    mpii_joints = [MPII_NAMES.get(joint, joint) for joint in LSP.joints]
    indices = [MPII.index(joint) for joint in mpii_joints]
    jobs = []
    train, _ = split(mpii_set.people, mpii_set.photo_folder)
    for people in MPII_data.by_image(train)[: options.limit]:
        # LSP's 14 joints of each person, in boxes drawn as LSP's are
        image_number = people[0].image_index + 1
        rows = ()
        for person in people:
            joints = person.joints[indices]  # (J, 2) px, LSP's
            if np.isnan(joints).all():
                continue
            seed = (options.seed, MPII_data.SET_NUMBER, image_number, person.rect)
            views = draw_views(joints, not options.no_copies, np.random.default_rng(seed))
            rows += rows_of(views, joints, person.rect + 1)
        if rows:
            jobs.append(MPII_data.job_of("train", people, rows, mpii_set.photo_folder))
    return jobs


def unusable_images(lsp_set, lspe_set, limit):
    """Images that are known to be unusable before any is opened.

    Returns (set number, image number or name) -> a line that names the file and its fault.
    """
    unusable = {}
    # files without a number, or without labels
    for photo_set in (lsp_set, lspe_set):
        for name, line in photo_set.misnamed.items():
            unusable[photo_set.number, name] = line
        count = len(photo_set.joints)
        for image_number in sorted(photo_set.openers):
            if 1 <= image_number <= count:
                continue
            name, _ = photo_set.openers[image_number]
            unusable[photo_set.number, image_number] = (
                f"{photo_set.place}/{name}: has no labels, joints are those of images 1 to {count}"
            )
    # labels without a file
    for _, photo_set, image_number in numbered_images(lsp_set, lspe_set, limit):
        if image_number not in photo_set.openers:
            unusable[photo_set.number, image_number] = (
                f"{photo_set.place}: image number {image_number} is missing; fetch the set again"
            )
    return unusable


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
    # the sets, and what is wrong with them at first sight
    lsp_set = lsp.open_set(options.source, lsp.LSP_NUMBER)
    lspe_set = lsp.open_set(options.source, lsp.LSPE_NUMBER)
    mpii_set = MPII_data.open_set(options.mpii) if options.mpii else None
    faults = unusable_images(lsp_set, lspe_set, options.limit)
    # what the arrays will hold
    jobs = plan(lsp_set, lspe_set, options)
    set_names = {lsp.LSP_NUMBER: "LSP", lsp.LSPE_NUMBER: "LSPe"}
    facts = {"options": {"limit": options.limit, "copies": not options.no_copies}}
    places = f"{lsp_set.place} and {lspe_set.place}"
    if mpii_set:
        mpii_jobs = plan_mpii(mpii_set, options)
        faults |= MPII_data.missing_images(mpii_jobs, mpii_set.photo_folder)
        jobs += mpii_jobs
        set_names[MPII_data.SET_NUMBER] = "MPII"
        facts["options"]["mpii"] = True
        places = f"{lsp_set.place}, {lspe_set.place} and {mpii_set.photo_folder}"
    layout = Layout(LSP, FRAME, 1.0, set_names, whole=True, floor_set=lsp.LSP_NUMBER)
    framing.prepare(options, jobs, layout, facts, faults, places)


if __name__ == "__main__":
    sys.exit(main())
