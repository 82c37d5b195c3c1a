"""A stage-1 network: an AlexNet regresses all joints from a whole frame.

Krizhevsky et al., NIPS 2012, for the layers; Toshev and Szegedy, CVPR 2014, for the regression; Sun
et al., ECCV 2018, for the mean position under a heatmap. Two projects after DeepPose have it as their
first stage, and a recipe here each: github.com/asanakoy/deeppose_tf, of LSP and MPII, and one in
Caffe, of K2HPD's depth images.
"""

import torch
import torch.nn.functional as F
from torch import nn

from deeppose import heatmaps
from deeppose.alexnet_weights import CELLS, from_caffe, from_torchvision
from deeppose.heatmaps import Output
from deeppose.lrn import Local_response_norm
from deeppose.recipes import Recipe
from Resnet_stage_1 import IMAGENET_MEAN, IMAGENET_STD

HEADS = ("integral", "direct")
LAYERS = ("torchvision", "bvlc")
SCALINGS = ("imagenet", "contrast", "256th")
HIDDEN = 4096
HEAD_CHANNELS = 128  # of the integral head
PADDING = {"torchvision": 2, "bvlc": 0}  # of convolution 1
SMALLEST_CONTRAST = 1e-5 / 255  # added to an image's contrast, for those of one colour
FRAME_PX = 256  # width of the frames in whose pixels K2HPD's author has joints
CAFFE_LOSS_SCALE = FRAME_PX**2 / 2  # his loss, half a squared error in pixels, / ours in widths

RECIPES = {
    # as the ResNet's; what the head is worth: docs/reference.md
    "best": Recipe(
        options={
            "head": "integral",
            "layers": "torchvision",
            "batch_norm": 0,
            "scaling": "imagenet",
        },
        loss="l1",
        heatmaps=0.1,
        optimiser="adamw",
        weight_decay=0.05,
        warm_up=200,
        schedule="cosine",
        turn_deg=20,
        scale=0.25,
        shift=0.05,
        mirror=0.5,
        colour=0.3,
        hide=0.3,
    ),
    "deeppose_tf": Recipe(
        options={
            "head": "direct",
            "layers": "bvlc",
            "scaling": "contrast",
            "second": 4096,
            "dropout": 0.6,
        },
        loss="image_mse",
        optimiser="adagrad",
        learning_rate=5e-4,
        accumulator=1e-4,
        frozen=0.01,  # 10,000 of its 1,000,000 steps
        batch_size=128,
        stretch=1,
        # frames vary as their crops do, which are of 1.0 to 1.2 x the joints' box
        scale=0.1,
        shift=0.1,
        mirror=0.5,
    ),
    "k2hpd": Recipe(
        options={
            "head": "direct",
            "layers": "bvlc",
            "batch_norm": 1,
            "scaling": "256th",
            "second": 1024,
            "dropout": 0.5,
            "output_px": FRAME_PX,
        },
        loss="mse",
        optimiser="sgd",
        momentum=0.9,
        learning_rate=1e-4 * CAFFE_LOSS_SCALE,
        weight_decay=0.005 / CAFFE_LOSS_SCALE,
        schedule="inverse",
        inverse_gamma=1e-4,
        batch_size=32,
        stretch=1,
        mirror=0.5,
    ),
}


