"""PCP, PDJ, PCK, PCKh and AUC, with intervals, of joints (N, J, 2) in any one unit.

A joint with a NaN label leaves numerator and denominator; so does a limb with such an end, and an
image whose torso (PDJ) or head (PCKh) is not labelled. What is left of an image with nothing
labelled is nothing. A joint or limb never labelled in any image scores NaN by itself, stays out of
every mean, and is named: never_labelled. A limb, torso or head of length 0 is right on an exact hit
alone. No image at all, or none with a label, is a ValueError. Comparisons are `<=`, in float64; a
predicted NaN is wrong.

Always say which PCP: strict and relaxed differ by 10 to 20 points, the means of 4, 6 and 10 by 5 to
10.

Every score is a ratio of two sums over images; `tally` gives the terms. A further score, such as
OKS, is one more.
"""

import numpy as np

from deeppose.oks import oks
from deeppose.score_names import ALL_STICKS, threshold_key

PDJ_STEPS = 20  # of the threshold, a unit: PDJ is given every 0.05
AUC_LIMIT = 0.5
PCKH_THRESHOLD = 0.5  # of the head's size: MPII
RESAMPLES = 1000  # of the images: the ends of an interval then vary by a tenth of its length
TRAINED_ON = "trained_on_"  # begins the columns of rows that are trained on
LEVEL = 95  # per cent that an interval covers


def _errors(predicted, true):
    """Distances (N, J) between predicted and true joints (N, J, 2); NaN where there is no label."""
    predicted = np.asarray(predicted, float)
    true = np.asarray(true, float)
    if predicted.shape != true.shape or predicted.ndim != 3 or predicted.shape[2] != 2:
        raise ValueError(
            f"joints must be two equal (N, J, 2), not {predicted.shape} and {true.shape}"
        )
    if not len(true):
        raise ValueError("there is no image to score")
    return np.linalg.norm(predicted - true, axis=2)


def _rate(right, scorable):
    """Share of right among scorable, two arrays of sums; NaN where nothing was scorable."""
    unknown = np.full(np.shape(right), np.nan)
    return np.divide(right, scorable, out=unknown, where=np.asarray(scorable) > 0)


def _end_points(joints, ends):
    """Points (N, L, 2) of L limb ends, each a joint's index or a tuple of indices: their mean."""
    return np.stack([joints[:, np.atleast_1d(end)].mean(1) for end in ends], 1)


def limb_lengths(joints, limbs):
    """Lengths (N, L) of limbs, a sequence of (end, end), of joints (N, J, 2).

    NaN where an end is unlabelled.
    """
    starts, stops = zip(*limbs)
    joints = np.asarray(joints, float)
    return np.linalg.norm(_end_points(joints, starts) - _end_points(joints, stops), axis=2)


def _correct(predicted, true, limbs, threshold, strict):
    """Masks (N, L) of the limbs that are right, and of those that count at all."""
    starts, stops = zip(*limbs)
    predicted = np.asarray(predicted, float)
    true = np.asarray(true, float)
    start_errors = _errors(_end_points(predicted, starts), _end_points(true, starts))
    stop_errors = _errors(_end_points(predicted, stops), _end_points(true, stops))
    allowed = threshold * limb_lengths(true, limbs)
    errors = np.maximum(start_errors, stop_errors) if strict else (start_errors + stop_errors) / 2
    return errors <= allowed, ~np.isnan(allowed)


def pcp(predicted, true, limbs, threshold=0.5, strict=True):
    """Percentage of correct parts, (L,) fractions, one a limb (Ferrari et al., CVPR 2008).

    predicted, true  (N, J, 2)
    limbs            sequence of L (end, end); an end is a joint index or a tuple of indices, its
                     point their mean
    threshold        of the true limb's length
    strict           both ends within threshold x length; else ("relaxed") the mean of the two
                     errors is
    """
    correct, scorable = _correct(predicted, true, limbs, threshold, strict)
    return _rate(correct.sum(0), scorable.sum(0))


def _detected(predicted, true, diameter, threshold):
    """Masks (N, J) of the joints within threshold x diameter (N,), and of those that count."""
    errors = _errors(predicted, true)
    diameter = np.asarray(diameter, float)[:, None]
    scorable = ~np.isnan(np.asarray(true, float)).any(2) & ~np.isnan(diameter)
    return (errors <= threshold * diameter) & scorable, scorable


