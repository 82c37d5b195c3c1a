"""Object keypoint similarity, and what builds on it: duplicates removed, poses scored. No torch here.

exp(-d^2 / (2 s^2 k^2)) for a joint d pixels from the truth, with s^2 the person's area and k twice
the joint's sigma: a distance counts by how large the person is and how far annotators differ on
that joint. https://cocodataset.org/#keypoints-eval
"""

import numpy as np

from deeppose.joint_metrics import joint_pairs

NMS_THRESHOLD = 0.9  # poses that are more alike are one person
PEAK_THRESHOLD = 0.2  # a joint whose heatmap peaks lower says nothing about the pose's score


def oks(predicted, true, sigmas, areas):
    """Object keypoint similarity (N,) in [0, 1], the mean over a person's labelled joints.

    NaN for a person without any.

    predicted, true  (N, J, 2) px of the photograph, in which areas are measured; NaN in `true`
                     where not labelled
    sigmas           (J,), how far annotators differ on a joint, in square roots of the area
    areas            (N,) px^2, the person's; NaN gives NaN
    """
    predicted, true = joint_pairs(predicted, true)
    areas = np.asarray(areas, float)
    labelled = ~np.isnan(true).any(-1)  # (N, J)
    similarity_sums = (_similarity(predicted, true, sigmas, areas) * labelled).sum(1)  # (N,)
    labelled_counts = labelled.sum(1)  # (N,)
    scored = (labelled_counts > 0) & ~np.isnan(areas)
    unknown = np.full(len(true), np.nan)
    return np.divide(similarity_sums, labelled_counts, out=unknown, where=scored)


def nms(joints, scores, areas, sigmas, threshold=NMS_THRESHOLD):
    """Indices of one image's poses that are no duplicates of a better one, best score first.

    joints     (M, J, 2) px
    scores     (M,)
    areas      (M,) px^2; two poses are compared by the mean of theirs (the attention authors': of
               the widened boxes)
    threshold  a pose whose OKS with a better one is above it goes
    """
    joints = np.asarray(joints, float)
    areas = np.asarray(areas, float)
    # stable: of equal scores the first given comes first
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    kept = []
    while len(order):
        # keep the best of those that are left, and drop its duplicates
        best = order[0]
        others = order[1:]
        kept.append(int(best))
        mean_areas = (areas[others] + areas[best]) / 2
        similarity = _similarity(joints[others], joints[best], sigmas, mean_areas)
        order = others[similarity.mean(-1) <= threshold]
    return kept


def rescore(peaks, box_scores, threshold=PEAK_THRESHOLD):
    """Scores (M,) of poses: the mean of a pose's peaks above the threshold, times its box's score.

    It is 0 for a pose without such a peak.

    peaks       (M, J), of the heatmaps
    box_scores  (M,)
    """
    peaks = np.asarray(peaks, float)
    is_sure = peaks > threshold  # (M, J)
    sure_counts = is_sure.sum(1)
    peak_sums = np.where(is_sure, peaks, 0).sum(1)
    means = np.divide(peak_sums, sure_counts, out=np.zeros(len(peaks)), where=sure_counts > 0)
    return means * np.asarray(box_scores, float)


def _similarity(predicted, true, sigmas, areas):
    """Similarity (..., J) in [0, 1] of joints (..., J, 2) px; 0 for a predicted NaN.

    sigmas (J,), areas (...) px^2
    """
    squared_distances = ((predicted - true) ** 2).sum(-1)  # (..., J) px^2
    variances = (2 * np.asarray(sigmas, float)) ** 2  # (J,), a share of the area
    # the spacing is COCO's, so that an area of 0 divides nothing by 0
    scales = np.asarray(areas, float)[..., None] + np.spacing(1)  # (..., 1) px^2
    return np.nan_to_num(np.exp(-squared_distances / variances / scales / 2), nan=0.0)
