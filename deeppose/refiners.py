"""Trained refiners, loaded from the files that step 5 writes."""

from dataclasses import dataclass

import torch

from Cascade_1_net import Alex_net_c1
from deeppose import checkpoint, files, workdir
from deeppose.examples import Boxing
from deeppose.shell import InputError

MADE_BY = f"{workdir.STEP_5} makes it"
LARGEST = 10_000  # pose sizes, or px of the frame: no box of a refiner is larger


@dataclass(frozen=True)
class Refiner:
    """A trained network, in eval(), with the size of its boxes.

    name   of its joint, or workdir.SHARED
    gains  joint's number -> how far the network is trusted with it
    """

    network: Alex_net_c1
    name: str
    boxing: Boxing
    gains: dict

    def gain(self, joint):
        """Share of the offsets of the joint of that number to be trusted, in [0, 1]."""
        return self.gains[joint]


def load_refiners(folder, skeleton, run, stage=2, epoch=None):
    """Yield (refiner, numbers of the joints that it refines) of a stage.

    The shared refiner leaves out the joints that have one of their own.
    """
    names = workdir.refiners_here(folder, skeleton, stage, epoch)
    for refiner_name in names:
        refiner = load_refiner(folder, refiner_name, skeleton, run, stage, epoch)
        refined_joints = [
            joint
            for joint in refiner.network.joints
            if refiner_name != workdir.SHARED or skeleton.joints[joint] not in names
        ]
        yield refiner, refined_joints


def load_refiner(folder, refiner_name, skeleton, run, stage=2, epoch=None):
    """The Refiner of that name, as training left it at last or after an epoch that was kept.

    Raises InputError where its files are missing or of another skeleton.
    """
    path = workdir.refiner_path(folder, refiner_name, stage, epoch)
    weights = read_weights(path, MADE_BY)
    provenance = files.load_json(path.with_suffix(".json"), workdir.STEP_5)
    # build the network that the .json describes
    try:
        network, joints, boxing = _build(provenance, skeleton)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(
            f"{path.with_suffix('.json')}: does not tell of a refiner for {skeleton.name}'s joints; "
            f"{MADE_BY}"
        ) from None
    if refiner_name != workdir.SHARED and joints != (skeleton.index(refiner_name),):
        raise InputError(
            f"{path}: is the refiner of {', '.join(provenance['joints'])}, not {refiner_name}; "
            f"{MADE_BY}"
        )
    # fill it with the weights
    network = run.place(checkpoint.load_weights(network, weights, path, MADE_BY)).eval()
    return Refiner(network, refiner_name, boxing, dict(zip(joints, network.gain.tolist())))


def read_weights(path, made_by):
    """A refiner's state_dict; InputError, which names who makes it, where the file holds none."""
    weights = checkpoint.read_weights(path, made_by)
    # the last layer of a direct head was called displacement until November 2026
    return {name.replace("displacement.", "offset."): value for name, value in weights.items()}


def _build(provenance, skeleton):
    """A refiner's network without weights, the numbers of its joints, and its Boxing.

    provenance  the content of its .json
    Raises KeyError, TypeError, ValueError or OverflowError where that is wrong.
    """
    joints = tuple(skeleton.index(joint_name) for joint_name in provenance["joints"])
    if list(provenance["skeleton"]["joints"]) != list(skeleton.joints):
        raise ValueError("skeleton")
    boxing = Boxing(float(provenance["crop_scale"]), float(provenance["smallest_crop_px"]))
    # written so that NaN is refused too
    if not 0 < boxing.scale < LARGEST or not 0 <= boxing.smallest_px < LARGEST:
        raise ValueError("boxes")
    options = provenance["options"]
    with torch.device("meta"):  # no memory, and no time to draw weights that are replaced
        network = Alex_net_c1(
            skeleton.joint_count,
            joints,
            options["head"],
            int(provenance["crop_px"]),
            options.get("layers", "plain"),
        )
    return network, joints, boxing
