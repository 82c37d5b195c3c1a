"""PCP and PDJ: arrays in, arrays out. Every function takes joints (N, J, 2) in any one unit.

A joint with a NaN label leaves numerator and denominator; so does a limb with such an end. What was
never labelled in any image scores NaN, never a silent 0. Comparisons are `<=`, in float64.
Always say which PCP: strict and relaxed differ by 10 to 20 points, the means of 4, 6 and 10 by 5 to 10.
"""
import numpy as np

from deeppose.geometry import torso_diameter

PARTS_OF_MEAN_4 = ("upper_arms", "lower_arms", "upper_legs", "lower_legs")  # the paper's four limbs
PDJ_THRESHOLDS = tuple(k / 20 for k in range(11))  # 0, 0.05 ... 0.5 torso diameters, as the paper's figures
AUC_LIMIT = 0.5


def _errors(predicted, true):
    """Distances (N, J) between predicted and true joints (N, J, 2); NaN where there is no label."""
    predicted, true = np.asarray(predicted, float), np.asarray(true, float)
    if predicted.shape != true.shape or predicted.ndim != 3 or predicted.shape[2] != 2:
        raise ValueError(f"joints must be two equal (N, J, 2), not {predicted.shape} and {true.shape}")
    return np.linalg.norm(predicted - true, axis=2)


def _rate(right, counted):
    """Share (K,) of right (N, K) among counted (N, K); NaN where nothing was counted."""
    total = counted.sum(0)
    return np.where(total > 0, (right & counted).sum(0) / np.maximum(total, 1), np.nan)


def _end_points(joints, ends):
    """Points (N, L, 2) of limb ends: each end is a joint index or a tuple of indices, its point their mean."""
    return np.stack([joints[:, np.atleast_1d(end)].mean(1) for end in ends], 1)


def pcp(predicted, true, limbs, threshold=0.5, strict=True):
    """Percentage of correct parts, (L,) fractions, one a limb (Ferrari et al., CVPR 2008).

    predicted, true  (N, J, 2)
    limbs            sequence of L (end, end); an end is a joint index or a tuple of indices, its point their mean
    threshold        of the true limb's length
    strict           both ends within threshold x length; else ("relaxed") the mean of the two errors is
    """
    starts, stops = zip(*limbs)
    predicted, true = np.asarray(predicted, float), np.asarray(true, float)
    true_starts, true_stops = _end_points(true, starts), _end_points(true, stops)  # (N, L, 2)
    start_errors = _errors(_end_points(predicted, starts), true_starts)
    stop_errors = _errors(_end_points(predicted, stops), true_stops)
    allowed = threshold * np.linalg.norm(true_starts - true_stops, axis=2)  # (N, L)
    error = np.maximum(start_errors, stop_errors) if strict else (start_errors + stop_errors) / 2
    return _rate(error <= allowed, ~np.isnan(allowed))


def _detected(predicted, true, diameter, threshold):
    """(N, J) booleans: which joints lie within threshold x diameter (N,), and which count at all."""
    errors, diameter = _errors(predicted, true), np.asarray(diameter, float)[:, None]
    counted = ~np.isnan(np.asarray(true, float)).any(2) & ~np.isnan(diameter)
    return errors <= threshold * diameter, counted


def pdj(predicted, true, diameter, threshold):
    """Percentage of detected joints, (J,) fractions (Sapp and Taskar, CVPR 2013; DeepPose, section 4.1).

    predicted, true  (N, J, 2)
    diameter         (N,) true torso diameters; an image whose diameter is NaN is left out
    threshold        of the diameter; 0.2 gives PCK@0.2
    """
    return _rate(*_detected(predicted, true, diameter, threshold))


def pdj_pooled(predicted, true, diameter, threshold):
    """PDJ of all joints of all images in one pot: a fraction."""
    right, counted = _detected(predicted, true, diameter, threshold)
    return float(_rate(right.reshape(-1, 1), counted.reshape(-1, 1))[0])


def auc(predicted, true, diameter, limit=AUC_LIMIT):
    """Area under the pooled PDJ over thresholds 0 ... limit, divided by limit: a fraction.

    The exact integral of the step function, no grid: a joint that is off by t diameters adds
    max(0, 1 - t / limit); with a zero diameter only an exact hit adds anything, as in PDJ.
    """
    right, counted = _detected(predicted, true, diameter, limit)
    reach = limit * np.asarray(diameter, float)[:, None]
    share = np.divide(_errors(predicted, true), reach, out=np.zeros(right.shape), where=right & (reach > 0))
    return float(np.where(right, 1 - share, 0)[counted].mean()) if counted.any() else float("nan")


def part_scores(per_stick, skeleton):
    """PCP of each stick (L,) -> {part: mean of its sticks, "mean_4", "mean_6", "mean_10"}.

    mean_4   upper and lower arms and legs (the paper)
    mean_6   the six parts, left and right pooled
    mean_10  the ten sticks (most leaderboards)
    """
    parts = np.array(skeleton.stick_parts)
    scores = {part: float(per_stick[parts == part].mean()) for part in skeleton.limbs}
    means = {"mean_4": float(np.mean([scores[part] for part in PARTS_OF_MEAN_4])),
             "mean_6": float(np.mean(list(scores.values()))),
             "mean_10": float(np.mean(per_stick))}
    return scores | means


def score(predicted, true, skeleton):
    """Every score of predicted against true joints (N, J, 2), keyed as in metrics_stage_N.json, as fractions."""
    diameter = torso_diameter(np.asarray(true, float), skeleton.torso_ends)
    pooled = {f"{t:.2f}": pdj_pooled(predicted, true, diameter, t) for t in PDJ_THRESHOLDS}
    per_joint = pdj(predicted, true, diameter, 0.2)
    return {
        "pcp_strict": part_scores(pcp(predicted, true, skeleton.sticks), skeleton),
        "pcp_relaxed": part_scores(pcp(predicted, true, skeleton.sticks, strict=False), skeleton),
        "pdj": pooled,
        "pdj_per_joint_0.2": dict(zip(skeleton.joints, map(float, per_joint))),
        "auc": auc(predicted, true, diameter),
    }
