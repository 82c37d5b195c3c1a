"""The cascade: how far a refiner is trusted, and how it refines; examples.py is what it learns from.

A refiner is an Alex_net_c1 that serves some joints, one or all. Around a joint's estimate it sees a
square crop, sized by the former stage's predicted pose and never by the truth, and predicts the
offset by which the estimate is off. Three lengths occur: pixels of the frame, box sides (offsets),
and pose sizes (errors): box side = scale x pose size.
"""

import numpy as np
import torch

from deeppose import geometry, workdir
from deeppose.batch_inference import infer
from deeppose.crops import crop
from deeppose.refiners import load_refiners

CLEAR = 2.0  # standard errors by which a gain must help, or it is 0
CROPS_AT_ONCE = 128


# -- how far a refiner is trusted


def held_out_scores(network, examples, run):
    """Held-out errors of each joint served, in pose sizes, and how far the refiner is trusted.

    Returns {"loss_without", "loss", "loss_with_gain", "gain"} -> a list, one a joint: the error
    without the refiner, with it, with its gain; and the gain.
    """
    scores = {"loss_without": [], "loss": [], "loss_with_gain": [], "gain": []}
    scale = examples.boxing.scale
    for joint in examples.joints:
        # predict the offsets from the joint's estimates, and from its opposite's in a mirror
        predicted = []
        wanted = []
        for rows, boxes, wanted_offsets, mirrored in examples.held_out_errors(joint):
            asked_joints = np.full((len(rows), 1), joint)
            predicted_offsets, _ = predict_offsets(
                network, examples.frames, rows, boxes[:, None], asked_joints, run, mirrored
            )
            # box sides -> pose sizes
            predicted.append(scale * predicted_offsets[:, 0])
            wanted.append(scale * wanted_offsets)
        predicted = np.stack(predicted, 1)  # (n, 1 or 2, 2)
        wanted = np.stack(wanted, 1)
        # how far to trust them, and what that leaves
        gain = fit_gain(predicted, wanted, examples.error_cap) if len(wanted) else 0.0
        remaining_errors = {
            "loss_without": wanted,
            "loss": wanted - predicted,
            "loss_with_gain": wanted - gain * predicted,
        }
        for score, errors in remaining_errors.items():
            scores[score].append(float(truncated_errors(errors, examples.error_cap).mean()))
        scores["gain"].append(gain)
    return scores


def fit_gain(predicted, wanted, error_cap):
    """The gain g in [0, 1] for which wanted - g x predicted has the least mean truncated error.

    To a hundredth, and 0 unless it clearly helps: what it takes off an image's error is on average
    CLEAR standard errors above 0.

    predicted, wanted  (N, K, 2) in pose sizes
    """
    predicted = predicted.astype(float)
    wanted = wanted.astype(float)
    if len(predicted) < 2:
        return 0.0
    # try every hundredth
    gains = np.linspace(0, 1, 101)
    remaining = wanted - gains[:, None, None, None] * predicted  # (101, N, K, 2)
    errors = truncated_errors(remaining, error_cap)  # (101, N)
    best = errors.mean(1).argmin()
    # is the best one better than none by more than chance?
    improvements = errors[0] - errors[best]  # (N,)
    standard_error = improvements.std(ddof=1) / np.sqrt(len(improvements))
    helps = improvements.mean() > CLEAR * standard_error
    return float(gains[best]) if helps else 0.0


def truncated_errors(errors, error_cap):
    """Mean error (...) per image, each length capped at `error_cap`, in pose sizes.

    The cap keeps gross errors, which no crop shows how to mend, from outweighing all others. The
    mean over images is least where the area under PDJ's curve up to it is greatest.

    errors  (..., K, 2) in pose sizes, NaN where they are not known
    """
    lengths = np.linalg.norm(errors, axis=-1)  # (..., K)
    return np.nanmean(np.minimum(lengths, error_cap), -1)


# -- refining


def refine_from(folder, skeleton, frames, rows, joints_px, confidence, run, stage=2, epoch=None):
    """`refine` by the refiners of a folder, one network in memory at a time.

    Prints the outcome for each joint.
    """
    print(f"stage {stage}, joint by joint:")
    refiners = load_refiners(folder, skeleton, run, stage, epoch)
    refined, refined_confidence, gains = refine(
        refiners, frames, rows, joints_px, confidence, skeleton, run
    )
    for joint_name, gain in gains.items():
        if gain is None:
            path = workdir.refiner_path(folder, joint_name, stage, epoch)
            outcome = f"keeps its stage-{stage - 1} estimate: no {path.name}"
        else:
            outcome = f"gain {gain:.2f}"
        print(f"  {joint_name:<16}{outcome}", flush=True)
    return refined, refined_confidence, gains


