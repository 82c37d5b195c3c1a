"""The cascade: how far a refiner is trusted, and how it refines; examples.py is what it learns from.

A refiner is an Alex_net_c1 that serves some joints, one or all. Around a joint's estimate it sees a
square crop, sized by the former stage's predicted pose and never by the truth, and says by which
offset the estimate is off. Three lengths occur: pixels of the frame, box sides (offsets), and pose
sizes (errors): box side = scale x pose size.
"""

from dataclasses import dataclass

import numpy as np
import torch

from Cascade_1_net import Alex_net_c1
from deeppose import checkpoint, files, geometry, workdir
from deeppose.batch_inference import infer
from deeppose.crops import crop
from deeppose.examples import Boxing
from deeppose.shell import InputError

MADE_BY = f"{workdir.STEP_5} makes it"
CLEAR = 2.0  # standard errors by which a gain must help, or it is 0
CROPS_AT_ONCE = 128
LARGEST = 10_000  # pose sizes, or px of the frame: no box of a refiner is larger


# -- how far a refiner is trusted


def truncated_errors(errors, error_cap):
    """Mean error (...) per image, each length capped at `error_cap`, in pose sizes.

    The cap keeps gross errors, which no crop shows how to mend, from outweighing all others. The
    mean over images is least where the area under PDJ's curve up to it is greatest.

    errors  (..., K, 2) in pose sizes, NaN where they are not known
    """
    lengths = np.linalg.norm(errors, axis=-1)  # (..., K)
    return np.nanmean(np.minimum(lengths, error_cap), -1)


def fit_gain(predicted, wanted, error_cap):
    """The g in [0, 1] for which wanted - g x predicted has the least mean truncated error.

    To a hundredth, and 0 unless it clearly helps: what it takes off an image's error is on average
    CLEAR standard errors above 0.

    predicted, wanted  (N, K, 2) in pose sizes
    """
    predicted = predicted.astype(float)
    wanted = wanted.astype(float)
    if len(predicted) < 2:
        return 0.0
    gains = np.linspace(0, 1, 101)
    errors = truncated_errors(
        wanted - gains[:, None, None, None] * predicted, error_cap
    )  # (101, N)
    best = errors.mean(1).argmin()
    gained = errors[0] - errors[best]  # (N,)
    clear = gained.mean() > CLEAR * gained.std(ddof=1) / np.sqrt(len(gained))
    return float(gains[best]) if clear else 0.0


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
        for rows, boxes, offsets, mirrored in examples.held_out_errors(joint):
            asked_joints = np.full((len(rows), 1), joint)
            predicted_offsets, _ = predict_offsets(
                network, examples.frames, rows, boxes[:, None], asked_joints, run, mirrored
            )
            # box sides -> pose sizes
            predicted.append(scale * predicted_offsets[:, 0])
            wanted.append(scale * offsets)
        predicted = np.stack(predicted, 1)  # (n, 1 or 2, 2)
        wanted = np.stack(wanted, 1)
        # how far to trust them, and what that leaves
        gain = fit_gain(predicted, wanted, examples.error_cap) if len(wanted) else 0.0
        for name, errors in (
            ("loss_without", wanted),
            ("loss", wanted - predicted),
            ("loss_with_gain", wanted - gain * predicted),
        ):
            scores[name].append(float(truncated_errors(errors, examples.error_cap).mean()))
        scores["gain"].append(gain)
    return scores


# -- refining


