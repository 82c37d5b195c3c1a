"""Render people in the layout of the Leeds Sports Pose sets, for a trial run without photographs.

Writes FOLDER/images_1 with joints_1.mat (framed like LSP: tight) and FOLDER/images_2 with
joints_2.mat (framed like LSP extended: wide, with unlabelled joints). The figures are capsules
around a posed three-dimensional skeleton. They show that the code learns; scores on them say
nothing about photographs.

    python -m deeppose.sample FOLDER
    python -m deeppose.sample FOLDER --lsp 400 --lspet 600 --seed 0

docs/sample_photo.jpg, one person in a landscape picture for predict.py, is write_photo's.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from tqdm import tqdm

from deeppose import shell
from deeppose.figure import MIN_LABELLED, inside, render_person
from deeppose.files import make_folder
from deeppose.locks import lock
from deeppose.shell import InputError

MARKER = "sample.json"
RENDERING_FOLDER = "rendering.tmp"  # where everything is rendered before it is moved into place
PHOTO_SEED = 22  # of a person who stands free, in a picture that is wider than high
ENLARGED = 3  # times: a photograph has more pixels than the sets' images
MAT_HEADER = b"MATLAB 5.0 MAT-file, rendered by deeppose.sample"
MAT_HEADER_BYTES = 116  # of its text
IMAGE_FOLDERS = ("images_1", "images_2")
OUTPUTS = (*IMAGE_FOLDERS, "joints_1.mat", "joints_2.mat")


def label_wide(rng, joints, hidden, width, height):
    """Labels (14, 3) as in LSP extended: x, y, labelled; what is not labelled holds junk.

    joints  (14, 2) px of the image;  hidden  (14,)
    """
    # how likely each joint is labelled; annotators guess a little past the border
    shown = inside(joints, width, height)  # (14,)
    near = inside(joints + 8, width + 16, height + 16)
    probability = np.where(shown, np.where(hidden, 0.3, 0.98), np.where(near, 0.4, 0))
    labelled = rng.random(len(joints)) < probability
    if labelled.sum() < MIN_LABELLED:
        labelled = shown
    # what is not labelled holds junk, as in the set
    junk = rng.uniform((-250, -322), (782, 694), joints.shape)
    return np.column_stack([np.where(labelled[:, None], joints, junk), labelled])


def render_set(folder, set_number, image_count, seed):
    """Render set 1 or 2 into the folder: images_<number>/ and joints_<number>.mat."""
    # the images, named as the sets' are
    digits = 4 if set_number == 1 else 5
    image_folder = folder / f"images_{set_number}"
    image_folder.mkdir()
    labels = []
    image_numbers = range(1, image_count + 1)
    for image_number in tqdm(image_numbers, desc=image_folder.name, unit="image", disable=None):
        # seeded by the image, so that it does not depend on how many there are
        rng = np.random.default_rng((seed, set_number, image_number))
        image, joints, hidden = render_person(rng, wide=set_number == 2)
        height, width = image.shape[:2]
        if set_number == 1:
            labels.append(np.column_stack([joints, hidden]))
        else:
            labels.append(label_wide(rng, joints, hidden, width, height))
        file_name = f"im{image_number:0{digits}d}.jpg"
        Image.fromarray(image).save(image_folder / file_name, quality=90)
    # their labels, in the sets' own orders of axes
    label_array = np.stack(labels, axis=-1)  # (14, 3, N), as in LSP extended
    if set_number == 1:
        label_array = label_array.transpose(1, 0, 2)  # (3, 14, N), as in LSP
    mat_file = io.BytesIO()
    savemat(mat_file, {"joints": label_array}, do_compression=True)
    # savemat's header text holds the date, and the same seed is to give the same bytes
    header = MAT_HEADER.ljust(MAT_HEADER_BYTES)
    content = header + mat_file.getvalue()[MAT_HEADER_BYTES:]
    (folder / f"joints_{set_number}.mat").write_bytes(content)


def write_photo(path, seed=PHOTO_SEED):
    """Write a picture of one rendered person as if it were a photograph."""
    image, _, _ = render_person(np.random.default_rng(seed), wide=True)
    height, width = image.shape[:2]
    size_px = (ENLARGED * width, ENLARGED * height)
    photo = Image.fromarray(image).resize(size_px, Image.Resampling.BICUBIC)
    photo.save(path, quality=90)


def digest(folder):
    """sha256 of the names and contents of all that was rendered into a folder."""
    # two files, and those in two folders
    paths = []
    for output in OUTPUTS:
        paths += [folder / output, *(folder / output).glob("*")]
    sha256 = hashlib.sha256()
    for path in sorted(paths):
        if path.is_file():
            sha256.update(path.name.encode() + path.read_bytes())
    return sha256.hexdigest()


def is_own_rendering(folder):
    """Whether what lies in the folder is just what an earlier run rendered there."""
    try:
        return json.loads((folder / MARKER).read_text())["digest"] == digest(folder)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def write_sample(folder, lsp=400, lspet=600, seed=0):
    """Write both sets under folder: lsp images (even: half train, half test) and lspet images.

    The same seed gives the same bytes. What an earlier run rendered is replaced; InputError if the
    folder holds images or labels of another origin. Everything is rendered beside it and moved into
    place at the end, so that an interrupted run leaves the folder as it was. What a killed run left
    unfinished is removed.
    """
    folder = Path(folder)
    make_folder(folder, "name another")
    with lock(folder, "sample"):
        # what is there must be an earlier run's
        present = [output for output in OUTPUTS if (folder / output).exists()]
        if present and not is_own_rendering(folder):
            raise InputError(
                f"{folder / present[0]}: was not rendered here, or has changed since, "
                "so it is left alone; name another folder"
            )
        # render into a folder of its own
        rendering = folder / RENDERING_FOLDER
        shutil.rmtree(rendering, ignore_errors=True)
        rendering.mkdir()
        try:
            render_set(rendering, 1, lsp, seed)
            render_set(rendering, 2, lspet, seed)
            provenance = {
                "rendered_by": "deeppose.sample",
                "lsp": lsp,
                "lspet": lspet,
                "seed": seed,
                "digest": digest(rendering),
            }
            (rendering / MARKER).write_text(json.dumps(provenance) + "\n")
            # move into place; a folder that is not empty cannot be replaced
            for image_folder in IMAGE_FOLDERS:
                shutil.rmtree(folder / image_folder, ignore_errors=True)
            for output in (*OUTPUTS, MARKER):
                os.replace(rendering / output, folder / output)
        finally:
            shutil.rmtree(rendering, ignore_errors=True)


def even(text):
    """argparse type: an even number of at least 2."""
    count = shell.at_least(2)(text)
    if count % 2:
        raise argparse.ArgumentTypeError(
            f"{count} is odd; half of the images are for training, half for testing"
        )
    return count


@shell.command
def main(argv=None):
    """The command line: see the top of this file."""
    parser = shell.Parser(
        prog="python -m deeppose.sample",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, help="where to write; made if missing"
    )
    parser.add_argument(
        "--lsp",
        type=even,
        default=400,
        metavar="N",
        help="images in images_1, an even number: half training, half test (default: 400)",
    )
    parser.add_argument(
        "--lspet",
        type=shell.at_least(1),
        default=600,
        metavar="N",
        help="images in images_2 (default: 600)",
    )
    parser.add_argument(
        "--seed",
        type=shell.at_least(0),
        default=0,
        help="the same seed draws the same images (default: 0)",
    )
    options = parser.parse_args(argv)
    write_sample(options.folder, options.lsp, options.lspet, options.seed)
    print(
        f"{options.folder}: {options.lsp} + {options.lspet} rendered images; "
        f"next: python LSP_data.py --source {options.folder}"
    )


if __name__ == "__main__":
    main()
