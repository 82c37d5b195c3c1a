"""Weights and the provenance beside them.

A model_*.pt is a bare state_dict, float32 or partly float16, on the CPU; its model_*.json says what
it is and where it came from.
"""

import io
import warnings
import zipfile
from contextlib import contextmanager

import numpy as np
import torch

from deeppose import files
from deeppose.shell import InputError, RunError

# bytes of all arrays of a .npz; AlexNet with its classifier has 244 million
LARGEST_ARRAYS = 300_000_000
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes


def weights_of(network):
    """A copy of the network's state_dict, on the CPU, in float32 and plain layout."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }


def size(network):
    """Bytes of the network's weights, as its checkpoint will take them."""
    return sum(tensor.nbytes for tensor in network.state_dict().values())


def save(path, weights, provenance):
    """Write provenance (.json), then the state_dict to `path` (.pt)."""
    with saving(path, provenance) as temporary_path:
        write(weights, temporary_path, path)


@contextmanager
def saving(path, provenance):
    """Write provenance (.json), then yield a temporary path whose file becomes `path` (.pt).

    In this order, so that once there are weights, both are complete.
    """
    files.save_json(path.with_suffix(".json"), provenance)
    with files.replacing(path) as temporary_path:
        yield temporary_path


def write(content, temporary_path, path):
    """torch.save to the temporary file that will be `path`; RunError where the disk is full."""
    try:
        torch.save(content, temporary_path)
    except (RuntimeError, OSError):  # torch turns the system's error into its own
        raise RunError(f"{path}: cannot be written; is the disk full?") from None


def compressed(weights):
    """The bytes of a file as torch.save writes it, deflated: torch.load takes it as well."""
    stored = io.BytesIO()
    torch.save(weights, stored)
    deflated = io.BytesIO()
    with (
        zipfile.ZipFile(stored) as entries,
        zipfile.ZipFile(deflated, "w") as archive,
    ):
        for entry in entries.infolist():
            # as the entry is, its date among it: the same weights are the same bytes
            archive.writestr(entry, entries.read(entry), zipfile.ZIP_DEFLATED, 9)
    return deflated.getvalue()


def read(path):
    """The content of a file that torch.save wrote; a pickled call is refused, not run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a broken file ends in one error, not in warnings too
        return torch.load(path, map_location="cpu", weights_only=True)


def read_weights(path, made_by):
    """The state_dict in a file.

    made_by  where the file comes from, or what to do, the end of the error
    Raises InputError where it is missing or holds anything but tensors.
    """
    if not path.is_file():
        raise InputError(f"{path}: not found; {made_by}")
    try:
        weights = read(path)
    except PermissionError:
        raise InputError(f"{path}: may not be read by you; change its permissions") from None
    except Exception:  # torch raises whatever a broken file leads it to
        raise InputError(f"{path}: is no complete file of weights; {made_by}") from None
    if not _is_state_dict(weights):
        raise InputError(f"{path}: holds no state_dict; {made_by}")
    return weights


def _is_state_dict(content):
    """Whether a file's content is a dictionary of tensors by name."""
    return isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor)
        for name, tensor in content.items()
    )


def read_arrays(path, made_by):
    """The arrays of a .npz file as float32 tensors, by name; nothing is unpickled.

    Raises InputError where it is missing, claims to be larger than LARGEST_ARRAYS, or holds
    anything but floats.
    """
    try:
        # check the claimed sizes, which bound what is read: zipfile stops there
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
        is_too_large = sum(member.file_size for member in members) > LARGEST_ARRAYS
        if is_too_large or not all(member.compress_type in COMPRESSIONS for member in members):
            raise ValueError("size")
        # read the arrays
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # a broken header ends in one error
            with np.load(path, allow_pickle=False) as arrays:
                return {name: _as_tensor(arrays[name]) for name in arrays.files}
    except FileNotFoundError:
        raise InputError(f"{path}: not found; {made_by}") from None
    except PermissionError:
        raise InputError(f"{path}: may not be read by you; change its permissions") from None
    except Exception:  # zipfile and NumPy raise whatever a broken file leads them to
        raise InputError(
            f"{path}: is no complete .npz of floats up to {LARGEST_ARRAYS / 1e6:.0f} MB; {made_by}"
        ) from None


def _as_tensor(array):
    """A float32 tensor; ValueError for an array of anything but floats."""
    if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, np.floating):
        raise ValueError("no floats")
    return torch.from_numpy(np.array(array, np.float32))


def load_weights(network, weights, path, made_by):
    """Load a state_dict, as read_weights read it from the path, into a network of the same shapes.

    A network built under torch.device("meta") takes the tensors as they are, without first drawing
    its own. Raises InputError where it is another network's.
    """
    try:
        network.load_state_dict(weights, assign=next(network.parameters()).is_meta)
    # torch raises any of these for tensors that are stored in odd ways
    except (RuntimeError, TypeError, AttributeError, ValueError, OverflowError):
        raise InputError(
            f"{path}: is not {type(network).__name__}'s weights for this skeleton; {made_by}"
        ) from None
    network = network.float()
    # the extremes of a tensor are finite only where all of it is, and take no copy of its size
    extremes = (torch.stack(tensor.aminmax()) for tensor in network.state_dict().values())
    if not all(min_and_max.isfinite().all() for min_and_max in extremes):
        raise InputError(f"{path}: holds numbers that are not finite; {made_by}")
    return network
