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
import sys
from pathlib import Path

import numpy as np

from deeppose import coco, coco_writing, files, geometry, mpii, posetrack, shell
from deeppose.coco_entries import BOX_FILL, box_around_joints
from deeppose.shell import InputError
from deeppose.skeletons import MPII

SMALLEST_BOX_PX = 1.0  # along each axis, around one joint or joints in a line
CATEGORY_ID = 1  # of MPII's only category, persons


def convert_mpii(path):
    """Content in COCO's format: MPII's persons with joints, and the images that they are on.

    original: v is 1 of all labelled joints, hidden or not.
    """
    people = [person for person in mpii.read_file(path) if not np.isnan(person.joints).all()]
    if not people:
        raise InputError(f"{path}: holds no person with joints; download it again")
    file_names = {person.image_index + 1: person.file_name for person in people}
    category = {
        "supercategory": "person",
        "id": CATEGORY_ID,
        "name": "person",
        "keypoints": list(MPII.joints),
        "skeleton": [[first + 1, second + 1] for first, second in MPII.bone_ends],
    }
    return {
        "categories": [category],
        "images": [
            {"id": image_id, "file_name": file_name} for image_id, file_name in file_names.items()
        ],
        "annotations": [_annotation(number, person) for number, person in enumerate(people, 1)],
    }


def _annotation(number, person):
    """Annotation of an mpii.Person.

    v is 1 for joints that the file calls hidden, 2 for all other labelled ones.
    """
    labelled = ~np.isnan(person.joints).any(1)  # (16,)
    visibility = np.where(labelled, np.where(person.visible == 0, 1, 2), 0)  # COCO's v
    keypoints = np.column_stack([np.nan_to_num(person.joints), visibility])  # (16, 3)
    # a box that is not flat
    tight_box = box_around_joints(person.joints[labelled])
    centre = tight_box[:2] + tight_box[2:] / 2
    box = geometry.box_around(centre, np.maximum(tight_box[2:], SMALLEST_BOX_PX))
    return {
        "id": number,
        "image_id": person.image_index + 1,
        "category_id": CATEGORY_ID,
        "iscrowd": 0,
        "keypoints": keypoints.ravel().tolist(),
        "num_keypoints": int(labelled.sum()),
        "bbox": box.tolist(),
        "area": BOX_FILL * float(box[2] * box[3]),
    }


CONVERTERS = {"posetrack": posetrack.merge, "mpii": convert_mpii}


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
    coco_writing.write(options.out, content)
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
