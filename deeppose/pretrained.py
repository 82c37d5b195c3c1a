"""Initial weights of stage 1: random, ImageNet's, a file in torchvision's format, a whole model."""

import http.client
import threading
import urllib.request
from pathlib import Path

import torch

from deeppose import checkpoint, files
from deeppose.shell import InputError, RunError

CONNECT_SECONDS = 5  # to wait for an answer, before `auto` starts from random weights


def add_argument(parser):
    """Add --weights."""
    parser.add_argument(
        "--weights",
        default="auto",
        metavar="auto|imagenet|none|FILE|FOLDER",
        help="initial weights: ImageNet's where they can be had (auto), or else stop (imagenet); "
        "random ones (none); a file in torchvision's format (.pth) or, where the network's file "
        "says so, a .npz; or a whole model, a model_1.pt or the folder of one: of another "
        "skeleton it gives what fits, joints by name (default: auto)",
    )


def load_initial(network, choice, skeleton):
    """Load what --weights names into the network; returns its description, for the record.

    The network's `backbone` takes torchvision's weights, which the network names as its `imagenet`
    (None: there are none).
    """
    # random weights, or a file's
    if choice == "none":
        return "random"
    if choice not in ("auto", "imagenet"):
        return _load_file(network, Path(choice), skeleton)
    # ImageNet's: there may be none for this network
    imagenet = network.imagenet
    if imagenet is None:
        if choice == "imagenet":
            raise InputError(
                "--weights imagenet: torchvision has none for this network; "
                "use --weights none or a FILE"
            )
        return "random"
    # or they may be out of reach
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(imagenet.url).name
    if not cached.is_file() and not _page_answers(imagenet.url):
        if choice == "imagenet":
            raise RunError(
                f"{cached}: not found, and {imagenet.url} cannot be reached; "
                "fetch it, or use --weights none"
            )
        print(
            "No ImageNet weights: none cached, and no connection to fetch them. "
            "Starting from RANDOM weights, which score far lower; see --weights."
        )
        return "random"
    if not cached.is_file():
        _download(imagenet.url, cached)
    weights = checkpoint.read_weights(cached, "delete it, so that it is fetched again")
    _load_backbone(network, weights, cached)
    return f"ImageNet (torchvision {type(imagenet).__name__}.{imagenet.name})"


def find_model(choice):
    """Path of the whole model's weights that --weights names; None where it names anything else."""
    path = Path(choice)
    path = path / "model_1.pt" if path.is_dir() else path
    return path if path.with_suffix(".json").is_file() else None


def _load_file(network, path, skeleton):
    """Load a file of torchvision's, or a whole model, which has a .json beside it.

    Returns its description, for the record.
    """
    path = path / "model_1.pt" if path.is_dir() else path
    made_by = (
        "--weights takes torchvision's weights (.pth) or a whole model "
        "(model_1.pt with model_1.json beside it)"
    )
    # a backbone's weights
    if path.suffix == ".npz":
        _load_backbone(network, checkpoint.read_arrays(path, made_by), path)
        return f"file {path.name}"
    weights = checkpoint.read_weights(path, made_by)
    if not path.with_suffix(".json").is_file():
        _load_backbone(network, weights, path)
        return f"file {path.name}"
    # a whole model's, or those of them that fit
    facts = files.load_json(path.with_suffix(".json"), "the training")
    try:
        joints = list(facts["skeleton"]["joints"])
    except (KeyError, TypeError):
        raise InputError(
            f"{path.with_suffix('.json')}: does not tell the model's joints; {made_by}"
        ) from None
    taken = adopt(network, weights, joints, skeleton.joints)
    if not taken:
        raise InputError(f"{path}: nothing in it fits this network; {made_by}")
    is_whole = taken == len(network.state_dict()) and set(skeleton.joints) <= set(joints)
    share = "" if is_whole else f", {taken} of its tensors"
    return f"model {path.parent.name}/{path.name}{share}"


