from deeppose.skeleton import LSP, mirror_name


def test_joints_are_lsps_in_order():
    assert LSP.joint_count == 14
    assert LSP.joints[0] == "right_ankle" and LSP.joints[5] == "left_ankle" and LSP.joints[13] == "head"


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
    assert LSP.torso_ends == (9, 2)


def test_groups_hold_every_joint_once():
    assert sorted(j for members in LSP.joint_groups.values() for j in members) == list(range(14))
    assert LSP.joint_groups["wrist"] == (6, 11) and LSP.joint_groups["neck"] == (12,)
