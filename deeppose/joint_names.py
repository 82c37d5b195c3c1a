"""Joints' names: which side they tell, and what they are called in a mirror."""

OPPOSITE_SIDE = {"left": "right", "right": "left", "l": "r", "r": "l"}  # words of joints' names


def mirror_name(joint_name):
    """The joint's name after mirroring: left_knee -> right_knee, neck -> neck."""
    if joint_name.startswith("left_"):
        return "right_" + joint_name.removeprefix("left_")
    if joint_name.startswith("right_"):
        return "left_" + joint_name.removeprefix("right_")
    return joint_name


def split_side(joint_name):
    """What stands before the side that a lower-cased name tells, the side, and what stands after it.

    The name is these three together; the side is "" where it tells none. Names that tell it are
    left_x, x_left, l_x, x_l, a_left_x, and leftX or LeftX, which is leftx when lower-cased.
    """
    # a word of its own: left_x, x_l, a_left_x
    words = joint_name.split("_")
    for index, word in enumerate(words):
        if word in OPPOSITE_SIDE:
            before = "".join(f"{earlier}_" for earlier in words[:index])
            after = "".join(f"_{later}" for later in words[index + 1 :])
            return before, word, after
    # the beginning of one word: leftx; "l" and "r" would be the beginning of leg and rear
    for side in ("left", "right"):
        if joint_name.startswith(side):
            return "", side, joint_name.removeprefix(side)
    return joint_name, "", ""


def without_side(joint_name):
    """The joint's name without its side: left_eye -> eye, paw_l -> paw, leftear -> ear.

    The side may be any of its words: front_left_paw -> front_paw. A joint that is called by its
    side alone keeps its name.
    """
    before, side, after = split_side(joint_name)
    if not side:
        return joint_name
    return (before + after.removeprefix("_")).removesuffix("_") or joint_name


def opposite_name(joint_name):
    """The name of the joint on the other side, paw_l -> paw_r; None where the name tells no side."""
    before, side, after = split_side(joint_name)
    return before + OPPOSITE_SIDE[side] + after if side else None
