"""Further looks at a picture: a box around the pose that stage 1 found at first. No truth is used.

A person who is small in a wide photograph gets few of the network's pixels, and a scale that it
hardly met while it was trained. One who was seen well at once is not looked at again.
"""

import numpy as np

from deeppose import geometry

# box side / extent of the predicted pose: the middle of 1.1 to 1.8, as LSP's training rows have
SCALE = 1.45
# times the first box: a pose that is all in one point does not tell the person's size, and a person
# hardly reaches far out of what was seen
SMALLEST = 0.1
LARGEST = 1.5
# intersection over union of two boxes from which on they show the same: with models/lsp and 0.7 one
# held-out image of seven is looked at again as it is, and all but every image in twice its view
SETTLED = 0.7
MOST_LOOKS = 3  # a person of a third of the view is first found too roughly; a fourth adds nothing
KEY = "two_pass"  # of model_1.json: whether predict.py looks again unless it is told otherwise


def boxes_around(poses_px, seen_px, margin=1.0, scale=SCALE):
    """Boxes (N, 4) px to be seen anew, of the proportions of what was seen first.

    poses_px  (N, J, 2), predicted; of one that is not finite what was seen first is seen again
    seen_px   (N, 4), what was seen first
    margin    how many times as wide and high as the person's box that is, see dataset.Dataset
    """
    poses_px = np.asarray(poses_px, float)
    finite = np.isfinite(poses_px).all((1, 2))  # (N,)
    poses_px = np.where(finite[:, None, None], poses_px, 0)
    low = poses_px.min(1)  # (N, 2)
    high = poses_px.max(1)
    sides = scale * margin * (high - low).max(1)  # (N,)
    # a square of this side is grown to the proportions of what was seen
    shorter = seen_px[:, 2:].min(1)
    sides = sides.clip(SMALLEST * shorter, LARGEST * shorter)
    sizes = seen_px[:, 2:] * (sides / shorter)[:, None]  # (N, 2)
    boxes = geometry.box_around((low + high) / 2, sizes)
    return np.where(finite[:, None], boxes, seen_px)


def look_until_settled(look, joints, confidence, boxes_px, margin=1.0):
    """Look again at whoever would be seen in another box than before, until that is the same box.

    look               function of the numbers (n,) of some people and of what is to be seen of them
                       (n, 4) px: their joints (n, J, 2) px and confidence (n, J)
    joints, confidence of all N people, from the first look
    boxes_px           (N, 4), what that saw
    margin             as for boxes_around
    Returns            joints, confidence and boxes of each person's last look
    """
    joints = joints.copy()
    confidence = confidence.copy()
    boxes_px = np.array(boxes_px, float)
    people = np.arange(len(boxes_px))
    for _ in range(MOST_LOOKS - 1):
        seen = boxes_px[people]
        around = boxes_around(joints[people], seen, margin)
        unsettled = geometry.intersection_over_union(around, seen) < SETTLED  # (n,)
        people = people[unsettled]
        if not len(people):
            break
        boxes_px[people] = around[unsettled]
        joints[people], confidence[people] = look(people, around[unsettled])
    return joints, confidence, boxes_px
