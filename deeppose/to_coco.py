"""Write the annotations of PoseTrack18 or of MPII as one file in COCO's format.

PoseTrack18 has a file a video; FOLDER holds those of one split, such as annotations/val. Persons
without a box get the one around their labelled joints; frames that nobody labelled are left out.

MPII has one file, mpii_human_pose_v1_u12_1.mat, or the .zip or .tar.gz that it is downloaded in.
What is written are the persons with joints, who are all on training images, and their images. An
image's id is its place in annolist, counted from 1; its size is left out, since the file does not
tell.

    python -m deeppose.to_coco posetrack FOLDER OUT.json
    python -m deeppose.to_coco mpii FILE OUT.json
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from deeppose import coco, coco_joints, files, geometry, json_stream, shell
from deeppose import mpii as mpii_file
from deeppose.shell import InputError
from deeppose.skeleton import MPII

SMALLEST_BOX_PX = 1.0  # along each axis, around one joint or joints in a line


def posetrack(folder):
    """Content in COCO's format, all of a folder's sequences merged in the order of their names.

    Images and annotations keep every entry they have; ids are the set's own. InputError for a
    folder without such files, or with one that does not fit the others.
    """
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not paths:
        raise InputError(
            f"{folder}: no folder with .json files; PoseTrack18's are in annotations/train and val"
        )
    merged = _Merged()
    for path in paths:
        merged.add(path)
    if not merged.images:
        raise InputError(f"{folder}: none of its files holds a labelled frame")
    return merged.content()


class _Merged:
    """Content of the sequences that were read so far.

    images, annotations  id -> entry
    left_out             frames that nobody labelled
    """

    def __init__(self):
        self.category = None
        self.joints = None
        self.images = {}
        self.annotations = {}
        self.left_out = set()

    def add(self, path):
        """Read one sequence's file."""
        lists = _lists(path)
        self._take_category(path, lists["categories"])
        for entry in lists["images"]:
            self._take_image(path, entry)
        for entry in lists["annotations"]:
            self._take_annotation(path, entry)

    def content(self):
        """All that was read, in COCO's format."""
        return {
            "categories": [self.category],
            "images": list(self.images.values()),
            "annotations": list(self.annotations.values()),
        }

    def _take_category(self, path, categories):
        """Take the first file's category; InputError where another's differs."""
        if len(categories) != 1 or not coco.is_whole(categories[0].get("id")):
            raise InputError(
                f"{path}: has {len(categories)} categories, not one of persons; "
                "is it PoseTrack18's?"
            )
        joints = coco_joints.joint_names(categories[0].get("keypoints"), path)
        if self.joints is None:
            self.joints = joints
            self.category = categories[0]
        if joints != self.joints or categories[0].get("id") != self.category.get("id"):
            raise InputError(
                f"{path}: has other joints than the files before it; move it elsewhere"
            )

    def _take_image(self, path, entry):
        """Take a frame, or note that nobody labelled it."""
        number = entry.get("id")
        if not coco.is_whole(number):
            raise InputError(f"{path}: a frame has no whole number as its id")
        if number in self.images or number in self.left_out:
            raise InputError(
                f"{path}: holds frame {number}, as another file or line does; "
                "move one of them elsewhere"
            )
        coco.image_name(path, number, entry.get("file_name"))
        if entry.get("is_labeled", True):
            self.images[number] = entry
        else:
            self.left_out.add(number)

    def _take_annotation(self, path, entry):
        """Take an annotation, unless its frame is left out."""
        number = entry.get("id")
        image_id = entry.get("image_id")
        if not coco.is_whole(number) or not coco.is_whole(image_id):
            raise InputError(f"{path}: an annotation has no whole numbers as its id and image_id")
        if number in self.annotations:
            raise InputError(
                f"{path}: holds annotation {number} again; move one of the two files elsewhere"
            )
        if image_id in self.left_out:
            return
        if image_id not in self.images:
            raise InputError(
                f"{path}: annotation {number} is of frame {image_id}, which is not in the file"
            )
        self.annotations[number] = _person(path, entry, len(self.joints))


def _lists(path):
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


