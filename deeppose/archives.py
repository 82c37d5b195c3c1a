"""Archives and folders as they are downloaded: their files by name, nothing unpacked to disk.

No torch here.

A zip file's names lead nowhere, and what claims to be enormous is refused before it takes the
memory. Everything that is wrong is an InputError that names the file.
"""

import copy
import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from functools import partial
from pathlib import PurePosixPath

from deeppose.shell import InputError

LARGEST_FILE = 100_000_000  # bytes, of an image or of labels: LSPe's are 0.2 and 3.4 million
CHUNK = 1 << 20  # bytes inflated at a time
# kinds of zip entries that are read; zipfile inflates the others without any bound
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    struct.error,
)
BROKEN_TAR = (tarfile.TarError, *BROKEN_ZIP)


def list_folder(folder):
    """The files of a folder as open_zip gives those of a zip: name -> a function that opens it."""
    try:
        return {path.name: partial(open, path, "rb") for path in sorted(folder.iterdir())}
    except PermissionError:
        raise InputError(f"{folder}: may not be read by you; change its permissions") from None


def open_zip(path):
    """A zip file's entries, without unpacking it: name -> a function that opens it.

    Raises InputError where it is broken, or has a name that would lead out of the folder it is
    unpacked in.
    """
    try:
        archive = zipfile.ZipFile(path)
    except BROKEN_ZIP:
        raise InputError(f"{path}: is no complete zip file; download it again") from None
    # its entries, whose names may be anything; a folder is none
    openers = {}
    for entry in archive.infolist():
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        first_part = "".join(parts[:1])
        is_absolute = first_part.startswith("/") or ":" in first_part  # C: is a drive of Windows
        if ".." in parts or is_absolute:
            raise InputError(
                f"{path}: holds an entry named {entry.filename!r}, which leads out of it; do not trust it"
            )
        if not entry.filename.endswith("/"):
            openers[entry.filename] = partial(_open_entry, archive, path, entry)
    return openers


def _open_entry(archive, path, entry):
    """An open file with an entry's content.

    path  of the archive, for the error
    Raises InputError, which names the entry, where it is broken or claims too much.
    """
    entry_path = f"{path}/{entry.filename}"
    # what it claims, before anything is read
    if entry.compress_type not in COMPRESSIONS:
        raise InputError(
            f"{entry_path}: is neither stored nor deflated; download the set again, or zip it anew with deflate"
        )
    if entry.file_size > LARGEST_FILE:
        raise InputError(
            f"{entry_path}: claims to be {entry.file_size / 1e9:.1f} GB; do not trust it"
        )
    # what it holds
    try:
        content = _inflate(archive, entry)
    except BROKEN_ZIP:
        raise InputError(f"{entry_path}: is broken in the zip file; download it again") from None
    if len(content) > entry.file_size:
        raise InputError(
            f"{entry_path}: holds more than the {entry.file_size} bytes it claims; do not trust it"
        )
    if len(content) < entry.file_size:
        raise InputError(f"{entry_path}: is cut short in the zip file; download it again")
    return io.BytesIO(content)


def _inflate(archive, entry):
    """Content of an entry as bytes, up to the first chunk that goes beyond its declared size."""
    # zipfile cuts an entry off at its declared size, so that a longer one would not be noticed
    uncut_entry = copy.copy(entry)
    uncut_entry.file_size = LARGEST_FILE + 2 * CHUNK
    content = bytearray()
    with archive.open(uncut_entry) as file:
        while len(content) <= entry.file_size and (chunk := file.read(CHUNK)):
            content += chunk
    return content


def open_in_tar(path, file_name):
    """A function that opens the file of that name, in whichever folder, of a .tar.gz.

    The archive is read from its beginning, up to LARGEST_FILE bytes of what it holds. Raises
    InputError where the file is not there or broken.
    """
    try:
        with (
            gzip.open(path) as unpacked,
            tarfile.open(fileobj=_Bounded(unpacked), mode="r|") as archive,
        ):
            for entry in archive:
                # a link leads elsewhere, and a sparse file may claim any size
                is_plain_file = entry.isreg() and not entry.issparse()
                if is_plain_file and PurePosixPath(entry.name).name == file_name:
                    content = archive.extractfile(entry).read()
                    return partial(io.BytesIO, content)
    except OverflowError:
        raise InputError(
            f"{path}: holds more than labels can be before {file_name} ends; do not trust it"
        ) from None
    except BROKEN_TAR:
        raise InputError(f"{path}: is no complete .tar.gz file; download it again") from None
    raise InputError(f"{path}: holds no {file_name}; download it again")


class _Bounded:
    """A file of which no more than LARGEST_FILE bytes are read; OverflowError beyond."""

    def __init__(self, file):
        self.file = file
        self.bytes_left = LARGEST_FILE

    def read(self, size):
        """Up to `size` bytes, inflated chunk by chunk: a header may claim any size."""
        content = bytearray()
        while len(content) < size and (chunk := self.file.read(min(CHUNK, size - len(content)))):
            content += chunk
            self.bytes_left -= len(chunk)
            if self.bytes_left < 0:
                raise OverflowError
        return bytes(content)
