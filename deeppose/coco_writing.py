"""Keypoint annotations written in COCO's format. No torch here."""

import json

import numpy as np

from deeppose import files
from deeppose.shell import InputError


def write(path, content):
    """Write content in COCO's format, an entry a line.

    content  key -> list of entries
    Raises InputError for a number that is not finite.
    """
    with files.replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        # by hand, since json.dump would put a large file on one line
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


def content_of(coco_file, image_ids, described):
    """Some images of a CocoFile and their people, as content that `write` takes.

    described  the CocoFile that has the categories and joints, which a file of images alone lacks
    """
    images = []
    for image_id in image_ids:
        file_name, width, height = coco_file.images[image_id]
        images.append({"id": image_id, "file_name": file_name, "width": width, "height": height})
    # indices of the people on those images
    people = np.flatnonzero(np.isin(coco_file.image_ids, image_ids))
    return {
        "images": images,
        "annotations": [_annotation(coco_file, person) for person in people.tolist()],
        "categories": _categories(described),
    }


def _annotation(coco_file, person):
    """A person of a CocoFile as an annotation.

    person  its index in the CocoFile's arrays
    """
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


def _categories(coco_file):
    """The categories of a CocoFile, which all have the same joints and bones."""
    # a bone's ends are numbers of joints, counted from 1
    number_of_joint = {joint: number for number, joint in enumerate(coco_file.joints, start=1)}
    bones = [[number_of_joint[first], number_of_joint[second]] for first, second in coco_file.bones]
    return [
        {
            "id": category_id,
            "name": category_name,
            "keypoints": list(coco_file.joints),
            "skeleton": bones,
        }
        for category_id, category_name in coco_file.categories.items()
    ]
