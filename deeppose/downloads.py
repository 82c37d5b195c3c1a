"""Photographs and labels as they are downloaded, read as what they are: files from strangers.

No torch here.

Nothing is unpacked, run or trusted: a zip file's names lead nowhere, and what claims to be enormous
is refused before it takes the memory. Everything that is wrong is an InputError that names the
file.
"""

import copy
import gzip
import io
import re
import struct
import tarfile
import warnings
import zipfile
import zlib
from functools import partial
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from deeppose import matlab
from deeppose.shell import InputError

# an image's longest side; LSPe's largest is 1723 px wide, and a frame is cut from its square
LARGEST_SIDE_PX = 4000
WHITE = 65535  # the 16-bit value that is white, unless a data set says otherwise
LARGEST_FILE = 100_000_000  # bytes, of an image or of labels: LSPe's are 0.2 and 3.4 million
PIECE = 1 << 20  # bytes inflated at a time
# kinds of zip entries that are read; zipfile inflates the others without any bound
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# PNG, since some images that are named .jpg are PNG; no others, since Pillow runs programs for some
FORMATS = ("JPEG", "PNG")
# a file's name in annotations, which leads out of no folder
PLAIN_NAME = re.compile(r"(?!.*\.\.)\w[\w .()+-]{0,199}", re.ASCII)
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

# Pillow warns of images that are far larger than LARGEST_SIDE_PX, and so refused here anyway
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_image(name, opener, white=WHITE):
    """The image that opener() opens, a Pillow image, RGB.

    name   for the error
    white  the 16-bit value that is white
    Raises InputError where it cannot be read or is too large.
    """
    try:
        with opener() as file:
            image = Image.open(file, formats=FORMATS)
            if max(image.size) <= LARGEST_SIDE_PX:
                return to_8_bits(image, white).convert("RGB")
    except InputError:
        raise
    except PermissionError:
        raise InputError(f"{name}: may not be read by you; change its permissions") from None
    except Image.DecompressionBombError:
        raise InputError(f"{name}: claims to be enormous; fetch the set again") from None
    except Exception:  # the decoders raise whatever a broken file leads them to
        raise InputError(f"{name}: is no image that can be read; fetch the set again") from None
    raise InputError(
        f"{name}: claims to be {image.width} x {image.height} pixels; fetch the set again"
    )


def image_size(opener):
    """(w, h) px of the image that opener() opens, by its header alone; None if it has none."""
    try:
        with opener() as file:
            return Image.open(file, formats=FORMATS).size
    except Exception:  # the decoders raise whatever a broken file leads them to
        return None


def to_8_bits(image, white=WHITE):
    """A Pillow image of 16 or 32 bits as one of 8: value v is 255 v / white, at most 255.

    One of 8 bits stays as it is.

    white  of 16 bits; of 32, whose range nothing says, it is 1 or the largest value there is
    """
    # its values, and which of them is white
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, float)  # (h, w)
        largest = values.max()
        if image.mode == "F" or largest > WHITE:  # older Pillow reads 16 bits as I
            white = max(largest, 1)
    elif _is_rgb_of_16_bits(image):
        values = _values_of_16_bits(image)
    else:
        return image
    # narrowed to 8 bits
    narrow = Image.fromarray((values * 255 / white).clip(0, 255).astype(np.uint8))
    narrow.info["exif"] = image.getexif().tobytes()  # it tells whether the image must be turned
    return narrow


def _is_rgb_of_16_bits(image):
    """Whether a PNG, not decoded yet, has three channels of 16 bits."""
    return image.format == "PNG" and bool(image.tile) and image.tile[0][3] == "RGB;16B"


def _values_of_16_bits(image):
    """Values (h, w, 3), 0 to 65535, of such a PNG, of which Pillow keeps the upper bytes alone."""
    image.fp.seek(0)
    lower = Image.open(image.fp, formats=("PNG",))
    # decode it again for the lower ones: of each value Pillow keeps one byte, and where it takes the
    # value as little-endian, that is the other one
    lower.tile = [(*lower.tile[0][:3], "RGB;16L")]
    low_bytes = np.asarray(lower, np.float32)  # exact up to 2^24
    return 256 * np.asarray(image, np.float32) + low_bytes


