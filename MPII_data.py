"""Step 1 for MPII Human Pose: cut square frames around people, with their 16 joints.

Reads   mpii_human_pose_v1_u12_1.mat, or the .zip or .tar.gz that it is downloaded in, and images/
Writes  train_images.npy  train_labels.npy  train_rows.npy  train_photographs.txt
        test_images.npy   test_labels.npy   test_rows.npy   test_photographs.txt   dataset.json
Run     python MPII_data.py --source FOLDER
"""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from deeppose import archives, framing, geometry, mpii, shell
from deeppose.framing import Layout
from deeppose.mpii_split import SPLITS, split
from deeppose.people import Job, Row, check_some_here
from deeppose.shell import InputError, command
from deeppose.skeletons import MPII

FRAME = (227, 227)  # the input of AlexNet, and of the cascade's networks
HEIGHT_PX = 200  # `scale` is a person's height / 200 px
BOX_SCALE = 1.25  # box side / that height
# times scale: from objpos down to the box's centre, as is customary, since objpos lies high
SHIFT_PX = 15
SMALLEST_BOX_PX = 20  # of the photograph: less is no person that can be seen
# box sides from the box's centre; a joint that lies farther is a slip (largest seen: 0.64)
FARTHEST = 3
HEAD_SHARE = 0.6  # head size / diagonal of the head box: Andriluka et al., CVPR 2014
HELD_OUT_EVERY = 10  # every tenth training image chooses checkpoints and gains
SET_NUMBER = 3  # in *_rows.npy; LSP's and LSPe's are 1 and 2
PLACES = (  # where the annotations may lie, below --source
    mpii.FILE_NAME,
    f"mpii_human_pose_v1_u12_2/{mpii.FILE_NAME}",
    f"mpii_human_pose_v1_u12_1/{mpii.FILE_NAME}",
    "mpii_human_pose_v1_u12_2.zip",
    "mpii_human_pose_v1_u12_1.zip",
    "mpii_human_pose_v1_u12_1.tar.gz",
)
PAGE = "http://human-pose.mpi-inf.mpg.de"


@dataclass(frozen=True)
class PersonSet:
    """MPII's persons: a list of mpii.Person, and the folder of their photographs."""

    people: list
    photo_folder: Path


def open_set(source):
    """The PersonSet that lies below `source`; InputError where there is none."""
    annotation_paths = [source / place for place in PLACES if (source / place).is_file()]
    if not annotation_paths:
        raise InputError(
            f"{source}: no {mpii.FILE_NAME} here; download the annotations from {PAGE}"
        )
    photo_folder = source / "images"
    if not photo_folder.is_dir():
        raise InputError(
            f"{photo_folder}: not found; download the images from {PAGE} and unpack them there"
        )
    return PersonSet(mpii.read_file(annotation_paths[0]), photo_folder)


def box_of(person):
    """The person's box (4,) px, a square by objpos and scale.

    None where they are missing or cannot be the joints'.
    """
    # as is customary, by the person's height, and lower than objpos
    side = BOX_SCALE * HEIGHT_PX * person.scale
    centre = person.objpos + [0, SHIFT_PX * person.scale]
    if not side >= SMALLEST_BOX_PX or np.isnan(centre).any():  # so that NaN is refused too
        return None
    # a box that its joints do not fit
    farthest_px = np.nanmax(np.abs(person.joints - centre))
    if not farthest_px <= FARTHEST * side:
        return None
    return geometry.box_around(centre, side)


def head_px(person):
    """The person's head size in pixels of the photograph."""
    return HEAD_SHARE * np.hypot(*(person.head_box[2:] - person.head_box[:2]))


def by_image(people):
    """Persons that have a box, image after image: a list of lists of mpii.Person."""
    people_of_image = {}
    for person in sorted(people, key=lambda person: (person.image_index, person.rect)):
        if box_of(person) is not None:
            people_of_image.setdefault(person.image_index, []).append(person)
    return list(people_of_image.values())


def job_of(part, people, rows, photo_folder, held_out=False):
    """The Job of one image's people, with their rows."""
    file_name = people[0].file_name
    path = photo_folder / file_name
    return Job(
        part,
        SET_NUMBER,
        people[0].image_index + 1,
        f"{photo_folder.name}/{file_name}",
        str(path),
        partial(open, path, "rb"),
        rows,
        held_out,
    )


def plan(parts, photo_folder, limit):
    """All images in the order of the file, each with a row a person: a list of Job.

    parts  "train" and "test" -> what by_image gives
    limit  images of each part; None for all
    """
    jobs = []
    for part, images in parts.items():
        for people in images[:limit]:
            rows = tuple(
                Row(person.joints, box_of(person), person.rect + 1, head_px=head_px(person))
                for person in people
            )
            held_out = part == "train" and people[0].image_index % HELD_OUT_EVERY == 0
            jobs.append(job_of(part, people, rows, photo_folder, held_out))
    return jobs


def missing_images(jobs, photo_folder):
    """Images that are not there: (set number, image number) -> a line that names the file.

    Raises InputError where none is there.
    """
    openers = archives.list_folder(photo_folder)
    missing = {
        (job.set_number, job.image): f"{job.path}: is missing; fetch the set again"
        for job in jobs
        if Path(job.path).name not in openers
    }
    file_names = [Path(job.path).name for job in jobs]
    advice = f"download them from {PAGE} and unpack them there"
    check_some_here(photo_folder, file_names, missing, advice)
    return missing


def name_boxless(people):
    """Tell of labelled persons that cannot be framed, and so are left out."""
    boxless = [person for person in people if box_of(person) is None]
    if boxless:
        print(
            f"{len(boxless)} persons are left out, whose objpos and scale are missing or do not fit their joints, "
            f"such as annolist({boxless[0].image_index + 1}), annorect({boxless[0].rect + 1})"
        )


def parse(argv):
    """The command line: see --help."""
    parser = shell.parser(__doc__)
    shell.add_source_arguments(parser, "the first N images of training and of test")
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default=SPLITS[0],
        help="deeppose_tf: the complete persons that they train on and test with, some of whose images "
        "are in both parts (default: no training persons from images that hold a test person)",
    )
    return parser.parse_args(argv)


@command
def main(argv=None):
    options = parse(argv)
    # who trains and who tests
    person_set = open_set(options.source)
    train, test = split(person_set.people, person_set.photo_folder, options.split)
    name_boxless([*train, *test])
    parts = {"train": by_image(train), "test": by_image(test)}
    # cut their frames
    jobs = plan(parts, person_set.photo_folder, options.limit)
    framing.prepare(
        options,
        jobs,
        Layout(MPII, FRAME, 1.0, {SET_NUMBER: "MPII"}),
        {"options": {"limit": options.limit, "split": options.split}},
        missing_images(jobs, person_set.photo_folder),
        person_set.photo_folder,
    )


if __name__ == "__main__":
    sys.exit(main())
