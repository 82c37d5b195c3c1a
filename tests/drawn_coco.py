"""A made-up set in COCO's format: drawn pictures of people whose joints are discs, a colour
each."""

import json

import numpy as np
from PIL import Image, ImageDraw

from deeppose.coco_skeletons import COCO

SIZE = (200, 160)  # (w, h) px of a picture
# the joint of that number is hidden in some people, and not labelled in others
HIDDEN = 3
BODY = np.array(
    [
        [0, -0.45],
        [0.03, -0.48],
        [-0.03, -0.48],
        [0.06, -0.46],
        [-0.06, -0.46],
        [0.13, -0.3],
        [-0.13, -0.3],
        [0.2, -0.1],
        [-0.2, -0.1],
        [0.22, 0.06],
        [-0.22, 0.06],
        [0.08, 0.02],
        [-0.08, 0.02],
        [0.1, 0.25],
        [-0.1, 0.25],
        [0.1, 0.48],
        [-0.1, 0.48],
    ]
)  # COCO's joints in a person's heights
COLOURS = np.array(
    [(80 + 170 * (j % 2), 60 + 95 * (j // 2 % 3), 40 + 100 * (j // 6)) for j in range(17)]
)


def person(number, image, rng, centre, height, joint_count=17):
    """An annotation, with an outline and decimals as COCO's have them."""
    joints = centre + height * (BODY[:joint_count] + rng.normal(0, 0.01, (joint_count, 2)))
    seen = np.where(np.arange(joint_count) == HIDDEN, number % 3, 2)
    keypoints = np.column_stack([joints.round(2), seen]) * (seen[:, None] > 0)
    low, high = joints.min(0), joints.max(0)
    box = [*(low - 3), *(high - low + 6)]
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": keypoints.ravel().tolist(),
        "num_keypoints": int((seen > 0).sum()),
        "bbox": np.round(box, 2).tolist(),
        "area": float(0.5 * box[2] * box[3]),
        "segmentation": [[1.5, 2, 3, 4, 5, 6]],
    }


def draw(path, people):
    """Write the picture of an image's people."""
    image = Image.new("RGB", SIZE, (10, 20, 30))
    for entry in people:
        for colour, (x, y, seen) in zip(COLOURS, np.reshape(entry["keypoints"], (-1, 3))):
            if seen:
                ImageDraw.Draw(image).ellipse(
                    (x - 2.5, y - 2.5, x + 1.5, y + 1.5), fill=tuple(map(int, colour))
                )
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "PNG")


def content(folder, numbers, names=COCO.joints, first=1):
    """Draw two people in each image of these numbers into the folder; returns the file's content.

    Of every third image one person is a crowd; the last image has one person more, without any
    labelled joint.
    """
    images = []
    annotations = []
    for number in numbers:
        rng = np.random.default_rng(number)
        own = [
            person(
                first + len(annotations) + k, number, rng, centre, rng.uniform(80, 100), len(names)
            )
            for k, centre in enumerate(((60, 80), (140, 85)))
        ]
        images.append(
            {"id": number, "file_name": f"{number:012}.png", "width": SIZE[0], "height": SIZE[1]}
        )
        draw(folder / images[-1]["file_name"], own)
        if number % 3 == 0:
            own[1] |= {"iscrowd": 1, "segmentation": {"counts": [5, 7], "size": [160, 200]}}
        annotations += own
    annotations.append(
        annotations[-2]
        | {
            "id": first + len(annotations),
            "num_keypoints": 0,
            "iscrowd": 0,
            "keypoints": [0] * 3 * len(names),
        }
    )
    category = {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(names),
        "skeleton": [[1, 2]],
    }
    return {
        "info": {},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [category],
    }


def write(path, value):
    """Write JSON; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def write_set(folder, train=range(1, 13), test=range(101, 106)):
    """A set in COCO's own layout: annotations/, images/train2017/ and images/val2017/; returns both
    contents."""
    contents = {}
    for part, numbers, first in (("train", train, 1), ("val", test, 1001)):
        contents[part] = content(folder / "images" / f"{part}2017", numbers, first=first)
        write(folder / "annotations" / f"person_keypoints_{part}2017.json", contents[part])
    return contents
