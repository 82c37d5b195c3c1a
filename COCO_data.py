"""Step 1 for keypoints in COCO's format: COCO, PoseTrack and MPII converted, or your own.

Reads   annotations/person_keypoints_{train,val}2017.json and images/, in --source or in its
        data/COCO; or the files and the folder that --train, --test and --images name
        with --detections a list of boxes to test in
Writes  train_images.npy  train_labels.npy  train_rows.npy  train_photographs.txt
        test_images.npy   test_labels.npy   test_rows.npy   test_photographs.txt   dataset.json
        test_annotations.json: the true annotations of the test images
Run     python COCO_data.py
"""

import argparse
import re
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from deeppose import (
    arrays,
    coco,
    coco_joints,
    dataset_format,
    framing,
    geometry,
    shell,
    to_coco,
    workdir,
)
from deeppose.coco import CocoFile
from deeppose.framing import Layout
from deeppose.people import Job, Row
from deeppose.shell import InputError, command
from deeppose.skeleton import Skeleton

FRAME = (192, 256)  # what a network sees, (w, h) px; the attention authors'
# frame / view: stored at 240 x 320, so that a turned or scaled view has picture in its corners
MARGIN = 1.25
# view / box, once the box has the frame's proportions: the attention authors' value
BOX_SCALE = 1.25
# px of the photograph, so that a box drawn by a slip of the hand still makes a frame
SMALLEST_BOX_PX = 4
HELD_OUT_EVERY = 5  # every fifth training image chooses checkpoints and gains,
MOST_HELD_OUT = 1000  # or so many of a large set
TEST_EVERY = 5  # without --test every fifth image tests
PLACES = ("data/COCO", "")  # below --source
ANNOTATIONS = (
    "annotations/person_keypoints_train2017.json",
    "annotations/person_keypoints_val2017.json",
)
IMAGE_FOLDERS = ("", "train2017", "val2017", "test2017")  # below --images
SHOWN_COMPLAINTS = 20
MOST_NUMBER = 2**53  # of an image or a person: *_rows.npy holds them as float64


@dataclass(frozen=True)
class Part:
    """The photographs and people of "train" or "test".

    set_number  in *_rows.npy
    found       the CocoFile
    paths       image id -> the photograph's file, None where there is none
    rows        image id -> list of Row with numbers to be given, of the images that have people
    """

    name: str
    set_number: int
    found: CocoFile
    paths: dict
    rows: dict


def find_files(options):
    """Paths of the training and the test annotations (None: a part of the training's) and of the
    images' folder."""
    if options.train:
        return options.train, options.test, options.images or options.train.parent
    if options.test:
        raise InputError("--test: name the annotations to train on as well, --train FILE")
    for place in PLACES:
        train, test = (options.source / place / name for name in ANNOTATIONS)
        if train.is_file():
            return train, test, options.images or options.source / place / "images"
    raise InputError(
        f"{options.source}: no {ANNOTATIONS[0]} here or in {PLACES[0]}; get COCO from "
        "https://cocodataset.org, or name your own files, --train FILE --images FOLDER"
    )


def skeleton_of(found):
    """The Skeleton of a file, COCO's and PoseTrack's known by their joints.

    Says which joints mirroring exchanges.
    """
    known = coco_joints.joint_set(found.joints, found.bones)
    pairs = coco_joints.flip_pairs(known.joints)
    if lonely := coco_joints.one_sided(known.joints):
        pairs = ()
        print(
            f"{', '.join(lonely)}: without a joint of the other side, so no image will be mirrored"
        )
    elif pairs:
        print("mirror images exchange " + ", ".join(f"{left} and {right}" for left, right in pairs))
    else:
        print("no joint's name tells left from right, so no image will be mirrored")
    # the cascade's boxes are sized as LSP's where the joints are a body's, else by the extent
    body = (
        {"crop_size_from": ("left_shoulder", "right_hip"), "crop_scale": 2.0} if known.limbs else {}
    )
    return Skeleton(
        known.name,
        known.joints,
        dict(known.limbs),
        known.bones,
        scores=("oks", "pdj"),
        thresholds=(0.05, 0.1, 0.2),
        chosen_by=("oks",),
        sigmas=dict(zip(known.joints, known.sigmas)),
        pairs=pairs,
        **body,
    )


