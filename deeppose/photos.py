"""Any photograph as upright RGB, and its people's frames.

EXIF rotation, grey, palette, transparent, CMYK and 16-bit images all become 8-bit RGB; what is
transparent becomes black, as what lies outside a frame does. A large JPEG is reduced while it is
decoded.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from deeppose import boxes, downloads
from deeppose.cutting import cut
from deeppose.shell import InputError

# side of a box, four times a frame's; a box with twice as many is reduced before it is cut
ENOUGH_PX = 900
MOST_PICTURE_PX = 2000  # the longer side of a photograph's picture
ORIENTATION = 0x0112  # the EXIF tag
QUARTER_TURNS = (5, 6, 7, 8)  # its values that exchange width and height
# formats that Pillow decodes itself; an .eps or .wmf would be run, by Ghostscript or by Windows
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "JPEG2000", "TIFF", "BMP", "GIF", "PPM")
Image.init()
# AVIF is not in every Pillow; JPEG reads MPO too
READERS = tuple(name for name in FORMATS if name in Image.OPEN)
ENDINGS = {
    ending
    for ending, format_name in Image.registered_extensions().items()
    if format_name in FORMATS
}


@dataclass(frozen=True)
class Photo:
    """A photograph, upright and perhaps reduced.

    image   RGB
    factor  width of a pixel of the image in pixels of the photograph
    size    (w, h) px of the photograph itself, upright
    """

    image: Image.Image
    factor: float
    size: tuple


def read(source, smallest_px=None, white=downloads.WHITE):
    """A Photo from a path, a file, a Pillow image or an array of uint8, (H, W) or (H, W, 3).

    smallest_px  longer side of the smallest box that will be cut, in pixels of the photograph
                 (None: the whole of it): a JPEG file that has far more than it takes is reduced
                 while it is decoded
    white        the value of 16 bits that is white
    Raises InputError where it cannot be read, in one line that names it.
    """
    photo_name = name_of(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images: those that are too large raise
            return _read(source, smallest_px, white)
    except Image.DecompressionBombError:
        raise InputError(
            f"{photo_name}: is too large, more than {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} million "
            "pixels; reduce it first"
        ) from None
    except FileNotFoundError:
        raise InputError(f"{photo_name}: not found") from None
    except Exception as error:  # Pillow raises whatever a broken file leads it to
        reason = f" ({error})" if str(error) else ""
        if isinstance(error, UnidentifiedImageError):
            reason = f"; of {', '.join(FORMATS)} it is none"
        raise InputError(f"{photo_name}: is no image that can be read{reason}") from None


def _read(source, smallest_px, white):
    """`read`, but it raises whatever Pillow does."""
    if isinstance(source, Image.Image):
        return _upright(source, 1, source.size, white)
    if isinstance(source, np.ndarray):
        return _upright(Image.fromarray(source), 1, source.shape[1::-1], white)
    with Image.open(source, formats=READERS) as image:
        stored_size = image.size
        factor = _draft(image, smallest_px or max(stored_size))
        return _upright(image, factor, stored_size, white)


def name_of(source):
    """The name that errors call a photograph by."""
    return str(source) if isinstance(source, (str, Path)) else "the image"


def _draft(image, box_px):
    """Have a JPEG decoded at 1/2, 1/4 or 1/8 of its size where the box has pixels to spare.

    Returns the factor by which it will be smaller: 2, 4 or 8, or 1.
    """
    wanted_factor = spare_factor(box_px)
    width, height = image.size
    if wanted_factor == 1 or image.format not in ("JPEG", "MPO"):
        return 1
    # Pillow takes the smallest scale that is still as large as this
    wanted_size = (max(1, width // wanted_factor), max(1, height // wanted_factor))
    drafted = image.draft(None, wanted_size)
    if not drafted:
        return 1
    _, (_, _, drafted_width, _) = drafted  # its mode, and its box
    return width / drafted_width


def spare_factor(box_px):
    """Whole factor by which a box of that side can be reduced and still have ENOUGH_PX."""
    return int(box_px // ENOUGH_PX) if box_px >= 2 * ENOUGH_PX else 1


def _upright(image, factor, stored_size, white):
    """The Photo of an open image, which is stored as (w, h) px and read at 1 / factor of it."""
    # Pillow turns a TIFF as it loads it, and takes its tag away
    if image.format == "TIFF":
        image.load()
        if factor == 1:
            stored_size = image.size
    image = downloads.to_8_bits(image, white)
    image.load()  # while its file is open
    # turn it as its EXIF tag says; exif_transpose always copies, so only where there is a turn
    orientation = image.getexif().get(ORIENTATION)
    upright = image if orientation in (None, 1) else ImageOps.exif_transpose(image)
    width, height = stored_size
    upright_size = (height, width) if orientation in QUARTER_TURNS else (width, height)
    return Photo(_as_rgb(upright), factor, upright_size)


def _as_rgb(image):
    """The image as RGB, on black where it is transparent."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, "black")
        return Image.alpha_composite(black, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def reduced(photo, longest_px):
    """The Photo with its image's longer side at most about longest_px."""
    factor = -(-max(photo.image.size) // longest_px)  # rounded up
    if factor <= 1:
        return photo
    return Photo(photo.image.reduce(factor), photo.factor * factor, photo.size)


def read_people(source, people, frame, margin, white=downloads.WHITE):
    """A photograph's Photo, reduced to be drawn on, and its people's regions and frames.

    Regions are (P, 4) px of the photograph, frames uint8 (P, h, w, 3).

    people         their boxes (P, 4) as x0, y0, x1, y1, or None: the whole photograph is one
                   person's
    frame, margin  of the model, see Dataset
    white          as for read
    """
    photo_name = name_of(source)
    # read it as finely as the smallest person needs
    smallest_px = None
    if people is not None:
        people = boxes.as_array(people, photo_name)
        sides = people[:, 2:] - people[:, :2]  # (P, 2) px
        smallest_px = sides.max(1).min()
    photo = read(source, smallest_px, white)
    if people is not None:
        boxes.check_against(people, photo.size, photo_name)
    # cut its people's frames
    regions = boxes.regions(people, photo.size, frame, margin)
    frames = np.stack([cut_frame(photo, region, frame) for region in regions])
    return reduced(photo, MOST_PICTURE_PX), regions, frames


def cut_frame(photo, region_px, frame):
    """Frame (h, w, 3) of a region (4,) px of the photograph, cut as the training frames are."""
    region = np.asarray(region_px, float) / photo.factor  # px of the photo's image
    # far more pixels than a frame needs are first reduced by a whole number, which is faster
    factor = spare_factor(max(region[2:]))
    image = photo.image if factor == 1 else photo.image.reduce(factor)
    return cut(image, region / factor, frame)
