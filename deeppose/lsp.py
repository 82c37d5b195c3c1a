"""The Leeds Sports sets, LSP and LSP extended, as they are downloaded: their images and joints.

No torch here.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from deeppose import archives, downloads
from deeppose.shell import InputError
from deeppose.skeletons import LSP

LSP_NUMBER = 1  # the sets' numbers in *_rows.npy
LSPE_NUMBER = 2
PLACES = {  # where a set may lie: folder of images and labels, or a zip file with both inside
    LSP_NUMBER: (
        ("images_1", "joints_1.mat"),
        ("lsp_dataset/images", "lsp_dataset/joints.mat"),
        ("lsp_dataset_original/images", "lsp_dataset_original/joints.mat"),
        "lsp_dataset.zip",
        "lsp_dataset_original.zip",
    ),
    LSPE_NUMBER: (
        ("images_2", "joints_2.mat"),
        ("lspet_dataset/images", "lspet_dataset/joints.mat"),
        "lspet_dataset.zip",
    ),
}
PAGES = {
    LSP_NUMBER: "http://sam.johnson.io/research/lsp.html",
    LSPE_NUMBER: "http://sam.johnson.io/research/lspet.html",
}
LARGEST_COORDINATE_PX = 1e5
IMAGE_NAME = re.compile(r"im(\d{1,9})\.jpe?g", re.IGNORECASE | re.ASCII)
LIKE_AN_IMAGE = re.compile(r"[^.].*\.(jpe?g|png|bmp|gif|tiff?|webp)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class PhotoSet:
    """LSP or LSPe, whose images are numbered from 1.

    number    of the set, in *_rows.npy
    joints    (N, J, 2) px, NaN where there is no label
    openers   image number -> its name in the set, and what opens it
    misnamed  name of an image without a number -> a line that says so
    place     where it lies, for the person at the shell
    """

    number: int
    joints: np.ndarray
    openers: dict
    misnamed: dict
    place: Path


def open_set(source, set_number):
    """The PhotoSet that lies in one of PLACES below `source`; InputError where there is none."""
    for place in PLACES[set_number]:
        # a zip file with both inside, or a folder of images and a file of labels
        if isinstance(place, str):
            if (source / place).is_file():
                return open_archive(source / place, set_number)
            continue
        image_folder, labels = place
        if (source / image_folder).is_dir():
            return open_folder(source / image_folder, source / labels, set_number)
    wanted = " and ".join(PLACES[set_number][0])
    raise InputError(
        f"{source}: no {wanted} here; download the set from {PAGES[set_number]}, or render sample "
        f"people instead: python -m deeppose.sample {source}"
    )


def open_archive(path, set_number):
    """The PhotoSet in a zip file as it was downloaded; nothing is unpacked to disk."""
    entries = archives.open_zip(path)
    # sort its entries into images and labels; others, such as a README, are passed over
    image_openers = {}
    label_files = []
    for entry_name, opener in entries.items():
        *folders, file_name = entry_name.split("/")
        if folders[-1:] == ["images"]:
            image_openers[entry_name] = opener
        if file_name == "joints.mat":
            label_files.append(entry_name)
    if not label_files:
        raise InputError(f"{path}: holds no joints.mat; download it again")
    label_file = label_files[0]
    joints = read_joints(f"{path}/{label_file}", entries[label_file], set_number)
    openers, misnamed = number_images(image_openers, path)
    return PhotoSet(set_number, joints, openers, misnamed, path)


def open_folder(image_folder, labels, set_number):
    """The PhotoSet of a folder of images and the .mat file that belongs to it."""
    if not labels.is_file():
        raise InputError(f"{labels}: not found; it belongs to the images, see {PAGES[set_number]}")
    joints = read_joints(labels, partial(open, labels, "rb"), set_number)
    openers, misnamed = number_images(archives.list_folder(image_folder), image_folder)
    return PhotoSet(set_number, joints, openers, misnamed, image_folder)


def number_images(image_openers, place):
    """A PhotoSet's openers and misnamed: im0001.jpg is image 1.

    image_openers  name -> what opens it, of all files of the set
    """
    openers = {}
    misnamed = {}
    for name, opener in image_openers.items():
        file_name = name.split("/")[-1]
        # its number, by which its labels are found
        if match := IMAGE_NAME.fullmatch(file_name):
            image_number = int(match[1])
            if image_number in openers:
                raise InputError(
                    f"{place}/{name}: is image number {image_number} again; remove one of the two"
                )
            openers[image_number] = (name, opener)
        elif LIKE_AN_IMAGE.fullmatch(file_name):
            misnamed[name] = (
                f"{place}/{name}: is not named like im0001.jpg, so its labels are unknown"
            )
    return openers, misnamed


def read_joints(path, opener, set_number):
    """Joints (N, J, 2) px, NaN where there is no label, from a set's .mat file.

    path  what errors call it
    Raises InputError where its array is not the set's.
    """
    labels = downloads.read_mat(path, opener, "joints")
    # the two sets have their axes in different orders
    if set_number == LSP_NUMBER:
        axes = (2, 1, 0)
        expected_shape = (3, LSP.joint_count)
    else:
        axes = (2, 0, 1)
        expected_shape = (LSP.joint_count, 3)
    # N images, and half of LSP's test
    if labels.ndim != 3 or labels.shape[:2] != expected_shape or not labels.shape[2]:
        raise InputError(
            f"{path}: `joints` is {labels.shape}, not {(*expected_shape, 'N')}; "
            "are LSP and LSPe mixed up?"
        )
    if set_number == LSP_NUMBER and labels.shape[2] % 2:
        raise InputError(
            f"{path}: LSP is half for training, half for testing, but {labels.shape[2]} images are odd"
        )
    labels = labels.transpose(axes)  # (N, J, 3)
    # LSP's third value is "occluded", and such joints are labelled
    labelled = np.ones(labels.shape[:2], bool)
    if set_number == LSPE_NUMBER:
        labelled = labels[:, :, 2] == 1  # LSPe's is "labelled": 0 comes with junk coordinates
    joints_px = labels[:, :, :2]
    check_coordinates(path, joints_px[labelled])
    return np.where(labelled[..., None], joints_px, np.nan)


def check_coordinates(path, joints_px):
    """InputError where a labelled joint, of (n, 2) px, cannot be right."""
    if not np.isfinite(joints_px).all():
        raise InputError(f"{path}: a labelled joint is not a finite number")
    if (np.abs(joints_px) > LARGEST_COORDINATE_PX).any():
        raise InputError(
            f"{path}: a joint lies at {np.abs(joints_px).max():g} pixels; fetch the set again"
        )