def view_box(box_px, frame):
    """What a test shows of a person in a box (4,) px: grown to the frame's proportions, then
    BOX_SCALE of that."""
    grown = geometry.scale_box(geometry.to_aspect(box_px, frame), BOX_SCALE)
    return geometry.scale_box(grown, max(1, SMALLEST_BOX_PX / min(grown[2:])))


def labelled_people(found, frame):
    """Image id -> the Rows of its people with labelled joints, without crowds.

    Says whose joints do not fit the box.
    """
    rows = {}
    for n in np.flatnonzero((found.keypoint_counts > 0) & ~found.crowd):
        seen = found.keypoints[n, :, 2:] > 0
        joints = np.where(seen, found.keypoints[n, :, :2], np.nan)
        box = view_box(found.boxes[n], frame)
        # False for NaN, which is no label
        if (np.abs(geometry.normalise(joints, box)) > dataset_format.FARTHEST).any():
            print(f"annotation {found.ids[n]} has a joint far outside of its box (left out)")
            continue
        row = Row(0, joints, box, int(found.ids[n]), area_px=float(found.areas[n]))
        rows.setdefault(int(found.image_ids[n]), []).append(row)
    return rows


def detected_people(detections, joint_count, frame):
    """Image id -> the Rows of coco.read_detections' boxes, which have no labels."""
    rows = {}
    unlabelled = np.full((joint_count, 2), np.nan)
    for image, box, score in zip(*detections):
        own = rows.setdefault(int(image), [])
        own.append(Row(0, unlabelled, view_box(box, frame), len(own) + 1, score=float(score)))
    return rows


def find_photographs(found, folder, wanted):
    """Image id -> its file in the folder or in one of IMAGE_FOLDERS below, or None.

    Raises InputError where none is there.
    """
    paths = {}
    for number in wanted:
        places = [folder / below / found.images[number].file_name for below in IMAGE_FOLDERS]
        paths[number] = next((path for path in places if path.is_file()), None)
    if wanted and not any(paths.values()):
        raise InputError(
            f"{folder}: none of the {len(wanted)} photographs is here, such as "
            f"{found.images[wanted[0]].file_name}; --images names their folder"
        )
    return paths


def read(path, annotated=True):
    """coco.read, which says what it leaves out.

    Raises InputError for numbers that the arrays cannot hold.
    """
    found = coco.read(path, annotated)
    for line in found.complaints[:SHOWN_COMPLAINTS]:
        print(f"{line} (left out)")
    if len(found.complaints) > SHOWN_COMPLAINTS:
        print(f"{path}: {len(found.complaints)} annotations are left out in all")
    for number in (*found.images, *found.ids.tolist()):
        if not 0 <= number < MOST_NUMBER:
            raise InputError(
                f"{path}: has an image or an annotation with the id {number}; number them from 0 on"
            )
    return found


def read_people(options):
    """Both files and their people: (CocoFile, image id -> Rows) of training and of test, and the
    images' folder."""
    train_path, test_path, folder = find_files(options)
    train = read(train_path)
    test = train if test_path is None else read(test_path, annotated=not options.detections)
    if test.joints and test.joints != train.joints:
        raise InputError(f"{test_path}: has other joints than {train_path}")
    people = labelled_people(train, options.frame)
    if test_path is None:
        tested = {number: people.pop(number) for number in sorted(people)[1::TEST_EVERY]}
    else:
        tested = {} if options.detections else labelled_people(test, options.frame)
    if options.detections:
        wanted = tested if test_path is None else test.images
        category = next(iter(train.categories))
        detections = coco.read_detections(options.detections, wanted, options.score_above, category)
        tested = detected_people(detections, len(train.joints), options.frame)
    return (train, people), (test, tested), folder


def parts_of(people, folder, limit):
    """The training and the test Part of what read_people gives.

    Raises InputError where they tell no photographs apart.
    """
    parts = []
    for name, (found, rows) in zip(("train", "test"), people):
        chosen = sorted(rows)[:limit]
        paths = find_photographs(found, folder, chosen)
        parts.append(Part(name, 1, found, paths, {number: rows[number] for number in chosen}))
    train, test = parts
    numbers = {path: number for number, path in train.paths.items()}
    for number, path in test.paths.items():
        if path and numbers.get(path, number) != number:
            raise InputError(
                f"{path}: is image {numbers[path]} of the training file and {number} of the test file; "
                "number it alike, so that it is known to be in both"
            )
    if any(
        train.paths[number] != test.paths[number]
        for number in train.paths.keys() & test.paths.keys()
    ):
        test = replace(test, set_number=2)  # two files that each number their own images from 1
    return train, test