def open_zip(path):
    """A zip file's entries, without unpacking it: name -> a function that opens it.

    Raises InputError where it is broken, or has a name that would lead out of the folder it is
    unpacked in.
    """
    try:
        archive = zipfile.ZipFile(path)
    except BROKEN_ZIP:
        raise InputError(f"{path}: is no complete zip file; download it again") from None
    entries = {}
    for entry in archive.infolist():
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        first = "".join(parts[:1])
        if ".." in parts or first.startswith("/") or ":" in first:  # C: is a drive of Windows
            raise InputError(
                f"{path}: holds an entry named {entry.filename!r}, which leads out of it; do not trust it"
            )
        if not entry.filename.endswith("/"):
            entries[entry.filename] = partial(_open_entry, archive, path, entry)
    return entries


def _open_entry(archive, path, entry):
    """An open file with an entry's content.

    Raises InputError, which names it, where it is broken or claims too much.
    """
    name = f"{path}/{entry.filename}"
    # what it claims, before anything is read
    if entry.compress_type not in COMPRESSIONS:
        raise InputError(
            f"{name}: is neither stored nor deflated; download the set again, or zip it anew with deflate"
        )
    if entry.file_size > LARGEST_FILE:
        raise InputError(f"{name}: claims to be {entry.file_size / 1e9:.1f} GB; do not trust it")
    # what it holds
    try:
        content = _inflate(archive, entry)
    except BROKEN_ZIP:
        raise InputError(f"{name}: is broken in the zip file; download it again") from None
    if len(content) > entry.file_size:
        raise InputError(
            f"{name}: holds more than the {entry.file_size} bytes it claims; do not trust it"
        )
    if len(content) < entry.file_size:
        raise InputError(f"{name}: is cut short in the zip file; download it again")
    return io.BytesIO(content)


def _inflate(archive, entry):
    """Content of an entry as bytes, up to the first piece that goes beyond its declared size."""
    # zipfile cuts an entry off at its declared size, so that a longer one would not be noticed
    uncut = copy.copy(entry)
    uncut.file_size = LARGEST_FILE + 2 * PIECE
    content = bytearray()
    with archive.open(uncut) as file:
        while len(content) <= entry.file_size and (piece := file.read(PIECE)):
            content += piece
    return content


class _Bounded:
    """A file of which no more than LARGEST_FILE bytes are read; OverflowError beyond."""

    def __init__(self, file):
        self.file = file
        self.left = LARGEST_FILE

    def read(self, size):
        """Up to `size` bytes, inflated piece by piece: a header may claim any size."""
        content = bytearray()
        while len(content) < size and (piece := self.file.read(min(PIECE, size - len(content)))):
            content += piece
            self.left -= len(piece)
            if self.left < 0:
                raise OverflowError
        return bytes(content)


def open_in_tar(path, wanted):
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
                if is_plain_file and PurePosixPath(entry.name).name == wanted:
                    content = archive.extractfile(entry).read()
                    return partial(io.BytesIO, content)
    except OverflowError:
        raise InputError(
            f"{path}: holds more than labels can be before {wanted} ends; do not trust it"
        ) from None
    except BROKEN_TAR:
        raise InputError(f"{path}: is no complete .tar.gz file; download it again") from None
    raise InputError(f"{path}: holds no {wanted}; download it again")


def read_mat(name, opener, key):
    """The numeric array `key`, float64, of the MATLAB file (version 5 to 7) that opener() opens."""
    value = matlab.read(name, opener, key, largest=LARGEST_FILE)
    if isinstance(value, (str, list)):
        raise InputError(
            f"{name}: is no MATLAB file with `{key}` in it as numbers; fetch the set again"
        )
    return np.atleast_2d(value)  # since a single number comes without a shape


def listing(folder):
    """The files of a folder as open_zip gives those of a zip: name -> a function that opens it."""
    try:
        return {path.name: partial(open, path, "rb") for path in sorted(folder.iterdir())}
    except PermissionError:
        raise InputError(f"{folder}: may not be read by you; change its permissions") from None
