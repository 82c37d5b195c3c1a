"""The files that one step hands to the next row by row: .npy arrays, and lists of names.

No torch here, so that step 1 runs without it.
"""

import hashlib
import os
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from deeppose import files
from deeppose.shell import InputError

PROJECT = Path(__file__).resolve().parent.parent
STEP_1 = "the data set's script, such as LSP_data.py (step 1)"
BLOCK_BYTES = 65536
BLOCK_COUNT = 256  # blocks that a fingerprint reads


@contextmanager
def create(path, dtype, shape):
    """Rows (shape, dtype) that become the .npy file `path` when the block ends without an error."""
    with files.replacing(path) as temporary_path:
        array_rows = Rows(temporary_path, dtype, shape)
        try:
            array_rows.reserve()
            yield array_rows
            array_rows.flush()
        finally:
            array_rows.close()


def save(path, array):
    """Write an array to the .npy file `path`."""
    with create(path, array.dtype, array.shape) as array_rows:
        array_rows[...] = array


def load(path, dtype, shape, made_by):
    """The .npy file `path`, memory-mapped and read-only.

    dtype, shape  expected of the array: a NumPy type, such as np.float32 or np.floating; a None in
                  the shape is any length
    made_by       the step that makes the file, named in the error
    Raises InputError where the file is missing, broken or holds something else.
    """
    # map the file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a broken header ends in one error
            # not np.load, which also reads pickles and zips
            array = np.lib.format.open_memmap(files.present(path, made_by), "r")
    except InputError:
        raise
    except Exception:  # NumPy parses the header as Python and raises whatever that leads it to
        raise InputError(f"{path}: is no complete .npy array; run {made_by} again") from None
    # compare it with what is expected
    shape_fits = len(array.shape) == len(shape) and all(
        expected in (None, length) for length, expected in zip(array.shape, shape)
    )
    if not shape_fits or not np.issubdtype(array.dtype, dtype):
        expected_shape = ", ".join("N" if length is None else str(length) for length in shape)
        raise InputError(
            f"{path}: is {array.dtype} {array.shape}, not {dtype.__name__} ({expected_shape}); "
            f"run {made_by} again"
        )
    return array


class Rows:
    """A new .npy file (shape, dtype), filled row by row in any order.

    It is written through a memory map. Windows neither renames nor removes a file that is mapped,
    so this object alone holds the map: what is read from it are copies, and `close` ends the map
    whoever still holds this object.
    """

    def __init__(self, path, dtype, shape):
        self.path = path
        self._mapped_array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        self._header_bytes = self._mapped_array.offset

    def __setitem__(self, row_numbers, values):
        self._mapped_array[row_numbers] = values

    def __getitem__(self, row_numbers):
        return np.array(self._mapped_array[row_numbers])

    def reserve(self):
        """Take all of the file's space on the disk.

        Otherwise a disk that fills up kills the process in the middle of a row.
        """
        if hasattr(os, "posix_fallocate"):
            with open(self.path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, self.path.stat().st_size)

    def begin_digest(self):
        """A hash of the file's header, to be updated with the rows as they are written."""
        with open(self.path, "rb") as file:
            return hashlib.sha256(file.read(self._header_bytes))

    def flush(self):
        """Write out what the memory map still holds."""
        self._mapped_array.flush()

    def close(self):
        """End the map."""
        self._mapped_array = None