def predict_offsets(network, frames, rows, boxes_px, asked, run, mirrored=False):
    """The network's offsets (n, K, 2) in box sides, for K boxes a row, and its confidence (n, K).

    frames    a Frames
    boxes_px  (n, K, 4) around the estimates
    asked     (n, K), the joint of each
    mirrored  whether the network sees the boxes' mirror images, of which its offsets then are
    """
    network.eval()
    count = boxes_px.shape[1]
    boxes = boxes_px.astype(np.float32)  # a copy
    if mirrored:  # a box of negative width is read from its right
        boxes[..., 0] += boxes[..., 2]
        boxes[..., 2] *= -1
    boxes = torch.from_numpy(boxes).to(run.device)
    asked = torch.from_numpy(asked).to(run.device)

    def compute(images, piece):
        return offsets_in(images, network, boxes[piece], asked[piece])

    batch_size = max(1, min(64, CROPS_AT_ONCE // count))
    return infer(compute, frames, rows, run, batch_size)


def offsets_in(images, network, boxes_px, asked):
    """As predict_offsets, but all tensors: it gives offsets (n, K, 2) and confidence (n, K).

    images           (n, 3, h, w) in [0, 1]
    boxes_px, asked  (n, K, 4), and (n, K)
    """
    crops = crop(images, boxes_px, (network.crop_px, network.crop_px))  # (n * K, 3, h, w)
    output = network(crops, asked.flatten())
    shape = (-1, boxes_px.shape[1])  # n * K -> n, K
    return output.joints.unflatten(0, shape), output.confidence.unflatten(0, shape)


@dataclass(frozen=True)
class Refiner:
    """A trained network, in eval(), with the size of its boxes.

    name   of its joint, or workdir.SHARED
    gains  joint -> how far it is trusted with it
    """

    network: Alex_net_c1
    name: str
    boxing: Boxing
    gains: dict

    def gain(self, joint):
        """How far it is trusted with that joint."""
        return self.gains[joint]


def load_refiner(folder, name, skeleton, run, stage=2, epoch=None):
    """The Refiner of that name, as training left it at last or after an epoch that was kept.

    Raises InputError where its files are missing or of another skeleton.
    """
    path = workdir.refiner_path(folder, name, stage, epoch)
    weights = checkpoint.read_weights(path, MADE_BY)
    facts = files.load_json(path.with_suffix(".json"), workdir.STEP_5)
    # build the network that the .json describes
    try:
        network, joints, boxing = _build(facts, skeleton)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(
            f"{path.with_suffix('.json')}: does not tell of a refiner for {skeleton.name}'s joints; "
            f"{MADE_BY}"
        ) from None
    if name != workdir.SHARED and joints != (skeleton.index(name),):
        raise InputError(
            f"{path}: is the refiner of {', '.join(facts['joints'])}, not {name}; {MADE_BY}"
        )
    # fill it with the weights
    network = run.place(checkpoint.load_weights(network, weights, path, MADE_BY)).eval()
    return Refiner(network, name, boxing, dict(zip(joints, network.gain.tolist())))


def _build(facts, skeleton):
    """A refiner's network without weights, the numbers of its joints, and its Boxing.

    facts  its .json
    Raises KeyError, TypeError, ValueError or OverflowError where that is wrong.
    """
    joints = tuple(skeleton.index(joint) for joint in facts["joints"])
    if list(facts["skeleton"]["joints"]) != list(skeleton.joints):
        raise ValueError("skeleton")
    boxing = Boxing(float(facts["crop_scale"]), float(facts["smallest_crop_px"]))
    # written so that NaN is refused too
    if not 0 < boxing.scale < LARGEST or not 0 <= boxing.smallest_px < LARGEST:
        raise ValueError("boxes")
    options = facts["options"]
    with torch.device("meta"):  # no memory, and no time to draw weights that are replaced
        network = Alex_net_c1(
            skeleton.joint_count,
            joints,
            options["head"],
            int(facts["crop_px"]),
            options.get("layers", "plain"),
        )
    return network, joints, boxing


def load_refiners(folder, skeleton, run, stage=2, epoch=None):
    """Yield (refiner, numbers of the joints that it refines) of a stage.

    The shared refiner leaves out the joints that have one of their own.
    """
    names = workdir.refiners_here(folder, skeleton, stage, epoch)
    for name in names:
        refiner = load_refiner(folder, name, skeleton, run, stage, epoch)
        joints = [
            joint
            for joint in refiner.network.joints
            if name != workdir.SHARED or skeleton.joints[joint] not in names
        ]
        yield refiner, joints


def refine(refiners, frames, rows, joints_px, confidence, skeleton, run):
    """A stage's joints (n, J, 2) px from the former one's, their confidence (n, J), and the gains.

    refiners  what load_refiners yields; one network is in memory at a time where it is a generator
    Returns   joints, confidence, and the gains: joint's name -> gain
    A joint that none of them serves keeps its estimate, and its gain is None. One whose gain is 0
    keeps it too.
    """

    def predict(network, boxes_px, asked):
        return predict_offsets(network, frames, rows, boxes_px, asked, run)

    refined, refined_confidence, gains = refine_by(
        predict, refiners, joints_px, confidence, skeleton
    )
    return refined.astype(joints_px.dtype), refined_confidence, gains


def refine_by(predict, refiners, joints_px, confidence, skeleton):
    """`refine`, by offsets from anywhere: with all arrays, or with all tensors.

    Only operations that both have are used, so that torch.export can follow it.

    predict  function of a network, boxes (n, K, 4) px and the joints asked for (n, K): what
             predict_offsets returns
    """
    library = geometry.library_of(joints_px)
    # lists by joint, stacked at the end: nothing is edited in place
    joint_numbers = range(skeleton.joint_count)
    refined = [joints_px[:, joint] for joint in joint_numbers]  # (n, 2) each
    refined_confidence = [confidence[:, joint] for joint in joint_numbers]  # (n,) each
    gains = dict.fromkeys(skeleton.joints)
    for refiner, joints in refiners:
        gains |= {skeleton.joints[joint]: refiner.gain(joint) for joint in joints}
        used = [joint for joint in joints if refiner.gain(joint) > 0]
        if not used:
            continue
        # cut around the estimates, and predict the offsets
        gain = library.asarray([refiner.gain(joint) for joint in used])[:, None]  # (K, 1)
        sides = refiner.boxing.sides_px(joints_px, skeleton)[:, None]  # (n, 1)
        estimates = joints_px[:, used]  # (n, K, 2)
        asked_joints = library.tile(library.asarray(used), (joints_px.shape[0], 1))  # (n, K)
        boxes = geometry.box_around(estimates, sides[..., None])  # (n, K, 4)
        offsets, predicted_confidence = predict(refiner.network, boxes, asked_joints)
        # move the estimates by them; a head without heatmaps leaves the confidence as it was
        moved = estimates + gain * offsets * sides[..., None]
        unknown = library.isnan(predicted_confidence)
        predicted_confidence = library.where(unknown, confidence[:, used], predicted_confidence)
        for place, joint in enumerate(used):
            refined[joint] = moved[:, place]
            refined_confidence[joint] = predicted_confidence[:, place]
    return library.stack(refined, 1), library.stack(refined_confidence, 1), gains


def refine_from(folder, skeleton, frames, rows, joints_px, confidence, run, stage=2, epoch=None):
    """`refine` by the refiners of a folder, one network in memory at a time.

    Prints what becomes of each joint.
    """
    print(f"stage {stage}, joint by joint:")
    refiners = load_refiners(folder, skeleton, run, stage, epoch)
    refined, refined_confidence, gains = refine(
        refiners, frames, rows, joints_px, confidence, skeleton, run
    )
    for name, gain in gains.items():
        if gain is None:
            path = workdir.refiner_path(folder, name, stage, epoch)
            outcome = f"keeps its stage-{stage - 1} estimate: no {path.name}"
        else:
            outcome = f"gain {gain:.2f}"
        print(f"  {name:<16}{outcome}", flush=True)
    return refined, refined_confidence, gains
