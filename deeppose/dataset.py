"""The data set of a working directory, as step 1 wrote it: opened, checked, and read by column.

No torch here.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeppose import arrays, dataset_format, geometry
from deeppose.arrays import STEP_1
from deeppose.dataset_format import BOX, IDENTITY
from deeppose.shell import InputError
from deeppose.skeleton import Skeleton


def open_dataset(workdir):
    """The Dataset of a working directory.

    Raises InputError where a file is missing or does not fit dataset.json.
    """
    # dataset.json, which says what the arrays hold
    json_object, entries = dataset_format.load_description(workdir / "dataset.json")
    row_counts = json_object["rows"]
    # the arrays of both parts
    part_arrays = {}
    for part in ("train", "test"):
        part_arrays |= _open_part(workdir, part, row_counts[part], entries)
    # whether they are still those that step 1 wrote
    for array_name in part_arrays:
        path = workdir / f"{array_name}.npy"
        if arrays.fingerprint(path) != json_object["fingerprints"].get(path.name):
            raise InputError(
                f"{path}: is not the array that dataset.json belongs to; run {STEP_1} again"
            )
    trained_on = np.setdiff1d(np.arange(row_counts["train"]), entries["held_out"])
    return Dataset(
        **entries, **part_arrays, trained_on=trained_on, facts=json_object, folder=workdir
    )


def _open_part(workdir, part, row_count, entries):
    """The arrays of "train" or "test", checked, by the names that a Dataset has for them.

    entries  of dataset.json, as a Dataset has them
    """
    joint_count = entries["skeleton"].joint_count
    width, height = entries["frame"]
    columns = entries["columns"]
    images_path = workdir / f"{part}_images.npy"
    labels_path = workdir / f"{part}_labels.npy"
    rows_path = workdir / f"{part}_rows.npy"
    # images stay mapped, being gigabytes; the others are copied into memory
    images = arrays.load(images_path, np.uint8, (row_count, height, width, 3), STEP_1)
    labels = np.array(arrays.load(labels_path, np.float32, (row_count, 2 * joint_count), STEP_1))
    labels = labels.reshape(row_count, joint_count, 2)  # (N, J, 2) px
    rows = np.array(arrays.load(rows_path, np.float64, (row_count, len(columns)), STEP_1))
    dataset_format.check_rows(rows_path, rows, columns)
    dataset_format.check_labels(labels_path, labels, entries["frame"])
    return {f"{part}_images": images, f"{part}_labels": labels, f"{part}_rows": rows}


@dataclass(frozen=True)
class Dataset:
    """The data set as step 1 wrote it.

    skeleton             the data set's Skeleton
    frame                (w, h) px of the stored frames
    margin               frame sides / box sides: a test shows the box, the rest of a frame lies
                         around it
    {train,test}_images  uint8 (N, h, w, 3), RGB, memory-mapped
    {train,test}_labels  float32 (N, J, 2) px of the frame, NaN where there is no label
    {train,test}_rows    float64 (N, columns), see `column`
    held_out             row numbers of the training arrays that are never trained on
    trained_on           the others
    mean_pose            float64 (J, 2) px of the frame: mean of the training poses as a test shows
                         them
    columns              names of the rows' columns, in order
    facts                dataset.json as it is
    folder               the working directory
    """

    skeleton: Skeleton
    frame: tuple
    margin: float
    train_images: np.ndarray
    train_labels: np.ndarray
    train_rows: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    test_rows: np.ndarray
    held_out: np.ndarray
    trained_on: np.ndarray
    mean_pose: np.ndarray
    columns: tuple
    facts: dict
    folder: Path

    # what dataset.json tells beside the fields

    @property
    def digests(self):
        """sha256 of the arrays, by file name."""
        return self.facts["digests"]

    @property
    def depth_white(self):
        """The 16-bit value that depth images show as white; None for photographs."""
        return self.facts.get("depth_white")

    @property
    def seen_in_training(self):
        """Number of test rows whose image is in the training part as well."""
        return int(self.facts.get("seen_in_training", 0))

    @property
    def detected(self):
        """Whether the test rows are detections, which have no labels."""
        return bool(self.facts.get("detections"))

    @property
    def not_refined(self):
        """Names of the joints whose refiner cannot be trained, or cannot be judged.

        No row that is trained on, or no row that is held out, has a label for them.
        """
        return tuple(self.facts.get("not_refined", ()))

    # the columns of the rows

    def column(self, part, column_name):
        """A column (N,) of the "train" or "test" rows, such as "image"."""
        rows = self.train_rows if part == "train" else self.test_rows
        return rows[:, self.columns.index(column_name)]

    def identities(self, part):
        """Set, image and person of each row of "train" or "test": int64 (N, 3)."""
        identity_columns = [self.column(part, column_name) for column_name in IDENTITY]
        return np.stack(identity_columns, 1).astype(np.int64)

    def boxes(self, part):
        """The rows' boxes (N, 4) px of their photographs."""
        return np.stack([self.column(part, column_name) for column_name in BOX], 1)

    def photographs(self, part):
        """Names of the photographs of the rows of "train" or "test", a list."""
        rows = self.train_rows if part == "train" else self.test_rows
        return arrays.load_names(self.folder / f"{part}_photographs.txt", len(rows))

    # lengths, and joints from one frame of reference to another

    @property
    def view_box(self):
        """The part of a frame that a test shows, as a box (4,) px of the frame."""
        return geometry.view_box(self.frame, self.margin)

    def scale(self, part):
        """Pixels of the frame / pixels of the photograph, (N,)."""
        return self.frame[0] / (self.column(part, "w") * self.margin)

    def sizes(self, part, rows=slice(None)):
        """Head and box sizes (n,) px of the frame, and areas (n,) px^2, for the units of scores.

        rows  numbers (n,) of the rows (default: all)
        """
        scale = self.scale(part)[rows]
        return {
            "head": self.column(part, "head_px")[rows] * scale,
            "box": np.full(len(scale), max(self.view_box[2:])),
            "area": self.column(part, "area_px")[rows] * scale**2,
        }

    def normalised(self, joints_px):
        """Joints (..., J, 2) px of the frame -> in view boxes, from the view box's centre."""
        return geometry.normalise(joints_px, self.view_box)

    def to_photographs(self, joints_px, part):
        """Joints (N, J, 2) px of the frames -> px of the rows' photographs.

        Those of mirrored rows are mirrored back.
        """
        regions = geometry.scale_box(self.boxes(part), self.margin)  # (N, 4) px
        is_mirrored = self.column(part, "mirrored").astype(bool)[:, None, None]  # (N, 1, 1)
        mirrored_back = geometry.mirror(joints_px, self.frame[0], self.skeleton.flip)
        upright = np.where(is_mirrored, mirrored_back, joints_px)  # (N, J, 2) px of the frame
        return geometry.frame_to_image(upright, regions, self.frame)
