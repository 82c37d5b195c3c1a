"""Leakage: images that a model was trained on and is then held out or tested with. No torch here.

model_1.json names the images as {"<set>": "1-5,7,9:1-3"}: all of images 1 to 5 and 7, and of image
9 the people 1 to 3, where the data set tells several people of an image apart.
"""

import re

import numpy as np

from deeppose import arrays, dataset_format, files
from deeppose.shell import InputError
from deeppose.workdir import STEP_2

# entries of model_1.json that its descendants repeat
INHERITED = ("trained_on", "sets", "epoch", "seconds", "initial_weights")
# "3" or "3-7", images; "3:1-2", an image and its people
ENTRY = re.compile(r"(\d+)(?:-(\d+))?(?::\d+(?:-\d+)?)?", re.ASCII)


def describe(identities):
    """Text of each set, {"<set>": "1-5,7,9:1-3"}, that names the images and people of rows.

    identities  (N, 3): set, image and person (0: the only one of its image)
    """
    texts = {}
    for set_number in np.unique(identities[:, 0]):
        in_set = identities[:, 0] == set_number
        pairs = np.unique(identities[in_set, 1:], axis=0)  # (n, 2): image and person, sorted
        sole_images = pairs[pairs[:, 1] == 0, 0]
        shared = pairs[pairs[:, 1] > 0]
        # images of one person: a run is of consecutive images
        entries = [_span(run) for run in _split(sole_images, np.diff(sole_images) > 1)]
        # images of several people: a run is of one image's consecutive people
        image_step, person_step = np.diff(shared, axis=0).T
        for run in _split(shared, (image_step > 0) | (person_step > 1)):
            entries.append(f"{run[0, 0]}:{_span(run[:, 1])}")
        texts[str(set_number)] = ",".join(entries)
    return texts


def _split(rows, ends):
    """Rows (n, ...) in pieces, each ending where `ends` (n - 1,) is true; no piece is empty."""
    return np.split(rows, np.flatnonzero(ends) + 1) if len(rows) else []


def _span(numbers):
    """Consecutive numbers as text: 1-5, or 7 for one alone."""
    return f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else str(numbers[0])


def named(texts, images):
    """Those of the images that describe()'s texts name, whoever is in them: sorted (set, image).

    images  a set of (set, image)
    Raises ValueError where the texts are none of describe()'s.
    """
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("no text a set")
    named_images = []
    for set_key, text in texts.items():
        in_set = [image for set_number, image in images if set_number == int(set_key)]
        candidates = np.array(sorted(in_set), np.int64)  # (n,)
        for image in candidates[_within(candidates, text)]:
            named_images.append((int(set_key), int(image)))
    return sorted(named_images)


def _within(numbers, text):
    """Mask, bool (n,), of the image numbers (n,) that a set's text names."""
    if not text:
        return np.zeros(len(numbers), bool)
    # first and last image of each span
    spans = []
    for entry in text.split(","):
        if not (match := ENTRY.fullmatch(entry)):
            raise ValueError(f"{entry!r} is no image")
        spans.append((int(match[1]), int(match[2] or match[1])))
    first_images, last_images = np.array(sorted(spans), np.int64).T
    # the last of all spans that begin no later, should they overlap
    last_images = np.maximum.accumulate(last_images)
    # a number can only be in the last span that begins no later than it, or in one before that
    span = np.searchsorted(first_images, numbers, "right") - 1  # (n,), -1: all begin later
    return (span >= 0) & (numbers <= last_images[span])


def images_of(identities):
    """Set of (set, image) of rows (N, 3)."""
    return {(set_number, image) for set_number, image, _ in identities.tolist()}


def seen_in_training(train, test):
    """Number of test rows, of (M, 3), that show an image of the training rows (N, 3) as well."""
    train_images = images_of(train)
    return sum((set_number, image) in train_images for set_number, image, _ in test.tolist())


def note_seen(workdir):
    """Entry of dataset.json, {"seen_in_training": number of test rows}, printed as a warning too.

    It is {} where there is no such row. Reads train_rows.npy and test_rows.npy. Held-out rows count
    as training: they choose epochs and gains.
    """
    train = dataset_format.identities(np.load(workdir / "train_rows.npy"))
    test = dataset_format.identities(np.load(workdir / "test_rows.npy"))
    seen = seen_in_training(train, test)
    if not seen:
        return {}
    print(
        f"warning: {seen} of the {len(test)} test rows show images of the training rows; "
        'every score will be marked "seen in training"'
    )
    return {"seen_in_training": seen}


def ancestors(path):
    """Entries of model_1.json about the models that a training begins from, the nearest first.

    path  of the nearest, a whole model, whose .json is beside it and tells of those before it
    """
    provenance = files.load_json(path.with_suffix(".json"), STEP_2)
    nearest = {key: provenance[key] for key in INHERITED if key in provenance}
    return [nearest | {"digest": arrays.digest(path)}, *_ancestors_in(provenance)]


def _ancestors_in(provenance):
    """Entries that a model_1.json has of ancestors; none where it was edited into nonsense."""
    entries = provenance.get("ancestors")
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, dict)]


def check_model(path, dataset):
    """InputError where a model was trained on images that the Dataset holds out or tests on.

    The model is model_1.pt at `path`, and with it each model that it began from. Images that the
    Dataset itself has in both parts pass, since its scores are marked. A warning is printed where
    the model comes from other arrays. A model whose .json is missing, or names no images, passes.
    """
    provenance_path = path.with_suffix(".json")
    if not provenance_path.exists():
        return
    # the model itself
    provenance = files.load_json(provenance_path, STEP_2)
    if provenance.get("trained_on") is not None:
        _check_unseen(path, provenance["trained_on"], dataset)
    # its ancestors, by the sets they share: another set's numbers mean other images
    for ancestor in _ancestors_in(provenance):
        _check_unseen(path, _in_shared_sets(ancestor, dataset.facts.get("sets")), dataset)
    # other arrays of the same photographs are no leakage, but may be a mistake
    settings = provenance.get("settings")
    if isinstance(settings, dict) and settings.get("dataset", dataset.digests) != dataset.digests:
        print(
            f"warning: {path} was trained on other arrays than those of {dataset.folder / 'dataset.json'}"
        )


def _in_shared_sets(ancestor, set_names):
    """Texts of an ancestor's images, of those sets alone that have the same name under a number."""
    texts = ancestor.get("trained_on")
    ancestor_names = ancestor.get("sets")
    if not all(isinstance(entry, dict) for entry in (texts, ancestor_names, set_names)):
        return {}
    shared = ancestor_names.items() & set_names.items()
    return {number: texts[number] for number, _ in shared if number in texts}


def _check_unseen(path, texts, dataset):
    """InputError where describe()'s texts name images that the Dataset holds out or tests on.

    path  of the model, for errors
    """
    train = dataset.identities("train")
    held_out_images = images_of(train[dataset.held_out])
    test_images = images_of(dataset.identities("test"))
    trained_images = images_of(train[dataset.trained_on])
    # images in one part alone, since scores of what is in both are marked: see note_seen
    unseen = (held_out_images ^ test_images) - trained_images
    try:
        leaked = named(texts, unseen)
    except (ValueError, OverflowError):
        raise InputError(
            f"{path.with_suffix('.json')}: its trained_on names no images; run {STEP_2} again"
        ) from None
    if leaked:
        set_number, image = leaked[0]
        raise InputError(
            f"{path}: was trained on images that {dataset.folder / 'dataset.json'} holds out or tests on "
            f"({len(leaked)}, such as image {image} of set {set_number}); train it on this data, {STEP_2}, "
            "or test it on other images"
        )
