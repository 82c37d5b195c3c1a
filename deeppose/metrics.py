"""Every score that a skeleton is judged by, with intervals, and the few that reports begin with.

Joints are (N, J, 2) in any one unit; which of them count, and when they are right, is said in
joint_metrics. A joint or limb never labelled in any image scores NaN by itself, stays out of every
mean, and is named: never_labelled. No image at all, or none with a label, is a ValueError.

Every score is a ratio of two sums over images; `tally` gives the terms.
"""

import numpy as np

from deeppose.joint_metrics import (
    AUC_LIMIT,
    PCP_THRESHOLD,
    correct_limbs,
    detected_joints,
    half_squared_errors,
    joint_closeness,
)
from deeppose.oks import oks
from deeppose.score_names import pckh_thresholds
from deeppose.score_summary import mean_known, summarise

PDJ_STEPS = 20  # of the threshold, a unit: PDJ is given every 0.05
RESAMPLES = 1000  # of the images: the ends of an interval then vary by a tenth of its length
TRAINED_ON = "trained_on_"  # begins the columns of rows that are trained on
LEVEL = 95  # per cent that an interval covers


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
    # one weighting, in which every image counts once
    summary = summarise(tallies, np.ones((1, len(true))), skeleton, thresholds)
    scores = _map_scores(lambda values: float(values[0]), summary)
    # joints that no image labels, so that a reader sees what the means leave out
    unlabelled = np.isnan(np.asarray(true, float)).any(2).all(0)  # (J,)
    never_labelled = [joint for joint, never in zip(skeleton.joints, unlabelled) if never]
    return scores | {"never_labelled": never_labelled}


def intervals(predicted, true, skeleton, sizes=None, thresholds=(), before=None, seed=0):
    """LEVEL % interval [low, high] of every score, keyed as `score` does.

    By bootstrap over images: Efron, 1979; percentiles.

    before  other predictions (N, J, 2): the intervals are then those of what was gained over them,
            image by image
    seed    the same seed draws the same images, whatever the predictions
    """
    # a resample is a weighting: how often each image was drawn
    image_count = len(true)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(image_count, np.full(image_count, 1 / image_count), RESAMPLES)
    weights = draws.astype(float)  # (RESAMPLES, N)
    tallies = tally(predicted, true, skeleton, sizes, thresholds)
    scores = summarise(tallies, weights, skeleton, thresholds)
    # of a gain, both scores of the same resample: their errors largely cancel
    if before is not None:
        former_tallies = tally(before, true, skeleton, sizes, thresholds)
        former_scores = summarise(former_tallies, weights, skeleton, thresholds)
        scores = _map_scores(np.subtract, scores, former_scores)
    ends = ((100 - LEVEL) / 2, (100 + LEVEL) / 2)
    return _map_scores(lambda values: _percentiles(values, ends), scores)


def _percentiles(values, ends):
    """Percentiles as a list; resamples in which nothing was labelled (NaN) are left out."""
    labelled_values = values[~np.isnan(values)]
    if not len(labelled_values):
        return [float("nan")] * len(ends)
    return [float(end) for end in np.percentile(labelled_values, ends)]


def _map_scores(function, *scores):
    """The same nested dictionary with function(values, ...) in place of each score."""
    if isinstance(scores[0], dict):
        return {key: _map_scores(function, *(score[key] for score in scores)) for key in scores[0]}
    return function(*scores)


def tally(predicted, true, skeleton, sizes=None, thresholds=(), head_thresholds=()):
    """Terms of every score, the ratio of their sums: name -> (correct, scorable), each (N, K).

    A row is an image; K is the number of joints, limbs or, of OKS, 1.

    sizes            Dataset.sizes of the images, for a skeleton whose unit is not the
                     distance of two joints
    thresholds       of PDJ, beside pdj_thresholds
    head_thresholds  of PCKh, beside pckh_thresholds
    """
    true = np.asarray(true, float)
    # of limbs
    terms = {}
    if "pcp" in skeleton.scores:
        for kind, strict in (("pcp_strict", True), ("pcp_relaxed", False)):
            terms[kind] = correct_limbs(predicted, true, skeleton.sticks, PCP_THRESHOLD, strict)
    # of joints: by the unit, and by the head
    if "pdj" in skeleton.scores:
        unit = skeleton.units_px(true, sizes)  # (N,)
        terms["auc"] = joint_closeness(predicted, true, unit, AUC_LIMIT)
        for threshold in sorted({*pdj_thresholds(skeleton), *skeleton.thresholds, *thresholds}):
            terms["pdj", threshold] = detected_joints(predicted, true, unit, threshold)
    if "pckh" in skeleton.scores:
        head = skeleton.head_px(true, sizes)  # (N,)
        for threshold in sorted({*pckh_thresholds(skeleton), *head_thresholds}):
            terms["pckh", threshold] = detected_joints(predicted, true, head, threshold)
    # of whole people
    if "oks" in skeleton.scores:
        similarity = oks(predicted, true, skeleton.oks_sigmas, sizes["area"])  # (N,)
        scorable = ~np.isnan(similarity)  # (N,): something is labelled, and the area is known
        terms["oks"] = np.where(scorable, similarity, 0)[:, None], scorable[:, None]
    if "loss" in skeleton.scores:
        terms["loss"] = half_squared_errors(predicted, true)
    return terms


def pdj_thresholds(skeleton):
    """Thresholds at which PDJ is given at least: 0, 0.05 ... units."""
    last_step = round(PDJ_STEPS * skeleton.curve_to)
    return tuple(step / PDJ_STEPS for step in range(last_step + 1))


def chosen(scores, skeleton):
    """Score that picks an epoch, of metrics.score's dictionary."""
    for key in skeleton.chosen_by:
        scores = scores[key]
    return scores


def chosen_name(skeleton):
    """Name of the score that picks an epoch: PDJ@0.2."""
    kind, threshold = _chosen_kind(skeleton)
    score_name = {"pdj": "PDJ", "pckh": "PCKh", "oks": "OKS"}[kind]
    return f"{score_name}@{float(threshold):g}" if threshold else score_name


def _chosen_kind(skeleton):
    """Kind of the score that picks an epoch, and its threshold as text: "pdj", "0.20"; "oks", ""."""
    kind, _, threshold = "_".join(skeleton.chosen_by).partition("_")
    return kind, threshold


def headline(scores, skeleton):
    """Scores that an epoch is reported by: column in curves_stage_1.csv -> (name, score)."""
    kind, threshold = _chosen_kind(skeleton)
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
    for score_key, value in scores.items():
        if score_key == "pdj":
            for threshold, pooled in value.items():
                if float(threshold) in skeleton.thresholds:
                    numbers[f"pdj_{float(threshold):g}"] = pooled
        elif score_key.startswith("pcp_"):
            for mean_key in skeleton.means:
                if mean_key in value:
                    numbers[f"{score_key}_{mean_key}"] = value[mean_key]
        elif score_key.startswith("pckh_symmetric_"):
            numbers[score_key] = float(mean_known(np.array(list(value.values()))))
        elif isinstance(value, float):
            numbers[score_key] = value
    return numbers
