"""PCP, PDJ and their kin against literal loops, by hand, on hostile inputs, and on errors of known
size."""

import time
from dataclasses import replace

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn
from literal import literal_oks, literal_pck, literal_pcp, literal_pdj
from scipy.integrate import trapezoid

from deeppose import joint_metrics, metrics
from deeppose.skeleton import Skeleton
from deeppose.skeletons import LSP

TORSO = (9, 2)  # left shoulder and right hip, by hand
FACES = Skeleton(
    "faces",
    ("left_eye", "right_eye", "nose"),
    unit="head",
    unit_name="head sizes",
    thresholds=(0.2, 0.5),
    scores=("pckh",),
    chosen_by=("pckh_0.5",),
)


def example(seed, count=40, missing=0.15, error_px=12):
    rng = np.random.default_rng(seed)
    true = rng.uniform(0, 227, (count, 14, 2))
    predicted = true + rng.normal(0, error_px, true.shape)
    true[rng.random((count, 14)) < missing] = np.nan
    return predicted, true


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_pcp_equals_a_literal_loop(seed, strict):
    predicted, true = example(seed, missing=0.3 * (seed % 2))
    for threshold in (0.1, 0.5):
        ours = joint_metrics.pcp(predicted, true, LSP.sticks, threshold, strict)
        np.testing.assert_allclose(
            ours, literal_pcp(predicted, true, LSP.sticks, threshold, strict), atol=1e-12
        )


@pytest.mark.parametrize("seed", range(4))
def test_pdj_equals_a_literal_loop(seed):
    predicted, true = example(seed, missing=0.3 * (seed % 2))
    diameter = np.linalg.norm(true[:, 9] - true[:, 2], axis=1)
    for threshold in (0, 0.05, 0.2, 0.5):
        np.testing.assert_allclose(
            joint_metrics.pdj(predicted, true, diameter, threshold),
            literal_pdj(predicted, true, TORSO, threshold),
            atol=1e-12,
        )


def test_auc_is_the_area_under_pdj():
    predicted, true = example(7)
    diameter = np.linalg.norm(true[:, 9] - true[:, 2], axis=1)
    thresholds = np.linspace(0, 0.5, 2001)
    rates = [joint_metrics.pdj_pooled(predicted, true, diameter, t) for t in thresholds]
    assert joint_metrics.auc(predicted, true, diameter) == pytest.approx(
        trapezoid(rates, thresholds) / 0.5, abs=1e-3
    )


def test_scores_by_hand():
    """Two images, one limb of length 10 from (0, 0) to (10, 0), allowed 5; torso diameter 10."""
    true = np.array([[[0, 0], [10, 0]], [[0, 0], [10, 0]]], float)
    predicted = np.array(
        [
            [[5, 0], [10, 5]],  # both ends exactly 5 off: right, for <= counts
            [[0, 0], [10, 6]],
        ],
        float,
    )  # 0 and 6 off: strict wrong, relaxed (3) right
    limbs = [(0, 1)]
    assert joint_metrics.pcp(predicted, true, limbs) == pytest.approx([0.5])
    assert joint_metrics.pcp(predicted, true, limbs, strict=False) == pytest.approx([1.0])
    assert joint_metrics.pdj(predicted, true, [10, 10], 0.5) == pytest.approx([1.0, 0.5])
    assert joint_metrics.pdj(predicted, true, [10, 10], 0) == pytest.approx([0.5, 0.0])
    assert joint_metrics.pdj_pooled(predicted, true, [10, 10], 0.5) == pytest.approx(0.75)


def test_an_end_may_be_the_middle_of_joints():
    true = np.array([[[0, 0], [10, 0], [5, 20]]], float)
    predicted = true + [[[0, 9], [0, -9], [0, 0]]]  # the errors cancel in the middle
    assert joint_metrics.pcp(predicted, true, [((0, 1), 2)]) == pytest.approx([1.0])


