"""The arrays that one step hands to the next: written, opened, checked against dataset.json.

dataset.json is written last of step 1's files and says what the others hold: skeleton, frame size, counts.
No torch here, so that step 1 runs without it.
"""
import hashlib
import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeppose import files
from deeppose.shell import InputError
from deeppose.skeleton import SKELETONS, Skeleton

STEP_1 = "LSP_data.py (step 1)"
BLOCK, BLOCKS = 65536, 256    # bytes, and how many of them a fingerprint reads
ROW_COLUMNS = 6               # of *_rows.npy: set, image, x0, y0, side, mirrored
LARGEST_NUMBER = 2 ** 53      # of a set or an image: whole numbers are exact in float64 up to here
FARTHEST = 10                 # frame sides: no label lies farther from the frame's centre than this


class Rows:
    """A new .npy file (shape, dtype) that is filled row by row, in any order, through a memory map that it alone holds.

    Windows neither renames nor removes a file that is mapped, so what is read from it are copies, and `close` ends the
    map whoever still holds this object.
    """

    def __init__(self, path, dtype, shape):
        self.path = path
        self._array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        self._header_bytes = self._array.offset

    def __setitem__(self, rows, values):
        self._array[rows] = values

    def __getitem__(self, rows):
        return np.array(self._array[rows])

    def reserve(self):
        """Take all of the file's space on the disk; else a disk that fills up kills the process in mid-row."""
        if hasattr(os, "posix_fallocate"):
            with open(self.path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, self.path.stat().st_size)

    def begin_digest(self):
        """A hash of the file's header, which is to be updated with the rows as they are written."""
        with open(self.path, "rb") as file:
            return hashlib.sha256(file.read(self._header_bytes))

    def flush(self):
        """Have what was written reach the file."""
        self._array.flush()

    def close(self):
        """End the map."""
        self._array = None


@contextmanager
def create(path, dtype, shape):
    """Rows (shape, dtype) that become the .npy file `path` when the block ends without an error."""
    with files.replacing(path) as temporary:
        rows = Rows(temporary, dtype, shape)
        try:
            rows.reserve()
            yield rows
            rows.flush()
        finally:
            rows.close()


def save(path, array):
    """Write an array to the .npy file `path`."""
    with create(path, array.dtype, array.shape) as rows:
        rows[...] = array


