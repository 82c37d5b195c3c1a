"""A refiner before its first step: its joints, initial weights, network, settings, provenance."""

import torch

from Cascade_1_net import Alex_net_c1
from deeppose import arrays, checkpoint, workdir
from deeppose.refiners import read_weights
from deeppose.shell import InputError
from deeppose.skeleton import joints_named
from deeppose.workdir import SHARED, STEP_5


def refiner_names(options, dataset):
    """Names of the refiners to be trained: joints', or "shared"."""
    if options.refiner == SHARED:
        names = [SHARED]
    else:
        names = joints_named(options.joints, dataset.skeleton)
    if options.joints:
        return names
    return [refiner_name for refiner_name in names if refiner_name not in dataset.not_refined]


def served_joints(refiner_name, dataset):
    """Numbers of the joints that a refiner serves."""
    skeleton = dataset.skeleton
    if refiner_name != SHARED:
        return [skeleton.index(refiner_name)]
    return [
        skeleton.index(joint_name)
        for joint_name in skeleton.joints
        if joint_name not in dataset.not_refined
    ]


def find_initial_weights(refiner_name, skeleton, options):
    """The file that a refiner starts from, None for random weights.

    Raises InputError where it is not there.
    """
    if options.weights == "none":
        return None
    path = options.weights
    if options.weights == "former":
        path = workdir.refiner_path(options.workdir, refiner_name, options.stage - 1)
    elif options.weights == "opposite":
        opposite = _opposite_joint(refiner_name, skeleton)
        path = workdir.refiner_path(options.workdir, opposite, options.stage)
    if not path.is_file():
        raise InputError(f"{path}: not found; {STEP_5} makes it")
    return path


def _opposite_joint(joint_name, skeleton):
    """Name of the joint on the other side; InputError where there is none."""
    if joint_name != SHARED:
        opposite = skeleton.joints[skeleton.flip[skeleton.index(joint_name)]]
        if opposite != joint_name:
            return opposite
    raise InputError(f"--weights opposite: {joint_name} has no opposite joint")


def build(joints, initial_weights, skeleton, options):
    """A refiner's network for those joints, with the weights of that file, or random ones for None.

    joints  numbers of the joints that it serves
    """
    network = Alex_net_c1(
        skeleton.joint_count, joints, crop_px=options.crop_px, **options.recipe.options
    )
    if initial_weights:
        _load_initial_weights(network, initial_weights, skeleton, options)
    return network


def _load_initial_weights(network, path, skeleton, options):
    """Load another refiner's weights into the network, mirrored with --weights opposite.

    Its gains stay.
    """
    made_by = f"--weights takes a refiner's model_<joint>.pt, of a {network.head} head"
    weights = read_weights(path, made_by)
    # the other refiner's gains say nothing of this one, and may be of another number of joints
    weights["gain"] = torch.ones_like(network.gain)
    checkpoint.load_weights(network, weights, path, made_by)
    if options.weights == "opposite":
        network.mirror(skeleton.flip)


def settings(dataset, options, run, boxing, deltas_path):
    """The settings of all refiners of this run, which a run that goes on must share."""
    former_output = workdir.output_path(options.workdir, options.stage - 1)
    return {
        "skeleton": dataset.skeleton.name,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "precision": run.precision,
        "recipe": vars(options.recipe),
        "simulated": options.simulated,
        "crop_scale": boxing.scale,
        "crop_px": options.crop_px,
        "weights": str(options.weights),
        "deltas": arrays.digest(deltas_path),
        "train_output": arrays.digest(former_output),
        "dataset": dataset.digests,
    }


def provenance(examples, initial_weights, skeleton, options):
    """The content of a refiner's .json: all that load_refiner needs, and where it comes from."""
    mirrored = ", mirrored" if options.weights == "opposite" else ""
    return {
        "network": "Alex_net_c1",
        "joints": [skeleton.joints[joint] for joint in examples.joints],
        "options": options.recipe.options,
        "crop_px": options.crop_px,
        "crop_scale": examples.boxing.scale,
        "smallest_crop_px": examples.boxing.smallest_px,
        "seed": options.seed,
        "stage": options.stage,
        "initial_weights": f"file {initial_weights.name}{mirrored}"
        if initial_weights
        else "random",
        "skeleton": skeleton.described(),
    }