def test_unlabelled_joints_leave_numerator_and_denominator():
    predicted, true = example(1, missing=0)
    true[:, 6] = np.nan
    scores = joint_metrics.pdj(predicted, true, np.full(len(true), 50.0), 0.2)
    assert np.isnan(scores[6]) and not np.isnan(np.delete(scores, 6)).any()
    true[1:, 9] = np.nan  # now only the first image has a torso
    diameter = np.linalg.norm(true[:, 9] - true[:, 2], axis=1)
    one = joint_metrics.pdj(predicted[:1], true[:1], diameter[:1], 0.2)
    np.testing.assert_array_equal(joint_metrics.pdj(predicted, true, diameter, 0.2), one)


def test_perfect_predictions_score_one_and_strict_is_at_most_relaxed():
    predicted, true = example(2, missing=0)
    perfect = metrics.score(true, true, LSP)
    assert (
        perfect["auc"] == 1
        and perfect["pdj"]["0.00"] == 1
        and set(perfect["pcp_strict"].values()) == {1.0}
    )
    scores = metrics.score(predicted, true, LSP)
    assert all(
        scores["pcp_strict"][part] <= scores["pcp_relaxed"][part] for part in scores["pcp_strict"]
    )


def test_score_has_the_contracts_keys_and_means():
    scores = metrics.score(*example(3, missing=0), LSP)
    assert {"pcp_strict", "pcp_relaxed", "pdj", "pdj_per_joint_0.2", "auc", "pckh_0.5"} <= set(
        scores
    )
    assert scores["never_labelled"] == []
    assert list(scores["pdj"]) == [f"{k * 0.05:.2f}" for k in range(11)]
    assert list(scores["pdj_per_joint_0.2"]) == list(LSP.joints)
    part = scores["pcp_strict"]
    assert set(part) == {
        "head",
        "torso",
        "upper_arms",
        "lower_arms",
        "upper_legs",
        "lower_legs",
        "mean_4",
        "mean_6",
        "mean_10",
    }
    limbs = [part[name] for name in ("upper_arms", "lower_arms", "upper_legs", "lower_legs")]
    assert part["mean_4"] == pytest.approx(sum(limbs) / 4)
    assert part["mean_6"] == pytest.approx((sum(limbs) + part["head"] + part["torso"]) / 6)
    assert part["mean_10"] == pytest.approx((2 * sum(limbs) + part["head"] + part["torso"]) / 10)


def test_pckh_by_hand():
    """Two people with heads of 10 and 20; all four joints are 6 off, so within half the head for
    the second alone."""
    true = np.zeros((2, 2, 2))
    predicted = true + [6, 0]
    assert joint_metrics.pckh(predicted, true, [10, 20]) == pytest.approx([0.5, 0.5])
    predicted[1, 0] = [11, 0]
    assert joint_metrics.pckh(predicted, true, [10, 20]) == pytest.approx([0, 0.5])
    assert joint_metrics.pckh(predicted, true, [10, 20], groups=[(0, 1)]) == pytest.approx([0.25])
    assert joint_metrics.pckh(predicted, true, [10, np.nan]) == pytest.approx([0, 0])


@pytest.mark.parametrize("seed", range(3))
def test_pckh_equals_a_literal_loop(seed):
    predicted, true = example(seed)
    head = np.linalg.norm(true[:, 13] - true[:, 12], axis=1)
    scores = metrics.score(predicted, true, LSP)
    ours = joint_metrics.pckh(predicted, true, head)
    np.testing.assert_allclose(
        ours, [literal_pck(predicted, true, head, [j], 0.5) for j in range(14)]
    )
    assert scores["pckh_0.5"] == pytest.approx(literal_pck(predicted, true, head, range(14), 0.5))
    symmetric = {
        group: literal_pck(predicted, true, head, members, 0.5)
        for group, members in LSP.joint_groups.items()
    }
    assert scores["pckh_symmetric_0.5"] == pytest.approx(symmetric)


