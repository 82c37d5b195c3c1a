"""Keypoint annotations in COCO's format, read as what they are: files from strangers.

No torch here.

A fault of the file as a whole is an InputError: one line that names the file. An annotation that
cannot be right is left out, and named in a list of complaints. Outlines (segmentation) are skipped,
so that a crowd's run lengths are as good as any.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deeppose import coco_joints, json_stream
from deeppose.coco_entries import (
    BOX_FILL,  # noqa: F401, taken from here by those who complete a file, as is box_around
    LARGEST_COORDINATE_PX,
    as_numbers,
    bones_of,
    box_around,  # noqa: F401
    completed,
    image_name,
    is_whole,
    person_of,
)
from deeppose.shell import InputError

MOST_IMAGES = 2_000_000  # COCO's train2017 has 118,000
MOST_ANNOTATIONS = 2_000_000  # COCO's train2017 has 262,000, of persons
MOST_CATEGORIES = 1000
MOST_NUMBERS = 60_000_000  # of all keypoints together: 0.5 GB, COCO's train2017 has 13 million
MOST_DETECTIONS = 3_000_000


class CocoImage(NamedTuple):
    """An image of the file; width and height are px, None where the file does not say."""

    file_name: str
    width: int | None
    height: int | None


@dataclass(frozen=True)
class CocoFile:
    """The persons of a file, P of them with K joints each.

    joints            K names, lower-cased
    bones             pairs of names
    images            image id -> CocoImage
    categories        category id -> its name, of those with keypoints
    ids               int64 (P,), as are image_ids and category_ids
    keypoints         float64 (P, K, 3): x and y, px of the photograph, and v: 0 not labelled (x = y
                      = 0), 1 hidden, 2 visible
    boxes             float64 (P, 4): x0, y0, w, h, px; may be empty where no joint is labelled, and
                      in crowds
    areas             float64 (P,): px^2 of the outline, or BOX_FILL of the box where the file has
                      none
    crowd             bool (P,): several people under one outline
    keypoint_counts   int64 (P,): the labelled joints, or fewer where the file's num_keypoints is
                      less
    complaints        a line for each annotation that was left out
    """

    joints: tuple
    bones: tuple
    images: dict
    categories: dict
    ids: np.ndarray
    image_ids: np.ndarray
    category_ids: np.ndarray
    keypoints: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    keypoint_counts: np.ndarray
    complaints: tuple


def read(path, annotated=True):
    """The CocoFile in `path`; InputError for a file that cannot be one.

    annotated  whether it must have annotations and joints; a file of images alone has neither
    """
    # take the lists entry by entry, in whichever order the file has them
    reader = _Reader(path)
    takers = {
        "images": reader.take_image,
        "categories": reader.take_category,
        "annotations": reader.take_annotation,
    }
    for key, entry in json_stream.entries(path):
        if key not in takers:
            continue
        if not isinstance(entry, dict):
            raise InputError(f"{path}: an entry of `{key}` is no object; is this COCO's format?")
        takers[key](entry)
    # keep the persons that fit the images and categories, now that these are all known
    if not reader.images:
        raise InputError(f"{path}: holds no images; is this COCO's format?")
    joints, bones = reader.skeleton(annotated)
    if annotated and not reader.people and not reader.complaints:
        raise InputError(f"{path}: holds no annotations")
    people = reader.fitting(3 * len(joints))
    if annotated and not people:
        without_keypoints = f"{path}: they are of categories without keypoints"
        reason = reader.complaints[0] if reader.complaints else without_keypoints
        raise InputError(f"none of the annotations can be used: {reason}")
    categories = {
        number: reader.names[number] for number, category in reader.categories.items() if category
    }
    return CocoFile(
        joints,
        bones,
        reader.images,
        categories,
        **_as_arrays(people, len(joints)),
        complaints=tuple(reader.complaints),
    )


class _Reader:
    """A file's entries as they are taken, each checked by itself.

    images      image id -> CocoImage
    categories  category id -> its joints and bones, None for one without keypoints
    names       category id -> its name
    people      list of Person
    complaints  a line for each annotation that was left out
    """

    def __init__(self, path):
        self.path = path
        self.images = {}
        self.categories = {}
        self.names = {}
        self.people = []
        self.complaints = []
        self.number_count = 0

    def take_image(self, entry):
        """Take an entry of `images`."""
        # its id, by which annotations name it
        number = entry.get("id")
        if not is_whole(number):
            name = str(entry.get("file_name"))[:80]
            raise InputError(f"{self.path}: the image {name!r} has no whole number as its id")
        if number in self.images:
            raise InputError(f"{self.path}: two images have the id {number}; number them anew")
        if len(self.images) == MOST_IMAGES:
            raise InputError(f"{self.path}: holds more than {MOST_IMAGES} images; do not trust it")
        # its size and name
        sides = [entry.get(side) for side in ("width", "height")]
        for side in sides:
            if side is not None and not (is_whole(side) and 0 < side <= LARGEST_COORDINATE_PX):
                raise InputError(
                    f"{self.path}: image {number} cannot have a side of {str(side)[:20]!r} pixels"
                )
        name = image_name(self.path, number, entry.get("file_name"))
        self.images[number] = CocoImage(name, *sides)

    def take_category(self, entry):
        """Take an entry of `categories`."""
        number = entry.get("id")
        if not is_whole(number):
            raise InputError(f"{self.path}: a category has no whole number as its id")
        if number in self.categories:
            raise InputError(f"{self.path}: two categories have the id {number}; number them anew")
        if len(self.categories) == MOST_CATEGORIES:
            raise InputError(
                f"{self.path}: holds more than {MOST_CATEGORIES} categories; do not trust it"
            )
        self.categories[number] = None
        self.names[number] = str(entry.get("name"))[:80]
        if entry.get("keypoints"):
            joints = coco_joints.joint_names(entry["keypoints"], self.path)
            bones = bones_of(self.path, entry.get("skeleton") or [], joints)
            self.categories[number] = (joints, bones)

    def take_annotation(self, entry):
        """Take an entry of `annotations`, or complain of it."""
        if len(self.people) + len(self.complaints) == MOST_ANNOTATIONS:
            raise InputError(
                f"{self.path}: holds more than {MOST_ANNOTATIONS} annotations; do not trust it"
            )
        try:
            person = person_of(entry)
        except ValueError as error:
            number = entry.get("id")
            if is_whole(number):
                name = f"annotation {number}"
            else:
                name = f"an annotation of image {entry.get('image_id')!r}"
            self.complaints.append(f"{self.path}: {name[:60]} {error}")
            return
        self.people.append(person)
        self.number_count += 0 if person.keypoints is None else len(person.keypoints)
        self.check_count(self.number_count)

    def check_count(self, number_count):
        """InputError for more numbers in all keypoints than memory should hold."""
        if number_count > MOST_NUMBERS:
            raise InputError(
                f"{self.path}: holds more than {MOST_NUMBERS} numbers of keypoints; split it"
            )

    def skeleton(self, annotated):
        """Names of the joints, and bones as pairs of names, of the categories with keypoints."""
        described = [category for category in self.categories.values() if category]
        if not described and not annotated:
            return (), ()
        if not self.categories:
            raise InputError(
                f"{self.path}: has no categories, so its joints are unknown; export it as COCO keypoints"
            )
        if not described:
            raise InputError(
                f"{self.path}: no category has keypoints; export it as COCO keypoints, "
                "not as boxes or outlines"
            )
        if len({joints for joints, _ in described}) > 1:
            raise InputError(
                f"{self.path}: its categories have different joints; keep those of one in a file"
            )
        return described[0]

    def fitting(self, length):
        """The persons of categories with keypoints that fit the file's images and joints, a list.

        Complains of the others.

        length  of keypoints, 3 K
        """
        self.check_count(len(self.people) * length)
        ids = set()
        fitting = []
        for person in self.people:
            if person.id in ids:
                raise InputError(
                    f"{self.path}: two annotations have the id {person.id}; number them anew"
                )
            ids.add(person.id)
            if not self.categories.get(person.category_id, True):
                continue  # a category of things, which have no joints
            try:
                self._check_belongs(person)
                fitting.append(completed(person, length))
            except ValueError as error:
                self.complaints.append(f"{self.path}: annotation {person.id} {error}")
        return fitting

    def _check_belongs(self, person):
        """ValueError, which says why, for a person whose category or image is not in the file."""
        if person.category_id not in self.categories:
            raise ValueError(f"is of category {person.category_id}, which is not in the file")
        if person.image_id not in self.images:
            raise ValueError(f"is of image {person.image_id}, which is not in the file")


def _as_arrays(people, joint_count):
    """The arrays of a CocoFile, by name."""

    def column(name, dtype):
        """An attribute of all people, (P, ...)."""
        return np.array([getattr(person, name) for person in people], dtype)

    return {
        "ids": column("id", np.int64),
        "image_ids": column("image_id", np.int64),
        "category_ids": column("category_id", np.int64),
        "keypoints": column("keypoints", float).reshape(len(people), joint_count, 3),
        "boxes": column("box", float).reshape(len(people), 4),
        "areas": column("area", float),
        "crowd": column("crowd", bool),
        "keypoint_counts": column("count", np.int64),
    }


def content_of(found, numbers, known):
    """Images of a CocoFile and their people as content of a file again, which `read` can read.

    numbers  the images' ids
    known    the CocoFile that has the categories and joints, which a file of images alone lacks
    """
    images = []
    for number in numbers:
        name, width, height = found.images[number]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
    people = np.flatnonzero(np.isin(found.image_ids, numbers))
    numbered = {name: place + 1 for place, name in enumerate(known.joints)}  # bones count from 1
    bones = [[numbered[first], numbered[second]] for first, second in known.bones]
    categories = [
        {"id": number, "name": name, "keypoints": list(known.joints), "skeleton": bones}
        for number, name in known.categories.items()
    ]
    return {
        "images": images,
        "annotations": [_annotation(found, person) for person in people.tolist()],
        "categories": categories,
    }


def _annotation(coco_file, person):
    """A person of a CocoFile, by number, as an annotation."""
    return {
        "id": int(coco_file.ids[person]),
        "image_id": int(coco_file.image_ids[person]),
        "category_id": int(coco_file.category_ids[person]),
        "keypoints": coco_file.keypoints[person].ravel().tolist(),
        "num_keypoints": int(coco_file.keypoint_counts[person]),
        "bbox": coco_file.boxes[person].tolist(),
        "area": float(coco_file.areas[person]),
        "iscrowd": int(coco_file.crowd[person]),
    }


def read_detections(path, images, score_above=-math.inf, category_id=1):
    """Detections of one category in a list of {image_id, category_id, bbox, score}.

    images       those that are asked for, by id; what lies on others is left out
    score_above  what scores no higher is left out
    Returns image ids int64 (D,), boxes (D, 4) x0, y0, w, h px, and scores (D,), in the file's
    order; InputError for a file that is no such list, or with a box or score that cannot be right.
    """
    image_ids = []
    boxes = []
    scores = []
    for number, (key, entry) in enumerate(json_stream.entries(path), start=1):
        # pass over what is not asked for
        if key is not None or not isinstance(entry, dict):
            raise InputError(
                f"{path}: is no list of detections: {{image_id, category_id, bbox, score}}"
            )
        if entry.get("category_id") != category_id:
            continue
        if not is_whole(entry.get("image_id")):
            raise InputError(f"{path}: detection {number} has no whole number as its image_id")
        if entry["image_id"] not in images:
            continue
        # check the others, those with a low score too
        box, score = _box_and_score(path, number, entry)
        if len(scores) == MOST_DETECTIONS:
            raise InputError(
                f"{path}: holds more than {MOST_DETECTIONS} detections; --score-above leaves some out"
            )
        # keep those that score high enough
        if score > score_above:
            image_ids.append(entry["image_id"])
            boxes.append(box)
            scores.append(score)
    return (
        np.array(image_ids, np.int64),
        np.array(boxes, float).reshape(-1, 4),
        np.array(scores, float),
    )


def _box_and_score(path, number, entry):
    """Box (4,) x0, y0, w, h px and score of the detection of that number, counted from 1.

    Raises InputError where one of them cannot be right.
    """
    box = as_numbers(entry.get("bbox"))
    is_box = box is not None and len(box) == 4 and (box[2:] > 0).all()
    if not is_box or np.abs(box).max() > LARGEST_COORDINATE_PX:
        raise InputError(
            f"{path}: detection {number} has no box of 4 numbers, with width and height above 0"
        )
    score = as_numbers([entry.get("score")])
    if score is None:
        raise InputError(f"{path}: detection {number} has no number as its score")
    return box, score[0]
