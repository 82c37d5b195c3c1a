"""Training and test photographs of files in COCO's format, each with its people's rows.

No torch here.
"""

from dataclasses import dataclass, replace

from deeppose.coco import CocoFile
from deeppose.people import check_some_here
from deeppose.shell import InputError

IMAGE_FOLDERS = ("", "train2017", "val2017", "test2017")  # below the photographs' folder


@dataclass(frozen=True)
class Part:
    """The photographs and people of "train" or "test".

    set_number     in *_rows.npy
    coco_file      the CocoFile that has its images
    paths          image id -> the photograph's file, None where there is none
    rows_of_image  image id -> list of Row, of the images that have people
    """

    name: str
    set_number: int
    coco_file: CocoFile
    paths: dict
    rows_of_image: dict


def parts_of(files_and_people, folder, limit):
    """The training and the test Part.

    files_and_people  (CocoFile, image id -> Rows) of each, as read_people gives them
    Raises InputError where they tell no photographs apart.
    """
    parts = []
    for name, (coco_file, people) in zip(("train", "test"), files_and_people):
        image_ids = sorted(people)[:limit]
        paths = find_photographs(coco_file, folder, image_ids)
        rows_of_image = {image_id: people[image_id] for image_id in image_ids}
        parts.append(Part(name, 1, coco_file, paths, rows_of_image))
    train, test = parts
    # a photograph of both must have the same number in both, or training on it would go unnoticed
    train_ids = {path: image_id for image_id, path in train.paths.items()}
    for image_id, path in test.paths.items():
        if path and train_ids.get(path, image_id) != image_id:
            raise InputError(
                f"{path}: is image {train_ids[path]} of the training file and {image_id} of the test file; "
                "number it alike, so that it is known to be in both"
            )
    # two files that each number their own images from 1 are two sets
    shared_ids = train.paths.keys() & test.paths.keys()
    if any(train.paths[image_id] != test.paths[image_id] for image_id in shared_ids):
        test = replace(test, set_number=2)
    return train, test


def find_photographs(coco_file, folder, image_ids):
    """Image id -> its file in the folder or in one of IMAGE_FOLDERS below, or None.

    Raises InputError where none is there.
    """
    # the first folder that has it counts
    paths = {}
    for image_id in image_ids:
        paths[image_id] = None
        for subfolder in IMAGE_FOLDERS:
            path = folder / subfolder / coco_file.images[image_id].file_name
            if path.is_file():
                paths[image_id] = path
                break
    file_names = [coco_file.images[image_id].file_name for image_id in image_ids]
    missing = [image_id for image_id, path in paths.items() if path is None]
    check_some_here(folder, file_names, missing, "--images names their folder", "photographs")
    return paths


def missing_photographs(parts, folder):
    """(set number, image number) -> a line, for the images whose files are not there."""
    missing = {}
    for part in parts:
        for image_id, path in part.paths.items():
            if path is None:
                file_name = part.coco_file.images[image_id].file_name
                missing[part.set_number, image_id] = (
                    f"{folder / file_name}: image {image_id} is neither there nor in "
                    f"{', '.join(IMAGE_FOLDERS[1:])} beside it; fetch it"
                )
    return missing
