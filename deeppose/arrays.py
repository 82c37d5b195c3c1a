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
    so this object alone holds the map, and `close` ends it whoever still holds this object.
    """

    def __init__(self, path, dtype, shape):
        self.path = path
        self._map = np.lib.format.open_memmap(path, "w+", dtype, shape)
        self._array = self._map.view(np.ndarray)  # a memmap takes 30 µs for each row it gives
        self._header_bytes = self._map.offset

    def __setitem__(self, row_numbers, values):
        self._array[row_numbers] = values

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

    def add_to_digest(self, digest, row_numbers):
        """Update a hash with the rows of a range of numbers, as the file has them."""
        digest.update(self._array[row_numbers.start : row_numbers.stop])

    def flush(self):
        """Write out what the memory map still holds."""
        self._map.flush()

    def close(self):
        """End the map."""
        self._map = self._array = None


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
            running_hash.update(file.read(BLOCK_BYTES))
    return running_hash.hexdigest()


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