def refine(refiners, frames, rows, joints_px, confidence, skeleton, run):
    """A stage's joints (n, J, 2) px from the former one's, their confidence (n, J), and the gains.

    refiners  what load_refiners yields; one network is in memory at a time where it is a generator
    Returns   joints, confidence, and the gains: joint's name -> gain
    A joint that none of them serves keeps its estimate, and its gain is None. One whose gain is 0
    keeps it too.
    """

    def predict(network, boxes_px, asked_joints):
        return predict_offsets(network, frames, rows, boxes_px, asked_joints, run)

    refined, refined_confidence, gains = refine_by(
        predict, refiners, joints_px, confidence, skeleton
    )
    return refined.astype(joints_px.dtype), refined_confidence, gains


def refine_by(predict, refiners, joints_px, confidence, skeleton):
    """`refine`, by offsets from anywhere: with all arrays, or with all tensors.

    Only operations that both have are used, so that torch.export can follow it.

    predict  function of a network, boxes (n, K, 4) px and the joints asked for (n, K) that returns
             offsets and confidence as predict_offsets does
    """
    library = geometry.library_of(joints_px)
    # lists by joint, stacked at the end: nothing is edited in place
    joint_numbers = range(skeleton.joint_count)
    refined = [joints_px[:, joint] for joint in joint_numbers]  # (n, 2) each
    refined_confidence = [confidence[:, joint] for joint in joint_numbers]  # (n,) each
    gains = dict.fromkeys(skeleton.joints)
    for refiner, served_joints in refiners:
        gains |= {skeleton.joints[joint]: refiner.gain(joint) for joint in served_joints}
        trusted_joints = [joint for joint in served_joints if refiner.gain(joint) > 0]
        if not trusted_joints:
            continue
        # cut around the estimates, and predict the offsets
        gain = library.asarray([refiner.gain(joint) for joint in trusted_joints])[:, None]  # (K, 1)
        sides = refiner.boxing.sides_px(joints_px, skeleton)[:, None]  # (n, 1)
        estimates = joints_px[:, trusted_joints]  # (n, K, 2)
        asked_joints = library.asarray(trusted_joints)  # (K,)
        asked_joints = library.tile(asked_joints, (joints_px.shape[0], 1))  # (n, K)
        boxes = geometry.box_around(estimates, sides[..., None])  # (n, K, 4)
        offsets, predicted_confidence = predict(refiner.network, boxes, asked_joints)
        # move the estimates by them; a head without heatmaps leaves the confidence as it was
        moved = estimates + gain * offsets * sides[..., None]
        unknown = library.isnan(predicted_confidence)
        former_confidence = confidence[:, trusted_joints]
        predicted_confidence = library.where(unknown, former_confidence, predicted_confidence)
        for index, joint in enumerate(trusted_joints):
            refined[joint] = moved[:, index]
            refined_confidence[joint] = predicted_confidence[:, index]
    return library.stack(refined, 1), library.stack(refined_confidence, 1), gains


def predict_offsets(network, frames, rows, boxes_px, asked_joints, run, mirrored=False):
    """The network's offsets (n, K, 2) in box sides, for K boxes a row, and its confidence (n, K).

    frames        a Frames
    rows          (n,) numbers of its frames
    boxes_px      (n, K, 4) around the estimates
    asked_joints  (n, K), the number of each box's joint
    mirrored      whether the network sees the boxes' mirror images; the offsets are then those of
                  the mirror images
    """
    network.eval()
    box_count = boxes_px.shape[1]
    boxes = boxes_px.astype(np.float32)  # a copy
    if mirrored:  # a box of negative width is read from its right
        boxes[..., 0] += boxes[..., 2]
        boxes[..., 2] *= -1
    boxes = torch.from_numpy(boxes).to(run.device)
    asked_joints = torch.from_numpy(asked_joints).to(run.device)

    def compute(images, batch):
        return offsets_in(images, network, boxes[batch], asked_joints[batch])

    batch_size = max(1, min(64, CROPS_AT_ONCE // box_count))
    return infer(compute, frames, rows, run, batch_size)


def offsets_in(images, network, boxes_px, asked_joints):
    """`predict_offsets` of tensors alone: offsets (n, K, 2) and confidence (n, K).

    images                  (n, 3, h, w) in [0, 1]
    boxes_px, asked_joints  (n, K, 4), and (n, K)
    """
    crops = crop(images, boxes_px, (network.crop_px, network.crop_px))  # (n * K, 3, h, w)
    output = network(crops, asked_joints.flatten())
    shape = (-1, boxes_px.shape[1])  # n * K -> n, K
    return output.joints.unflatten(0, shape), output.confidence.unflatten(0, shape)
