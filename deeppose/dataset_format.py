"""The format of step 1's files: the columns of the rows, and checks of dataset.json and the arrays.

No torch here, so that step 1 runs without it.
"""

import numpy as np

from deeppose import files, skeleton
from deeppose.arrays import STEP_1
from deeppose.shell import InputError

FORMAT = 2  # of dataset.json
IDENTITY = ("set", "image", "person")  # the columns that tell whom a row shows
BOX = ("x0", "y0", "w", "h")  # px of the photograph
COLUMNS = (*IDENTITY, *BOX, "mirrored", "head_px", "area_px", "score")
LARGEST_NUMBER = 2**53  # of a set or an image: whole numbers are exact in float64 up to here
FARTHEST = 10  # frame sides: no label lies farther from the frame's centre than this


def identities(rows):
    """Set, image and person of rows (N, columns) as step 1 writes them: int64 (N, 3)."""
    return rows[:, [COLUMNS.index(column_name) for column_name in IDENTITY]].astype(np.int64)


def load_description(path):
    """dataset.json as it is, a dictionary, and its entries as a Dataset has them, another one.

    Raises InputError where the file is missing, an entry is missing or wrong, or two entries
    contradict each other.
    """
    json_object = files.load_json(path, STEP_1)
    if json_object.get("format") != FORMAT:
        raise InputError(f"{path}: is of another version of this project; run {STEP_1} again")
    try:
        entries = _convert_entries(json_object)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise InputError(f"{path}: an entry is missing or wrong; run {STEP_1} again") from None
    _check_entries(path, entries, json_object["rows"]["train"])
    return json_object, entries


def _convert_entries(json_object):
    """The entries of dataset.json as a Dataset has them.

    Raises some error, but no InputError, where one is missing or wrong.
    """
    described_skeleton = skeleton.from_description(json_object["skeleton"])
    width, height = (int(side) for side in json_object["frame"])
    # entries that are used as they are
    for part in ("train", "test"):
        row_count = json_object["rows"][part]
        if type(row_count) is not int or row_count <= 0:
            raise ValueError("rows")
    int(json_object.get("seen_in_training", 0))
    check_depth_white(json_object.get("depth_white"))
    if not set(json_object.get("not_refined", ())) <= set(described_skeleton.joints):
        raise ValueError("not refined")
    mappings = (
        json_object["digests"],
        json_object["fingerprints"],
        json_object.get("sets", {}),
    )
    if not all(isinstance(mapping, dict) for mapping in mappings):
        raise TypeError("no object")
    # entries that become arrays, tuples and numbers
    mean_pose = np.array(json_object["mean_pose_px"], float)
    return {
        "skeleton": described_skeleton,
        "frame": (width, height),
        "margin": float(json_object["margin"]),
        "held_out": np.array(json_object["held_out_rows"], np.int64),
        "mean_pose": mean_pose.reshape(described_skeleton.joint_count, 2),  # (J, 2) px
        "columns": tuple(str(column_name) for column_name in json_object["columns"]),
    }


def check_depth_white(depth_white):
    """Raise ValueError unless depth_white is None or a value of 16 bits."""
    if depth_white is not None and not (type(depth_white) is int and 1 <= depth_white <= 65535):
        raise ValueError("depth_white")


def _check_entries(path, entries, train_count):
    """Raise InputError where entries of dataset.json contradict each other.

    entries      as _convert_entries gives them
    train_count  number of training rows
    """
    # the held-out rows are some of the training rows, but not all
    held_out = entries["held_out"]
    is_list = held_out.ndim == 1 and held_out.size > 0
    if not is_list or held_out.min() < 0 or held_out.max() >= train_count:
        raise InputError(
            f"{path}: the held-out rows are none of train_images.npy's; run {STEP_1} again"
        )
    if np.unique(held_out).size == train_count:
        raise InputError(f"{path}: holds out all of train_images.npy's rows; run {STEP_1} again")
    # the mean pose lies in the frame, or about it
    frame = entries["frame"]
    from_centre = np.abs(entries["mean_pose"] - np.array(frame) / 2)  # (J, 2) px
    if not (from_centre <= FARTHEST * max(frame)).all():  # so that NaN is refused too
        raise InputError(f"{path}: the mean pose cannot be right; run {STEP_1} again")
    # and every row can be read
    margin_fits = 1 <= entries["margin"] < 10
    has_columns = set(COLUMNS) <= set(entries["columns"])
    if min(frame) < 1 or not margin_fits or not has_columns:
        raise InputError(f"{path}: an entry is missing or wrong; run {STEP_1} again")


def check_rows(path, rows, columns):
    """Raise InputError where a row (N, columns) names no set, image or person, or no box.

    columns  names of the rows' columns
    """
    identity_numbers = rows[:, [columns.index(column_name) for column_name in IDENTITY]]
    is_number = (identity_numbers >= 0) & (identity_numbers < LARGEST_NUMBER)  # False for NaN
    boxes = rows[:, [columns.index(column_name) for column_name in BOX]]  # (N, 4) px
    has_box = np.isfinite(boxes).all(1) & (boxes[:, 2:] > 0).all(1)
    wrong_rows = np.flatnonzero(~(is_number.all(1) & has_box))
    if wrong_rows.size:
        raise InputError(
            f"{path}: row {wrong_rows[0]} names no set, image, person or box; run {STEP_1} again"
        )


def check_labels(path, labels_px, frame):
    """Raise InputError for labels (N, J, 2) px that are infinite, half a joint, or far off.

    frame  (w, h) px of the frames that they belong to
    """
    # a joint with one coordinate only
    is_half = np.isnan(labels_px[..., 0]) != np.isnan(labels_px[..., 1])  # (N, J)
    # a joint far from the frame; comparing NaN, which is no label, gives False
    from_centre = np.abs(labels_px - np.array(frame) / 2)  # (N, J, 2) px
    is_far = (from_centre > FARTHEST * max(frame)).any(-1)  # (N, J)
    wrong_rows = np.flatnonzero((is_half | is_far).any(-1))
    if wrong_rows.size:
        raise InputError(
            f"{path}: row {wrong_rows[0]} holds a label that cannot be right; run {STEP_1} again"
        )
