"""Further looks at a picture: a box around the pose that stage 1 found at first. No truth is used.

A person who is small in a wide photograph gets few of the network's pixels, and a scale that it
hardly met while it was trained. One who was seen closely at once is not looked at again.
"""

import numpy as np

from deeppose import geometry

# box side / extent of the predicted pose: closer than the 1.3 of most of LSP's rows, since a limb
# then has more pixels; still closer, held-out PDJ@0.2 falls, while strict PCP goes on rising a little
SCALE = 1.2
# times the box of the look before: a pose that is all in one point does not tell the person's size, and a person
# hardly reaches far out of what was seen
SMALLEST = 0.1
LARGEST = 1.5
# intersection over union of two boxes from which on they show the same: with models/lsp two
# held-out images of five are looked at again as they are, and all in twice their view
SETTLED = 0.8
MOST_LOOKS = 3  # a person of a third of the view is first found too roughly; a fourth adds nothing
KEY = "two_pass"  # in model_1.json: whether predict.py looks again unless it is told otherwise


def boxes_around(poses_px, seen_px, margin=1.0, scale=SCALE):
    """Boxes (N, 4) px to be seen next, of the proportions of what was seen before.

    poses_px  (N, J, 2), predicted; where one is not finite its box is the one seen before
    seen_px   (N, 4), the boxes seen before
    margin    how many times as wide and high as the person's box that is, see Dataset
    """
    poses_px = np.asarray(poses_px, float)
    finite = np.isfinite(poses_px).all((1, 2))  # (N,)
    poses_px = np.where(finite[:, None, None], poses_px, 0)
    # a square about the tight box of each pose
    top_left = poses_px.min(1)  # (N, 2)
    bottom_right = poses_px.max(1)
    sides = scale * margin * (bottom_right - top_left).max(1)  # (N,)
    # of a sensible size, and grown to the proportions of what was seen
    seen_sides = seen_px[:, 2:].min(1)  # (N,), the shorter ones
    sides = sides.clip(SMALLEST * seen_sides, LARGEST * seen_sides)
    sizes = seen_px[:, 2:] * (sides / seen_sides)[:, None]  # (N, 2)
    boxes = geometry.box_around((top_left + bottom_right) / 2, sizes)
    return np.where(finite[:, None], boxes, seen_px)


def look_until_settled(look, joints, confidence, boxes_px, margin=1.0):
    """Look again at whoever would be seen in another box than before, until that is the same box.

    look                function of the numbers (n,) of some people and of the boxes (n, 4) px to be
                        seen of them: their joints (n, J, 2) px and confidence (n, J)
    joints, confidence  (N, J, 2) px and (N, J), of all people, from the first look
    boxes_px            (N, 4), what that saw
    margin              as for boxes_around
    Returns             joints, confidence and boxes of each person's last look
    """
    joints = joints.copy()
    confidence = confidence.copy()
    boxes_px = np.array(boxes_px, float)
    people = np.arange(len(boxes_px))  # those who may have to be looked at again
    for _ in range(MOST_LOOKS - 1):
        seen = boxes_px[people]
        around = boxes_around(joints[people], seen, margin)
        is_unsettled = geometry.intersection_over_union(around, seen) < SETTLED  # (n,)
        people = people[is_unsettled]
        if not len(people):
            break
        # look at them in their new boxes
        boxes_px[people] = around[is_unsettled]
        joints[people], confidence[people] = look(people, around[is_unsettled])
    return joints, confidence, boxes_px
