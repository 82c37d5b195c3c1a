"""Keypoint annotations in COCO's format, read as what they are: files from strangers.

No torch here.

A fault of the file as a whole is an InputError: one line that names the file. An annotation that
cannot be right is left out, and named in a list of complaints. Outlines (segmentation) are skipped,
so that a crowd's run lengths are as good as any.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deeppose import coco_entries, coco_joints, json_stream
from deeppose.coco_entries import LARGEST_COORDINATE_PX, is_whole_number
from deeppose.shell import InputError

MOST_IMAGES = 2_000_000  # COCO's train2017 has 118,000
MOST_ANNOTATIONS = 2_000_000  # COCO's train2017 has 262,000, of persons
MOST_CATEGORIES = 1000
MOST_NUMBERS = 60_000_000  # of all keypoints together: 0.5 GB, COCO's train2017 has 13 million


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
    take_entry = {
        "images": reader.take_image,
        "categories": reader.take_category,
        "annotations": reader.take_annotation,
    }
    for key, entry in json_stream.entries(path):
        if key not in take_entry:
            continue
        if not isinstance(entry, dict):
            raise InputError(f"{path}: an entry of `{key}` is no object; is this COCO's format?")
        take_entry[key](entry)
    # keep the persons that fit the images and categories, now that these are all known
    if not reader.images:
        raise InputError(f"{path}: holds no images; is this COCO's format?")
    joints, bones = reader.skeleton(annotated)
    if annotated and not reader.people and not reader.complaints:
        raise InputError(f"{path}: holds no annotations")
    people = reader.fitting_people(len(joints))
    if annotated and not people:
        reason = f"{path}: they are of categories without keypoints"
        if reader.complaints:
            reason = reader.complaints[0]
        raise InputError(f"none of the annotations can be used: {reason}")
    return CocoFile(
        joints,
        bones,
        reader.images,
        reader.categories_with_keypoints(),
        **_people_arrays(people, len(joints)),
        complaints=tuple(reader.complaints),
    )


class _Reader:
    """A file's entries as they are taken, each checked by itself.

    images          image id -> CocoImage
    skeletons       category id -> its joints and bones, None for one without keypoints
    category_names  category id -> its name
    people          list of coco_entries.Person
    complaints      a line for each annotation that was left out
    numbers_taken   numbers in all keypoints so far
    """

    def __init__(self, path):
        self.path = path
        self.images = {}
        self.skeletons = {}
        self.category_names = {}
        self.people = []
        self.complaints = []
        self.numbers_taken = 0

    def take_image(self, entry):
        """Take an entry of `images`."""
        # its id, by which annotations name it
        image_id = entry.get("id")
        if not is_whole_number(image_id):
            file_name = str(entry.get("file_name"))[:80]
            raise InputError(f"{self.path}: the image {file_name!r} has no whole number as its id")
        if image_id in self.images:
            raise InputError(f"{self.path}: two images have the id {image_id}; number them anew")
        if len(self.images) == MOST_IMAGES:
            raise InputError(f"{self.path}: holds more than {MOST_IMAGES} images; do not trust it")
        # its size, which some tools leave out, and its name
        sides = [entry.get("width"), entry.get("height")]
        for side in sides:
            is_side = is_whole_number(side) and 0 < side <= LARGEST_COORDINATE_PX
            if side is not None and not is_side:
                raise InputError(
                    f"{self.path}: image {image_id} cannot have a side of {str(side)[:20]!r} pixels"
                )
        file_name = coco_entries.checked_file_name(self.path, image_id, entry.get("file_name"))
        self.images[image_id] = CocoImage(file_name, *sides)

    def take_category(self, entry):
        """Take an entry of `categories`."""
        category_id = entry.get("id")
        if not is_whole_number(category_id):
            raise InputError(f"{self.path}: a category has no whole number as its id")
        if category_id in self.skeletons:
            raise InputError(
                f"{self.path}: two categories have the id {category_id}; number them anew"
            )
        # hostile files must not fill the memory
        if len(self.skeletons) == MOST_CATEGORIES:
            raise InputError(
                f"{self.path}: holds more than {MOST_CATEGORIES} categories; do not trust it"
            )
        # its name and, unless it is of things, its joints and bones
        self.skeletons[category_id] = None
        self.category_names[category_id] = str(entry.get("name"))[:80]
        if entry.get("keypoints"):
            joints = coco_joints.joint_names(entry["keypoints"], self.path)
            bones = coco_entries.bones_by_name(self.path, entry.get("skeleton") or [], joints)
            self.skeletons[category_id] = (joints, bones)

    def take_annotation(self, entry):
        """Take an entry of `annotations`, or complain of it."""
        if len(self.people) + len(self.complaints) == MOST_ANNOTATIONS:
            raise InputError(
                f"{self.path}: holds more than {MOST_ANNOTATIONS} annotations; do not trust it"
            )
        try:
            person = coco_entries.read_person(entry)
        except ValueError as error:
            if is_whole_number(entry.get("id")):
                annotation = f"annotation {entry['id']}"
            else:
                annotation = f"an annotation of image {entry.get('image_id')!r}"
            self.complaints.append(f"{self.path}: {annotation[:60]} {error}")
            return
        self.people.append(person)
        # counted while it is read: all together may be more than memory holds
        if person.keypoints is not None:
            self.numbers_taken += len(person.keypoints)
        self.check_memory(self.numbers_taken)

    def check_memory(self, number_count):
        """InputError for more numbers in all keypoints than memory should hold."""
        if number_count > MOST_NUMBERS:
            raise InputError(
                f"{self.path}: holds more than {MOST_NUMBERS} numbers of keypoints; split it"
            )

    def categories_with_keypoints(self):
        """The categories whose persons have joints: category id -> its name."""
        return {
            category_id: self.category_names[category_id]
            for category_id, skeleton in self.skeletons.items()
            if skeleton
        }

    def skeleton(self, annotated):
        """Names of the joints, and bones as pairs of names, that all categories share.

        Those without keypoints do not count. Both are empty where none has any, which is an
        InputError if `annotated`.
        """
        described = [skeleton for skeleton in self.skeletons.values() if skeleton]
        if not described and not annotated:
            return (), ()
        if not self.skeletons:
            raise InputError(
                f"{self.path}: has no categories, so its joints are unknown; export it as COCO keypoints"
            )
        if not described:
            raise InputError(
                f"{self.path}: no category has keypoints; export it as COCO keypoints, "
                "not as boxes or outlines"
            )
        # the arrays hold one set of joints
        if len({joints for joints, _ in described}) > 1:
            raise InputError(
                f"{self.path}: its categories have different joints; keep those of one in a file"
            )
        return described[0]

    def fitting_people(self, joint_count):
        """The persons of categories with keypoints that fit the file's images and joints, a list.

        Complains of the others.
        """
        # a person without keypoints gets as many zeros, so that all may take more than was read
        self.check_memory(3 * joint_count * len(self.people))
        # people of one file have different ids, whatever their category
        ids = set()
        fitting = []
        for person in self.people:
            if person.id in ids:
                raise InputError(
                    f"{self.path}: two annotations have the id {person.id}; number them anew"
                )
            ids.add(person.id)
            if not self.skeletons.get(person.category_id, True):
                continue  # a category of things, which have no joints
            try:
                self._check_belongs(person)
                fitting.append(coco_entries.complete_person(person, 3 * joint_count))
            except ValueError as error:
                self.complaints.append(f"{self.path}: annotation {person.id} {error}")
        return fitting

    def _check_belongs(self, person):
        """ValueError, which says why, for a person whose category or image is not in the file."""
        if person.category_id not in self.skeletons:
            raise ValueError(f"is of category {person.category_id}, which is not in the file")
        if person.image_id not in self.images:
            raise ValueError(f"is of image {person.image_id}, which is not in the file")


def _people_arrays(people, joint_count):
    """The arrays of a CocoFile, by the names of its fields."""

    def column(field, dtype):
        """A field of all people, (P, ...)."""
        return np.array([getattr(person, field) for person in people], dtype)

    return {
        "ids": column("id", np.int64),
        "image_ids": column("image_id", np.int64),
        "category_ids": column("category_id", np.int64),
        "keypoints": column("keypoints", float).reshape(len(people), joint_count, 3),
        "boxes": column("box", float).reshape(len(people), 4),
        "areas": column("area", float),
        "crowd": column("crowd", bool),
        "keypoint_counts": column("keypoint_count", np.int64),
    }