def pdj(predicted, true, diameter, threshold):
    """Percentage of detected joints, (J,) fractions.

    Source: Sapp and Taskar, CVPR 2013; DeepPose, section 4.1.

    predicted, true  (N, J, 2)
    diameter         (N,) true torso diameters; an image whose diameter is NaN is left out
    threshold        of the diameter; 0.2 gives PCK@0.2 (Yang and Ramanan, TPAMI 2013)
    """
    correct, scorable = _detected(predicted, true, diameter, threshold)
    return _rate(correct.sum(0), scorable.sum(0))


def pdj_pooled(predicted, true, diameter, threshold):
    """PDJ of all joints of all images together: a fraction."""
    correct, scorable = _detected(predicted, true, diameter, threshold)
    return float(_rate(correct.sum(), scorable.sum()))


def pckh(predicted, true, head, threshold=PCKH_THRESHOLD, groups=None):
    """PCK by the head's size, (J,) fractions (Andriluka et al., CVPR 2014, section 4).

    head    (N,) sizes, one a person: MPII's is 0.6 x the diagonal of the head box, deeppose_tf's
            from neck to head top
    groups  tuples of joints to be pooled, as skeleton.joint_groups.values(): one fraction each
            ("symmetric" PCKh)
    """
    detected, scorable = _detected(predicted, true, head, threshold)
    correct_counts = detected.sum(0)
    scorable_counts = scorable.sum(0)
    if groups is not None:
        correct_counts = _by_group(correct_counts, groups)
        scorable_counts = _by_group(scorable_counts, groups)
    return _rate(correct_counts, scorable_counts)


def _by_group(sums, groups):
    """Sums (..., J) of joints -> (..., G) of groups of joints."""
    return np.stack([sums[..., list(members)].sum(-1) for members in groups], -1)


def _closeness(predicted, true, diameter, limit):
    """Area (N, J) under each joint's own PDJ from 0 to limit, over limit, and which joints count.

    That PDJ is a step from 0 to 1: a joint that is off by t diameters gives max(0, 1 - t / limit).
    With a zero diameter only an exact hit gives 1.
    """
    correct, scorable = _detected(predicted, true, diameter, limit)
    reach = limit * np.asarray(diameter, float)[:, None]  # (N, 1)
    zeros = np.zeros(correct.shape)
    missed = np.divide(_errors(predicted, true), reach, out=zeros, where=correct & (reach > 0))
    return np.where(correct, 1 - missed, 0), scorable


def auc(predicted, true, diameter, limit=AUC_LIMIT):
    """Area under the pooled PDJ over thresholds from 0 to limit, divided by limit.

    It is the exact integral, without a grid.
    """
    close, scorable = _closeness(predicted, true, diameter, limit)
    return float(_rate(close.sum(), scorable.sum()))


def _half_squares(predicted, true):
    """Half the mean square (N, J) of a joint's two coordinates' errors, and which joints count.

    It is the score "loss".
    """
    errors = _errors(predicted, true)
    scorable = ~np.isnan(np.asarray(true, float)).any(2)
    return np.where(scorable, errors**2 / 4, 0), scorable  # half of the mean of two


def _mean(rates):
    """Mean (...) of rates (..., K) over those that are not NaN; NaN where all are."""
    return _rate(np.nansum(rates, -1), (~np.isnan(rates)).sum(-1))


def part_scores(per_stick, skeleton):
    """Means (...) of the PCP (..., L) of sticks: part or name of a skeleton's mean -> mean."""
    parts = np.array(skeleton.stick_parts)
    scores = {part: _mean(per_stick[..., parts == part]) for part in skeleton.limbs}
    means = {}
    for name, averaged in skeleton.means.items():
        if averaged == ALL_STICKS:
            means[name] = _mean(per_stick)
        else:
            means[name] = _mean(np.stack([scores[part] for part in averaged], -1))
    return scores | means


