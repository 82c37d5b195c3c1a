"""Photographs and labels as they are downloaded, read as what they are: files from strangers.

No torch here.

Nothing is run or trusted, and what claims to be enormous is refused before it takes the memory.
Everything that is wrong is an InputError that names the file. `opener` is a function that opens a
file, such as archives.open_zip gives.
"""

import re
import warnings

import numpy as np
from PIL import Image

from deeppose import matlab
from deeppose.archives import LARGEST_FILE
from deeppose.shell import InputError

# an image's longest side; LSPe's largest is 1723 px wide, and a frame is cut from its square
LARGEST_SIDE_PX = 4000
WHITE = 65535  # the 16-bit value that is white, unless a data set says otherwise
# PNG, since some images that are named .jpg are PNG; no others, since Pillow runs programs for some
FORMATS = ("JPEG", "PNG")
# a file's name in annotations, which leads out of no folder
PLAIN_NAME = re.compile(r"(?!.*\.\.)\w[\w .()+-]{0,199}", re.ASCII)

# Pillow warns of images that are far larger than LARGEST_SIDE_PX, and so refused here anyway
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_image(path, opener, white=WHITE):
    """The image that opener() opens, a Pillow image, RGB.

    path   what errors call it
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
        raise InputError(f"{path}: may not be read by you; change its permissions") from None
    except Image.DecompressionBombError:
        raise InputError(f"{path}: claims to be enormous; fetch the set again") from None
    except Exception:  # the decoders raise whatever a broken file leads them to
        raise InputError(f"{path}: is no image that can be read; fetch the set again") from None
    raise InputError(
        f"{path}: claims to be {image.width} x {image.height} pixels; fetch the set again"
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
    # its values (h, w) or (h, w, 3), and which of them is white
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, float)
        largest = values.max()
        if image.mode == "F" or largest > WHITE:  # older Pillow reads 16 bits as I
            white = max(largest, 1)
    elif _is_rgb_of_16_bits(image):
        values = _values_of_16_bits(image)
    else:
        return image
    # narrowed to 8 bits
    image_8_bits = Image.fromarray((values * 255 / white).clip(0, 255).astype(np.uint8))
    # it tells whether the image must be turned
    image_8_bits.info["exif"] = image.getexif().tobytes()
    return image_8_bits


def _is_rgb_of_16_bits(image):
    """Whether a PNG, not decoded yet, has three channels of 16 bits."""
    return image.format == "PNG" and bool(image.tile) and image.tile[0][3] == "RGB;16B"


def _values_of_16_bits(image):
    """Values (h, w, 3), 0 to 65535, of such a PNG, of which Pillow keeps only the upper bytes."""
    image.fp.seek(0)
    # decode it again for the lower ones: of each value Pillow keeps one byte, and where it takes the
    # value as little-endian, that is the other one
    little_endian = Image.open(image.fp, formats=("PNG",))
    little_endian.tile = [(*little_endian.tile[0][:3], "RGB;16L")]
    lower_bytes = np.asarray(little_endian, np.float32)  # exact up to 2^24
    return 256 * np.asarray(image, np.float32) + lower_bytes


def read_mat(path, opener, variable):
    """A numeric array, float64, of the MATLAB file (version 5 to 7) that opener() opens.

    path      what errors call the file
    variable  the array's name
    Raises InputError where there is no such array.
    """
    array = matlab.read(path, opener, variable, largest=LARGEST_FILE)
    if isinstance(array, (str, list)):
        raise InputError(
            f"{path}: is no MATLAB file with `{variable}` in it as numbers; fetch the set again"
        )
    return np.atleast_2d(array)  # since a single number comes without a shape
