"""Checks that a Skeleton holds together: what its files describe may be anything."""

import re

from deeppose.joint_names import mirror_name
from deeppose.score_names import ALL_STICKS, SCORES, UNITS, threshold_key

JOINT_NAME = re.compile(r"[a-z][a-z0-9_]*")  # joints name files
RESERVED = ("shared", "1", "2", "3")  # what model_<joint>.pt may not be called


def check(skeleton):
    """ValueError for a Skeleton that does not hold together."""
    _check_shapes(skeleton)
    # every joint that an entry names is there
    named = {*skeleton.head, *skeleton.sigmas}
    for sticks in skeleton.limbs.values():
        for stick in sticks:
            for end in stick:
                named.update(end)
    for bone in skeleton.bones:
        named.update(bone)
    paired = [name for pair in skeleton.pairs or () for name in pair]
    if len(set(paired)) < len(paired):
        raise ValueError("a joint has two opposite ones")
    named.update(paired)
    for distance in (skeleton.unit, skeleton.crop_size_from):
        if not isinstance(distance, str):
            named.update(distance)
    if unknown := named - set(skeleton.joints):
        raise ValueError(f"unknown joint {min(unknown)}")
    # joints have names that files may have, once each, and opposite ones
    if not skeleton.joints or len(set(skeleton.joints)) < len(skeleton.joints):
        raise ValueError("a joint is there twice, or none at all")
    for name in skeleton.joints:
        if not JOINT_NAME.fullmatch(name) or name in RESERVED:
            raise ValueError(f"a joint cannot be named {name!r}")
        if skeleton.pairs is None and mirror_name(name) not in skeleton.joints:
            raise ValueError(f"{name} has no {mirror_name(name)}")
    # units, sizes and scores are known ones
    if isinstance(skeleton.unit, str) and skeleton.unit not in UNITS:
        raise ValueError(f"unknown unit {skeleton.unit!r}")
    if isinstance(skeleton.crop_size_from, str) and skeleton.crop_size_from != "extent":
        raise ValueError(f"unknown size {skeleton.crop_size_from!r}")
    if unknown := set(skeleton.scores) - set(SCORES):
        raise ValueError(f"unknown score {min(unknown)!r}")
    thresholds = (*skeleton.thresholds, skeleton.curve_to)
    if not 0 < skeleton.crop_scale < 100 or not all(0 < t < 10 for t in thresholds):
        raise ValueError("a number is out of range")
    _check_scores(skeleton)


def _check_shapes(skeleton):
    """ValueError where an entry is not of the shape that Skeleton names."""
    # lists, which are tuples here
    listed = (
        skeleton.joints,
        skeleton.bones,
        skeleton.scores,
        skeleton.thresholds,
        skeleton.chosen_by,
        skeleton.head,
    )
    if not all(isinstance(entry, tuple) for entry in listed):
        raise ValueError("an entry is no tuple")
    sticks = [stick for part in skeleton.limbs.values() for stick in part]
    if skeleton.pairs is not None and not isinstance(skeleton.pairs, tuple):
        raise ValueError("an entry is no tuple")
    # pairs
    pairs = [*sticks, *skeleton.bones, *(skeleton.pairs or ())]
    if skeleton.head:
        pairs.append(skeleton.head)
    for distance in (skeleton.unit, skeleton.crop_size_from):
        if not isinstance(distance, str):
            pairs.append(distance)
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError("a stick, a bone or a distance has not two ends")
    # ends of limbs, names and numbers
    ends = [end for stick in sticks for end in stick]
    has_joints = all(isinstance(end, tuple) and end for end in ends)
    if not all(skeleton.limbs.values()) or not has_joints:
        raise ValueError("a limb has no joints")
    texts = (skeleton.name, skeleton.unit_name, *skeleton.chosen_by)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name is no text")
    if not all(0 < sigma < 10 for sigma in skeleton.sigmas.values()):
        raise ValueError("a sigma is out of range")


def _check_scores(skeleton):
    """ValueError where a mean is of unknown parts, or an epoch is chosen by an unknown score."""
    if "pcp" in skeleton.scores and not skeleton.limbs:
        raise ValueError("PCP is of limbs, and there are none")
    for parts in skeleton.means.values():
        if parts == ALL_STICKS:
            continue
        if not isinstance(parts, tuple) or not parts or not set(parts) <= set(skeleton.limbs):
            raise ValueError("a mean is of no parts")
    # keys, in metrics.score's dictionary, of the scores that can choose an epoch
    head_thresholds = skeleton.thresholds if skeleton.unit == "head" else (0.5,)
    keys_of_score = {
        "pdj": [("pdj", threshold_key(t)) for t in skeleton.thresholds],
        "pckh": [(f"pckh_{t:g}",) for t in head_thresholds],
        "oks": [("oks",)],
    }
    keys = []
    for score in skeleton.scores:
        keys += keys_of_score.get(score, ())
    if skeleton.chosen_by not in keys:
        raise ValueError(f"no epoch can be chosen by {' '.join(skeleton.chosen_by)}")