def tally(predicted, true, skeleton, sizes=None, thresholds=(), head_thresholds=()):
    """Terms of every score, the ratio of their sums: name -> (right, scorable), each (N, K).

    A row is an image; K is the number of joints, limbs or, of OKS, 1.

    sizes            dataset.Dataset.sizes of the images, for a skeleton whose unit is not the
                     distance of two joints
    thresholds       of PDJ, beside pdj_thresholds
    head_thresholds  of PCKh, beside pckh_thresholds
    """
    true = np.asarray(true, float)
    terms = {}
    if "pcp" in skeleton.scores:
        terms["pcp_strict"] = _correct(predicted, true, skeleton.sticks, 0.5, True)
        terms["pcp_relaxed"] = _correct(predicted, true, skeleton.sticks, 0.5, False)
    if "pdj" in skeleton.scores:
        unit = skeleton.units_px(true, sizes)  # (N,)
        terms["auc"] = _closeness(predicted, true, unit, AUC_LIMIT)
        for threshold in sorted({*pdj_thresholds(skeleton), *skeleton.thresholds, *thresholds}):
            terms["pdj", threshold] = _detected(predicted, true, unit, threshold)
    if "pckh" in skeleton.scores:
        head = skeleton.head_px(true, sizes)  # (N,)
        for threshold in sorted({*pckh_thresholds(skeleton), *head_thresholds}):
            terms["pckh", threshold] = _detected(predicted, true, head, threshold)
    if "oks" in skeleton.scores:
        similarity = oks(predicted, true, skeleton.oks_sigmas, sizes["area"])  # (N,)
        scorable = ~np.isnan(similarity)  # (N,): something is labelled, and the area is known
        terms["oks"] = np.where(scorable, similarity, 0)[:, None], scorable[:, None]
    if "loss" in skeleton.scores:
        terms["loss"] = _half_squares(predicted, true)
    return terms


def pdj_thresholds(skeleton):
    """Thresholds at which PDJ is given at least: 0, 0.05 ... units."""
    last_step = round(PDJ_STEPS * skeleton.curve_to)
    return tuple(step / PDJ_STEPS for step in range(last_step + 1))


def pckh_thresholds(skeleton):
    """Thresholds at which PCKh is given: the skeleton's where heads are its unit, else 0.5."""
    return skeleton.thresholds if skeleton.unit == "head" else (PCKH_THRESHOLD,)


def _summary(tallies, weights, skeleton, thresholds=()):
    """Every score (B,) for B weightings (B, N) of the images, keyed as in metrics_stage_N.json."""
    sums = {}
    for name, (right, scorable) in tallies.items():
        sums[name] = weights @ right.astype(float), weights @ scorable.astype(float)  # (B, K) each

    def by_joint(name):
        return dict(zip(skeleton.joints, _rate(*sums[name]).T))

    def pooled(name):
        correct_counts, scorable_counts = sums[name]
        return _rate(correct_counts.sum(1), scorable_counts.sum(1))

    summary = {}
    # of limbs
    for name in ("pcp_strict", "pcp_relaxed"):
        if name in sums:
            summary[name] = part_scores(_rate(*sums[name]), skeleton)
    # of joints, by the skeleton's unit
    if "pdj" in skeleton.scores:
        tallied = sorted(name[1] for name in sums if name[0] == "pdj")
        summary["pdj"] = {threshold_key(t): pooled(("pdj", t)) for t in tallied}
        summary["auc"] = pooled("auc")
        for t in (*skeleton.thresholds, *thresholds):
            summary[f"pdj_per_joint_{t:g}"] = by_joint(("pdj", t))
    # of joints, by the head's size
    if "pckh" in skeleton.scores:
        groups = skeleton.joint_groups
        for t in [name[1] for name in sums if name[0] == "pckh"]:
            correct_counts, scorable_counts = sums["pckh", t]
            symmetric = _rate(
                _by_group(correct_counts, groups.values()),
                _by_group(scorable_counts, groups.values()),
            )  # (B, G)
            summary[f"pckh_{t:g}"] = pooled(("pckh", t))
            summary[f"pckh_symmetric_{t:g}"] = dict(zip(groups, symmetric.T))
            if skeleton.unit == "head":
                summary[f"pckh_per_joint_{t:g}"] = by_joint(("pckh", t))
    # of whole people
    for name in ("oks", "loss"):
        if name in sums:
            summary[name] = pooled(name)
    return summary


def _map_scores(function, *scores):
    """The same nested dictionary with function(values, ...) in place of each score."""
    if isinstance(scores[0], dict):
        return {key: _map_scores(function, *(score[key] for score in scores)) for key in scores[0]}
    return function(*scores)


