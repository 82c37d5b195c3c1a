import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from deeppose.joint_names import mirror_name, opposite_name, split_side, without_side
from deeppose.skeleton import Skeleton, from_description
from deeppose.skeletons import LSP


def test_joints_are_lsps_in_order():
    assert LSP.joint_count == 14
    assert (
        LSP.joints[0] == "right_ankle"
        and LSP.joints[5] == "left_ankle"
        and LSP.joints[13] == "head"
    )


def test_flip_goes_by_name_and_twice_is_nothing():
    for joint, name in enumerate(LSP.joints):
        assert LSP.joints[LSP.flip[joint]] == mirror_name(name)
        assert LSP.flip[LSP.flip[joint]] == joint
    assert LSP.flip == (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13)  # by hand


def test_ten_sticks_in_six_parts():
    assert len(LSP.sticks) == 10 and len(LSP.limbs) == 6
    sticks = dict(zip(LSP.sticks, LSP.stick_parts))
    assert sticks[((9, 8), (3, 2))] == "torso"  # mid-shoulder to mid-hip
    assert sticks[((7,), (6,))] == "lower_arms" and sticks[((4,), (5,))] == "lower_legs"


def test_torso_is_left_shoulder_to_right_hip():
    assert LSP.unit == LSP.crop_size_from == ("left_shoulder", "right_hip")
    assert tuple(LSP.index(name) for name in LSP.unit) == (9, 2)
    joints = np.random.default_rng(0).uniform(0, 227, (5, 14, 2))
    diameter = np.linalg.norm(joints[:, 9] - joints[:, 2], axis=1)
    np.testing.assert_allclose(LSP.units_px(joints, None), diameter)
    np.testing.assert_allclose(LSP.pose_sizes_px(joints), diameter)
    np.testing.assert_allclose(LSP.pose_sizes_px(torch.from_numpy(joints)), diameter)


def test_groups_hold_every_joint_once():
    assert sorted(j for members in LSP.joint_groups.values() for j in members) == list(range(14))
    assert LSP.joint_groups["wrist"] == (6, 11) and LSP.joint_groups["neck"] == (12,)


PAIR = ("left_eye", "right_eye", "nose")


def test_units_and_head_sizes_of_the_rows():
    true = np.zeros((3, 3, 2))
    true[:, 0, 0] = 5
    sizes = {"head": np.array([8.0, np.nan, 4]), "box": np.array([90.0, 80, 70])}
    by_head = Skeleton("faces", PAIR, unit="head", head=("left_eye", "right_eye"))
    np.testing.assert_array_equal(by_head.units_px(true, sizes), sizes["head"])
    # a row without: from the joints
    np.testing.assert_array_equal(by_head.head_px(true, sizes), [8, 5, 4])
    np.testing.assert_array_equal(replace(by_head, head=()).head_px(true, sizes), sizes["head"])
    np.testing.assert_array_equal(
        Skeleton("faces", PAIR, unit="box").units_px(true, sizes), sizes["box"]
    )
    poses = np.array([[[0, 0], [30, 4], [10, 9]]], float)
    np.testing.assert_allclose(by_head.pose_sizes_px(poses), [30])
    np.testing.assert_allclose(by_head.pose_sizes_px(torch.from_numpy(poses)), [30])


def test_a_skeleton_travels_as_json():
    """As dataset.json and model_1.json have it: what is read back is the same Skeleton, and flips
    the same."""
    eyes = Skeleton(
        "faces",
        PAIR,
        unit="head",
        scores=("pckh", "oks"),
        chosen_by=("oks",),
        sigmas={"nose": 0.026},
    )
    for skeleton in (LSP, eyes):
        again = from_description(json.loads(json.dumps(skeleton.described())))
        assert again == skeleton and again.flip == skeleton.flip and again.sticks == skeleton.sticks
    assert eyes.oks_sigmas.tolist() == [0.05, 0.05, 0.026]


@pytest.mark.parametrize(
    "entries, said",
    [
        ({"joints": ("left_eye", "nose")}, "left_eye has no right_eye"),
        ({"joints": ("nose", "nose")}, "twice"),
        ({"joints": ()}, "none at all"),
        ({"joints": ("shared",)}, "cannot be named"),
        ({"joints": ("../a",)}, "named"),
        ({"bones": (("nose", "tail"),)}, "unknown joint tail"),
        ({"unit": ("nose", "tail")}, "unknown joint tail"),
        ({"crop_size_from": ("nose", "tail")}, "unknown joint tail"),
        ({"unit": "mile"}, "unknown unit"),
        ({"crop_size_from": "mile"}, "unknown size"),
        ({"scores": ("luck",)}, "unknown score"),
        ({"crop_scale": 0}, "out of range"),
        ({"thresholds": (0.2, 11)}, "out of range"),
        ({"tail": 1}, "entries"),
    ],
)
def test_skeletons_that_do_not_hold_together(entries, said):
    description = {"name": "faces", "joints": PAIR} | entries
    with pytest.raises(ValueError, match=said):
        from_description(description)


def test_without_sides_nothing_is_mirrored():
    assert LSP.has_sides and not Skeleton("stick", ("top", "foot")).has_sides


def test_pairs_tell_the_flips_that_names_do_not():
    paws = Skeleton(
        "dog",
        ("nose", "paw_l", "paw_r", "leftear", "rightear"),
        pairs=(("paw_l", "paw_r"), ("leftear", "rightear")),
    )
    assert paws.flip == (0, 2, 1, 4, 3) and paws.has_sides
    assert paws.joint_groups == {"nose": (0,), "paw": (1, 2), "ear": (3, 4)}
    assert [paws.side(name) for name in paws.joints] == [None, "left", "right", "left", "right"]
    assert from_description(json.loads(json.dumps(paws.described()))).flip == paws.flip
    lonely = Skeleton("face", ("left_eye", "nose"), pairs=())
    assert not lonely.has_sides and lonely.joint_groups == {"left_eye": (0,), "nose": (1,)}
    for pairs in (
        (("nose", "tail"),),
        (("nose", "paw_l"), ("nose", "paw_r")),
        ("nose",),
        "nose",
        (("nose",),),
    ):
        with pytest.raises(ValueError):
            replace(paws, pairs=pairs)


@pytest.mark.parametrize(
    ("name", "sideless", "opposite"),
    [
        ("left_eye", "eye", "right_eye"),
        ("paw_l", "paw", "paw_r"),
        ("front_left_paw", "front_paw", "front_right_paw"),
        ("leftear", "ear", "rightear"),
        ("left", "left", "right"),
        ("l_left", "left", "r_left"),
        ("leg", "leg", None),
        ("nose", "nose", None),
    ],
)
def test_the_side_in_a_name(name, sideless, opposite):
    assert "".join(split_side(name)) == name
    assert (without_side(name), opposite_name(name)) == (sideless, opposite)
