"""A stage-1 network: an AlexNet regresses all joints from a whole frame.

Krizhevsky et al., NIPS 2012, for the layers; Toshev and Szegedy, CVPR 2014, for the regression; Sun
et al., ECCV 2018, for the mean place under a heatmap. Two projects after DeepPose have it as their
first stage, and a recipe here each: github.com/asanakoy/deeppose_tf, of LSP and MPII, and one in
Caffe, of K2HPD's depth images.
"""

import torch
import torch.nn.functional as F
from torch import nn

from deeppose import heatmaps
from deeppose.heatmaps import Output
from deeppose.lrn import Local_response_norm
from deeppose.recipes import Recipe

HEADS = ("integral", "direct")
LAYERS = ("torchvision", "bvlc")
SCALINGS = ("imagenet", "contrast", "256th")
HIDDEN = 4096
CELLS = 6  # along both axes, that the linear layers look at
WIDTH = 128  # channels of the integral head
PADDING = {"torchvision": 2, "bvlc": 0}  # of convolution 1
CONVOLUTIONS = (0, 3, 6, 8, 10)  # their numbers in torchvision's `features`
MEAN = (0.485, 0.456, 0.406)  # of ImageNet, RGB in [0, 1]: what the pre-trained weights expect
SPREAD = (0.229, 0.224, 0.225)
EVEN = 1e-5 / 255  # added to an image's contrast, for those of one colour
FRAME_PX = 256  # K2HPD's author has joints in pixels of frames so wide, and
CAFFE = FRAME_PX**2 / 2  # half their square as the loss: so many times ours

RECIPES = {
    "best": Recipe(  # as the ResNet's; what the head is worth: docs/reference.md
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
        # frames vary as their crops do, which are of 1.0 to 1.2 x the joints' box
        batch_size=128,
        stretch=1,
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
        learning_rate=1e-4 * CAFFE,
        weight_decay=0.005 / CAFFE,
        schedule="inverse",
        inverse_gamma=1e-4,
        batch_size=32,
        stretch=1,
        mirror=0.5,
    ),
}