def score(predicted, true, skeleton, sizes=None, thresholds=(), head_thresholds=()):
    """Every score of predicted against true joints (N, J, 2), keyed as in metrics_stage_N.json.

    Scores are fractions.

    sizes, thresholds, head_thresholds  see tally
    Raises ValueError for an empty set, and where no image has the labels that a score needs.
    """
    tallies = tally(predicted, true, skeleton, sizes, thresholds, head_thresholds)
    if not all(scorable.any() for _, scorable in tallies.values()):
        raise ValueError(
            "no image has the labels that a score needs: a limb, the unit that errors are measured in, "
            "the head"
        )
    summary = _summary(tallies, np.ones((1, len(true))), skeleton, thresholds)
    scores = _map_scores(lambda values: float(values[0]), summary)
    unlabelled = np.isnan(np.asarray(true, float)).any(2).all(0)  # (J,)
    never_labelled = [name for name, never in zip(skeleton.joints, unlabelled) if never]
    return scores | {"never_labelled": never_labelled}


def intervals(predicted, true, skeleton, sizes=None, thresholds=(), before=None, seed=0):
    """LEVEL % interval [low, high] of every score, keyed as `score` does.

    By bootstrap over images: Efron, 1979; percentiles.

    before  other predictions (N, J, 2): the intervals are then those of what was gained over them,
            image by image
    seed    the same seed draws the same images, whatever the predictions
    """
    # a resample is a weighting: how often each image was drawn
    count = len(true)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(count, np.full(count, 1 / count), RESAMPLES)  # (RESAMPLES, N)
    weights = draws.astype(float)
    tallies = tally(predicted, true, skeleton, sizes, thresholds)
    scores = _summary(tallies, weights, skeleton, thresholds)
    # of a gain, both scores of the same resample: their errors largely cancel
    if before is not None:
        former_tallies = tally(before, true, skeleton, sizes, thresholds)
        former_scores = _summary(former_tallies, weights, skeleton, thresholds)
        scores = _map_scores(np.subtract, scores, former_scores)
    ends = ((100 - LEVEL) / 2, (100 + LEVEL) / 2)
    return _map_scores(lambda values: _percentiles(values, ends), scores)


def _percentiles(values, ends):
    """Percentiles as a list; resamples in which nothing was labelled (NaN) are left out."""
    values = values[~np.isnan(values)]
    if not len(values):
        return [float("nan")] * len(ends)
    return [float(end) for end in np.percentile(values, ends)]


def chosen(scores, skeleton):
    """Score that picks an epoch, of metrics.score's dictionary."""
    for key in skeleton.chosen_by:
        scores = scores[key]
    return scores


def chosen_name(skeleton):
    """Name of the score that picks an epoch: PDJ@0.2."""
    kind, _, threshold = "_".join(skeleton.chosen_by).partition("_")
    name = {"pdj": "PDJ", "pckh": "PCKh", "oks": "OKS"}[kind]
    return f"{name}@{float(threshold):g}" if threshold else name


def headline(scores, skeleton):
    """Scores that an epoch is reported by: column in curves_stage_1.csv -> (name, score)."""
    kind, _, threshold = "_".join(skeleton.chosen_by).partition("_")
    column = f"{kind}_{float(threshold):g}" if threshold else kind
    reported = {column: (chosen_name(skeleton), chosen(scores, skeleton))}
    if "pcp" in skeleton.scores and skeleton.means:
        first_mean = next(iter(skeleton.means))
        reported[f"pcp_strict_{first_mean}"] = "strict PCP", scores["pcp_strict"][first_mean]
    return reported


def columns(scores, skeleton):
    """One number for each score of metrics.score's dictionary, by its column in curves_stage_1.csv.

    Those of `headline` come first; of PCP there are the skeleton's means, of PDJ its thresholds,
    and of scores by group ("symmetric" PCKh, left and right pooled) the mean over the groups.
    """
    numbers = {column: value for column, (_, value) in headline(scores, skeleton).items()}
    for name, value in scores.items():
        if name == "pdj":
            for key, rate in value.items():
                if float(key) in skeleton.thresholds:
                    numbers[f"pdj_{float(key):g}"] = rate
        elif name.startswith("pcp_"):
            for mean in skeleton.means:
                if mean in value:
                    numbers[f"{name}_{mean}"] = value[mean]
        elif name.startswith("pckh_symmetric_"):
            numbers[name] = float(_mean(np.array(list(value.values()))))
        elif isinstance(value, float):
            numbers[name] = value
    return numbers