def digest(path):
    """sha256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path):
    """sha256 of a file's size and of 256 blocks of 64 kB spread evenly over it.

    That covers all of a file up to 16 MB. It is cheap enough to compare whenever the arrays are
    opened, which a digest of 3.8 GB is not.
    """
    running_hash = hashlib.sha256()
    file_bytes = path.stat().st_size
    running_hash.update(str(file_bytes).encode())
    last_start = max(file_bytes - BLOCK_BYTES, 0)
    # a set, since in a small file several blocks start at the same byte
    block_starts = {last_start * block // (BLOCK_COUNT - 1) for block in range(BLOCK_COUNT)}
    with open(path, "rb", buffering=0) as file:
        for start in sorted(block_starts):
            file.seek(start)
            combined.update(file.read(BLOCK))
    return combined.hexdigest()


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
    columns              of the rows, by name
    facts                dataset.json as it is
    folder               where they are
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

    @property
    def digests(self):
        """sha256 of the arrays, by file name."""
        return self.facts["digests"]

    @property
    def depth_white(self):
        """Of images that are depth, the 16-bit value that is shown white; None for photographs."""
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
        """Names of the joints whose refiner could not be trained, or not be judged.

        No row that is trained on, or no row that is held out, has a label for them.
        """
        return tuple(self.facts.get("not_refined", ()))

    def identities(self, part):
        """Set, image and person of each row of "train" or "test": int64 (N, 3)."""
        columns = [self.column(part, name) for name in IDENTITY]
        return np.stack(columns, 1).astype(np.int64)

    @property
    def view_box(self):
        """The part of a frame that a test shows, as a box (4,) px of the frame."""
        return geometry.scale_box(geometry.image_box(self.frame), 1 / self.margin)

    def column(self, part, name):
        """A column (N,) of the "train" or "test" rows, such as "image"."""
        rows = self.train_rows if part == "train" else self.test_rows
        return rows[:, self.columns.index(name)]

    def boxes(self, part):
        """The rows' boxes (N, 4) px of their photographs."""
        return np.stack([self.column(part, name) for name in BOX], 1)

    def scale(self, part):
        """Pixels of the frame / pixels of the photograph, (N,)."""
        return self.frame[0] / (self.column(part, "w") * self.margin)

    def sizes(self, part):
        """Head and box sizes (N,) px of the frame, and areas (N,) px^2, for the units of scores."""
        scale = self.scale(part)
        return {
            "head": self.column(part, "head_px") * scale,
            "box": np.full(len(scale), max(self.view_box[2:])),
            "area": self.column(part, "area_px") * scale**2,
        }

    def held_out_sizes(self):
        """`sizes` of the held-out rows."""
        return {name: values[self.held_out] for name, values in self.sizes("train").items()}

    def normalised(self, joints_px):
        """Joints (..., J, 2) px of the frame -> in view boxes, from the view box's centre."""
        return geometry.normalise(joints_px, self.view_box)

    def to_photographs(self, joints_px, part):
        """Joints (N, J, 2) px of the frames -> px of the rows' photographs.

        Those of mirrored rows are mirrored back.
        """
        regions = geometry.scale_box(self.boxes(part), self.margin)  # (N, 4) px
        mirrored = self.column(part, "mirrored").astype(bool)[:, None, None]
        mirrored_back = geometry.mirror(joints_px, self.frame[0], self.skeleton.flip)
        upright = np.where(mirrored, mirrored_back, joints_px)
        return geometry.frame_to_image(upright, regions, self.frame)

    def photographs(self, workdir, part):
        """The names of the rows' photographs, a list."""
        return load_names(workdir / f"{part}_photographs.txt", len(getattr(self, f"{part}_rows")))


def identities(rows):
    """Set, image and person of rows (N, columns) as step 1 writes them: int64 (N, 3)."""
    return rows[:, [COLUMNS.index(name) for name in IDENTITY]].astype(np.int64)


def open_dataset(workdir):
    """The Dataset of a working directory.

    Raises InputError where a file is missing or does not fit dataset.json.
    """
    # dataset.json, which says what the arrays hold
    path = workdir / "dataset.json"
    facts = files.load_json(path, STEP_1)
    if facts.get("format") != FORMAT:
        raise InputError(f"{path}: is of another version of this project; run {STEP_1} again")
    try:
        entries = _read_facts(facts)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise InputError(f"{path}: an entry is missing or wrong; run {STEP_1} again") from None
    _check_facts(path, entries, facts)
    # the arrays of both parts
    arrays = {}
    for part in ("train", "test"):
        arrays |= _open_part(workdir, part, facts["rows"][part], entries)
    # whether they are still those that step 1 wrote
    for name in arrays:
        if fingerprint(workdir / f"{name}.npy") != facts["fingerprints"].get(f"{name}.npy"):
            raise InputError(
                f"{workdir / name}.npy: is not the array that dataset.json belongs to; run {STEP_1} again"
            )
    trained_on = np.setdiff1d(np.arange(facts["rows"]["train"]), entries["held_out"])
    return Dataset(**entries, trained_on=trained_on, facts=facts, folder=workdir, **arrays)


def _open_part(workdir, part, count, entries):
    """The arrays of "train" or "test", `count` rows each, by the names that a Dataset has for them.

    entries  as _read_facts gives them
    """
    joint_count = entries["skeleton"].joint_count
    width, height = entries["frame"]
    columns = entries["columns"]
    labels_path = workdir / f"{part}_labels.npy"
    rows_path = workdir / f"{part}_rows.npy"
    # images stay mapped, being gigabytes; the others are copied into memory
    images = load(workdir / f"{part}_images.npy", np.uint8, (count, height, width, 3), STEP_1)
    labels = np.array(load(labels_path, np.float32, (count, 2 * joint_count), STEP_1))
    labels = labels.reshape(count, joint_count, 2)
    rows = np.array(load(rows_path, np.float64, (count, len(columns)), STEP_1))
    _check_rows(rows_path, rows, columns)
    check_labels(labels_path, labels, entries["frame"])
    return {f"{part}_images": images, f"{part}_labels": labels, f"{part}_rows": rows}