class Alexnet_stage_1(nn.Module):
    """Network from images (N, 3, h, w), RGB in [0, 1], to the Output of all joints.

    Images have 64 pixels a side or more. Joints (N, J, 2) are in widths and heights from the
    images' centres. Raises ValueError for options that the network does not have.

    head        "integral": each joint is the mean position under its heatmap, made of the features of
                strides 8 and 16; "direct": two linear layers and the joints', as its authors have
                it
    layers      "torchvision": 64 channels first, no groups; "bvlc": as Caffe's model of that name,
                96, groups of 2 in convolutions 2, 4 and 5, local response normalisation after the
                first two. 2.9 or 2.8 M weights; with the direct head 57 M
    batch_norm  1: batch normalisation before the first two ReLUs
    scaling     of the images: "imagenet", as the layout's ImageNet weights expect them; "contrast":
                less their own mean, divided by their own spread, channel by channel; "256th":
                0...255 less ImageNet's mean, divided by 256
    second      outputs of the second linear layer
    dropout     of both linear layers
    output_px   width of an image in the units of the last layer's outputs: 1, or pixels

    original: K2HPD's author subtracts the mean image before he divides by 256. Which constant is
    subtracted does not matter, since the batch normalisation after convolution 1, which pads
    nothing, takes it away; how the mean image varies over the frame stays in.

    The linear layers look at 6 x 6 cells, which images of 227 pixels have after the last pool. Of
    other images the cells are averaged or repeated, since a network is not told its images' size,
    and so that weights of one size serve another.
    """

    def __init__(
        self,
        joint_count,
        head="integral",
        layers="torchvision",
        batch_norm=0,
        scaling="imagenet",
        second=HIDDEN,
        dropout=0.6,
        output_px=1,
    ):
        super().__init__()
        _check_option("head", head, HEADS)
        _check_option("layers", layers, LAYERS)
        _check_option("scaling", scaling, SCALINGS)
        self.head = head
        self.layers = layers
        self.scaling = scaling
        self.joint_count = joint_count
        self.output_px = output_px
        self.backbone = Backbone(layers, bool(batch_norm))
        # the head; joint_layers are its layers with channels a joint
        if head == "direct":
            self.hidden = nn.Sequential(
                nn.Linear(256 * CELLS**2, HIDDEN),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
                nn.Linear(HIDDEN, second),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
            )
            self.joints = nn.Linear(second, 2 * joint_count)
            self.joint_layers = ("joints",)
        else:
            self.heatmaps = Heatmaps(joint_count, self.backbone.convolutions[1].out_channels)
            self.joint_layers = ("heatmaps.joints",)
        _initialise(self)
        factor, shift = _scale(layers, scaling)
        # (3, 1, 1) each, on the CPU even where the network is built without weights
        for buffer_name, values in (("factor", factor), ("shift", shift)):
            self.register_buffer(
                buffer_name, torch.tensor(values, device="cpu")[:, None, None], persistent=False
            )

    @property
    def imagenet(self):
        """torchvision's weights for the backbone; None for Caffe's layout, which it has not."""
        if self.layers == "bvlc":
            return None
        # imported here alone, since it takes as long as torch itself
        from torchvision.models import AlexNet_Weights

        return AlexNet_Weights.IMAGENET1K_V1

    def forward(self, images):
        image_size = images.shape[3], images.shape[2]
        fine, coarse, pooled = self.backbone(self._scaled(images))
        if self.head == "direct":
            hidden = self.hidden(F.adaptive_avg_pool2d(pooled, CELLS).flatten(1))
            with torch.autocast(hidden.device.type, enabled=False):
                joints = self.joints(hidden.float()) / self.output_px  # coordinates stay in float32
            joints = joints.unflatten(1, (self.joint_count, 2))
            return Output(joints, None if self.training else heatmaps.unknown_confidence(joints))
        logits = self.heatmaps(fine, coarse)  # (N, J, h, w), of stride 8
        return heatmaps.integrate(logits, self.cells(image_size, images.device), self.training)

    def _scaled(self, images):
        """Images (N, 3, h, w) in [0, 1] as `scaling` has them."""
        if self.scaling == "contrast":
            contrast, mean = torch.std_mean(images.float(), (2, 3), correction=0, keepdim=True)
            return ((images - mean) / (contrast + SMALLEST_CONTRAST)).to(images.dtype)
        return torch.addcmul(self.shift, images, self.factor)

    def cells(self, image_size, device=None):
        """Centres of what the heatmaps' cells see in images of that (w, h) px, as heatmaps.Cells.

        Convolution 1 (11 wide, stride 4) and the pool after it (3, stride 2) centre cell i at pixel
        8 i + 9, less what the convolution pads.
        """
        padding = PADDING[self.layers]
        centres = []  # of x, then of y
        for side_px in image_size:
            convolved = (side_px + 2 * padding - 11) // 4 + 1  # outputs of convolution 1
            cell_count = (convolved - 3 + self.backbone.rounds_up) // 2 + 1
            centres_px = 8 * torch.arange(cell_count, device=device) + 9.5 - padding
            centres.append(centres_px / side_px - 0.5)
        return heatmaps.grid(*centres)

    def from_imagenet(self, weights):
        """This network's part of ImageNet's weights, name -> tensor, by its own names.

        layers=torchvision takes torchvision's file, layers=bvlc Caffe's as a .npz: see
        deeppose.alexnet_weights for their names and layouts. The linear layers are taken where both
        have them, of the same size; batch normalisation stays as it is. Raises ValueError where a
        convolution is missing or has another shape.
        """
        own_weights = self.state_dict()
        translate = from_caffe if self.layers == "bvlc" else from_torchvision
        taken = {}
        # linear layers of another size are left random, convolutions must fit
        for name, tensor in translate(weights, self.backbone.convolution_names).items():
            if name in own_weights and own_weights[name].shape == tensor.shape:
                taken[name] = tensor
            elif name.startswith("backbone"):
                raise ValueError(f"{name} has another shape")
        return taken


