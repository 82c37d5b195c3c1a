"""PCP, PDJ, PCK, PCKh and AUC of joints (N, J, 2) in any one unit: arrays in, fractions out.

A joint with a NaN label leaves numerator and denominator; so does a limb with such an end, and an
image whose torso (PDJ) or head (PCKh) is not labelled. A joint or limb never labelled in any image
scores NaN. A limb, torso or head of length 0 is right on an exact hit alone. Comparisons are `<=`,
in float64; a predicted NaN is wrong.

Always say which PCP: strict and relaxed differ by 10 to 20 points, the means of 4, 6 and 10 by 5 to
10.

Every score is a ratio of two sums over images. Functions that give its terms return a pair: what
each joint or limb of each image adds to the numerator, and a mask of those that count.
"""

import numpy as np

from deeppose.score_names import PCKH_THRESHOLD

PCP_THRESHOLD = 0.5  # of the true limb's length: Ferrari et al.
AUC_LIMIT = 0.5  # of the diameter


def pcp(predicted, true, limbs, threshold=PCP_THRESHOLD, strict=True):
    """Percentage of correct parts, (L,) fractions, one a limb (Ferrari et al., CVPR 2008).

    predicted, true  (N, J, 2)
    limbs            sequence of L (end, end); an end is a joint index or a tuple of indices, its
                     point their mean
    threshold        of the true limb's length
    strict           both ends within threshold x length; else ("relaxed") the mean of the two
                     errors is
    """
    correct, scorable = correct_limbs(predicted, true, limbs, threshold, strict)
    return rate(correct.sum(0), scorable.sum(0))


def correct_limbs(predicted, true, limbs, threshold, strict):
    """Masks (N, L) of the limbs that are right, and of those that count at all."""
    starts, stops = zip(*limbs)
    predicted = np.asarray(predicted, float)
    true = np.asarray(true, float)
    start_errors = joint_errors(_end_points(predicted, starts), _end_points(true, starts))
    stop_errors = joint_errors(_end_points(predicted, stops), _end_points(true, stops))
    # judge both ends, or their mean
    allowed = threshold * limb_lengths(true, limbs)
    if strict:
        errors = np.maximum(start_errors, stop_errors)
    else:
        errors = (start_errors + stop_errors) / 2
    return errors <= allowed, ~np.isnan(allowed)


def limb_lengths(joints, limbs):
    """Lengths (N, L) of limbs, a sequence of (end, end), of joints (N, J, 2).

    NaN where an end is unlabelled.
    """
    starts, stops = zip(*limbs)
    joints = np.asarray(joints, float)
    return np.linalg.norm(_end_points(joints, starts) - _end_points(joints, stops), axis=2)


def _end_points(joints, ends):
    """Points (N, L, 2) of L limb ends, each a joint's index or a tuple of indices: their mean."""
    return np.stack([joints[:, np.atleast_1d(end)].mean(1) for end in ends], 1)


def pdj(predicted, true, diameter, threshold):
    """Percentage of detected joints, (J,) fractions.

    Source: Sapp and Taskar, CVPR 2013; DeepPose, section 4.1.

    predicted, true  (N, J, 2)
    diameter         (N,) true torso diameters; an image whose diameter is NaN is left out
    threshold        of the diameter; 0.2 gives PCK@0.2 (Yang and Ramanan, TPAMI 2013)
    """
    detected, scorable = detected_joints(predicted, true, diameter, threshold)
    return rate(detected.sum(0), scorable.sum(0))


def pdj_pooled(predicted, true, diameter, threshold):
    """PDJ of all joints of all images together: a fraction."""
    detected, scorable = detected_joints(predicted, true, diameter, threshold)
    return float(rate(detected.sum(), scorable.sum()))


def pckh(predicted, true, head, threshold=PCKH_THRESHOLD, groups=None):
    """PCK by the head's size, (J,) fractions (Andriluka et al., CVPR 2014, section 4).

    head    (N,) sizes, one a person: MPII's is 0.6 x the diagonal of the head box, deeppose_tf's
            from neck to head top
    groups  tuples of joints to be pooled, as skeleton.joint_groups.values(): one fraction each
            ("symmetric" PCKh)
    """
    detected, scorable = detected_joints(predicted, true, head, threshold)
    detected_counts = detected.sum(0)
    scorable_counts = scorable.sum(0)
    if groups is not None:
        detected_counts = sum_groups(detected_counts, groups)
        scorable_counts = sum_groups(scorable_counts, groups)
    return rate(detected_counts, scorable_counts)


def sum_groups(joint_sums, groups):
    """Sums (..., J) of joints -> (..., G) of groups of joints."""
    return np.stack([joint_sums[..., list(members)].sum(-1) for members in groups], -1)


def detected_joints(predicted, true, diameter, threshold):
    """Masks (N, J) of the joints within threshold x diameter (N,), and of those that count."""
    errors = joint_errors(predicted, true)
    diameter = np.asarray(diameter, float)[:, None]  # (N, 1)
    scorable = ~np.isnan(np.asarray(true, float)).any(2) & ~np.isnan(diameter)
    return (errors <= threshold * diameter) & scorable, scorable


def auc(predicted, true, diameter, limit=AUC_LIMIT):
    """Area under the pooled PDJ over thresholds from 0 to limit, divided by limit.

    It is the exact integral, without a grid.
    """
    closeness, scorable = joint_closeness(predicted, true, diameter, limit)
    return float(rate(closeness.sum(), scorable.sum()))


def joint_closeness(predicted, true, diameter, limit):
    """Area (N, J) under each joint's own PDJ from 0 to limit, over limit, and which joints count.

    That PDJ is a step from 0 to 1: a joint that is off by t diameters gives max(0, 1 - t / limit).
    With a zero diameter only an exact hit gives 1.
    """
    detected, scorable = detected_joints(predicted, true, diameter, limit)
    errors = joint_errors(predicted, true)
    reach = limit * np.asarray(diameter, float)[:, None]  # (N, 1)
    # the share of the thresholds at which the joint is missed
    missed = np.zeros(detected.shape)  # (N, J)
    np.divide(errors, reach, out=missed, where=detected & (reach > 0))
    return np.where(detected, 1 - missed, 0), scorable


def half_squared_errors(predicted, true):
    """Half the mean square (N, J) of a joint's two coordinates' errors, and which joints count.

    It is the score "loss".
    """
    errors = joint_errors(predicted, true)
    scorable = ~np.isnan(np.asarray(true, float)).any(2)
    return np.where(scorable, errors**2 / 4, 0), scorable  # half of the mean of two


def joint_pairs(predicted, true):
    """Predicted and true joints as float64 arrays; ValueError unless both are (N, J, 2)."""
    predicted = np.asarray(predicted, float)
    true = np.asarray(true, float)
    if predicted.shape != true.shape or predicted.ndim != 3 or predicted.shape[2] != 2:
        raise ValueError(
            f"joints must be two equal (N, J, 2), not {predicted.shape} and {true.shape}"
        )
    return predicted, true


def joint_errors(predicted, true):
    """Distances (N, J) between predicted and true joints (N, J, 2); NaN where there is no label.

    Raises ValueError for arrays of other shapes, and for no image at all.
    """
    predicted, true = joint_pairs(predicted, true)
    if not len(true):
        raise ValueError("there is no image to score")
    return np.linalg.norm(predicted - true, axis=2)


def rate(correct, scorable):
    """Share of correct among scorable, two arrays of sums; NaN where nothing was scorable."""
    unknown = np.full(np.shape(correct), np.nan)
    return np.divide(correct, scorable, out=unknown, where=np.asarray(scorable) > 0)
