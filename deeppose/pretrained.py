"""Initial weights of stage 1: random, ImageNet's, a file in torchvision's format, a whole model."""

import http.client
import threading
import urllib.request
from pathlib import Path

import torch

from deeppose import checkpoint, files
from deeppose.adoption import adopt
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
    (None: there are none). Raises InputError for weights that do not fit, RunError for ImageNet's
    where they are asked for and cannot be had.

    choice    the value of --weights
    skeleton  the Skeleton whose joints the network predicts
    """
    # random weights, or a file's
    if choice == "none":
        return "random"
    if choice not in ("auto", "imagenet"):
        return _load_file(network, Path(choice), skeleton)
    return _load_imagenet(network, must_have=choice == "imagenet")


def find_model(choice):
    """Path of the weights of the whole model that --weights names; None where it names no model."""
    path = Path(choice)
    path = path / "model_1.pt" if path.is_dir() else path
    return path if path.with_suffix(".json").is_file() else None


def _load_imagenet(network, must_have):
    """Load ImageNet's weights, or leave the random ones where there are none.

    Returns the description, for the record. Raises InputError or RunError in place of random
    weights where ImageNet's are a must.
    """
    # there may be none for this network
    imagenet_weights = network.imagenet
    if imagenet_weights is None:
        if must_have:
            raise InputError(
                "--weights imagenet: torchvision has none for this network; "
                "use --weights none or a FILE"
            )
        return "random"
    # or they may be out of reach
    cached_path = Path(torch.hub.get_dir()) / "checkpoints" / Path(imagenet_weights.url).name
    if not cached_path.is_file() and not _page_answers(imagenet_weights.url):
        if must_have:
            raise RunError(
                f"{cached_path}: not found, and {imagenet_weights.url} cannot be reached; "
                "fetch it, or use --weights none"
            )
        print(
            "No ImageNet weights: none cached, and no connection to fetch them. "
            "Starting from RANDOM weights, which score far lower; see --weights."
        )
        return "random"
    # fetched once, and then in torch's cache
    if not cached_path.is_file():
        _download(imagenet_weights.url, cached_path)
    weights = checkpoint.read_weights(cached_path, "delete it, so that it is fetched again")
    _load_backbone(network, weights, cached_path)
    return f"ImageNet (torchvision {type(imagenet_weights).__name__}.{imagenet_weights.name})"


def _load_file(network, path, skeleton):
    """Load a file of torchvision's, or a whole model, which has a .json beside it.

    Returns its description, for the record.
    """
    if path.is_dir():
        path = path / "model_1.pt"
    expected = (
        "--weights takes torchvision's weights (.pth) or a whole model "
        "(model_1.pt with model_1.json beside it)"
    )
    # a backbone's weights, as arrays or as torchvision has them
    if path.suffix == ".npz":
        _load_backbone(network, checkpoint.read_arrays(path, expected), path)
        return f"file {path.name}"
    weights = checkpoint.read_weights(path, expected)
    if not path.with_suffix(".json").is_file():
        _load_backbone(network, weights, path)
        return f"file {path.name}"
    # a whole model's, or those of them that fit
    json_path = path.with_suffix(".json")
    provenance = files.load_json(json_path, "the training")
    try:
        joints = list(provenance["skeleton"]["joints"])
    except (KeyError, TypeError):
        raise InputError(f"{json_path}: does not tell the model's joints; {expected}") from None
    taken_count = adopt(network, weights, joints, skeleton.joints)
    if not taken_count:
        raise InputError(f"{path}: nothing in it fits this network; {expected}")
    is_whole = taken_count == len(network.state_dict()) and set(skeleton.joints) <= set(joints)
    share = "" if is_whole else f", {taken_count} of its tensors"
    return f"model {path.parent.name}/{path.name}{share}"


def _load_backbone(network, weights, path):
    """Load ImageNet's weights; the last layer of a classifier may be left over."""
    backbone = getattr(network, "backbone", None)
    if backbone is None:
        raise InputError(
            f"{path}: this network has no backbone that takes torchvision's weights; "
            "use --weights none"
        )
    # the network may have other names for them
    if hasattr(network, "from_imagenet"):
        _load_translated(network, weights, path)
        return
    # or torchvision's, of which none may be missing
    expected = "--weights takes weights in torchvision's format for this network's backbone (.pth)"
    own_names = set(backbone.state_dict())
    own_weights = {name: tensor for name, tensor in weights.items() if name in own_names}
    missing_names = own_names - set(own_weights)
    unknown_names = set(weights) - own_names - set(network.unused_weights)
    if missing_names or unknown_names:
        raise InputError(
            f"{path}: is not {type(backbone).__name__}'s weights for this skeleton; {expected}"
        )
    checkpoint.load_weights(backbone, own_weights, path, expected)


def _load_translated(network, weights, path):
    """Load weights that the network itself translates, from names or a layout unlike its own."""
    expected = "see --weights, and from_imagenet in the network's file"
    try:
        translated = network.from_imagenet(weights)
    except (ValueError, RuntimeError) as error:  # torch's, of shapes
        fault = str(error).partition("\n")[0]
        raise InputError(
            f"{path}: is not {type(network).__name__}'s weights ({fault}); {expected}"
        ) from None
    checkpoint.load_weights(network, network.state_dict() | translated, path, expected)


def _download(url, path):
    """Fetch weights into a file, checked against the hash in its name; RunError where that fails."""
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
