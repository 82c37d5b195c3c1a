"""A trained network made ready to predict: fewer layers and smaller weights, the same joints."""
import re

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
NORM_NAME = re.compile(r"bn(\d+)")  # of the batch norm after conv1, conv2 ...: torchvision's names


def prepare(network, precision):
    """Fold the batch norms of a network in eval() into its convolutions, and store weights as they are used.

    precision  "bf16": autocast would cast the weights anew for every photograph, 21 M of them; so it is done once here
    The last layers, which the network names as its `joint_layers`, stay in float32. Returns the network.
    """
    for module in list(network.modules()):
        for convolution, norm in _pairs(module):
            folded = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm),
                                       isinstance(getattr(module, convolution), nn.ConvTranspose2d))
            setattr(module, convolution, folded)
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
    return [(first, second) for first, second in candidates
            if isinstance(children.get(first), CONVOLUTIONS) and isinstance(children[second], nn.BatchNorm2d)]
