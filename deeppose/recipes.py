"""Recipes, how a network is trained, as data: a network's file names its own."""

import dataclasses
import math
from dataclasses import dataclass, field

import torch
from torch.optim.swa_utils import AveragedModel

from deeppose import augment

# entries that are words, and the words that they may be
CHOICES = {
    "loss": ("mse", "smooth_l1", "l1", "image_mse", "none"),
    "heatmap_loss": ("cross_entropy", "mse"),
    "optimiser": ("adam", "adamw", "adagrad", "sgd"),
    "schedule": ("constant", "cosine", "steps", "inverse"),
}
WARM_UP_PART = 5  # the warm-up takes at most one in so many of a run's steps
# shares of the run after which "steps" divides the rate by 10, as SimpleBaseline does
DROPS_AT = (90 / 140, 120 / 140)
# exponent of "inverse": rate x (1 + inverse_gamma x step) ^ -0.75, as Caffe's "inv"
INVERSE_POWER = 0.75


@dataclass(frozen=True)
class Recipe:
    """Everything that training takes from a network's file; each default is the original's.

    options  the network's own entries, such as its head: what its class takes by name
    """

    options: dict = field(default_factory=dict)
    # the losses, see deeppose.losses
    loss: str = "mse"  # of the normalised coordinates; "image_mse" is the mean of the images' means
    heatmaps: float = 0.0  # weight of the heatmaps' own loss beside it
    heatmap_loss: str = "cross_entropy"
    # the optimiser
    optimiser: str = "adam"
    learning_rate: float = 5e-4
    weight_decay: float = 0.0
    momentum: float = 0.9  # of SGD
    # Adagrad's sum of squares to begin with; from 0, torch's default, the first step moves all 58 M
    # weights of a refiner by the full rate, and most units die
    accumulator: float = 1e-3
    # the learning rate over the run
    warm_up: int = 0  # steps over which the rate rises from 0; a fifth of a short run
    schedule: str = "constant"  # or "cosine", to 0 over the whole run; "steps"; "inverse"
    inverse_gamma: float = 1e-4
    # decay a step of the weights' moving average, which then is the model; 0 for none
    average: float = 0.0
    # share of the run in which a backbone that was loaded stays as it is
    frozen: float = 0.0
    # what the network sees
    stretch: int = 0  # 1: the network sees boxes as squares, their aspect lost
    # of refiners: box side / size of the predicted pose; 0 for the skeleton's
    crop_scale: float = 0.0
    # of refiners, px of the frame, so that a collapsed pose still gets a box with something in it
    smallest_crop_px: float = 40.0
    crop_px: int = 227  # of refiners: sides of the crops that the network takes
    # of refiners: 1 sizes a training row's box by its true pose; other rows' boxes never are
    true_sizes: int = 0
    # of refiners: simulated estimates an image and epoch; original: always the first 20
    simulated: int = 20
    batch_size: int = 0  # images a step; 0: the script's own number
    # the augmentation, drawn anew each epoch: see deeppose.augment.Ranges
    turn_deg: float = 0.0
    turn_share: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    mirror: float = 0.0
    colour: float = 0.0
    hide: float = 0.0

    @property
    def ranges(self):
        """The augment.Ranges that each image's view is drawn from."""
        names = [entry.name for entry in dataclasses.fields(augment.Ranges)]
        return augment.Ranges(**{name: getattr(self, name) for name in names})

    @property
    def held_out_loss(self):
        """Name of the loss of held-out coordinates, see losses.masked_loss.

        It is training's, or the mean distance where training's is of heatmaps alone.
        """
        return "l1" if self.loss == "none" else self.loss

    def optimiser_of(self, network, device):
        """The optimiser for the network, fused into one pass over its weights where PyTorch can."""
        weights = network.parameters()
        fused = device.type in ("cpu", "cuda")
        if self.optimiser == "adagrad":
            return torch.optim.Adagrad(
                weights,
                self.learning_rate,
                weight_decay=self.weight_decay,
                initial_accumulator_value=self.accumulator,
                fused=device.type == "cpu" or None,
            )
        if self.optimiser == "sgd":
            return torch.optim.SGD(
                weights,
                self.learning_rate,
                self.momentum,
                weight_decay=self.weight_decay,
                fused=fused,
            )
        adam_class = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.optimiser]
        return adam_class(weights, self.learning_rate, weight_decay=self.weight_decay, fused=fused)

    def rate(self, step, step_count):
        """The learning rate of a step, counted from 0, in a run of so many steps."""
        warm_up_steps = max(1, min(self.warm_up, step_count // WARM_UP_PART))
        rate = self.learning_rate * min(1.0, (step + 1) / warm_up_steps)
        if self.schedule == "cosine":
            return rate * (1 + math.cos(math.pi * step / step_count)) / 2
        if self.schedule == "steps":
            drops = sum(step / step_count >= share for share in DROPS_AT)
            return rate * 0.1**drops
        if self.schedule == "inverse":
            return rate * (1 + self.inverse_gamma * step) ** -INVERSE_POWER
        return rate

    def average_of(self, network):
        """A moving average of the network's weights and batch statistics, or None.

        It is to be updated after each step.
        """
        if not self.average:
            return None

        def update(averages, currents, update_count):
            if averages[0].is_floating_point():
                # smaller at first, so that the random start is soon forgotten
                decay = min(self.average, (1 + int(update_count)) / (10 + int(update_count)))
                torch._foreach_lerp_(averages, currents, 1 - decay)
            else:
                # counters, such as a batch norm's number of batches
                torch._foreach_copy_(averages, currents)

        return AveragedModel(network, multi_avg_fn=torch.no_grad()(update), use_buffers=True)


def for_data(recipe, dataset):
    """The recipe without what a Dataset does not allow; prints what that is.

    Where grey is a distance, no view is made brighter or darker; where no joint has an opposite
    one, none is mirrored.
    """
    if recipe.colour and dataset.depth_white is not None:
        print("these images are depth: their grey is not varied")
        recipe = dataclasses.replace(recipe, colour=0.0)
    if recipe.mirror and not dataset.skeleton.has_sides:
        print("no joint has an opposite one, so no image is mirrored")
        recipe = dataclasses.replace(recipe, mirror=0.0)
    return recipe
