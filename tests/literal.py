"""PCP, PDJ, PCKh and OKS as literal loops, to check the vectorised ones and the files of the
scripts against."""

import math


def distance(a, b):
    return math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2)


def middle(joints, end):
    return [sum(joints[j][k] for j in end) / len(end) for k in (0, 1)]


def literal_pcp(predicted, true, limbs, threshold, strict):
    rates = []
    for start, stop in limbs:
        right = counted = 0
        for n in range(len(true)):
            a, b = middle(true[n], start), middle(true[n], stop)
            if any(math.isnan(value) for value in a + b):
                continue
            first, second = (
                distance(middle(predicted[n], start), a),
                distance(middle(predicted[n], stop), b),
            )
            allowed = threshold * distance(a, b)
            counted += 1
            right += (
                (first <= allowed and second <= allowed)
                if strict
                else (first + second) / 2 <= allowed
            )
        rates.append(right / counted if counted else math.nan)
    return rates


def literal_pdj(predicted, true, torso, threshold):
    rates = []
    for j in range(true.shape[1]):
        right = counted = 0
        for n in range(len(true)):
            ends = [*true[n][j], *true[n][torso[0]], *true[n][torso[1]]]
            if any(math.isnan(value) for value in ends):
                continue
            counted += 1
            right += distance(predicted[n][j], true[n][j]) <= threshold * distance(
                true[n][torso[0]], true[n][torso[1]]
            )
        rates.append(right / counted if counted else math.nan)
    return rates


def literal_pck(predicted, true, sizes, joints, threshold):
    """The pooled rate of `joints`, one size a person; NaN where nothing counts."""
    right = counted = 0
    for n in range(len(true)):
        for j in joints:
            if math.isnan(sizes[n]) or math.isnan(true[n][j][0]) or math.isnan(true[n][j][1]):
                continue
            counted += 1
            right += distance(predicted[n][j], true[n][j]) <= threshold * sizes[n]
    return right / counted if counted else math.nan


def literal_oks(predicted, true, sigmas, area):
    """One person's similarity; joints with a NaN label do not count, and without any it is NaN."""
    total = counted = 0
    for j in range(len(true)):
        if math.isnan(true[j][0]) or math.isnan(true[j][1]):
            continue
        counted += 1
        spread = 2 * sigmas[j]
        total += math.exp(-(distance(predicted[j], true[j]) ** 2) / (2 * area * spread**2))
    return total / counted if counted else math.nan


def literal_nms(joints, scores, areas, sigmas, threshold):
    """Indices that stay: a pose goes if one that stays, scores more and is too much like it."""
    kept = []
    for m in sorted(range(len(scores)), key=lambda m: -scores[m]):
        if all(
            literal_oks(joints[m], joints[k], sigmas, (areas[m] + areas[k]) / 2) <= threshold
            for k in kept
        ):
            kept.append(m)
    return kept


def literal_rescore(peaks, box_score, threshold):
    high = [peak for peak in peaks if peak > threshold]
    return sum(high) / len(high) * box_score if high else 0
