"""Scores by their keys in metrics_stage_N.json, from their terms and weightings of the images.

A weighting says how often each image counts: once, or as often as a bootstrap drew it.
"""

import numpy as np

from deeppose.joint_metrics import rate, sum_groups
from deeppose.score_names import ALL_STICKS, threshold_key


def summarise(tallies, weights, skeleton, thresholds=()):
    """Every score (B,) for B weightings (B, N) of the images, keyed as in metrics_stage_N.json.

    tallies     metrics.tally's
    thresholds  of PDJ by joint, beside the skeleton's
    """
    # sum over the images: of K joints or limbs what is correct, and what counts, (B, K) each
    sums = {}
    for name, (correct, scorable) in tallies.items():
        sums[name] = weights @ correct.astype(float), weights @ scorable.astype(float)
    # divide: scores of limbs, of joints, and of whole people
    summary = {}
    for kind in ("pcp_strict", "pcp_relaxed"):
        if kind in sums:
            summary[kind] = _part_scores(rate(*sums[kind]), skeleton)
    summary |= _pdj_summary(sums, skeleton, thresholds)
    summary |= _pckh_summary(sums, skeleton)
    for kind in ("oks", "loss"):
        if kind in sums:
            summary[kind] = _pooled(sums[kind])
    return summary


def _pdj_summary(sums, skeleton, thresholds):
    """PDJ and its AUC: pooled at every threshold that was tallied, by joint at those asked for."""
    if "pdj" not in skeleton.scores:
        return {}
    summary = {"pdj": {}, "auc": _pooled(sums["auc"])}
    for threshold in _tallied_thresholds(sums, "pdj"):
        summary["pdj"][threshold_key(threshold)] = _pooled(sums["pdj", threshold])
    for threshold in (*skeleton.thresholds, *thresholds):
        by_joint = _by_joint(sums["pdj", threshold], skeleton)
        summary[f"pdj_per_joint_{threshold:g}"] = by_joint
    return summary


def _pckh_summary(sums, skeleton):
    """PCKh: pooled, by group of joints ("symmetric"), and by joint where heads are the unit."""
    if "pckh" not in skeleton.scores:
        return {}
    summary = {}
    groups = skeleton.joint_groups
    for threshold in _tallied_thresholds(sums, "pckh"):
        joint_sums = sums["pckh", threshold]
        group_rates = rate(*(sum_groups(terms, groups.values()) for terms in joint_sums))  # (B, G)
        summary[f"pckh_{threshold:g}"] = _pooled(joint_sums)
        summary[f"pckh_symmetric_{threshold:g}"] = dict(zip(groups, group_rates.T))
        if skeleton.unit == "head":
            summary[f"pckh_per_joint_{threshold:g}"] = _by_joint(joint_sums, skeleton)
    return summary


def _tallied_thresholds(sums, kind):
    """Thresholds of "pdj" or "pckh" that have sums, ascending as `tally` made them."""
    return [name[1] for name in sums if name[0] == kind]


def _pooled(joint_sums):
    """Score (B,) of all joints together, from sums (B, K) of what is correct and what counts."""
    correct, scorable = joint_sums
    return rate(correct.sum(1), scorable.sum(1))


def _by_joint(joint_sums, skeleton):
    """Score (B,) of each joint by its name."""
    return dict(zip(skeleton.joints, rate(*joint_sums).T))


def _part_scores(stick_rates, skeleton):
    """Means (...) of the PCP (..., L) of sticks: part or name of a skeleton's mean -> mean."""
    parts = np.array(skeleton.stick_parts)
    scores = {part: mean_known(stick_rates[..., parts == part]) for part in skeleton.limbs}
    means = {}
    for mean_key, averaged in skeleton.means.items():
        if averaged == ALL_STICKS:
            means[mean_key] = mean_known(stick_rates)
        else:
            means[mean_key] = mean_known(np.stack([scores[part] for part in averaged], -1))
    return scores | means


def mean_known(rates):
    """Mean (...) of rates (..., K) over those that are not NaN; NaN where all are."""
    return rate(np.nansum(rates, -1), (~np.isnan(rates)).sum(-1))