def _person(path, entry, joint_count):
    """Annotation with keypoints, num_keypoints, bbox, area and iscrowd, whichever it had."""
    # its joints, none where it has no keypoints
    keypoints = np.zeros(3 * joint_count)
    if entry.get("keypoints"):
        keypoints = coco.as_numbers(entry["keypoints"])
    if keypoints is None or len(keypoints) != 3 * joint_count:
        raise InputError(
            f"{path}: annotation {entry['id']} has no {3 * joint_count} finite numbers "
            "as its keypoints"
        )
    labelled = keypoints[2::3] > 0  # (J,)
    # its box, else the one around its joints
    box = coco.box_around(keypoints.reshape(-1, 3)[labelled, :2])
    if entry.get("bbox"):
        box = coco.as_numbers(entry["bbox"])
    if box is None or len(box) != 4:
        raise InputError(f"{path}: annotation {entry['id']} has no 4 finite numbers as its bbox")
    # its own entries win, where they say anything
    filled_in = {
        "keypoints": keypoints.tolist(),
        "bbox": box.tolist(),
        "iscrowd": 0,
        "area": coco.BOX_FILL * float(box[2] * box[3]),
    }
    own_entries = {
        key: value
        for key, value in entry.items()
        if key not in filled_in or value not in (None, [])
    }
    # original: the sum of v, which counts a visible joint twice
    return filled_in | own_entries | {"num_keypoints": int(labelled.sum())}


def mpii(path):
    """Content in COCO's format: MPII's persons with joints, and the images that they are on.

    original: v is 1 of all labelled joints, hidden or not.
    """
    people = [person for person in mpii_file.read_file(path) if not np.isnan(person.joints).all()]
    if not people:
        raise InputError(f"{path}: holds no person with joints; download it again")
    images = {person.image_index + 1: person.image for person in people}
    bones = [[first + 1, second + 1] for first, second in MPII.bone_ends]
    category = {
        "supercategory": "person",
        "id": 1,
        "name": "person",
        "keypoints": list(MPII.joints),
        "skeleton": bones,
    }
    return {
        "categories": [category],
        "images": [{"id": number, "file_name": name} for number, name in images.items()],
        "annotations": [_mpii_person(number, person) for number, person in enumerate(people, 1)],
    }


def _mpii_person(number, person):
    """Annotation of an mpii.Person.

    v is 1 for joints that the file calls hidden, 2 for all other labelled ones.
    """
    labelled = ~np.isnan(person.joints).any(1)  # (16,)
    visibility = np.where(labelled, np.where(person.visible == 0, 1, 2), 0)  # COCO's v
    keypoints = np.column_stack([np.nan_to_num(person.joints), visibility])  # (16, 3)
    # a box that is not flat
    tight = coco.box_around(person.joints[labelled])
    centre = tight[:2] + tight[2:] / 2
    box = geometry.box_around(centre, np.maximum(tight[2:], SMALLEST_BOX_PX))
    return {
        "id": number,
        "image_id": person.image_index + 1,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": keypoints.ravel().tolist(),
        "num_keypoints": int(labelled.sum()),
        "bbox": box.tolist(),
        "area": coco.BOX_FILL * float(box[2] * box[3]),
    }


def write(path, content):
    """Write content in COCO's format, an entry a line.

    Raises InputError for a number that is not finite.
    """
    with files.replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        separator = "{"
        for key, entries in content.items():
            try:
                lines = ",\n".join(json.dumps(entry, allow_nan=False) for entry in entries)
            except ValueError:
                raise InputError(
                    f"{path}: is not written, for an entry of `{key}` has a number "
                    "that is not finite"
                ) from None
            file.write(f'{separator}"{key}": [\n{lines}]')
            separator = ",\n"
        file.write("}\n")


CONVERTERS = {"posetrack": posetrack, "mpii": mpii}


def parse(argv):
    """Options of the command line: see --help."""
    parser = shell.Parser(
        prog="python -m deeppose.to_coco",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("set", choices=CONVERTERS, help="whose annotations they are")
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="folder of PoseTrack's sequences' files, or MPII's file",
    )
    parser.add_argument("out", type=Path, metavar="OUT.json", help="file to be written")
    return parser.parse_args(argv)


@shell.command
def main(argv=None):
    """The command line: see the top of this file."""
    options = parse(argv)
    # a name that cannot be meant
    if options.out.suffix.lower() != ".json" or options.out.is_dir():
        raise InputError(
            f"{options.out}: is no name for the file to be written; let it end in .json"
        )
    if options.out.resolve().parent == options.source.resolve():
        raise InputError(
            f"{options.out}: would lie among the sequences and be read as one; name another folder"
        )
    # convert and write
    content = CONVERTERS[options.set](options.source)
    files.make_folder(options.out.resolve().parent, "name another OUT.json")
    write(options.out, content)
    # read it as COCO_data.py will, which may complain
    written = coco.read(options.out)
    for complaint in written.complaints:
        print(complaint)
    with_joints = int((written.keypoint_counts > 0).sum())
    print(
        f"{options.out}: {len(written.images)} images, {len(written.ids)} persons, "
        f"{with_joints} of them with joints"
    )


if __name__ == "__main__":
    sys.exit(main())
