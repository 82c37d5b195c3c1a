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

from deeppose import downloads, framing, geometry, mpii, shell
from deeppose.framing import Layout
from deeppose.people import Job, Row
from deeppose.shell import InputError, command
from deeppose.skeleton import MPII

FRAME = (227, 227)  # the input of AlexNet, and of the cascade's networks
HEIGHT_PX = 200  # `scale` is a person's height / 200 px
BOX_SCALE = 1.25  # box side / that height, and
# times scale: from objpos down to the box's centre, as is customary, since objpos lies high
SHIFT_PX = 15
SMALLEST_BOX_PX = 20  # of the photograph: less is no person that can be seen
# box sides from the box's centre; a joint that lies farther is a slip (largest seen: 0.64)
FARTHEST = 3
HEAD_SHARE = 0.6  # head size / diagonal of the head box: Andriluka et al., CVPR 2014
SPLIT_SEED = 1701  # deeppose_tf's, as the next three
TEST_SHARE = 0.1  # of the persons that are labelled completely
# deeppose_tf reduces higher photographs to this, and then leaves out persons with a joint
REDUCED_HEIGHT_PX = 400
OUTSIDE_PX = 3  # more than this far outside
HELD_OUT_EVERY = 10  # every tenth training image chooses checkpoints and gains
SET_NUMBER = 3  # in *_rows.npy; LSP's and LSPe's are 1 and 2
SPLITS = ("default", "deeppose_tf")
PLACES = (
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
    images: Path


def open_set(source):
    """The PersonSet that lies below `source`; InputError where there is none."""
    found = [source / place for place in PLACES if (source / place).is_file()]
    if not found:
        raise InputError(
            f"{source}: no {mpii.FILE_NAME} here; download the annotations from {PAGE}"
        )
    if not (source / "images").is_dir():
        raise InputError(
            f"{source / 'images'}: not found; download the images from {PAGE} and unpack them there"
        )
    return PersonSet(mpii.read_file(found[0]), source / "images")


def box_of(person):
    """The person's box (4,) px, a square by objpos and scale.

    None where they are missing or cannot be the joints'.
    """
    side = BOX_SCALE * HEIGHT_PX * person.scale
    centre = person.objpos + [0, SHIFT_PX * person.scale]
    if not side >= SMALLEST_BOX_PX or np.isnan(centre).any():  # so that NaN is refused too
        return None
    farthest = np.nanmax(np.abs(person.joints - centre))
    return geometry.box_around(centre, side) if farthest <= FARTHEST * side else None


def head_px(person):
    """The person's head size in pixels of the photograph."""
    return HEAD_SHARE * np.hypot(*(person.head_box[2:] - person.head_box[:2]))


def is_inside(person, images):
    """Whether no joint lies too far outside of the photograph for deeppose_tf."""
    path = images / person.image
    size = downloads.image_size(partial(open, path, "rb"))
    if size is None:
        return True  # it is named when the frames are cut
    outside = np.maximum(-person.joints, person.joints - size)
    return np.nanmax(outside) * min(1, REDUCED_HEIGHT_PX / size[1]) <= OUTSIDE_PX


def split(photo_set, how="default"):
    """Training and test persons, two lists of mpii.Person; those of the test as they are drawn.

    how  "deeppose_tf": theirs, of complete persons alone, and so persons of one image may be in
         both; "default": the training persons are those, complete or not, whose image holds no test
         person
    """
    labelled = [
        person
        for person in photo_set.people
        if person.training and not np.isnan(person.joints).all()
    ]
    complete = [person for person in labelled if not np.isnan(person.joints).any()]
    if how == "deeppose_tf":
        labelled = complete = [person for person in complete if is_inside(person, photo_set.images)]
    drawn = np.random.RandomState(SPLIT_SEED).permutation(len(complete))[
        : int(TEST_SHARE * len(complete))
    ]
    test = [complete[number] for number in drawn]
    of_test = {(person.image_index, person.rect) for person in test}
    train = [person for person in labelled if (person.image_index, person.rect) not in of_test]
    if how == "default":
        tested_images = {person.image_index for person in test}
        train = [person for person in train if person.image_index not in tested_images]
    return train, test


def by_image(people):
    """Persons that have a box, image after image: a list of lists of mpii.Person."""
    groups = {}
    for person in sorted(people, key=lambda person: (person.image_index, person.rect)):
        if box_of(person) is not None:
            groups.setdefault(person.image_index, []).append(person)
    return list(groups.values())


def job_of(part, people, rows, images, held_out=False):
    """The Job of one image's people, with their rows."""
    name = people[0].image
    path = images / name
    return Job(
        part,
        SET_NUMBER,
        people[0].image_index + 1,
        f"{images.name}/{name}",
        str(path),
        partial(open, path, "rb"),
        rows,
        held_out,
    )


def plan(photo_set, parts, limit, left_out):
    """All images in the order of the file, each with a row a person: a list of Job.

    parts     "train" and "test" -> what by_image gives
    left_out  (set number, image number) of those that cannot be used
    """
    jobs = []
    counts = {"train": 0, "test": 0}
    for part, groups in parts.items():
        for people in groups[:limit]:
            index = people[0].image_index
            if (SET_NUMBER, index + 1) in left_out:
                continue
            rows = tuple(
                Row(
                    counts[part] + k,
                    person.joints,
                    box_of(person),
                    person.rect + 1,
                    head_px=head_px(person),
                )
                for k, person in enumerate(people)
            )
            counts[part] += len(rows)
            held_out = part == "train" and index % HELD_OUT_EVERY == 0
            jobs.append(job_of(part, people, rows, photo_set.images, held_out))
    held_out = [job.held_out for job in jobs if job.part == "train"]
    if not counts["test"] or not any(held_out) or all(held_out):
        raise InputError(
            f"{photo_set.images}: too few images are left to train on, to hold out and to test on; "
            f"download the set again from {PAGE}"
        )
    return jobs


def check_images(jobs, images):
    """Images that are not there: (set number, image number) -> a line that names the file."""
    there = downloads.listing(images)
    return {
        (job.set_number, job.image): f"{job.path}: is missing; fetch the set again"
        for job in jobs
        if job.set_number == SET_NUMBER and Path(job.path).name not in there
    }


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
    photo_set = open_set(options.source)
    train, test = split(photo_set, options.split)
    name_boxless([*train, *test])
    parts = {"train": by_image(train), "test": by_image(test)}
    jobs = plan(photo_set, parts, options.limit, {})
    facts = {"options": {"limit": options.limit, "split": options.split}}
    framing.prepare(
        options,
        partial(plan, photo_set, parts, options.limit),
        Layout(MPII, FRAME, 1.0, {SET_NUMBER: "MPII"}),
        facts,
        check_images(jobs, photo_set.images),
        photo_set.images,
    )


if __name__ == "__main__":
    sys.exit(main())
