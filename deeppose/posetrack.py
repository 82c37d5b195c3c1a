"""PoseTrack18's annotations, a file a video, merged into content in COCO's format. No torch here."""

import numpy as np

from deeppose import coco_joints, json_stream
from deeppose.coco_entries import (
    BOX_FILL,
    as_numbers,
    box_around_joints,
    checked_file_name,
    is_whole_number,
)
from deeppose.shell import InputError


def merge(folder):
    """Content in COCO's format, all of a folder's sequences merged in the order of their names.

    Images and annotations keep every entry they have; ids are the set's own. InputError for a
    folder without such files, or with one that does not fit the others.
    """
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not paths:
        raise InputError(
            f"{folder}: no folder with .json files; PoseTrack18's are in annotations/train and val"
        )
    # read them one after the other; each must fit those before it
    merged = _Merged()
    for path in paths:
        merged.add(path)
    if not merged.images:
        raise InputError(f"{folder}: none of its files holds a labelled frame")
    return merged.content()


class _Merged:
    """Content of the sequences that were read so far.

    category             entry that all files share
    joints               its joints' names
    images, annotations  id -> entry
    unlabelled_frames    ids of the frames that nobody labelled, which are left out
    """

    def __init__(self):
        self.category = None
        self.joints = None
        self.images = {}
        self.annotations = {}
        self.unlabelled_frames = set()

    def add(self, path):
        """Read one sequence's file."""
        lists = _read_lists(path)
        self._take_category(path, lists["categories"])
        for image in lists["images"]:
            self._take_image(path, image)
        for annotation in lists["annotations"]:
            self._take_annotation(path, annotation)

    def content(self):
        """All that was read, in COCO's format."""
        return {
            "categories": [self.category],
            "images": list(self.images.values()),
            "annotations": list(self.annotations.values()),
        }

    def _take_category(self, path, categories):
        """Take the first file's category; InputError where another's differs."""
        if len(categories) != 1 or not is_whole_number(categories[0].get("id")):
            raise InputError(
                f"{path}: has {len(categories)} categories, not one of persons; "
                "is it PoseTrack18's?"
            )
        # its joints, which must be those of the files before it
        category = categories[0]
        joints = coco_joints.joint_names(category.get("keypoints"), path)
        if self.joints is None:
            self.joints = joints
            self.category = category
        if joints != self.joints or category.get("id") != self.category.get("id"):
            raise InputError(
                f"{path}: has other joints than the files before it; move it elsewhere"
            )

    def _take_image(self, path, image):
        """Take a frame, or note that nobody labelled it."""
        image_id = image.get("id")
        if not is_whole_number(image_id):
            raise InputError(f"{path}: a frame has no whole number as its id")
        if image_id in self.images or image_id in self.unlabelled_frames:
            raise InputError(
                f"{path}: holds frame {image_id}, as another file or line does; "
                "move one of them elsewhere"
            )
        # the name is checked here, where the error can name this file and not the merged one
        checked_file_name(path, image_id, image.get("file_name"))
        if image.get("is_labeled", True):
            self.images[image_id] = image
        else:
            self.unlabelled_frames.add(image_id)

    def _take_annotation(self, path, annotation):
        """Take an annotation, unless its frame is left out."""
        annotation_id = annotation.get("id")
        image_id = annotation.get("image_id")
        if not is_whole_number(annotation_id) or not is_whole_number(image_id):
            raise InputError(f"{path}: an annotation has no whole numbers as its id and image_id")
        if annotation_id in self.annotations:
            raise InputError(
                f"{path}: holds annotation {annotation_id} again; "
                "move one of the two files elsewhere"
            )
        # all of the file's images are taken before, so the left-out frames are known
        if image_id in self.unlabelled_frames:
            return
        if image_id not in self.images:
            raise InputError(
                f"{path}: annotation {annotation_id} is of frame {image_id}, "
                "which is not in the file"
            )
        self.annotations[annotation_id] = _completed(path, annotation, len(self.joints))


def _read_lists(path):
    """Lists of categories, images and annotations of a file in COCO's format, whole.

    Raises InputError for an entry that is no object.
    """
    lists = {"categories": [], "images": [], "annotations": []}
    for key, entry in json_stream.entries(path):
        if key not in lists:
            continue
        if not isinstance(entry, dict):
            raise InputError(f"{path}: an entry of `{key}` is no object; is it PoseTrack18's?")
        lists[key].append(entry)
    return lists


def _completed(path, annotation, joint_count):
    """The annotation with keypoints, num_keypoints, bbox, area and iscrowd, whichever it had."""
    # its joints, none where it has no keypoints
    keypoints = np.zeros(3 * joint_count)
    if annotation.get("keypoints"):
        keypoints = as_numbers(annotation["keypoints"])
    if keypoints is None or len(keypoints) != 3 * joint_count:
        raise InputError(
            f"{path}: annotation {annotation['id']} has no {3 * joint_count} finite numbers "
            "as its keypoints"
        )
    labelled = keypoints[2::3] > 0  # (J,)
    # its box, else the one around its joints
    box = box_around_joints(keypoints.reshape(-1, 3)[labelled, :2])
    if annotation.get("bbox"):
        box = as_numbers(annotation["bbox"])
    if box is None or len(box) != 4:
        raise InputError(
            f"{path}: annotation {annotation['id']} has no 4 finite numbers as its bbox"
        )
    # its own entries win, where they say anything
    completed = {
        "keypoints": keypoints.tolist(),
        "bbox": box.tolist(),
        "iscrowd": 0,
        "area": BOX_FILL * float(box[2] * box[3]),
    }
    for key, value in annotation.items():
        if key not in completed or value not in (None, []):
            completed[key] = value
    # original: the sum of v, which counts a visible joint twice
    completed["num_keypoints"] = int(labelled.sum())
    return completed
