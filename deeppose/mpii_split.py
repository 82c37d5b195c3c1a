"""Training and test persons of MPII, whose own test images come without joints. No torch here."""

from functools import partial

import numpy as np

from deeppose import downloads

SPLITS = ("default", "deeppose_tf")
SPLIT_SEED = 1701  # deeppose_tf's, as the next three
TEST_SHARE = 0.1  # of the persons that are labelled completely
# deeppose_tf reduces higher photographs to this, and then leaves out persons with a joint
REDUCED_HEIGHT_PX = 400
OUTSIDE_PX = 3  # more than this far outside


def split(people, photo_folder, how="default"):
    """Training and test persons, two lists of mpii.Person; those of the test as they are drawn.

    people        list of mpii.Person
    photo_folder  of their photographs
    how           "deeppose_tf": theirs, of complete persons alone, and so persons of one image may
                  be in both; "default": the training persons are those, complete or not, whose
                  image holds no test person
    """
    labelled = [
        person for person in people if person.training and not np.isnan(person.joints).all()
    ]
    complete = [person for person in labelled if not np.isnan(person.joints).any()]
    if how == "deeppose_tf":
        complete = [person for person in complete if is_inside(person, photo_folder)]
        labelled = complete
    # draw the test persons
    shuffled = np.random.RandomState(SPLIT_SEED).permutation(len(complete))
    test_count = int(TEST_SHARE * len(complete))
    test = [complete[index] for index in shuffled[:test_count]]
    # the others train
    test_rects = {(person.image_index, person.rect) for person in test}
    train = [person for person in labelled if (person.image_index, person.rect) not in test_rects]
    if how == "default":
        test_images = {person.image_index for person in test}
        train = [person for person in train if person.image_index not in test_images]
    return train, test


def is_inside(person, photo_folder):
    """Whether no joint lies too far outside of the photograph for deeppose_tf."""
    path = photo_folder / person.file_name
    size_px = downloads.image_size(partial(open, path, "rb"))  # (w, h)
    if size_px is None:
        return True  # it is named when the frames are cut
    outside_px = np.maximum(-person.joints, person.joints - size_px)  # (16, 2)
    reduction = min(1, REDUCED_HEIGHT_PX / size_px[1])
    return np.nanmax(outside_px) * reduction <= OUTSIDE_PX
