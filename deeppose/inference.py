"""A trained network made ready to predict."""

import torch
from torch import nn


def prepare(network, precision):
    """Store a network's weights in the precision that they are used in.

    Returns the network, whose predictions stay the same.

    precision  "bf16": autocast would cast the weights anew for every photograph, 21 M of them; so
               it is done once here. The last layers, which the network names as its `joint_layers`
               and `joint_mixers`, stay in float32
    """
    float32_names = (*network.joint_layers, *getattr(network, "joint_mixers", ()))
    if precision == "bf16":
        for module_name, module in network.named_modules():
            # only the kinds of layers whose weights autocast would cast
            is_cast = isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
            if is_cast and module_name not in float32_names:
                module.to(torch.bfloat16)
    return network
