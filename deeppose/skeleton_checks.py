"""Checks that a Skeleton holds together: what its files describe may be anything."""

import re

from deeppose.joint_names import mirror_name
from deeppose.score_names import ALL_STICKS, SCORES, UNITS, pckh_thresholds, threshold_key

JOINT_NAME = re.compile(r"[a-z][a-z0-9_]*")  # joints name files
RESERVED = ("shared", "1", "2", "3")  # what model_<joint>.pt may not be called


def check(skeleton):
    """ValueError for a Skeleton that does not hold together."""
    # in this order: each check relies on those before it
    _check_shapes(skeleton)
    _check_named_joints(skeleton)
    _check_joints(skeleton)
    _check_units_and_ranges(skeleton)
    _check_scores(skeleton)


def _check_shapes(skeleton):
    """ValueError where an entry is not of the shape that Skeleton names."""
    # what JSON has as lists are tuples here
    list_entries = (
        skeleton.joints,
        skeleton.bones,
        skeleton.scores,
        skeleton.thresholds,
        skeleton.chosen_by,
        skeleton.head,
    )
    if not all(isinstance(entry, tuple) for entry in list_entries):
        raise ValueError("an entry is no tuple")
    sticks = [stick for sticks_of_limb in skeleton.limbs.values() for stick in sticks_of_limb]
    if skeleton.pairs is not None and not isinstance(skeleton.pairs, tuple):
        raise ValueError("an entry is no tuple")
    # pairs
    pairs = [*sticks, *skeleton.bones, *(skeleton.pairs or ())]
    if skeleton.head:
        pairs.append(skeleton.head)
    pairs += _distances(skeleton)
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError("a stick, a bone or a distance has not two ends")
    # ends of limbs, names and numbers
    ends = [end for stick in sticks for end in stick]
    ends_have_joints = all(isinstance(end, tuple) and end for end in ends)
    if not all(skeleton.limbs.values()) or not ends_have_joints:
        raise ValueError("a limb has no joints")
    texts = (skeleton.name, skeleton.unit_name, *skeleton.chosen_by)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name is no text")
    if not all(0 < sigma < 10 for sigma in skeleton.sigmas.values()):
        raise ValueError("a sigma is out of range")


def _distances(skeleton):
    """Units that are the distance of two joints, not a word such as "head"."""
    return [
        measure
        for measure in (skeleton.unit, skeleton.crop_size_from)
        if not isinstance(measure, str)
    ]


def _check_named_joints(skeleton):
    """ValueError where an entry names a joint that is not there, or pairs a joint twice."""
    named_joints = {*skeleton.head, *skeleton.sigmas}
    for sticks in skeleton.limbs.values():
        for stick in sticks:
            for end in stick:
                named_joints.update(end)
    for bone in skeleton.bones:
        named_joints.update(bone)
    paired_joints = [joint_name for pair in skeleton.pairs or () for joint_name in pair]
    if len(set(paired_joints)) < len(paired_joints):
        raise ValueError("a joint has two opposite ones")
    named_joints.update(paired_joints)
    for distance in _distances(skeleton):
        named_joints.update(distance)
    if unknown := named_joints - set(skeleton.joints):
        raise ValueError(f"unknown joint {min(unknown)}")


def _check_joints(skeleton):
    """ValueError where joints are not named once each, as files may be, with their opposite ones."""
    if not skeleton.joints or len(set(skeleton.joints)) < len(skeleton.joints):
        raise ValueError("a joint is there twice, or none at all")
    for joint_name in skeleton.joints:
        if not JOINT_NAME.fullmatch(joint_name) or joint_name in RESERVED:
            raise ValueError(f"a joint cannot be named {joint_name!r}")
        # without pairs the names must tell them
        if skeleton.pairs is None and mirror_name(joint_name) not in skeleton.joints:
            raise ValueError(f"{joint_name} has no {mirror_name(joint_name)}")


def _check_units_and_ranges(skeleton):
    """ValueError for an unknown unit, size or score, or a number out of range."""
    if isinstance(skeleton.unit, str) and skeleton.unit not in UNITS:
        raise ValueError(f"unknown unit {skeleton.unit!r}")
    if isinstance(skeleton.crop_size_from, str) and skeleton.crop_size_from != "extent":
        raise ValueError(f"unknown size {skeleton.crop_size_from!r}")
    if unknown := set(skeleton.scores) - set(SCORES):
        raise ValueError(f"unknown score {min(unknown)!r}")
    thresholds = (*skeleton.thresholds, skeleton.curve_to)
    if not 0 < skeleton.crop_scale < 100:
        raise ValueError("a number is out of range")
    if not all(0 < threshold < 10 for threshold in thresholds):
        raise ValueError("a number is out of range")


def _check_scores(skeleton):
    """ValueError where a mean is of unknown limbs, or an epoch is chosen by an unknown score."""
    if "pcp" in skeleton.scores and not skeleton.limbs:
        raise ValueError("PCP is of limbs, and there are none")
    for limbs in skeleton.means.values():
        if limbs == ALL_STICKS:
            continue
        if not isinstance(limbs, tuple) or not limbs or not set(limbs) <= set(skeleton.limbs):
            raise ValueError("a mean is of no parts")
    # keys, in metrics.score's dictionary, of the scores that can choose an epoch
    keys_of_score = {
        "pdj": [("pdj", threshold_key(threshold)) for threshold in skeleton.thresholds],
        "pckh": [(f"pckh_{threshold:g}",) for threshold in pckh_thresholds(skeleton)],
        "oks": [("oks",)],
    }
    possible_keys = []
    for score in skeleton.scores:
        possible_keys += keys_of_score.get(score, ())
    if skeleton.chosen_by not in possible_keys:
        raise ValueError(f"no epoch can be chosen by {' '.join(skeleton.chosen_by)}")
