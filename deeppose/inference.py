"""A trained network made ready to predict."""

import torch
from torch import nn


def prepare(network, precision):
    """Store a network's weights as they are used.

    Returns the network, which says just what it said before.

    precision  "bf16": autocast would cast the weights anew for every photograph, 21 M of them; so
               it is done once here. The last layers, which the network names as its `joint_layers`
               and `joint_mixers`, stay in float32
    """
    last = (*network.joint_layers, *getattr(network, "joint_mixers", ()))
    if precision == "bf16":
        for name, module in network.named_modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)) and name not in last:
                module.to(torch.bfloat16)
    return network
