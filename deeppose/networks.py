"""Stage-1 networks by name: built, and loaded by their provenance.

The one module that imports them. How they see frames and predict is in stage_1.py.

A network is a file at the top level with a class and its RECIPES, one of which is "best", and a
line in NETWORKS. The class
takes (joint_count, **options of the recipe); called with images (n, 3, h, w) in [0, 1] it gives a
heatmaps.Output. It has `cells(size, device)`, where its heatmaps' cells are, if it has any; `imagenet`,
torchvision's weights for its `backbone`, or None; `joint_layers`, the modules with channels a
joint; `unused_weights`, the names in torchvision's file that it can do without, or else
`from_imagenet(weights)`, which gives them by its own names. It may have `joint_mixers`, the modules
with channels a joint on both sides; `check_recipe(recipe)`, a ValueError where entries do not go
together; and, if its joints are its heatmaps' peaks, `predict_heatmaps(images)` and
`decode(heatmaps, size)`, so that the flip test is of heatmaps.
"""

from dataclasses import replace

import torch

from Alexnet_stage_1 import RECIPES as ALEXNET_RECIPES
from Alexnet_stage_1 import Alexnet_stage_1
from deeppose import checkpoint, dataset_format, files, skeleton
from deeppose.shell import InputError
from deeppose.stage_1 import Stage_1
from deeppose.workdir import STEP_2
from Heatmap_stage_1 import RECIPES as HEATMAP_RECIPES
from Heatmap_stage_1 import Heatmap_stage_1
from Resnet_stage_1 import RECIPES as RESNET_RECIPES
from Resnet_stage_1 import Resnet_stage_1

NETWORKS = {
    "resnet": (Resnet_stage_1, RESNET_RECIPES),
    "alexnet": (Alexnet_stage_1, ALEXNET_RECIPES),
    "heatmap": (Heatmap_stage_1, HEATMAP_RECIPES),
}
DEFAULT = "resnet"
LARGEST_SIDE_PX = 4096  # of frames and images; a model that tells of larger ones is not believed


def build(network_name, joint_count, options):
    """A network of NETWORKS; raises InputError for an option that it does not know."""
    network_class, _ = NETWORKS[network_name]
    try:
        return network_class(joint_count, **options)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"--vary: the network {network_name} cannot be built so: {error}"
        ) from None


def input_size(view_size, input_px=0, stretch=False):
    """Size (w, h) px of the images that a network takes of a view (w, h) px.

    input_px  length of the longer side (0: the view's own)
    stretch   whether images are squares, whatever the view's aspect
    """
    longer_side = max(view_size)
    wanted_side = input_px or round(longer_side)
    if stretch:
        return wanted_side, wanted_side
    return tuple(max(1, round(side * wanted_side / longer_side)) for side in view_size)


def described(model_path):
    """Name and options, a dict, of the network that a model's .json describes.

    Raises InputError where it names none of NETWORKS.
    """
    json_path = model_path.with_suffix(".json")
    provenance = files.load_json(json_path, STEP_2)
    network_name = provenance.get("network", DEFAULT)
    options = provenance.get("options", {})
    # looked up in a list, since what stands in the file need not be hashable
    if network_name not in list(NETWORKS) or not isinstance(options, dict):
        raise InputError(f"{json_path}: does not tell the model's network; {STEP_2} makes it")
    return network_name, options


def load(folder, run, dataset=None):
    """The trained Stage_1 of a folder's model_1.pt: see load_file."""
    return load_file(folder / "model_1.pt", run, dataset)


def load_file(path, run, dataset=None):
    """The trained Stage_1 of a checkpoint, on the Runtime's device, and its provenance.

    dataset  the Dataset that it is to be run on: raises InputError where it was trained for other
             joints or frames
    """
    made_by = f"{STEP_2} makes it"
    weights = checkpoint.read_weights(path, made_by)
    json_path = path.with_suffix(".json")
    provenance = files.load_json(json_path, STEP_2)
    # build what the .json describes, which anybody may have edited
    try:
        model = _from_provenance(provenance)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise InputError(
            f"{json_path}: does not tell what network {path.name} is; {STEP_2} makes it"
        ) from None
    if dataset is not None:
        _check_fits(path, dataset, model)
    # give it its weights
    network = checkpoint.load_weights(model.network, weights, path, made_by)
    return replace(model, network=run.place(network).eval()), provenance


def _from_provenance(provenance):
    """The Stage_1 that the entries of a model's .json describe, without weights.

    Raises KeyError, TypeError, ValueError, AttributeError or OverflowError where they describe none.
    """
    network_class, _ = NETWORKS[provenance["network"]]
    model_skeleton = skeleton.from_description(provenance["skeleton"])
    frame = tuple(int(side) for side in provenance["frame"])
    input_size = tuple(int(side) for side in provenance["input_size"])
    margin = float(provenance["margin"])
    _check_sizes(frame, input_size, margin)
    depth_white = provenance.get("depth_white")
    dataset_format.check_depth_white(depth_white)
    with torch.device("meta"):  # without weights, which are loaded later
        network = network_class(model_skeleton.joint_count, **provenance["options"])
    return Stage_1(
        network, provenance["network"], model_skeleton, frame, margin, input_size, depth_white
    )


def _check_sizes(frame, input_size, margin):
    """Raise ValueError for sizes that no model has."""
    # no data set comes near these bounds, and an edited file may tell any size
    sides = (*frame, *input_size)
    if len(frame) != 2 or len(input_size) != 2:
        raise ValueError("a size needs a width and a height")
    if min(sides) < 1 or max(sides) > LARGEST_SIDE_PX or not 1 <= margin < 10:
        raise ValueError("a size is too small or too large")


def _check_fits(path, dataset, model):
    """Raise InputError where a model was made for other joints, frames or depths than a Dataset's."""
    if model.skeleton.joints != dataset.skeleton.joints:
        raise InputError(
            f"{path}: is of the skeleton {model.skeleton.name}, with other joints than "
            f"{dataset.skeleton.name}; {STEP_2} makes it"
        )
    if (model.frame, model.margin) != (dataset.frame, dataset.margin):
        raise InputError(
            f"{path}: is for frames of {model.frame[0]} x {model.frame[1]} px, margin "
            f"{model.margin:g}, not {dataset.frame[0]} x {dataset.frame[1]}, margin "
            f"{dataset.margin:g}; {STEP_2} makes it"
        )
    if model.depth_white != dataset.depth_white:
        raise InputError(
            f"{path}: is for images whose depth_white is {model.depth_white}, not "
            f"{dataset.depth_white}; {STEP_2} makes it"
        )
