"""Joints' names: which side they tell, and what they are called in a mirror."""

SIDE_WORDS = ("left", "right", "l", "r")  # of joints' names


def mirror_name(name):
    """The joint's name after mirroring: left_knee -> right_knee, neck -> neck."""
    if name.startswith("left_"):
        return "right_" + name.removeprefix("left_")
    if name.startswith("right_"):
        return "left_" + name.removeprefix("right_")
    return name


def without_side(name):
    """The joint's name without its side: left_eye -> eye, paw_l -> paw, leftear -> ear.

    The side may be any of its words: front_left_paw -> front_paw.
    """
    for side in SIDE_WORDS:
        words = name.split("_")
        if side in words:
            words.remove(side)
            return "_".join(words) or name
    return name.removeprefix("left").removeprefix("right") or name
