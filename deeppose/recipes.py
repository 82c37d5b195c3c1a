"""How a network is trained, as data: what --recipe of the two training steps names and --vary changes."""
import argparse
import dataclasses
import math
from dataclasses import dataclass

import torch
from torch.optim.swa_utils import AveragedModel

from deeppose import augment

CHOICES = {"head": ("integral", "direct"), "loss": ("mse", "smooth_l1", "l1"),
           "optimiser": ("adam", "adamw", "adagrad"), "schedule": ("constant", "cosine")}
SHORT = 5  # of a run's steps the warm-up takes at most one in so many
FIRST_SQUARES = 1e-3  # Adagrad's sum of squares to begin with; from 0, torch's default, the first step moves all
                      # 58 M weights of a refiner by the full rate, the loss jumps a thousandfold and most units die


@dataclass(frozen=True)
class Recipe:
    """The default of each entry is the original's, but for stage 2's optimiser."""
    head: str = "direct"            # of Resnet_stage_1 and Alex_net_c1
    loss: str = "mse"               # of the normalised coordinates
    heatmaps: float = 0.0           # the cross-entropy of the integral head's heatmaps counts that much beside it
    optimiser: str = "adam"
    learning_rate: float = 5e-4
    weight_decay: float = 0.0
    warm_up: int = 0                # steps over which the rate rises from 0; a fifth of a short run
    schedule: str = "constant"      # or "cosine", to 0 over the whole run
    average: float = 0.0            # decay a step of the weights' moving average, which then is the model; 0: none
    turn_deg: float = 0.0           # from here on: deeppose.augment.Ranges, drawn anew each epoch
    scale: float = 0.0
    shift: float = 0.0
    mirror: float = 0.0
    colour: float = 0.0
    hide: float = 0.0

    @property
    def ranges(self):
        """What is drawn for each image."""
        return augment.Ranges(**{field.name: getattr(self, field.name) for field in dataclasses.fields(augment.Ranges)})

    def optimiser_of(self, network, device):
        """The optimiser for the network, fused into one pass over its weights where PyTorch has that."""
        if self.optimiser == "adagrad":
            return torch.optim.Adagrad(network.parameters(), self.learning_rate, weight_decay=self.weight_decay,
                                       initial_accumulator_value=FIRST_SQUARES, fused=device.type == "cpu" or None)
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.optimiser]
        return kind(network.parameters(), self.learning_rate, weight_decay=self.weight_decay,
                    fused=device.type in ("cpu", "cuda"))

    def rate(self, step, steps):
        """The learning rate in one of all steps, counted from 0."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(1, min(self.warm_up, steps // SHORT)))
        return rate * (1 + math.cos(math.pi * step / steps)) / 2 if self.schedule == "cosine" else rate

    def average_of(self, network):
        """A moving average of the network's weights and batch statistics, to be updated after each step, or None."""
        def update(averages, currents, count):
            if averages[0].is_floating_point():
                decay = min(self.average, (1 + int(count)) / (10 + int(count)))  # the start is soon forgotten
                torch._foreach_lerp_(averages, currents, 1 - decay)
            else:
                torch._foreach_copy_(averages, currents)
        if not self.average:
            return None
        return AveragedModel(network, multi_avg_fn=torch.no_grad()(update), use_buffers=True)


def varied(recipe, changes):
    """The recipe with other entries: changes is a sequence of (name, value)."""
    return dataclasses.replace(recipe, **dict(changes))


def change(text):
    """argparse type: NAME=VALUE of a Recipe's entry."""
    name, _, value = text.partition("=")
    types = {field.name: field.type for field in dataclasses.fields(Recipe)}
    if name not in types:
        raise argparse.ArgumentTypeError(f"there is no {name!r} in a recipe; there are {', '.join(types)}")
    try:
        value = types[name](value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: {value!r} is no number") from None
    if value not in CHOICES.get(name, (value,)) or (types[name] is not str and not 0 <= value < math.inf):
        raise argparse.ArgumentTypeError(f"{text}: is none of {', '.join(CHOICES.get(name, ('0 or more',)))}")
    return name, value


def add_arguments(parser, named):
    """The flags that choose one of the named recipes and change it; see choose."""
    parser.add_argument("--recipe", choices=named, default="best",
                        help="how the network learns: as this project has it, or as the original had it "
                             "(default: best)")
    parser.add_argument("--vary", type=change, action="append", default=[], metavar="NAME=VALUE",
                        help="another value for an entry of the recipe, such as turn_deg=40; again for another")


def choose(parser, options, named):
    """Make options.recipe the Recipe that the flags stand for, and options.called what it is called."""
    options.called = f"recipe {options.recipe}" + "".join(f", {name}={value}" for name, value in options.vary)
    options.recipe = varied(named[options.recipe], options.vary)
    if options.recipe.head == "direct" and options.recipe.heatmaps:
        parser.error("--vary head=direct: that head has no heatmaps to learn; add --vary heatmaps=0")