def plan(parts, left_out):
    """The Job of each photograph, in the order of their numbers.

    left_out  (set number, image number) of those that cannot be used
    """
    jobs = []
    for part in parts:
        numbers = [number for number in part.rows if (part.set_number, number) not in left_out]
        every = max(HELD_OUT_EVERY, len(numbers) // MOST_HELD_OUT)
        count = 0
        for place, number in enumerate(numbers):
            rows = tuple(replace(row, number=count + k) for k, row in enumerate(part.rows[number]))
            count += len(rows)
            path = part.paths[number]
            held_out = part.name == "train" and place % every == 0
            jobs.append(
                Job(
                    part.name,
                    part.set_number,
                    number,
                    part.found.images[number].file_name,
                    str(path),
                    partial(open, path, "rb"),
                    rows,
                    held_out,
                )
            )
    held_out = [job.held_out for job in jobs if job.part == "train"]
    if not any(job.part == "test" for job in jobs) or not any(held_out) or all(held_out):
        raise InputError(
            "too few images have people with labelled joints: at least 1 to train on, 1 to hold out and "
            "1 to test on are needed"
        )
    return jobs


def missing_photographs(parts):
    """(set number, image number) -> a line, for the images whose files are not there."""
    missing = {}
    for part in parts:
        for number, path in part.paths.items():
            if path is None:
                name = part.found.images[number].file_name
                missing[part.set_number, number] = (
                    f"{name}: image {number} is in no folder of the photographs; fetch it"
                )
    return missing


def frame_size(text):
    """argparse type: 192x256."""
    sides = [int(side) for side in text.split("x") if re.fullmatch(r"[0-9]{1,4}", side)]
    if len(sides) != 2 or not all(16 <= side <= 1024 and side % 4 == 0 for side in sides):
        raise argparse.ArgumentTypeError(
            f"{text} is not WIDTHxHEIGHT, each 16 to 1024 and a multiple of 4"
        )
    return tuple(sides)


def parse(argv):
    """The command line: see --help."""
    parser = shell.parser(__doc__)
    shell.add_source_arguments(
        parser, "the first N training and the first N test images that show people"
    )
    parser.add_argument(
        "--train", type=Path, metavar="FILE", help="annotations to train on (default: COCO's)"
    )
    parser.add_argument(
        "--test",
        type=Path,
        metavar="FILE",
        help="annotations to test on, or with --detections a list of images (default: COCO's, or with "
        "--train every fifth image of that)",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="folder of the photographs, or of train2017/, val2017/ and test2017/ with them (default: "
        "images/ beside COCO's annotations/, or the folder of --train)",
    )
    parser.add_argument(
        "--detections",
        type=Path,
        metavar="FILE",
        help="test in these boxes, a list of {image_id, category_id, bbox, score} (default: in the "
        "true boxes)",
    )
    parser.add_argument(
        "--score-above",
        type=float,
        default=-np.inf,
        metavar="S",
        help="only detections of a higher score (default: all)",
    )
    parser.add_argument(
        "--frame",
        type=frame_size,
        default=FRAME,
        metavar="WxH",
        help=f"pixels that a network sees of a person; a quarter more are stored (default: "
        f"{FRAME[0]}x{FRAME[1]})",
    )
    return parser.parse_args(argv)


@command
def main(argv=None):
    options = parse(argv)
    train, test, folder = read_people(options)
    skeleton = skeleton_of(train[0])
    parts = parts_of((train, test), folder, options.limit)
    stored = tuple(round(side * MARGIN) for side in options.frame)
    layout = Layout(skeleton, stored, MARGIN, {part.set_number: skeleton.name for part in parts})
    facts = {
        "detections": options.detections and options.detections.name,
        "options": {
            "limit": options.limit,
            "frame": options.frame,
            "score_above": options.score_above,
        },
    }
    scored = parts[1].found.images
    if options.limit or parts[1].found is parts[0].found:
        scored = parts[1].rows

    def beside(left_out):
        numbers = [number for number in scored if (parts[1].set_number, number) not in left_out]
        path = options.workdir / workdir.TEST_ANNOTATIONS
        to_coco.write(path, coco.content_of(parts[1].found, numbers, parts[0].found))
        return {"test_annotations": arrays.digest(path)}

    framing.prepare(
        options, partial(plan, parts), layout, facts, missing_photographs(parts), folder, beside
    )


if __name__ == "__main__":
    sys.exit(main())
