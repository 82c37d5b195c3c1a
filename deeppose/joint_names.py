"""Joints' names: which side they tell, and what they are called in a mirror."""

SIDE_WORDS = ("left", "right", "l", "r")  # of joints' names


def mirror_name(joint_name):
    """The joint's name after mirroring: left_knee -> right_knee, neck -> neck."""
    if joint_name.startswith("left_"):
        return "right_" + joint_name.removeprefix("left_")
    if joint_name.startswith("right_"):
        return "left_" + joint_name.removeprefix("right_")
    return joint_name


def without_side(joint_name):
    """The joint's name without its side: left_eye -> eye, paw_l -> paw, leftear -> ear.

    The side may be any of its words: front_left_paw -> front_paw.
    """
    words = joint_name.split("_")
    for side in SIDE_WORDS:
        if side in words:
            words.remove(side)
            # a joint that is called by its side alone keeps its name
            return "_".join(words) or joint_name
    return joint_name.removeprefix("left").removeprefix("right") or joint_name
