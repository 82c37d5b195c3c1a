"""A trained network made ready to predict: fewer layers, weights as they are used, the same joints."""
import re

import torch
from torch import nn

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
NORM_NAME = re.compile(r"bn(\d+)")  # of the batch norm after conv1, conv2 ...: torchvision's names


@torch.no_grad()
def prepare(network, precision):
    """Fold the batch norms of a network in eval() into its convolutions, and store weights as they are used.

    precision  "bf16": autocast would cast the weights anew for every photograph, 21 M of them; so it is done once here
    The last layers, which the network names as its `joint_layers`, stay in float32. Returns the network.
    """
    for module in list(network.modules()):
        for convolution, norm in _pairs(module):
            _fold(getattr(module, convolution), getattr(module, norm))
            setattr(module, norm, nn.Identity())
    if precision == "bf16":
        for name, module in network.named_modules():
            if isinstance(module, (*CONVOLUTIONS, nn.Linear)) and name not in network.joint_layers:
                module.to(torch.bfloat16)
    return network


def _pairs(module):
    """Names of a module's own (convolution, batch norm) pairs: neighbours in a Sequential, or conv1 and bn1."""
    children = dict(module.named_children())
    if isinstance(module, nn.Sequential):
        candidates = list(zip(children, list(children)[1:]))
    else:
        candidates = [(f"conv{match[1]}", name) for name in children if (match := NORM_NAME.fullmatch(name))]
    return [names for names in candidates if _folds(*(children.get(name) for name in names))]


def _folds(convolution, norm):
    """Whether two layers are a convolution and its batch norm. Groups of a transposed one, which none has, are not."""
    transposed = isinstance(convolution, nn.ConvTranspose2d)
    return (isinstance(convolution, CONVOLUTIONS) and isinstance(norm, nn.BatchNorm2d) and norm.affine
            and not (transposed and convolution.groups > 1))


def _fold(convolution, norm):
    """Have a convolution give what its batch norm made of it; in place, so that no second copy takes memory."""
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    shape = (1, -1, 1, 1) if isinstance(convolution, nn.ConvTranspose2d) else (-1, 1, 1, 1)  # where its outputs are
    convolution.weight.mul_(scale.view(shape))
    bias = 0 if convolution.bias is None else convolution.bias
    convolution.bias = nn.Parameter(norm.bias + (bias - norm.running_mean) * scale)
