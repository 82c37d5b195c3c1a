"""People of a file in COCO's format, or of a detector's, as rows to be cut from photographs.

No torch here.
"""

import numpy as np

from deeppose import dataset_format, geometry
from deeppose.people import Row

# view / box, once the box has the frame's proportions: the attention authors' value
BOX_SCALE = 1.25
# px of the photograph, so that a box drawn by a slip of the hand still makes a frame
SMALLEST_BOX_PX = 4


def view_box(box_px, frame):
    """Box (4,) px that a test shows of a person in a box (4,) px.

    The box is grown to the frame's proportions; the view is BOX_SCALE of that.

    frame  (w, h) px
    """
    view = geometry.scale_box(geometry.to_aspect(box_px, frame), BOX_SCALE)
    return geometry.scale_box(view, max(1, SMALLEST_BOX_PX / min(view[2:])))


def labelled_people(coco_file, frame):
    """Image id -> the Rows of its people with labelled joints, without crowds.

    Says whose joints do not fit the box.
    """
    rows_of_image = {}
    has_joints = coco_file.keypoint_counts > 0  # (P,)
    for person in np.flatnonzero(has_joints & ~coco_file.crowd):
        keypoints = coco_file.keypoints[person]  # (K, 3): x, y, v
        labelled = keypoints[:, 2:] > 0
        joints = np.where(labelled, keypoints[:, :2], np.nan)
        box = view_box(coco_file.boxes[person], frame)
        annotation_id = int(coco_file.ids[person])
        # False for NaN, which is no label
        if (np.abs(geometry.normalise(joints, box)) > dataset_format.FARTHEST).any():
            print(f"annotation {annotation_id} has a joint far outside of its box (left out)")
            continue
        row = Row(joints, box, annotation_id, area_px=float(coco_file.areas[person]))
        rows_of_image.setdefault(int(coco_file.image_ids[person]), []).append(row)
    return rows_of_image


def detected_people(detections, joint_count, frame):
    """Image id -> the Rows of coco_detections.read_detections' boxes, which have no labels."""
    rows_of_image = {}
    unlabelled = np.full((joint_count, 2), np.nan)
    for image_id, box, score in zip(*detections):
        rows = rows_of_image.setdefault(int(image_id), [])
        person = len(rows) + 1
        rows.append(Row(unlabelled, view_box(box, frame), person, score=float(score)))
    return rows_of_image