def load(path, dtype, shape, made_by):
    """The .npy file `path`, memory-mapped and read-only.

    dtype, shape  what it must hold: a NumPy type, such as np.float32 or np.floating; a None in the shape is any length
    made_by       the step that makes it, named in the error
    Raises InputError where the file is missing, broken or holds something else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is odd in a broken header
            array = np.lib.format.open_memmap(files.present(path, made_by), "r")  # np.load also reads pickles, zips
    except InputError:
        raise
    except Exception:  # NumPy parses the header as Python and raises whatever that leads it to
        raise InputError(f"{path}: is no complete .npy array; run {made_by} again") from None
    fits = len(array.shape) == len(shape) and all(want in (None, have) for have, want in zip(array.shape, shape))
    if not np.issubdtype(array.dtype, dtype) or not fits:
        wanted = f"({', '.join('N' if n is None else str(n) for n in shape)})"
        raise InputError(f"{path}: is {array.dtype} {array.shape}, not {dtype.__name__} {wanted}; "
                         f"run {made_by} again")
    return array


def digest(path):
    """sha256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path):
    """sha256 of a file's size and of 256 blocks of 64 kB spread evenly over it: all of a file up to 16 MB.

    Cheap enough to compare whenever the arrays are opened, which a digest of 3.8 GB is not.
    """
    total, size = hashlib.sha256(), path.stat().st_size
    total.update(str(size).encode())
    with open(path, "rb", buffering=0) as file:
        for start in sorted({max(size - BLOCK, 0) * k // (BLOCKS - 1) for k in range(BLOCKS)}):
            file.seek(start)
            total.update(file.read(BLOCK))
    return total.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """What step 1 wrote.

    {train,test}_images  uint8 (N, frame, frame, 3), RGB, memory-mapped
    {train,test}_labels  float32 (N, J, 2) px of the frame, NaN where there is no label
    held_out             row numbers of the training arrays that are never trained on
    trained_on           the others
    mean_pose            float64 (J, 2) px: mean of the letterboxed LSP training labels
    digests              sha256 of the arrays, by file name
    fingerprints         fingerprint() of the arrays, by file name
    folder               where they are
    seen_in_training     number of test rows whose image is in the training part as well
    """
    skeleton: Skeleton
    frame_px: int
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    held_out: np.ndarray
    trained_on: np.ndarray
    mean_pose: np.ndarray
    digests: dict
    fingerprints: dict
    folder: Path
    seen_in_training: int = 0

    @property
    def frame_box(self):
        """The whole frame as a box (3,) px."""
        return np.array([0.0, 0.0, self.frame_px])

    def identities(self, part):
        """Set, image and person of each row of "train" or "test": int64 (N, 3).

        InputError where {part}_rows.npy is missing or is not the one that dataset.json belongs to.
        """
        path = self.folder / f"{part}_rows.npy"
        rows = load(path, np.float64, (len(getattr(self, f"{part}_labels")), ROW_COLUMNS), STEP_1)
        _check_fingerprint(path, self.fingerprints)
        _check_rows(path, rows)
        return identities(rows)


def identities(rows):
    """Set, image and person of the rows (N, columns) of a *_rows.npy: int64 (N, 3).

    The person is 0 where an image shows one alone, as all of LSP's do.
    """
    person = np.zeros(len(rows))
    return np.column_stack([rows[:, 0], rows[:, 1], person]).astype(np.int64)


def open_dataset(workdir):
    """The Dataset of a working directory; InputError where a file is missing or does not fit dataset.json."""
    path = workdir / "dataset.json"
    facts = files.load_json(path, STEP_1)
    try:
        skeleton, frame_px = SKELETONS[facts["skeleton"]], int(facts["frame_px"])
        counts = {part: int(facts["rows"][part]) for part in ("train", "test")}
        held_out = np.array(facts["held_out_rows"], np.int64)
        mean_pose = np.array(facts["mean_pose_px"], float).reshape(skeleton.joint_count, 2)
        digests, fingerprints = dict(facts["digests"]), dict(facts["fingerprints"])
        seen_in_training = int(facts.get("seen_in_training", 0))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(f"{path}: an entry is missing or wrong; run {STEP_1} again") from None
    if held_out.ndim != 1 or not held_out.size or held_out.min() < 0 or held_out.max() >= counts["train"]:
        raise InputError(f"{path}: the held-out rows are none of train_images.npy's; run {STEP_1} again")
    if np.unique(held_out).size == counts["train"]:
        raise InputError(f"{path}: holds out all of train_images.npy's rows; run {STEP_1} again")
    arrays = {}
    for part, count in counts.items():
        arrays[f"{part}_images"] = load(workdir / f"{part}_images.npy", np.uint8,
                                        (count, frame_px, frame_px, 3), STEP_1)
        labels = load(workdir / f"{part}_labels.npy", np.float32, (count, 2 * skeleton.joint_count), STEP_1)
        arrays[f"{part}_labels"] = np.array(labels).reshape(count, skeleton.joint_count, 2)
        _check_labels(workdir / f"{part}_labels.npy", arrays[f"{part}_labels"], frame_px)
    if not (np.abs(mean_pose - frame_px / 2) <= FARTHEST * frame_px).all():  # so that NaN is refused too
        raise InputError(f"{path}: the mean pose cannot be right; run {STEP_1} again")
    for name in arrays:
        _check_fingerprint(workdir / f"{name}.npy", fingerprints)
    return Dataset(skeleton, frame_px, held_out=held_out, mean_pose=mean_pose, digests=digests,
                   fingerprints=fingerprints, folder=workdir, seen_in_training=seen_in_training,
                   trained_on=np.setdiff1d(np.arange(counts["train"]), held_out), **arrays)


def _check_fingerprint(path, fingerprints):
    """InputError where the file is another than when dataset.json was written."""
    if fingerprint(path) != fingerprints.get(path.name):
        raise InputError(f"{path}: is not the array that dataset.json belongs to; run {STEP_1} again")


def _check_rows(path, rows):
    """InputError where a set's or an image's number in the rows (N, columns) is none."""
    numbers = rows[:, :2]
    wrong = np.flatnonzero(~((numbers >= 0) & (numbers < LARGEST_NUMBER)).all(1))  # NaN is wrong as well
    if wrong.size:
        raise InputError(f"{path}: row {wrong[0]} names no set or no image; run {STEP_1} again")


def _check_labels(path, labels_px, frame_px):
    """InputError where labels (N, J, 2) hold infinity, half a joint, or a joint far from its frame."""
    half = np.isnan(labels_px[..., 0]) != np.isnan(labels_px[..., 1])
    far = np.abs(labels_px - frame_px / 2) > FARTHEST * frame_px  # False for NaN, which is no label
    wrong = np.flatnonzero((half | far.any(-1)).any(-1))
    if wrong.size:
        raise InputError(f"{path}: row {wrong[0]} holds a label that cannot be right; run {STEP_1} again")