@pytest.mark.parametrize("seed", range(3))
def test_pckh_at_any_threshold_equals_a_literal_loop(seed):
    """Pooled and by group, left and right together, with unlabelled joints and heads; what is not
    asked for is not there."""
    predicted, true = example(seed, missing=0.3 * (seed % 2))
    head = np.linalg.norm(true[:, 13] - true[:, 12], axis=1)
    scores = metrics.score(predicted, true, LSP, head_thresholds=(0.1, 0.5))
    for threshold in (0.1, 0.5):
        pooled = literal_pck(predicted, true, head, range(14), threshold)
        assert scores[f"pckh_{threshold}"] == pytest.approx(pooled, abs=1e-9, rel=0)
        for group, members in LSP.joint_groups.items():
            own = literal_pck(predicted, true, head, members, threshold)
            assert scores[f"pckh_symmetric_{threshold}"][group] == pytest.approx(
                own, abs=1e-9, rel=0
            ), group
    assert 0 < scores["pckh_0.1"] < scores["pckh_0.5"] < 1
    assert "pckh_0.1" not in metrics.score(predicted, true, LSP)


@pytest.mark.parametrize("seed", range(2))
def test_pcps_parts_and_means_equal_a_literal_loops(seed):
    """Strict and relaxed, with unlabelled joints: a part is the mean of its sticks' rates."""
    predicted, true = example(seed, count=80, missing=0.2)
    scores = metrics.score(predicted, true, LSP)
    for kind in ("strict", "relaxed"):
        rates = dict(enumerate(literal_pcp(predicted, true, LSP.sticks, 0.5, kind == "strict")))
        found = scores[f"pcp_{kind}"]
        parts = {
            "head": [0],
            "torso": [1],
            "upper_arms": [2, 3],
            "lower_arms": [4, 5],
            "upper_legs": [6, 7],
            "lower_legs": [8, 9],
        }
        expected = {
            part: sum(rates[stick] for stick in sticks) / len(sticks)
            for part, sticks in parts.items()
        }
        limbs = [expected[part] for part in parts if part.endswith(("arms", "legs"))]
        expected |= {
            "mean_4": sum(limbs) / 4,
            "mean_6": sum(expected.values()) / 6,
            "mean_10": sum(rates.values()) / 10,
        }
        assert found == pytest.approx(expected, abs=1e-9, rel=0)


def test_pckh_is_by_each_rows_own_head_size():
    """A skeleton whose unit is the head: the sizes are the rows', at every threshold, joint by
    joint and pooled."""
    rng = np.random.default_rng(12)
    true = rng.uniform(0, 227, (30, 3, 2))
    predicted = true + rng.normal(0, 8, true.shape)
    true[rng.random((30, 3)) < 0.2] = np.nan
    sizes = {"head": rng.uniform(5, 60, 30), "box": np.full(30, 227.0)}
    sizes["head"][4] = np.nan  # not known: the row is left out
    scores = metrics.score(predicted, true, FACES, sizes)
    assert not any(key.startswith(("pdj", "pcp", "auc", "oks")) for key in scores)
    for threshold in (0.2, 0.5):
        each = [literal_pck(predicted, true, sizes["head"], [j], threshold) for j in range(3)]
        assert list(scores[f"pckh_per_joint_{threshold:g}"].values()) == pytest.approx(each)
        pooled = literal_pck(predicted, true, sizes["head"], range(3), threshold)
        assert scores[f"pckh_{threshold:g}"] == pytest.approx(pooled)
        eyes = literal_pck(predicted, true, sizes["head"], [0, 1], threshold)
        assert scores[f"pckh_symmetric_{threshold:g}"] == pytest.approx(
            {"eye": eyes, "nose": each[2]}
        )
    assert 0 < scores["pckh_0.2"] < scores["pckh_0.5"] < 1
    assert (
        metrics.chosen(scores, FACES) == scores["pckh_0.5"]
        and metrics.chosen_name(FACES) == "PCKh@0.5"
    )
    low, high = metrics.intervals(predicted, true, FACES, sizes)["pckh_0.5"]
    assert low < scores["pckh_0.5"] < high
    without = {**sizes, "head": np.full(30, np.nan)}
    with pytest.raises(ValueError, match="no image has the labels"):
        metrics.score(predicted, true, FACES, without)