def adopt(network, weights, joints, wanted):
    """Copy what fits of another model's weights into the network; returns the number of tensors.

    joints, wanted  the joint names of the other model and of the network: what has a channel a
                    joint (the modules that the network names as `joint_layers`) is taken joint by
                    joint, by name
    """
    taken = 0
    for name, value in network.state_dict().items():
        other = weights.get(name)
        layer = name.rpartition(".")[0]
        # a joint a row and a column, a joint a row, or no joints at all
        if other is not None and layer in getattr(network, "joint_mixers", ()):
            taken += _copy_mixer(value, other, joints, wanted)
            continue
        if other is None or other.shape[1:] != value.shape[1:]:
            continue
        if layer in network.joint_layers and value.dim():
            taken += _copy_joints(value, other, joints, wanted)
        elif other.shape == value.shape:
            value.copy_(other)
            taken += 1
    return taken


def _copy_joints(value, other, joints, wanted):
    """Copy the rows of the joints that both have; true if there is one.

    A joint may have several rows, one after the other.
    """
    rows = len(value) // len(wanted)  # of each joint
    if len(other) != rows * len(joints):
        return False
    common = [name for name in wanted if name in joints]
    for name in common:
        here = wanted.index(name) * rows
        there = joints.index(name) * rows
        value[here : here + rows] = other[there : there + rows]
    return bool(common)


def _copy_mixer(value, other, joints, wanted):
    """Copy as _copy_joints does, of weights (J, J, ...) rows and columns, of a bias (J,) rows."""
    if value.dim() == 1:
        return _copy_joints(value, other, joints, wanted)
    if other.shape != (len(joints), len(joints), *value.shape[2:]):
        return False
    common = [name for name in wanted if name in joints]
    here = torch.tensor([wanted.index(name) for name in common], dtype=torch.long)
    there = torch.tensor([joints.index(name) for name in common], dtype=torch.long)
    # a shipped model's are float16
    value[here[:, None], here] = other[there[:, None], there].to(value.dtype)
    return bool(common)


def _load_backbone(network, weights, path):
    """Load ImageNet's weights; the last layer of a classifier may be left over."""
    made_by = "--weights takes weights in torchvision's format for this network's backbone (.pth)"
    backbone = getattr(network, "backbone", None)
    if backbone is None:
        raise InputError(
            f"{path}: this network has no backbone that takes torchvision's weights; "
            "use --weights none"
        )
    if hasattr(network, "from_imagenet"):
        _load_translated(network, weights, path)
        return
    names = set(backbone.state_dict())
    fitting = {name: value for name, value in weights.items() if name in names}
    missing = names - set(fitting)
    unknown = set(weights) - names - set(network.unused_weights)
    if missing or unknown:
        raise InputError(
            f"{path}: is not {type(backbone).__name__}'s weights for this skeleton; {made_by}"
        )
    checkpoint.load_weights(backbone, fitting, path, made_by)


def _load_translated(network, weights, path):
    """Load weights that the network itself translates, from names or a layout unlike its own."""
    made_by = "see --weights, and from_imagenet in the network's file"
    try:
        taken = network.from_imagenet(weights)
    except (ValueError, RuntimeError) as error:  # torch's, of shapes
        fault = str(error).partition("\n")[0]
        raise InputError(
            f"{path}: is not {type(network).__name__}'s weights ({fault}); {made_by}"
        ) from None
    checkpoint.load_weights(network, network.state_dict() | taken, path, made_by)


def _download(url, path):
    """Fetch the weights, checked against the hash in their name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hash_prefix = path.stem.rpartition("-")[2]
    try:
        torch.hub.download_url_to_file(url, path, hash_prefix=hash_prefix)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise RunError(
            f"{url}: cannot be fetched ({error}); fetch it yourself, or use --weights none"
        ) from None


def _page_answers(url):
    """Whether the weights' server answers within CONNECT_SECONDS, name look-up included."""
    answered = threading.Event()

    # in a thread, since urlopen's timeout does not bound the name look-up
    def request_head():
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=CONNECT_SECONDS).close()
            answered.set()
        except (OSError, http.client.HTTPException):
            pass  # no answer

    thread = threading.Thread(target=request_head, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return answered.is_set()
