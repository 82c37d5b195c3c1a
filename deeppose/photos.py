"""Any photograph as upright RGB, its people's frames, and the names of predict.py's files.

EXIF rotation, grey, palette, transparent, CMYK and 16-bit images all become 8-bit RGB; what is
transparent becomes black, as what lies outside a frame does. A large JPEG is reduced while it is
decoded.
"""

import itertools
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from deeppose import boxes, downloads, files
from deeppose.drawing import PICTURE_PX
from deeppose.framing import cut
from deeppose.shell import InputError

# of a box's side, four times a frame's; a box with twice as many is reduced before it is cut
ENOUGH_PX = 900
ORIENTATION = 0x0112  # the EXIF tag
QUARTER_TURNS = (5, 6, 7, 8)  # values of it that exchange width and height
# formats that Pillow decodes itself; an .eps or .wmf would be run, by Ghostscript or by Windows
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "JPEG2000", "TIFF", "BMP", "GIF", "PPM")
Image.init()
# AVIF is not in every Pillow; JPEG reads MPO too
READERS = tuple(name for name in FORMATS if name in Image.OPEN)
ENDINGS = {ending for ending, name in Image.registered_extensions().items() if name in FORMATS}
PICTURE_ENDING = "_pose.png"


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
    """A Photo from a path, a Pillow image or an array of uint8, (H, W) or (H, W, 3).

    smallest_px  longer side of the smallest box that will be cut, in pixels of the photograph
                 (None: the whole of it): a JPEG file that has far more than it takes is reduced
                 while it is decoded
    white        the value of 16 bits that is white
    Raises InputError where it cannot be read, in one line that names it.
    """
    name = name_of(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images: those that are too large raise
            if isinstance(source, Image.Image):
                return _upright(source, 1, source.size, white)
            if isinstance(source, np.ndarray):
                return _upright(Image.fromarray(source), 1, source.shape[1::-1], white)
            with Image.open(source, formats=READERS) as image:
                size = image.size
                return _upright(image, _draft(image, smallest_px or max(size)), size, white)
    except Image.DecompressionBombError:
        raise InputError(
            f"{name}: is too large, more than {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} million "
            "pixels; reduce it first"
        ) from None
    except FileNotFoundError:
        raise InputError(f"{name}: not found") from None
    except Exception as error:  # Pillow raises whatever a broken file leads it to
        reason = f" ({error})" if str(error) else ""
        if isinstance(error, UnidentifiedImageError):
            reason = f"; of {', '.join(FORMATS)} it is none"
        raise InputError(f"{name}: is no image that can be read{reason}") from None


def name_of(source):
    """Name of a photograph in errors."""
    return str(source) if isinstance(source, (str, Path)) else "the image"


def _draft(image, box_px):
    """Have a JPEG decoded at 1/2, 1/4 or 1/8 of its size where the box has pixels to spare.

    Returns the 2, 4 or 8, or 1.
    """
    factor = spare(box_px)
    width, height = image.size
    if factor == 1 or image.format not in ("JPEG", "MPO"):
        return 1
    drafted = image.draft(None, (max(1, width // factor), max(1, height // factor)))
    if not drafted:
        return 1
    _, (_, _, drafted_width, _) = drafted  # its mode, and its box
    return width / drafted_width


def spare(box_px):
    """Whole number by which a box of that side can be reduced and still have ENOUGH_PX."""
    return int(box_px // ENOUGH_PX) if box_px >= 2 * ENOUGH_PX else 1


def _upright(image, factor, size, white):
    """The Photo of an open image, as stored (w, h) px of `size` and read at 1 / factor of it."""
    if image.format == "TIFF":
        image.load()  # which turns it, and takes its tag away
        if factor == 1:
            size = image.size
    image = downloads.to_8_bits(image, white)
    image.load()  # while its file is open
    orientation = image.getexif().get(ORIENTATION)
    turned = orientation in QUARTER_TURNS
    # exif_transpose always copies, so it is called only where it turns something
    upright = image if orientation in (None, 1) else ImageOps.exif_transpose(image)
    return Photo(_as_rgb(upright), factor, tuple(size[::-1]) if turned else tuple(size))


def _as_rgb(image):
    """The image as RGB, on black where it is transparent."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert("RGB")
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
    frame, margin  of the model, see dataset.Dataset;  white  see read
    """
    name = name_of(source)
    # read it as finely as the smallest person needs
    smallest_px = None
    if people is not None:
        people = boxes.as_array(people, name)
        sides = people[:, 2:] - people[:, :2]  # (P, 2) px
        smallest_px = sides.max(1).min()
    photo = read(source, smallest_px, white)
    if people is not None:
        boxes.check_against(people, photo.size, name)
    # cut its people's frames
    regions = boxes.regions(people, photo.size, frame, margin)
    frames = np.stack([show(photo, region, frame) for region in regions])
    return reduced(photo, PICTURE_PX[1]), regions, frames


def show(photo, region_px, frame):
    """Frame (h, w, 3) of a region (4,) px of the photograph, cut as the training frames are."""
    region = np.asarray(region_px, float) / photo.factor
    factor = spare(max(region[2:]))
    image = photo.image if factor == 1 else photo.image.reduce(factor)
    return cut(image, region / factor, frame)


def find(inputs):
    """Photographs that files and folders name, each once; InputError for a folder without one.

    In a folder a photograph is known by its name's ending; the pictures that predict.py wrote there
    are left out.
    """
    photographs = []
    for path in inputs:
        inside = _photographs_in(path) if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{path}: holds no photograph ({', '.join(FORMATS)})")
        photographs += inside
    return list({path.resolve(): path for path in photographs}.values())


def _photographs_in(folder):
    """Paths of a folder's photographs, sorted, without predict.py's pictures."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in ENDINGS and path.is_file() and not is_picture(path)
    ]


def is_picture(path):
    """Whether predict.py wrote this file, as the .json that it then wrote beside it says."""
    if not path.name.endswith(PICTURE_ENDING):
        return False
    try:
        facts = files.load_json(path.with_suffix(".json"), "predict.py")
    except InputError:
        return False
    return isinstance(facts.get("photograph"), str)


def outputs(paths, folder=None):
    """Path photo_pose.png for each photograph, in the folder or beside it.

    It is numbered where that name is taken: by another photograph's picture, or by a file that is
    there and not predict.py's.
    """
    pictures = []
    taken = set()
    for path in paths:
        # photo_pose.png, photo_2_pose.png, ...: the first that is free
        for number in itertools.count(1):
            name = path.stem if number == 1 else f"{path.stem}_{number}"
            picture = (folder or path.parent) / f"{name}{PICTURE_ENDING}"
            key = str(picture.resolve()).casefold()  # some disks do not tell a from A
            if key not in taken and (not picture.exists() or is_picture(picture)):
                break
        pictures.append(picture)
        taken.add(key)
    return pictures
