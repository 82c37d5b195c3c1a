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
from functools import partial
from pathlib import Path

import numpy as np

from deeppose import arrays, coco, coco_people, coco_writing, framing, shell, workdir
from deeppose.coco_detections import read_detections
from deeppose.coco_parts import missing_photographs, parts_of
from deeppose.coco_skeletons import skeleton_of
from deeppose.framing import Layout
from deeppose.people import Job
from deeppose.shell import InputError, command

FRAME = (192, 256)  # what a network sees, (w, h) px; the attention authors'
# frame / view: stored at 240 x 320, so that a turned or scaled view has picture in its corners
MARGIN = 1.25
HELD_OUT_EVERY = 5  # every fifth training image chooses checkpoints and gains
MOST_HELD_OUT = 1000  # of a large set
TEST_EVERY = 5  # without --test every fifth image tests
PLACES = ("data/COCO", "")  # below --source
ANNOTATIONS = (
    "annotations/person_keypoints_train2017.json",
    "annotations/person_keypoints_val2017.json",
)
SHOWN_COMPLAINTS = 20
MOST_NUMBER = 2**53  # of an image or a person: *_rows.npy holds them as float64


def find_files(options):
    """Paths of the training and the test annotations, and of the images' folder.

    None for the test annotations where they are a part of the training's.
    """
    # files that the flags name
    if options.train:
        return options.train, options.test, options.images or options.train.parent
    if options.test:
        raise InputError("--test: name the annotations to train on as well, --train FILE")
    # COCO as it is unpacked
    for place in PLACES:
        folder = options.source / place
        train, test = (folder / file_name for file_name in ANNOTATIONS)
        if train.is_file():
            return train, test, options.images or folder / "images"
    raise InputError(
        f"{options.source}: no {ANNOTATIONS[0]} here or in {PLACES[0]}; get COCO from "
        "https://cocodataset.org, or name your own files, --train FILE --images FOLDER"
    )


def read(path, annotated=True):
    """coco.read, which says what it leaves out.

    Raises InputError for numbers that the arrays cannot hold.
    """
    coco_file = coco.read(path, annotated)
    # what is left out, without a flood of lines
    for complaint in coco_file.complaints[:SHOWN_COMPLAINTS]:
        print(f"{complaint} (left out)")
    if len(coco_file.complaints) > SHOWN_COMPLAINTS:
        print(f"{path}: {len(coco_file.complaints)} annotations are left out in all")
    # numbers travel as float64
    for number in (*coco_file.images, *coco_file.ids.tolist()):
        if not 0 <= number < MOST_NUMBER:
            raise InputError(
                f"{path}: has an image or an annotation with the id {number}; number them from 0 on"
            )
    return coco_file


def read_people(options):
    """Both files and their people, and the images' folder.

    Returns (CocoFile, image id -> Rows) of training, the same of test, and the folder.
    """
    # the files
    train_path, test_path, folder = find_files(options)
    train_file = read(train_path)
    test_file = train_file
    if test_path is not None:
        test_file = read(test_path, annotated=not options.detections)
    if test_file.joints and test_file.joints != train_file.joints:
        raise InputError(f"{test_path}: has other joints than {train_path}")
    # the people with labels
    train_people = coco_people.labelled_people(train_file, options.frame)
    test_people = {}
    if test_path is None:
        test_ids = sorted(train_people)[1::TEST_EVERY]
        test_people = {image_id: train_people.pop(image_id) for image_id in test_ids}
    elif not options.detections:
        test_people = coco_people.labelled_people(test_file, options.frame)
    # a detector's boxes on the test images replace the true ones
    if options.detections:
        test_images = test_people if test_path is None else test_file.images
        category_id = next(iter(train_file.categories))
        detections = read_detections(
            options.detections, test_images, options.score_above, category_id
        )
        if not len(detections[0]):
            raise InputError(
                f"{options.detections}: has no person in the test images with a score above "
                f"{options.score_above:g}"
            )
        test_people = coco_people.detected_people(detections, len(train_file.joints), options.frame)
    return (train_file, train_people), (test_file, test_people), folder


def plan(parts):
    """The Job of each photograph that is there, in the order of their numbers."""
    jobs = []
    for part in parts:
        for image_id, path in part.paths.items():
            if path is None:
                continue
            image = part.coco_file.images[image_id]
            size = (image.width, image.height)
            jobs.append(
                Job(
                    part.name,
                    part.set_number,
                    image_id,
                    image.file_name,
                    str(path),
                    partial(open, path, "rb"),
                    tuple(part.rows_of_image[image_id]),
                    size=None if None in size else size,
                )
            )
    return jobs


def is_held_out(index, count):
    """Whether the training image of that index, of so many, is held out."""
    every = max(HELD_OUT_EVERY, -(-count // MOST_HELD_OUT))  # rounded up
    return index % every == 0


def write_test_annotations(path, train, test, whole, faults):
    """Write the true annotations of the test images, by which OKS is scored.

    whole   whether all images of the test's file are scored, those without people too
    faults  (set number, image number) -> what is wrong with it, of those that cannot be used
    Returns the entry of dataset.json.
    """
    scored_ids = test.coco_file.images if whole else test.rows_of_image
    image_ids = [image_id for image_id in scored_ids if (test.set_number, image_id) not in faults]
    content = coco_writing.content_of(test.coco_file, image_ids, train.coco_file)
    coco_writing.write(path, content)
    return {"test_annotations": arrays.digest(path)}


def frame_size(text):
    """argparse type: 192x256, as (w, h) px."""
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
    options = parser.parse_args(argv)
    if options.score_above != -np.inf and not options.detections:
        parser.error("--score-above: is of --detections, which name boxes with scores")
    if np.isnan(options.score_above):
        parser.error("--score-above: nan is no score")
    return options


@command
def main(argv=None):
    options = parse(argv)
    # the photographs and their people
    train_people, test_people, folder = read_people(options)
    skeleton = skeleton_of(train_people[0])
    train, test = parts_of((train_people, test_people), folder, options.limit)
    # what the arrays will hold
    stored_frame = tuple(round(side * MARGIN) for side in options.frame)
    set_names = {part.set_number: skeleton.name for part in (train, test)}
    dataset_facts = {
        "detections": options.detections and options.detections.name,
        "options": {
            "limit": options.limit,
            "frame": options.frame,
            "score_above": options.score_above,
        },
    }
    # without --limit all images of a test file of its own count: a person missed there is an error
    whole = not options.limit and test.coco_file is not train.coco_file
    # cut the frames, and write the annotations beside them
    annotations_path = options.workdir / workdir.TEST_ANNOTATIONS
    framing.prepare(
        options,
        plan((train, test)),
        Layout(skeleton, stored_frame, MARGIN, set_names),
        dataset_facts,
        missing_photographs((train, test), folder),
        folder,
        is_held_out,
        partial(write_test_annotations, annotations_path, train, test, whole),
    )


if __name__ == "__main__":
    sys.exit(main())