OKS = replace(
    FACES,
    unit="box",
    unit_name="box sides",
    scores=("pdj", "oks"),
    chosen_by=("oks",),
    sigmas={"left_eye": 0.025, "right_eye": 0.025, "nose": 0.026},
)


@pytest.mark.parametrize("seed", range(3))
def test_oks_is_the_mean_of_a_literal_loops(seed):
    """Over the people with a label whose area is known; a predicted joint that is no number is
    wrong."""
    rng = np.random.default_rng(seed)
    true = rng.uniform(0, 227, (30, 3, 2))
    predicted = true + rng.normal(0, 8, true.shape)
    true[rng.random((30, 3)) < 0.4] = np.nan
    true[3] = np.nan  # nothing is labelled
    true[5] = [10, 20]
    sizes = {"box": np.full(30, 100.0), "area": rng.uniform(500, 40_000, 30)}
    literal = np.array(
        [literal_oks(*row) for row in zip(predicted, true, [OKS.oks_sigmas] * 30, sizes["area"])]
    )
    np.testing.assert_allclose(
        metrics.oks(predicted, true, OKS.oks_sigmas, sizes["area"]), literal, atol=1e-12
    )
    scores = metrics.score(predicted, true, OKS, sizes)
    assert scores["oks"] == metrics.chosen(scores, OKS) == pytest.approx(np.nanmean(literal))
    assert metrics.chosen_name(OKS) == "OKS"
    low, high = metrics.intervals(predicted, true, OKS, sizes)["oks"]
    assert low < scores["oks"] < high
    sizes["area"][7] = np.nan  # not known: the row is left out
    literal[7] = np.nan
    assert metrics.score(predicted, true, OKS, sizes)["oks"] == pytest.approx(np.nanmean(literal))
    alone = [
        literal_oks(predicted[5, [j]], true[5, [j]], OKS.oks_sigmas[[j]], sizes["area"][5])
        for j in (1, 2)
    ]
    literal[5] = sum(alone) / 3
    predicted[5, 0] = np.nan
    assert metrics.score(predicted, true, OKS, sizes)["oks"] == pytest.approx(np.nanmean(literal))


def test_a_limb_without_length_is_right_on_an_exact_hit_alone():
    true = np.array([[[3, 4], [3, 4]], [[3, 4], [3, 4]]], float)
    predicted = true.copy()
    predicted[1, 0] += 1e-9
    for strict in (True, False):
        assert joint_metrics.pcp(predicted, true, [(0, 1)], strict=strict) == pytest.approx([0.5])
    assert joint_metrics.pdj(predicted, true, [0, 0], 0.5) == pytest.approx([0.5, 1])
    assert joint_metrics.auc(predicted, true, [0, 0]) == pytest.approx(0.75)


def test_an_image_with_nothing_labelled_changes_nothing():
    predicted, true = example(4)
    more = np.concatenate([true, np.full((1, 14, 2), np.nan)])
    assert metrics.score(np.concatenate([predicted, predicted[:1]]), more, LSP) == metrics.score(
        predicted, true, LSP
    )


def test_a_joint_that_is_never_labelled_is_named_and_in_no_mean():
    predicted, true = example(5, missing=0)
    true[:, LSP.index("left_wrist")] = np.nan
    scores = metrics.score(predicted, true, LSP)
    assert scores["never_labelled"] == ["left_wrist"] and np.isnan(
        scores["pdj_per_joint_0.2"]["left_wrist"]
    )
    right = literal_pcp(predicted, true, LSP.sticks[4:5], 0.5, True)  # the right lower arm
    assert LSP.stick_parts[4] == "lower_arms" and scores["pcp_strict"][
        "lower_arms"
    ] == pytest.approx(right[0])
    assert np.isfinite([*scores["pcp_strict"].values(), *scores["pdj"].values()]).all()


