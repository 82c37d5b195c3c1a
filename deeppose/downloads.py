"""Photographs and labels as they are downloaded, read as what they are: files from strangers. No torch here.

Nothing is unpacked, run or trusted: a zip file's names lead nowhere, and what claims to be enormous is refused before
it takes the memory. Everything that is wrong is an InputError that names the file.
"""
import copy
import io
import itertools
import struct
import warnings
import zipfile
import zlib
from functools import partial
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from deeppose.shell import InputError

LARGEST_SIDE_PX = 4000            # of an image: LSPe's largest is 1723 px wide, and a frame is cut from its square
LARGEST_FILE = 100_000_000        # bytes, of an image or of labels: LSPe's are 0.2 and 3.4 million
PIECE = 1 << 20                   # bytes inflated at a time
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile inflates the others without any bound
FORMATS = ("JPEG", "PNG")         # PNG: some images are named .jpg and are none; no others, since some run programs
MAT_ARRAY, MAT_COMPRESSED = 14, 15
MAT_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError, LookupError, struct.error)

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # LARGEST_SIDE_PX is far below that


def read_image(name, opener):
    """The image that opener() opens, as RGB; `name` is for the error."""
    try:
        with opener() as file:
            image = Image.open(file, formats=FORMATS)
            if max(image.size) <= LARGEST_SIDE_PX:
                return image.convert("RGB")
    except InputError:
        raise
    except PermissionError:
        raise InputError(f"{name}: may not be read by you; change its permissions") from None
    except Image.DecompressionBombError:
        raise InputError(f"{name}: claims to be enormous; fetch the set again") from None
    except Exception:  # the decoders raise whatever a broken file leads them to
        raise InputError(f"{name}: is no image that can be read; fetch the set again") from None
    raise InputError(f"{name}: claims to be {image.width} x {image.height} pixels; fetch the set again")


def open_zip(path):
    """A zip file's entries, without unpacking it: name -> a function that opens it.

    Raises InputError where it is broken, or has a name that would lead out of the folder it is unpacked in.
    """
    try:
        archive = zipfile.ZipFile(path)
    except BROKEN_ZIP:
        raise InputError(f"{path}: is no complete zip file; download it again") from None
    entries = {}
    for entry in archive.infolist():
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        if ".." in parts or parts[:1] == ("/",) or ":" in "".join(parts[:1]):
            raise InputError(f"{path}: holds an entry named {entry.filename!r}, which leads out of it; do not trust it")
        if not entry.filename.endswith("/"):
            entries[entry.filename] = partial(_entry, archive, path, entry)
    return entries


def _entry(archive, path, entry):
    """An open file with an entry's content; InputError, which names it, where it is broken or claims too much."""
    name = f"{path}/{entry.filename}"
    if entry.compress_type not in COMPRESSIONS:
        raise InputError(f"{name}: is neither stored nor deflated; download the set again, or zip it anew with deflate")
    if entry.file_size > LARGEST_FILE:
        raise InputError(f"{name}: claims to be {entry.file_size / 1e9:.1f} GB; do not trust it")
    try:
        content = _inflate(archive, entry)
    except BROKEN_ZIP:
        raise InputError(f"{name}: is broken in the zip file; download it again") from None
    if len(content) > entry.file_size:
        raise InputError(f"{name}: holds more than the {entry.file_size} bytes it claims; do not trust it")
    if len(content) < entry.file_size:
        raise InputError(f"{name}: is cut short in the zip file; download it again")
    return io.BytesIO(content)


def _inflate(archive, entry):
    """An entry's content, piece by piece, up to the first piece that goes beyond the size it declares."""
    uncut = copy.copy(entry)
    uncut.file_size = LARGEST_FILE + 2 * PIECE  # zipfile cuts off what is more than this, so it would not be noticed
    content = bytearray()
    with archive.open(uncut) as file:
        while len(content) <= entry.file_size and (piece := file.read(PIECE)):
            content += piece
    return content


def read_mat(name, opener, key):
    """The numeric array `key` of the MATLAB file (version 5 to 7) that opener() opens, as float64."""
    try:
        with opener() as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from None
    if content.startswith(b"MATLAB 7.3"):
        raise InputError(f"{name}: is a MATLAB 7.3 file, which is not read here; save it in MATLAB with -v7")
    if len(content) > LARGEST_FILE:
        raise InputError(f"{name}: is larger than labels can be; fetch the set again")
    try:
        return _mat_array(memoryview(content), key)
    except (ValueError, LookupError, struct.error, zlib.error):
        raise InputError(f"{name}: is no MATLAB file with `{key}` in it; fetch the set again") from None
    except OverflowError:
        raise InputError(f"{name}: unpacks to more than labels can be; do not trust it") from None


def _mat_array(content, key):
    """The array `key` of a MATLAB 5 file; ValueError, LookupError, struct.error, zlib.error, OverflowError if broken.

    MATLAB's "MAT-File Format", chapter 1. Not scipy.io.loadmat: a broken file can make that end the whole process,
    with a segmentation fault.
    """
    order = {b"IM": "<", b"MI": ">"}[bytes(content[126:128])]
    for kind, data in _mat_elements(content[128:], order):
        if kind == MAT_COMPRESSED:
            unpacker = zlib.decompressobj()
            unpacked = unpacker.decompress(data, LARGEST_FILE)
            if unpacker.unconsumed_tail:
                raise OverflowError
            kind, data = next(_mat_elements(memoryview(unpacked), order), (None, b""))
        if kind == MAT_ARRAY:
            _, (_, shape), (_, name), (kind, numbers) = itertools.islice(_mat_elements(data, order), 4)
            if bytes(name) == key.encode():
                array = np.frombuffer(numbers, order + MAT_NUMBERS[kind]).astype(float)
                return array.reshape(np.frombuffer(shape, order + "i4"), order="F")
    raise LookupError(key)


def _mat_elements(content, order):
    """Type and data of one element after the other."""
    place = 0
    while place + 8 <= len(content):
        kind, size = struct.unpack_from(order + "II", content, place)
        start, end = place + 8, place + 8 + size
        if kind >> 16:  # up to 4 bytes of data, in the second half of the tag
            kind, size = kind & 0xFFFF, kind >> 16
            start, end = place + 4, place + 4 + min(size, 4)
        if end > len(content):
            raise ValueError("cut short")
        yield kind, content[start:end]
        place = end if kind == MAT_COMPRESSED else end + -end % 8


def listing(folder):
    """The files of a folder, by name: what open_zip gives of a zip file."""
    try:
        return {path.name: partial(open, path, "rb") for path in sorted(folder.iterdir())}
    except PermissionError:
        raise InputError(f"{folder}: may not be read by you; change its permissions") from None