class Alexnet_stage_1(nn.Module):
    """Images (N, 3, h, w), RGB in [0, 1], of 64 pixels a side or more -> Output: joints (N, J, 2)
    in widths and heights from the images' centres.

    head        "integral": each joint is the mean place under its heatmap, made of the features of
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
    dropout     of both
    output_px   how wide an image is in what the last layer says: 1, or pixels

    K2HPD's author subtracts the mean image before he divides by 256. A mean a channel is as good:
    whatever is the same all over an image is taken away by the batch normalisation after
    convolution 1, which pads nothing.

    The linear layers look at 6 x 6 cells, which 227 pixels have after the last pool. Of other sizes
    the cells are averaged or repeated, since a network is not told its images' size, and so that
    weights of one size serve another.
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
            self.joint_layers = ("joints",)  # have channels a joint
        else:
            self.heatmaps = Heatmaps(joint_count, self.backbone.convolutions[1].out_channels)
            self.joint_layers = ("heatmaps.joints",)
        _initialise(self)
        factor, shift = _scale(layers, scaling)
        for name, values in (("factor", factor), ("shift", shift)):
            self.register_buffer(
                name, torch.tensor(values, device="cpu")[:, None, None], persistent=False
            )

    @property
    def imagenet(self):
        """torchvision's weights for the backbone; of Caffe's layout it has none."""
        if self.layers == "bvlc":
            return None
        # imported here alone, since it takes as long as torch itself
        from torchvision.models import AlexNet_Weights

        return AlexNet_Weights.IMAGENET1K_V1

    def forward(self, images):
        size = images.shape[3], images.shape[2]
        fine, coarse, last = self.backbone(self._scaled(images))
        if self.head == "direct":
            hidden = self.hidden(F.adaptive_avg_pool2d(last, CELLS).flatten(1))
            with torch.autocast(hidden.device.type, enabled=False):
                joints = self.joints(hidden.float()) / self.output_px  # coordinates stay in float32
            joints = joints.unflatten(1, (self.joint_count, 2))
            return Output(joints, None if self.training else heatmaps.unsure(joints))
        maps = self.heatmaps(fine, coarse)  # (N, J, h, w)
        return heatmaps.integrate(maps, self.cells(size, images.device), self.training)

    def _scaled(self, images):
        if self.scaling == "contrast":
            spread, mean = torch.std_mean(images.float(), (2, 3), correction=0, keepdim=True)
            return ((images - mean) / (spread + EVEN)).to(images.dtype)
        return torch.addcmul(self.shift, images, self.factor)

    def cells(self, size, device=None):
        """Where the heatmaps' cells look in images of that (w, h).

        Convolution 1 (11 wide, stride 4) and the pool after it (3, stride 2) centre cell i at pixel
        8 i + 9, less what the convolution pads.
        """
        padding = PADDING[self.layers]
        places = []
        for pixels in size:
            outputs = (pixels + 2 * padding - 11) // 4 + 1  # of convolution 1
            count = (outputs - 3 + self.backbone.rounds_up) // 2 + 1
            centres_px = 8 * torch.arange(count, device=device) + 9.5 - padding
            places.append(centres_px / pixels - 0.5)
        return heatmaps.grid(*places)

    def from_imagenet(self, weights):
        """ImageNet's weights as a file has them, name -> tensor, -> those of this network, by its
        names.

        layers=torchvision takes torchvision's: features.0.weight ... classifier.4.bias.

        layers=bvlc takes those of Caffe's bvlc_alexnet as its conversions to TensorFlow lay them
        out: conv1_W (11, 11, 3, 96), conv2_W (5, 5, 48, 256) ... conv5_W are (h, w, in, out), with
        the colours as blue, green, red; fc6_W (9216, 4096), whose inputs are the cells by h, w,
        channel, and fc7_W are (in, out); conv1_b ... fc7_b are (out,). Images were 0...255 less the
        mean.

        The linear layers are taken where both have them, of the same size; batch normalisation
        stays as it is. Raises ValueError where a convolution is missing or has another shape.
        """
        own = self.state_dict()
        translate = _from_caffe if self.layers == "bvlc" else _from_torchvision
        taken = {}
        for name, value in translate(weights, self.backbone.convolution_names).items():
            if name in own and own[name].shape == value.shape:
                taken[name] = value
            elif name.startswith("backbone"):
                raise ValueError(f"{name} has another shape")
        return taken


class Backbone(nn.Module):
    """Images -> features of stride 8, (N, 192 or 256, h, w), of stride 16, and of the last pool,
    (N, 256, h, w)."""

    def __init__(self, layers, batch_norm):
        super().__init__()
        grouped = layers == "bvlc"
        self.rounds_up = int(grouped)  # the pools' sizes, as Caffe does
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
        kinds = [type(layer) for layer in self.features]
        self.second_pool = kinds.index(nn.MaxPool2d, kinds.index(nn.MaxPool2d) + 1)
        self.convolution_names = [
            f"backbone.features.{place}" for place, kind in enumerate(kinds) if kind is nn.Conv2d
        ]

    def _pool(self):
        return nn.MaxPool2d(3, 2, ceil_mode=bool(self.rounds_up))

    @property
    def convolutions(self):
        """The five of them."""
        return [layer for layer in self.features if isinstance(layer, nn.Conv2d)]

    def forward(self, images):
        fine = self.features[: self.second_pool](images)
        coarse = self.features[self.second_pool : -1](fine)
        return fine, coarse, self.features[-1](coarse)


def _between(channels, grouped, batch_norm):
    """The layers between one of the first two convolutions and its pool."""
    layers = [nn.BatchNorm2d(channels)] if batch_norm else []
    layers.append(nn.ReLU(inplace=True))
    return [*layers, Local_response_norm()] if grouped else layers


class Heatmaps(nn.Module):
    """Features of strides 8 and 16 -> a heatmap a joint, of stride 8."""

    def __init__(self, joint_count, fine_channels):
        super().__init__()
        # a kernel of 3 at stride 2 puts cell i on 2 i + 1 of the finer cells
        self.coarse = nn.ConvTranspose2d(256, WIDTH, 3, 2)
        self.fine = nn.Conv2d(fine_channels, WIDTH, 1)
        self.smooth = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(inplace=True),
        )
        self.joints = nn.Conv2d(WIDTH, joint_count, 1)

    def forward(self, fine, coarse):
        coarse = self.coarse(coarse)
        below = fine.shape[2] - coarse.shape[2]  # 1, 0 or, where the pool rounds up, -1
        right = fine.shape[3] - coarse.shape[3]
        features = self.smooth(self.fine(fine) + F.pad(coarse, (0, right, 0, below)))
        with torch.autocast(features.device.type, enabled=False):
            # in float32, since bfloat16 keeps 3 digits of a logit
            return self.joints(features.to(self.joints.weight.dtype))


def _check_option(name, value, known):
    """ValueError for a value that is none of those known."""
    if value not in known:
        raise ValueError(f"{name}={value}: is none of {', '.join(known)}")


def _scale(layers, scaling):
    """Factor and shift (3,) of RGB in [0, 1]."""
    if scaling != "256th" and layers == "torchvision":
        return [1 / spread for spread in SPREAD], [
            -mean / spread for mean, spread in zip(MEAN, SPREAD)
        ]
    # 0...255, not [0, 1]: with activations that small local response normalisation would do nothing
    factor = 255 / 256 if scaling == "256th" else 255.0
    return [factor] * 3, [-factor * mean for mean in MEAN]


def _initialise(network):
    """Draw random weights: with the authors' layers as Caffe's model and deeppose_tf do."""
    convolutions = network.backbone.convolutions
    if convolutions[0].weight.is_meta:  # as in Cascade_1_net.py
        return
    if network.layers != "bvlc" or network.head != "direct":
        for layer in convolutions:  # torch's own choice shrinks activations layer by layer
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        return
    linear = [layer for layer in network.hidden if isinstance(layer, nn.Linear)]
    spreads = (0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01)
    biases = (0.0, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.0)
    for layer, spread, bias in zip([*convolutions, *linear, network.joints], spreads, biases):
        nn.init.normal_(layer.weight, std=spread)
        nn.init.constant_(layer.bias, bias)


def _from_torchvision(weights, convolutions):
    """torchvision's weights by this network's names; `convolutions` are those of its five."""
    names = {f"features.{theirs}": ours for theirs, ours in zip(CONVOLUTIONS, convolutions)}
    names |= {"classifier.1": "hidden.0", "classifier.4": "hidden.3"}
    found = {}
    for theirs, ours in names.items():
        for kind in ("weight", "bias"):
            if f"{theirs}.{kind}" in weights:
                found[f"{ours}.{kind}"] = weights[f"{theirs}.{kind}"]
    _check_complete(found, convolutions, "features.0.weight to features.10.bias, as torchvision's")
    return found


def _from_caffe(weights, convolutions):
    """The arrays of Caffe's model by this network's names and in its layout; see from_imagenet."""
    names = {f"conv{number}": ours for number, ours in enumerate(convolutions, 1)}
    names |= {"fc6": "hidden.0", "fc7": "hidden.3"}
    found = {}
    for theirs, ours in names.items():
        if f"{theirs}_W" not in weights or f"{theirs}_b" not in weights:
            continue
        value = weights[f"{theirs}_W"]
        if theirs == "fc6":  # its inputs by h, w, channel -> by channel, h, w
            value = value.unflatten(0, (CELLS, CELLS, -1)).movedim(2, 0).flatten(0, 2)
        value = value.t() if theirs.startswith("fc") else value.permute(3, 2, 0, 1)
        if theirs == "conv1":  # blue, green, red -> red, green, blue
            value = value.flip(1)
        found[f"{ours}.weight"] = value
        found[f"{ours}.bias"] = weights[f"{theirs}_b"]
    _check_complete(found, convolutions, "conv1_W, conv1_b to conv5_b, as a .npz")
    return found


def _check_complete(found, convolutions, wanted):
    """ValueError where the weights of a convolution were not found."""
    if not all(f"{name}.{kind}" in found for name in convolutions for kind in ("weight", "bias")):
        raise ValueError(f"it has not all of {wanted}")
