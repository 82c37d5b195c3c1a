"""Leakage: images that a model was trained on and is then held out or tested with. No torch here.

model_1.json names the images as {"<set>": "1-5,7,9:1-3"}: all of images 1 to 5 and 7, and of image
9 the people 1 to 3, where the data set tells several people of an image apart.
"""

import re

import numpy as np

from deeppose import arrays, files
from deeppose.shell import InputError

STEP_2 = "Train_stage_1.py (step 2)"
INHERITED = ("trained_on", "sets", "epoch", "seconds", "initial_weights")
# "3" or "3-7", images; "3:1-2", an image and its people
ENTRY = re.compile(r"(\d+)(?:-(\d+))?(?::\d+(?:-\d+)?)?", re.ASCII)


def describe(identities):
    """The text of each set, {"<set>": "1-5,7,9:1-3"}, for rows (N, 3) of set, image and person (0:
    the only one)."""
    texts = {}
    for number in np.unique(identities[:, 0]):
        # (image, person), sorted
        pairs = np.unique(identities[identities[:, 0] == number, 1:], axis=0)
        alone = pairs[pairs[:, 1] == 0, 0]
        several = pairs[pairs[:, 1] > 0]
        entries = [_span(run) for run in _split(alone, np.diff(alone) > 1)]
        image_step, person_step = np.diff(several, axis=0).T
        for run in _split(several, (image_step > 0) | (person_step > 1)):
            entries.append(f"{run[0, 0]}:{_span(run[:, 1])}")
        texts[str(number)] = ",".join(entries)
    return texts


def _split(rows, ends):
    """The rows (n, ...) in pieces, each ending where `ends` (n - 1,) is true; no piece is empty."""
    return np.split(rows, np.flatnonzero(ends) + 1) if len(rows) else []


def _span(numbers):
    """Consecutive numbers as text: 1-5, or 7 for one alone."""
    return f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else str(numbers[0])


def named(texts, images):
    """Those of the images, a set of (set, image), that describe()'s texts name, whoever is in them,
    sorted.

    ValueError where the texts are no describe()'s.
    """
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("no text a set")
    found = []
    for number, text in texts.items():
        wanted = np.array(sorted(image for one, image in images if one == int(number)), np.int64)
        found += [(int(number), int(image)) for image in wanted[_within(wanted, text)]]
    return sorted(found)


def _within(numbers, text):
    """Which of the image numbers (n,) a set's text names: bool (n,)."""
    if not text:
        return np.zeros(len(numbers), bool)
    spans = []
    for entry in text.split(","):
        if not (match := ENTRY.fullmatch(entry)):
            raise ValueError(f"{entry!r} is no image")
        spans.append((int(match[1]), int(match[2] or match[1])))
    first, last = np.array(sorted(spans), np.int64).T
    last = np.maximum.accumulate(last)  # of all spans that begin no later, should they overlap
    # the last span that begins no later than the number, -1 for none
    place = np.searchsorted(first, numbers, "right") - 1
    return (place >= 0) & (numbers <= last[place])


def images_of(identities):
    """The set of (set, image) of rows (N, 3)."""
    return {(number, image) for number, image, _ in identities.tolist()}


def seen_in_training(train, test):
    """How many of the test rows (M, 3) show an image that a row (N, 3) of the training part shows
    as well."""
    seen = images_of(train)
    return sum((number, image) in seen for number, image, _ in test.tolist())


def note_seen(workdir):
    """Entry of dataset.json, {"seen_in_training": test rows}, which is also said.

    It is {} where no test row is.

    Reads train_rows.npy and test_rows.npy. Held-out rows count as training: they choose epochs and
    gains.
    """
    train, test = (
        arrays.identities(np.load(workdir / f"{part}_rows.npy")) for part in ("train", "test")
    )
    seen = seen_in_training(train, test)
    if not seen:
        return {}
    print(
        f"warning: {seen} of the {len(test)} test rows show images of the training rows; "
        'every score will be marked "seen in training"'
    )
    return {"seen_in_training": seen}


def ancestors(path):
    """Entries of model_1.json about a model that another's training begins from, and about those
    before it: the nearest first.

    path  of the whole model, whose .json is beside it
    """
    facts = files.load_json(path.with_suffix(".json"), STEP_2)
    nearest = {name: facts[name] for name in INHERITED if name in facts}
    return [nearest | {"digest": arrays.digest(path)}, *_ancestors_in(facts)]


def _ancestors_in(facts):
    """The entries that a model_1.json has of ancestors; none where it was edited into nonsense."""
    entries = facts.get("ancestors")
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []


def check_model(path, data):
    """InputError where model_1.pt at `path`, or a model that it began from, was trained on images
    that the Dataset holds out or tests on.

    Those that the Dataset itself has in both parts pass, since its scores are marked. A warning is
    printed where the model comes from other arrays. A model whose .json is missing, or names no
    images, passes.
    """
    provenance = path.with_suffix(".json")
    if not provenance.exists():
        return
    known = files.load_json(provenance, STEP_2)
    if known.get("trained_on") is not None:
        _check_unseen(path, provenance, known["trained_on"], data)
    # an ancestor may have learnt from another data set, whose numbers mean other images
    for ancestor in _ancestors_in(known):
        of_these_sets = ancestor.get("sets") and ancestor["sets"] == data.facts.get("sets")
        if of_these_sets and ancestor.get("trained_on") is not None:
            _check_unseen(path, provenance, ancestor["trained_on"], data)
    settings = known.get("settings")
    if isinstance(settings, dict) and settings.get("dataset", data.digests) != data.digests:
        print(
            f"warning: {path} was trained on other arrays than those of {data.folder / 'dataset.json'}"
        )


def _check_unseen(path, provenance, texts, data):
    train = data.identities("train")
    held_out = images_of(train[data.held_out])
    test = images_of(data.identities("test"))
    trained = images_of(train[data.trained_on])
    # images in one part alone, since scores of what is in both are marked: see note_seen
    unseen = (held_out ^ test) - trained
    try:
        leaked = named(texts, unseen)
    except (ValueError, OverflowError):
        raise InputError(
            f"{provenance}: its trained_on names no images; run {STEP_2} again"
        ) from None
    if leaked:
        number, image = leaked[0]
        raise InputError(
            f"{path}: was trained on images that {data.folder / 'dataset.json'} holds out or tests on "
            f"({len(leaked)}, such as image {image} of set {number}); train it on this data, {STEP_2}, "
            "or test it on other images"
        )
