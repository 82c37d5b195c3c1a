"""A rendered set in MPII's layout: images/ of people as deeppose.figure draws them, and the
annotation file."""

import numpy as np
from PIL import Image
from test_mpii import EMPTY, image, mat, point, rect, structs

from deeppose import mpii
from deeppose.figure import render_person
from deeppose.skeletons import LSP, MPII

COUNT = 24
PAIRS = (3, 7, 11, 15)  # images of two people
WITHOUT_PEOPLE = 5  # a training image that nobody labelled
TEST_IMAGE = 9  # of the original's own test images: objpos and scale, no joints
INCOMPLETE = (4, 11)  # their first person has neither wrists nor ankles


def mpii_joints(lsp_joints):
    """MPII's joints (16, 2) of LSP's (14, 2)."""
    named = dict(zip(LSP.joints, lsp_joints))
    named |= {
        "upper_neck": named["neck"],
        "head_top": named["head"],
        "thorax": (named["left_shoulder"] + named["right_shoulder"]) / 2,
        "pelvis": (named["left_hip"] + named["right_hip"]) / 2,
    }
    return np.array([named[name] for name in MPII.joints])


def annotated(joints, complete=True):
    """An annorect of a person (16, 2); the first joints are hidden, head and neck are not said to
    be."""
    points = []
    for joint, (x, y) in enumerate(joints):
        if complete or MPII.joints[joint].split("_")[-1] not in ("wrist", "ankle"):
            points.append(
                point(np.uint8(joint), x, y, EMPTY if joint in (8, 9) else str(int(joint > 2)))
            )
    low = joints.min(0)
    extent = np.ptp(joints, axis=0)
    scale = extent.max() / 190
    centre = low + extent / 2 - [0, 15 * scale]
    head = np.sort(joints[[8, 9]], axis=0) + [[-8, -8], [8, 8]]
    sides = dict(zip(("x1", "y1", "x2", "y2"), np.round(head).ravel()))
    return rect(points, scale=scale, objpos=structs({"x": centre[0], "y": centre[1]}), **sides)


def write_mpii(folder, seed=0):
    """Write the set into a folder; returns the photographs' joints, name -> (P, 16, 2) px of the
    complete people."""
    (folder / "images").mkdir(parents=True)
    listed = []
    joints_of = {}
    for number in range(COUNT):
        rng = np.random.default_rng((seed, number))
        people = [render_person(rng) for _ in range(1 + (number in PAIRS))]
        height = max(picture.shape[0] for picture, _, _ in people)
        canvas = np.zeros((height, sum(picture.shape[1] for picture, _, _ in people), 3), np.uint8)
        left = 0
        joints = []
        for picture, own, _ in people:
            canvas[: picture.shape[0], left : left + picture.shape[1]] = picture
            joints.append(mpii_joints(own + [left, 0]))
            left += picture.shape[1]
        name = f"{1000 + number:09d}.jpg"
        Image.fromarray(canvas).save(folder / "images" / name, quality=90)
        joints_of[name] = np.array(joints)
        rects = structs(
            *(annotated(one, k > 0 or number not in INCOMPLETE) for k, one in enumerate(joints))
        )
        if number == WITHOUT_PEOPLE:
            rects = EMPTY
        if number == TEST_IMAGE:
            rects = structs({"scale": 1.5, "objpos": structs({"x": 30, "y": 40})})
        listed.append(image(name, rects))
    training = [int(number != TEST_IMAGE) for number in range(COUNT)]
    (folder / mpii.FILE_NAME).write_bytes(mat(listed, training, do_compression=True))
    return joints_of
