"""PCP and PDJ against literal loops, and an example by hand."""
import numpy as np
import pytest
from literal import literal_pcp, literal_pdj
from scipy.integrate import trapezoid

from deeppose import metrics
from deeppose.skeleton import LSP


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
        ours = metrics.pcp(predicted, true, LSP.sticks, threshold, strict)
        np.testing.assert_allclose(ours, literal_pcp(predicted, true, LSP.sticks, threshold, strict), atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_pdj_equals_a_literal_loop(seed):
    predicted, true = example(seed, missing=0.3 * (seed % 2))
    diameter = np.linalg.norm(true[:, 9] - true[:, 2], axis=1)
    for threshold in (0, 0.05, 0.2, 0.5):
        np.testing.assert_allclose(metrics.pdj(predicted, true, diameter, threshold),
                                   literal_pdj(predicted, true, LSP.torso_ends, threshold), atol=1e-12)


def test_auc_is_the_area_under_pdj():
    predicted, true = example(7)
    diameter = np.linalg.norm(true[:, 9] - true[:, 2], axis=1)
    thresholds = np.linspace(0, 0.5, 2001)
    rates = [metrics.pdj_pooled(predicted, true, diameter, t) for t in thresholds]
    assert metrics.auc(predicted, true, diameter) == pytest.approx(trapezoid(rates, thresholds) / 0.5, abs=1e-3)


def test_scores_by_hand():
    """Two images, one limb of length 10 from (0, 0) to (10, 0), allowed 5; torso diameter 10."""
    true = np.array([[[0, 0], [10, 0]], [[0, 0], [10, 0]]], float)
    predicted = np.array([[[5, 0], [10, 5]],    # both ends exactly 5 off: right, for <= counts
                          [[0, 0], [10, 6]]], float)  # 0 and 6 off: strict wrong, relaxed (3) right
    limbs = [(0, 1)]
    assert metrics.pcp(predicted, true, limbs) == pytest.approx([0.5])
    assert metrics.pcp(predicted, true, limbs, strict=False) == pytest.approx([1.0])
    assert metrics.pdj(predicted, true, [10, 10], 0.5) == pytest.approx([1.0, 0.5])
    assert metrics.pdj(predicted, true, [10, 10], 0) == pytest.approx([0.5, 0.0])
    assert metrics.pdj_pooled(predicted, true, [10, 10], 0.5) == pytest.approx(0.75)


def test_an_end_may_be_the_middle_of_joints():
    true = np.array([[[0, 0], [10, 0], [5, 20]]], float)
    predicted = true + [[[0, 9], [0, -9], [0, 0]]]  # the errors cancel in the middle
    assert metrics.pcp(predicted, true, [((0, 1), 2)]) == pytest.approx([1.0])


def test_unlabelled_joints_leave_numerator_and_denominator():
    predicted, true = example(1, missing=0)
    true[:, 6] = np.nan
    scores = metrics.pdj(predicted, true, np.full(len(true), 50.0), 0.2)
    assert np.isnan(scores[6]) and not np.isnan(np.delete(scores, 6)).any()
    true[1:, 9] = np.nan  # now only the first image has a torso
    diameter = np.linalg.norm(true[:, 9] - true[:, 2], axis=1)
    one = metrics.pdj(predicted[:1], true[:1], diameter[:1], 0.2)
    np.testing.assert_array_equal(metrics.pdj(predicted, true, diameter, 0.2), one)


def test_perfect_predictions_score_one_and_strict_is_at_most_relaxed():
    predicted, true = example(2, missing=0)
    perfect = metrics.score(true, true, LSP)
    assert perfect["auc"] == 1 and perfect["pdj"]["0.00"] == 1 and set(perfect["pcp_strict"].values()) == {1.0}
    scores = metrics.score(predicted, true, LSP)
    assert all(scores["pcp_strict"][part] <= scores["pcp_relaxed"][part] for part in scores["pcp_strict"])


def test_score_has_the_contracts_keys_and_means():
    scores = metrics.score(*example(3, missing=0), LSP)
    assert set(scores) == {"pcp_strict", "pcp_relaxed", "pdj", "pdj_per_joint_0.2", "auc"}
    assert list(scores["pdj"]) == [f"{k * 0.05:.2f}" for k in range(11)]
    assert list(scores["pdj_per_joint_0.2"]) == list(LSP.joints)
    part = scores["pcp_strict"]
    assert set(part) == {"head", "torso", "upper_arms", "lower_arms", "upper_legs", "lower_legs",
                         "mean_4", "mean_6", "mean_10"}
    limbs = [part[name] for name in ("upper_arms", "lower_arms", "upper_legs", "lower_legs")]
    assert part["mean_4"] == pytest.approx(sum(limbs) / 4)
    assert part["mean_6"] == pytest.approx((sum(limbs) + part["head"] + part["torso"]) / 6)
    assert part["mean_10"] == pytest.approx((2 * sum(limbs) + part["head"] + part["torso"]) / 10)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="N, J, 2"):
        metrics.pcp(np.zeros((3, 28)), np.zeros((3, 28)), [(0, 1)])