def test_nothing_to_score_is_an_error():
    predicted, true = example(6)
    with pytest.raises(ValueError, match="no image to score"):
        metrics.score(predicted[:0], true[:0], LSP)
    with pytest.raises(ValueError, match="no image has the labels"):
        metrics.score(predicted, np.full_like(true, np.nan), LSP)


def test_a_prediction_that_is_no_number_is_wrong():
    predicted, true = example(8, missing=0, error_px=0)
    predicted[:, 0] = np.nan
    scores = metrics.score(predicted, true, LSP)
    assert (
        scores["pdj_per_joint_0.2"]["right_ankle"] == 0
        and scores["pcp_strict"]["lower_legs"] == 0.5
    )


coordinates = st.one_of(st.floats(-1e4, 1e4, width=32), st.sampled_from([0.0, 1.0, 227.0]))
labels = st.one_of(coordinates, st.just(float("nan")))
poses = st.integers(1, 4).flatmap(
    lambda n: st.tuples(
        drawn(float, (n, 14, 2), elements=coordinates), drawn(float, (n, 14, 2), elements=labels)
    )
)
hostile = settings(max_examples=40, deadline=None, derandomize=True)


@hostile
@given(poses, st.sampled_from([0.0, 0.1, 0.5, 2.0]))
def test_hostile_inputs_score_as_the_literal_loops_do(pair, threshold):
    predicted, true = pair
    diameter = np.linalg.norm(true[:, 9] - true[:, 2], axis=1)
    for strict in (True, False):
        np.testing.assert_allclose(
            joint_metrics.pcp(predicted, true, LSP.sticks, threshold, strict),
            literal_pcp(predicted, true, LSP.sticks, threshold, strict),
        )
    np.testing.assert_allclose(
        joint_metrics.pdj(predicted, true, diameter, threshold),
        literal_pdj(predicted, true, TORSO, threshold),
    )


def rates(predicted, true, diameter):
    return [
        joint_metrics.pcp(predicted, true, LSP.sticks),
        joint_metrics.pcp(predicted, true, LSP.sticks, strict=False),
        joint_metrics.pdj(predicted, true, diameter, 0.2),
        joint_metrics.auc(predicted, true, diameter),
    ]


def assert_same(first, second, **tolerance):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, **tolerance)


