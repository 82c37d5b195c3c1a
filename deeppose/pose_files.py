"""Files of predict.py: the photographs it is given, the pictures and numbers it writes."""

import itertools

from deeppose import drawing, files
from deeppose.photos import ENDINGS, FORMATS
from deeppose.shell import InputError

PICTURE_ENDING = "_pose.png"


def find(inputs):
    """Photographs that files and folders name, each once; InputError for a folder without one.

    In a folder a photograph is known by its name's ending; the pictures that predict.py wrote there
    are left out.
    """
    photographs = []
    for path in inputs:
        paths = _photographs_in(path) if path.is_dir() else [path]
        if not paths:
            raise InputError(f"{path}: holds no photograph ({', '.join(FORMATS)})")
        photographs += paths
    # by resolved path, so that one that is named twice is read once
    return list({path.resolve(): path for path in photographs}.values())


def _photographs_in(folder):
    """Paths of a folder's photographs, sorted, without predict.py's pictures."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in ENDINGS and path.is_file() and not _is_picture(path)
    ]


def _is_picture(path):
    """Whether predict.py wrote this file, as the .json that it then wrote beside it says."""
    if not path.name.endswith(PICTURE_ENDING):
        return False
    try:
        description = files.load_json(path.with_suffix(".json"), "predict.py")
    except InputError:
        return False
    return isinstance(description.get("photograph"), str)


def outputs(photographs, folder=None):
    """Path photo_pose.png for each photograph's path, in the folder or beside it.

    It is numbered where that name is taken: by another photograph's picture, or by a file that is
    there and not predict.py's.
    """
    pictures = []
    taken = set()
    for photograph in photographs:
        # photo_pose.png, photo_2_pose.png, ...: the first that is free
        for number in itertools.count(1):
            stem = photograph.stem if number == 1 else f"{photograph.stem}_{number}"
            picture = (folder or photograph.parent) / f"{stem}{PICTURE_ENDING}"
            key = str(picture.resolve()).casefold()  # some disks do not tell a from A
            if key not in taken and (not picture.exists() or _is_picture(picture)):
                break
        pictures.append(picture)
        taken.add(key)
    return pictures


def write(picture, source, photo, poses, model):
    """Write the picture, photo_pose.png, and the numbers beside it.

    The numbers come first: by them a picture is known as predict.py's.

    source        the photograph's path, photo its photos.Photo
    poses, model  see describe
    """
    files.save_json(picture.with_suffix(".json"), describe(source, photo, poses, model))
    last_stage = model.stages[-1]
    drawing.photograph(
        picture,
        photo.image,
        poses[last_stage] / photo.factor,  # (P, J, 2) px of the picture
        model.skeleton,
        poses["confidence"][last_stage],
    )


def describe(source, photo, poses, model):
    """The content of photo_pose.json: each person's joints by name.

    poses  a photograph's, as predict.predict returns them
    model  the prediction.Model that they are of
    """
    people = [_describe_person(person, poses, model) for person in range(len(poses["boxes"]))]
    return {
        "photograph": str(source),
        "width": photo.size[0],
        "height": photo.size[1],
        "skeleton": model.skeleton.name,
        "people": people,
        "model": model.provenance | {"two_pass": model.two_pass, "flip_test": model.flip_test},
    }


def _describe_person(person, poses, model):
    """A person's entry in photo_pose.json: what stage 1 was shown last, as x0, y0, x1, y1 px; the
    joints of each stage, and their confidence."""
    joint_names = model.skeleton.joints
    entry = {"box": poses["boxes"][person].tolist()}
    # stage_2 is always there, null where the model has no refiner
    for stage in dict.fromkeys(("stage_1", "stage_2", *model.stages)):
        entry[stage] = None
        if poses[stage] is not None:
            joints_px = poses[stage][person].round(3).tolist()
            entry[stage] = dict(zip(joint_names, joints_px))
    confidence = poses["confidence"][model.stages[-1]][person].astype(float)
    entry["confidence"] = dict(zip(joint_names, confidence.round(3).tolist()))
    return entry