def _read_facts(facts):
    """Entries of dataset.json as a Dataset has them.

    Any error but InputError where one is missing or wrong.
    """
    # convert, or check, one entry after the other
    described = skeleton.from_description(facts["skeleton"])
    width, height = (int(side) for side in facts["frame"])
    for part in ("train", "test"):
        count = facts["rows"][part]
        if type(count) is not int or count <= 0:
            raise ValueError("rows")
    int(facts.get("seen_in_training", 0))
    check_white(facts.get("depth_white"))
    if not set(facts.get("not_refined", ())) <= set(described.joints):
        raise ValueError("not refined")
    objects = (facts["digests"], facts["fingerprints"], facts.get("sets", {}))
    if not all(isinstance(entry, dict) for entry in objects):
        raise TypeError("no object")
    return {
        "skeleton": described,
        "frame": (width, height),
        "margin": float(facts["margin"]),
        "held_out": np.array(facts["held_out_rows"], np.int64),
        "mean_pose": np.array(facts["mean_pose_px"], float).reshape(described.joint_count, 2),
        "columns": tuple(str(name) for name in facts["columns"]),
    }


def check_white(value):
    """ValueError where a depth_white is neither None nor a value of 16 bits."""
    if value is not None and not (type(value) is int and 1 <= value <= 65535):
        raise ValueError("depth_white")


def _check_facts(path, entries, facts):
    """InputError where entries of dataset.json, from _read_facts, contradict each other."""
    # the held-out rows are some of the training rows, but not all
    held_out = entries["held_out"]
    count = facts["rows"]["train"]
    is_list = held_out.ndim == 1 and held_out.size > 0
    if not is_list or held_out.min() < 0 or held_out.max() >= count:
        raise InputError(
            f"{path}: the held-out rows are none of train_images.npy's; run {STEP_1} again"
        )
    if np.unique(held_out).size == count:
        raise InputError(f"{path}: holds out all of train_images.npy's rows; run {STEP_1} again")
    # the mean pose lies in the frame, or about it
    frame = entries["frame"]
    from_centre = np.abs(entries["mean_pose"] - np.array(frame) / 2)  # (J, 2) px
    if not (from_centre <= FARTHEST * max(frame)).all():  # so that NaN is refused too
        raise InputError(f"{path}: the mean pose cannot be right; run {STEP_1} again")
    # and every row can be read
    margin_fits = 1 <= entries["margin"] < 10
    if min(frame) < 1 or not margin_fits or not set(COLUMNS) <= set(entries["columns"]):
        raise InputError(f"{path}: an entry is missing or wrong; run {STEP_1} again")


def _check_rows(path, rows, columns):
    """InputError where a row (N, columns) names no set, image or person, or has an empty box."""
    numbers = rows[:, [columns.index(name) for name in IDENTITY]]
    valid = ((numbers >= 0) & (numbers < LARGEST_NUMBER)).all(1)  # NaN is wrong as well
    boxes = rows[:, [columns.index(name) for name in BOX]]
    valid &= np.isfinite(boxes).all(1) & (boxes[:, 2:] > 0).all(1)
    wrong_rows = np.flatnonzero(~valid)
    if wrong_rows.size:
        raise InputError(
            f"{path}: row {wrong_rows[0]} names no set, image, person or box; run {STEP_1} again"
        )


def check_labels(path, labels_px, frame):
    """InputError for labels (N, J, 2) px that are infinite, half a joint, or far from the frame."""
    half = np.isnan(labels_px[..., 0]) != np.isnan(labels_px[..., 1])  # (N, J)
    centre = np.array(frame) / 2
    far = np.abs(labels_px - centre) > FARTHEST * max(frame)  # False for NaN, which is no label
    wrong_rows = np.flatnonzero((half | far.any(-1)).any(-1))
    if wrong_rows.size:
        raise InputError(
            f"{path}: row {wrong_rows[0]} holds a label that cannot be right; run {STEP_1} again"
        )


def save_names(path, names):
    """Write names, one per line."""
    lines = "".join(f"{name}\n" for name in names)
    with files.replacing(path) as temporary_path:
        # a photograph's name may be in no encoding at all
        temporary_path.write_text(lines, encoding="utf-8", errors="surrogateescape")


def load_names(path, row_count):
    """The names that save_names wrote, one for each row; InputError where there are not as many."""
    try:
        text = files.present(path, STEP_1).read_text(encoding="utf-8", errors="surrogateescape")
        # not splitlines, since other line ends may be part of a name
        names = text.split("\n")[:-1]
    except OSError:
        names = []
    if len(names) != row_count:
        raise InputError(
            f"{path}: does not name a photograph for each of {row_count} rows; run {STEP_1} again"
        )
    return names
