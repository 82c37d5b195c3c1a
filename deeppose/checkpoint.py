"""Weights and the provenance beside them.

A model_*.pt is a bare state_dict, float32, on the CPU; its model_*.json says where it came from.
"""
import pickle

import torch

from deeppose import arrays
from deeppose.shell import InputError, RunError


def weights_of(network):
    """A copy of the network's state_dict, on the CPU, in float32 and plain layout."""
    return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in network.state_dict().items()}


def size(network):
    """Bytes that the network's checkpoint will take."""
    return sum(value.nbytes for value in network.state_dict().values())


def save(path, weights, provenance):
    """Write provenance (.json), then the state_dict to `path` (.pt): once that is there, both are complete."""
    arrays.save_json(path.with_suffix(".json"), provenance)
    with arrays.replacing(path) as temporary:
        try:
            torch.save(weights, temporary)
        except RuntimeError:  # what torch makes of an OSError
            raise RunError(f"{path}: cannot be written; is the disk full?") from None


def read_weights(path, made_by):
    """The state_dict in a file; InputError where it is missing or holds anything but tensors."""
    if not path.is_file():
        raise InputError(f"{path}: not found; {made_by}")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError, IndexError, AttributeError):
        raise InputError(f"{path}: is no complete file of weights; {made_by}") from None
    if not isinstance(weights, dict) or not all(
            isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in weights.items()):
        raise InputError(f"{path}: holds no state_dict; {made_by}")
    return weights


def load_into(network, path, made_by):
    """Load a state_dict file into a network of the same shapes; InputError where it is another network's."""
    try:
        network.load_state_dict(read_weights(path, made_by))
    except RuntimeError:
        raise InputError(f"{path}: is not {type(network).__name__}'s weights for this skeleton; {made_by}") from None
    return network