class Backbone(nn.Module):
    """Convolutions from images (N, 3, h, w) to the features that the heads take.

    These are features of stride 8, (N, 192 or 256, h, w), of stride 16, and of the last pool, both
    (N, 256, h, w).
    """

    def __init__(self, layers, batch_norm):
        super().__init__()
        grouped = layers == "bvlc"
        self.rounds_up = int(grouped)  # the sizes that the pools give, as Caffe does
        # Krizhevsky's two GPUs, each with half the channels of convolutions 2, 4 and 5
        groups = 2 if grouped else 1
        first, second, fourth = (96, 256, 384) if grouped else (64, 192, 256)
        self.features = nn.Sequential(  # (3, 227, 227)
            nn.Conv2d(3, first, 11, 4, PADDING[layers]),
            *_between(first, grouped, batch_norm),
            self._pool(),  # (first, 27, 27)
            nn.Conv2d(first, second, 5, 1, 2, groups=groups),
            *_between(second, grouped, batch_norm),
            self._pool(),  # (second, 13, 13)
            nn.Conv2d(second, 384, 3, 1, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, fourth, 3, 1, 1, groups=groups),
            nn.ReLU(inplace=True),
            nn.Conv2d(fourth, 256, 3, 1, 1, groups=groups),
            nn.ReLU(inplace=True),
            self._pool(),
        )  # (256, 6, 6)
        layer_types = [type(layer) for layer in self.features]
        first_pool = layer_types.index(nn.MaxPool2d)
        self.second_pool = layer_types.index(nn.MaxPool2d, first_pool + 1)
        # as the whole network's state_dict has them
        self.convolution_names = [
            f"backbone.features.{index}"
            for index, layer_type in enumerate(layer_types)
            if layer_type is nn.Conv2d
        ]

    def _pool(self):
        return nn.MaxPool2d(3, 2, ceil_mode=bool(self.rounds_up))

    @property
    def convolutions(self):
        """The five convolutions, in order."""
        return [layer for layer in self.features if isinstance(layer, nn.Conv2d)]

    def forward(self, images):
        fine = self.features[: self.second_pool](images)
        coarse = self.features[self.second_pool : -1](fine)
        return fine, coarse, self.features[-1](coarse)


def _between(channels, grouped, batch_norm):
    """The layers between one of the first two convolutions and its pool, in a list."""
    layers = []
    if batch_norm:
        layers.append(nn.BatchNorm2d(channels))
    layers.append(nn.ReLU(inplace=True))
    if grouped:
        layers.append(Local_response_norm())
    return layers


class Heatmaps(nn.Module):
    """Layers from features of strides 8 and 16 to logits (N, J, h, w): heatmaps of stride 8."""

    def __init__(self, joint_count, fine_channels):
        super().__init__()
        # a kernel of 3 at stride 2 puts cell i on 2 i + 1 of the finer cells
        self.coarse = nn.ConvTranspose2d(256, HEAD_CHANNELS, 3, 2)
        self.fine = nn.Conv2d(fine_channels, HEAD_CHANNELS, 1)
        self.smooth = nn.Sequential(
            nn.Conv2d(HEAD_CHANNELS, HEAD_CHANNELS, 3, padding=1, bias=False),
            nn.BatchNorm2d(HEAD_CHANNELS),
            nn.ReLU(inplace=True),
        )
        self.joints = nn.Conv2d(HEAD_CHANNELS, joint_count, 1)

    def forward(self, fine, coarse):
        coarse = self.coarse(coarse)
        # the upsampled map may differ by a cell: 1, 0 or, where the pool rounds up, -1
        rows_below = fine.shape[2] - coarse.shape[2]
        columns_right = fine.shape[3] - coarse.shape[3]
        coarse = F.pad(coarse, (0, columns_right, 0, rows_below))
        features = self.smooth(self.fine(fine) + coarse)
        with torch.autocast(features.device.type, enabled=False):
            # in float32, since bfloat16 keeps 3 digits of a logit
            return self.joints(features.to(self.joints.weight.dtype))


def _check_option(option_name, value, known_values):
    """Raise ValueError for a value that is none of those known."""
    if value not in known_values:
        raise ValueError(f"{option_name}={value}: is none of {', '.join(known_values)}")


def _scale(layers, scaling):
    """Factor and shift, a list of 3 each, that turn RGB in [0, 1] into the network's inputs."""
    if scaling != "256th" and layers == "torchvision":
        factors = [1 / deviation for deviation in IMAGENET_STD]
        shifts = [-mean / deviation for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_STD)]
        return factors, shifts
    # 0...255, not [0, 1]: with activations that small local response normalisation would do nothing
    factor = 255 / 256 if scaling == "256th" else 255.0
    return [factor] * 3, [-factor * mean for mean in IMAGENET_MEAN]


def _initialise(network):
    """Draw random weights: with the authors' layers as Caffe's model and deeppose_tf do."""
    convolutions = network.backbone.convolutions
    if convolutions[0].weight.is_meta:  # as in Cascade_1_net.py
        return
    if network.layers != "bvlc" or network.head != "direct":
        # torch's own choice shrinks activations layer by layer
        for layer in convolutions:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        return
    # the authors': five convolutions, two hidden layers, the joints
    linear_layers = [layer for layer in network.hidden if isinstance(layer, nn.Linear)]
    layers = [*convolutions, *linear_layers, network.joints]
    deviations = (0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01)
    biases = (0.0, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.0)
    for layer, deviation, bias in zip(layers, deviations, biases):
        nn.init.normal_(layer.weight, std=deviation)
        nn.init.constant_(layer.bias, bias)