@hostile
@given(poses, st.randoms(use_true_random=False), st.sampled_from([0.25, 2.0, 1024.0]))
def test_order_scale_and_sides_change_nothing(pair, random, scale):
    predicted, true = pair
    diameter = np.linalg.norm(true[:, 9] - true[:, 2], axis=1)
    before = rates(predicted, true, diameter)
    order = random.sample(range(len(true)), len(true))
    assert_same(before, rates(predicted[order], true[order], diameter[order]), rtol=1e-12)
    # a power of 2: exact
    assert_same(before, rates(predicted * scale, true * scale, diameter * scale), rtol=1e-9)
    flip, sides = list(LSP.flip), [1 - k % 2 + 2 * (k // 2) for k in range(8)]
    swapped = rates(predicted[:, flip], true[:, flip], diameter)
    assert_same(before[2:], [swapped[2][flip], swapped[3]], rtol=1e-12)
    # head and torso, then right and left of each limb
    for one, other in zip(before[:2], swapped[:2]):
        np.testing.assert_array_equal(one, other[[0, 1, *(2 + np.array(sides))]])


@hostile
@given(poses)
def test_strict_is_at_most_relaxed_and_pdj_grows_with_its_threshold(pair):
    predicted, true = pair
    diameter = np.linalg.norm(true[:, 9] - true[:, 2], axis=1)
    for threshold in (0.0, 0.3, 0.5):
        strict, relaxed = (
            joint_metrics.pcp(predicted, true, LSP.sticks, threshold, kind)
            for kind in (True, False)
        )
        assert (strict <= relaxed)[~np.isnan(strict)].all()
    grown = np.array(
        [joint_metrics.pdj(predicted, true, diameter, t) for t in (0, 0.1, 0.2, 0.5, 3)]
    )
    assert (np.diff(grown, axis=0) >= 0)[:, ~np.isnan(grown[0])].all()


def test_intervals_are_those_of_a_literal_bootstrap_and_take_less_than_a_second():
    predicted, true = example(9, count=1000)
    began = time.process_time()
    ours = metrics.intervals(predicted, true, LSP)
    assert time.process_time() - began < 1
    assert ours == metrics.intervals(predicted, true, LSP)  # seeded
    rng = np.random.default_rng(1)
    picks = [rng.integers(0, 1000, 1000) for _ in range(120)]
    literal = {"pdj": [], "pcp": []}
    for pick in picks:
        scores = metrics.score(predicted[pick], true[pick], LSP)
        literal["pdj"].append(scores["pdj"]["0.20"])
        literal["pcp"].append(scores["pcp_strict"]["mean_4"])
    for found, values in (
        (ours["pdj"]["0.20"], literal["pdj"]),
        (ours["pcp_strict"]["mean_4"], literal["pcp"]),
    ):
        low, high = np.percentile(values, [2.5, 97.5])
        np.testing.assert_allclose(found, [low, high], atol=0.35 * (high - low))
    score = metrics.score(predicted, true, LSP)
    assert ours["auc"][0] < score["auc"] < ours["auc"][1]


def test_an_interval_covers_the_truth_as_often_as_it_says():
    """Of 200 sets of 60 images the 95 % interval of PDJ holds the true rate in 95 %, give or take
    what 200 allow."""
    rng, covered = np.random.default_rng(3), 0
    true = np.tile(rng.uniform(0, 100, (1, 14, 2)), (60, 1, 1))
    diameter = np.linalg.norm(true[0, 9] - true[0, 2])
    for trial in range(200):
        hits = rng.random((60, 1, 1)) < 0.4  # an image's joints hit or miss together
        low, high = metrics.intervals(true + np.where(hits, 0, diameter), true, LSP, seed=trial)[
            "pdj"
        ]["0.20"]
        covered += low <= 0.4 <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_what_is_gained_is_compared_image_by_image():
    """The same predictions gain nothing for certain, however wide their own interval."""
    predicted, true = example(10)
    gained = metrics.intervals(predicted, true, LSP, before=predicted)
    assert (
        gained["pdj"]["0.20"] == [0, 0]
        and metrics.intervals(predicted, true, LSP)["pdj"]["0.20"][0] > 0
    )
    better = metrics.intervals(true + (predicted - true) / 2, true, LSP, before=predicted)
    assert better["pdj"]["0.20"][0] > 0


def test_a_further_threshold():
    predicted, true = example(11)
    scores = metrics.score(predicted, true, LSP, thresholds=(0.125, 0.2))
    diameter = np.linalg.norm(true[:, 9] - true[:, 2], axis=1)
    assert scores["pdj"]["0.125"] == joint_metrics.pdj_pooled(predicted, true, diameter, 0.125)
    np.testing.assert_array_equal(
        list(scores["pdj_per_joint_0.125"].values()),
        joint_metrics.pdj(predicted, true, diameter, 0.125),
    )


@pytest.mark.parametrize(
    "error_px, strict, relaxed", [(6, 0.747, 0.872), (8, 0.552, 0.729), (10, 0.378, 0.572)]
)
def test_errors_of_known_size_on_the_real_labels(real_photos, error_px, strict, relaxed):
    joints = scipy.io.loadmat(real_photos / "joints_1.mat")["joints"]  # (3, 14, 2000)
    true = joints[:2, :, 1000:].transpose(2, 1, 0)
    predicted = true + np.random.default_rng(0).normal(0, error_px, true.shape)
    scores = metrics.score(predicted, true, LSP)
    assert scores["pcp_strict"]["mean_4"] == pytest.approx(strict, abs=0.015)
    assert scores["pcp_relaxed"]["mean_4"] == pytest.approx(relaxed, abs=0.015)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="N, J, 2"):
        joint_metrics.pcp(np.zeros((3, 28)), np.zeros((3, 28)), [(0, 1)])
