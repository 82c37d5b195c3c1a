"""The heatmap network: ResNet, deconvolutions and spatial attention make a heatmap a joint.

Xiao et al., ECCV 2018 (SimpleBaseline), for the layers and the recipe; Chu et al., CVPR 2017, for
the attention; Zhang et al., CVPR 2020 (DARK), for places between the cells; Huang et al., CVPR 2020
(UDP), for cells that mirror evenly.
"""

import torch
from torch import nn

from deeppose import heatmaps
from deeppose.heatmaps import Output
from deeppose.losses import TARGET_PEAK
from deeppose.recipes import Recipe
from Resnet_stage_1 import MEAN, SPREAD, Resnet_34

BACKBONES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")  # torchvision's names
CHANNELS = 256  # of each deconvolution
ITERATIONS = 3  # of the mean field
COARSE_STRIDE = 32  # input pixels a cell of the backbone's features
STRIDE = 4  # and of the heatmaps, after three deconvolutions
# sigma / longer side of the input: 2 cells for 256 px and 3 for 384, as theirs
TARGET_SPREAD = 1 / 32
INITIAL_STD = 0.001  # of the last layers' weights: SimpleBaseline

OPTIONS = {"backbone": "resnet50", "attention": 1, "spread": TARGET_SPREAD}
RECIPES = {
    "best": Recipe(
        options=OPTIONS | {"softmax": 1, "decoding": "vertex"},
        loss="none",
        heatmaps=1.0,
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
    "original": Recipe(  # TF-SimpleHumanPose: Adam 5e-4; 140 epochs, batch 32 a GPU
        options=OPTIONS | {"softmax": 0, "decoding": "quarter"},
        loss="none",
        heatmaps=1.0,
        heatmap_loss="mse",
        schedule="steps",
        batch_size=32,
        turn_deg=40,
        turn_share=0.6,
        scale=0.3,
        mirror=0.5,
    ),
}


class Heatmap_stage_1(nn.Module):
    """Images (N, 3, h, w), RGB in [0, 1] -> Output: joints (N, J, 2) in widths and heights from the
    images' centres.

    backbone   of BACKBONES, without its last two layers
    attention  0: the last deconvolution's maps become heatmaps by a 1 x 1 convolution, as
               SimpleBaseline's do
    softmax    1: a heatmap is the logarithm of a probability over its cells; 0: it is a Gaussian
               TARGET_PEAK high
    decoding   of heatmaps.SHIFTS: how a joint's place between the cells is found
    spread     sigma of the Gaussians that the heatmaps should be, in longer sides of the images

    A joint is where its heatmap is highest, and its confidence how high that is, in heights of a
    perfect one.
    """

    def __init__(
        self,
        joint_count,
        backbone="resnet50",
        attention=1,
        softmax=1,
        decoding="vertex",
        spread=TARGET_SPREAD,
    ):
        super().__init__()
        check_options(backbone, attention, softmax, decoding, spread)
        self.backbone_name = backbone
        self.unused_weights = ("fc.weight", "fc.bias")
        self.softmax = softmax
        self.decoding = decoding
        self.spread = spread
        self.backbone = build_backbone(backbone)
        features = self.backbone.fc.in_features
        self.backbone.fc = nn.Identity()
        self.deconvolutions = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(channels, CHANNELS, 4, 2, 1, bias=False),
                nn.BatchNorm2d(CHANNELS),
                nn.ReLU(inplace=True),
            )
            for channels in (features, CHANNELS, CHANNELS)
        )
        if attention:
            self.attentions = nn.ModuleList(Attention(CHANNELS) for _ in self.deconvolutions)
            self.joints = Branches(CHANNELS, joint_count)
            self.joint_layers = tuple(
                f"joints.{name}" for name in ("attention", "attention.unary", "maps")
            )
            self.joint_mixers = ("joints.mix",)
        else:
            self.attentions = None
            self.joints = nn.Conv2d(CHANNELS, joint_count, 1)
            draw_small(self.joints)
            self.joint_layers = ("joints",)
        self.register_buffer(
            "mean", torch.tensor(MEAN, device="cpu")[:, None, None], persistent=False
        )
        self.register_buffer(
            "deviation", torch.tensor(SPREAD, device="cpu")[:, None, None], persistent=False
        )

    @property
    def imagenet(self):
        """torchvision's weights for the backbone."""
        from torchvision.models import get_model_weights

        return get_model_weights(self.backbone_name).IMAGENET1K_V1

    @staticmethod
    def check_recipe(recipe):
        """ValueError where a recipe's entries do not go together."""
        if recipe.loss != "none" or not recipe.heatmaps:
            raise ValueError(
                "this network learns by its heatmaps alone: it needs loss=none, and heatmaps above 0"
            )
        if (recipe.heatmap_loss == "cross_entropy") != bool(recipe.options["softmax"]):
            raise ValueError(
                "heatmap_loss=cross_entropy goes with softmax=1, and heatmap_loss=mse with softmax=0"
            )

    def forward(self, images):
        size = images.shape[3], images.shape[2]
        if not self.training:
            return self.decode(self.predict_heatmaps(images), size)
        maps = self._raw_heatmaps(images)
        with torch.no_grad():  # the place of a peak teaches nothing
            joints = self.decode(self._of_perfect(maps, size), size).joints
        maps = maps.flatten(2)  # (N, J, h * w)
        return Output(joints, heatmaps=maps.log_softmax(2) if self.softmax else maps)

    def predict_heatmaps(self, images):
        """Heatmaps (N, J, h, w), float32, as `decode` takes them: a perfect one is 1 high.

        They may be averaged.
        """
        return self._of_perfect(self._raw_heatmaps(images), (images.shape[3], images.shape[2]))

    def decode(self, maps, size):
        """The Output for heatmaps (N, J, h, w) of images of that (w, h)."""
        peaks, places = maps.flatten(2).max(2)  # (N, J)
        cells = self.cells(size, maps.device)
        shifts = heatmaps.SHIFTS[self.decoding](maps, places)  # (N, J, 2), in cells
        return Output(cells.centres[places] + shifts * cells.size, peaks.clamp(0, 1))

    def cells(self, size, device=None):
        """Where the heatmaps' cells are in images of that (w, h): STRIDE pixels apart, evenly about
        the centre.

        So the heatmap of a mirror image, mirrored, lies on that of the image. original: cell i at
        pixel 4 i, so that mirrored heatmaps are moved by one cell, which is one pixel of the input
        too far.
        """
        x, y = (
            STRIDE * _from_centre(8 * -(-pixels // COARSE_STRIDE), device) / pixels
            for pixels in size
        )
        return heatmaps.grid(x, y, self.spread * max(size) / STRIDE)

    def _of_perfect(self, maps, size):
        """The last layer's maps in heights of a perfect heatmap's peak."""
        if not self.softmax:
            return maps / TARGET_PEAK
        return maps.flatten(2).softmax(2).view_as(maps) / heatmaps.highest_share(
            self.cells(size).sigma
        )

    def _raw_heatmaps(self, images):
        """The last layer's maps (N, J, h, w), float32."""
        images = (images - self.mean) / self.deviation
        net = self.backbone
        features = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        features = net.layer4(net.layer3(net.layer2(net.layer1(features))))
        maps = []
        for deconvolution in self.deconvolutions:
            features = deconvolution(features)  # the next one sees them without attention
            maps.append(features)
        if self.attentions is not None:
            features = self._attended(maps)
        with torch.autocast(features.device.type, enabled=False):
            return self.joints(features.to(self.mean.dtype))  # float32: bfloat16 keeps 3 digits

    def _attended(self, maps):
        """The sum (N, CHANNELS, h, w) of all three attended maps at the size of the last.

        original: it adds the first twice, and never the second.
        """
        total = 0
        for attention, each in zip(self.attentions, maps):
            attended = each * attention(each)
            total = total + nn.functional.interpolate(attended, maps[-1].shape[2:])  # nearest
        return total


class Attention(nn.Module):
    """Spatial attention: features (N, C, h, w) -> what they are to be multiplied by, (N, count, h,
    w) in (0, 1).

    A mean field over space: U is a convolution of the features and K a learned scalar for each of
    `count` maps; Q1 = sigmoid(K U + U), Q2 = sigmoid(K Q1 + U), Q3 = sigmoid(K Q2 + U).
    """

    def __init__(self, channels, count=1):
        super().__init__()
        self.unary = nn.Conv2d(channels, count, 3, padding=1)
        self.kernel = nn.Parameter(torch.zeros(count))
        draw_small(self.unary)

    def forward(self, features):
        unary = self.unary(features)
        field = unary
        for _ in range(ITERATIONS):
            field = torch.sigmoid(self.kernel[:, None, None] * field + unary)
        return field


class Branches(nn.Module):
    """A branch a joint: its own attention, a 1 x 1 convolution to its map.

    Then comes a 1 x 1 convolution of all J maps.

    Features (N, C, h, w) -> (N, J, h, w). All branches at once: a joint's attention is one factor a
    cell, so it comes to the same whether the features are multiplied by it or what is made of them.
    """

    def __init__(self, channels, joint_count):
        super().__init__()
        self.attention = Attention(channels, joint_count)
        self.maps = nn.Conv2d(channels, joint_count, 1, bias=False)
        self.mix = nn.Conv2d(joint_count, joint_count, 1)
        draw_small(self.maps)
        if not self.mix.weight.is_meta:  # as in Cascade_1_net.py
            nn.init.dirac_(self.mix.weight)  # each joint begins with its own map
            nn.init.zeros_(self.mix.bias)

    def forward(self, features):
        return self.mix(self.maps(features) * self.attention(features))


def build_backbone(name):
    """A ResNet of BACKBONES with random weights, which are named as torchvision's are."""
    if name == "resnet34":
        return Resnet_34()  # torchvision's takes longer to import than a photograph to predict
    from torchvision.models import get_model

    return get_model(name, weights=None)


def check_options(backbone, attention, softmax, decoding, spread):
    """ValueError for options that the network does not have."""
    for name, value, known in (
        ("backbone", backbone, BACKBONES),
        ("decoding", decoding, heatmaps.SHIFTS),
        ("attention", attention, (0, 1)),
        ("softmax", softmax, (0, 1)),
    ):
        if value not in known:
            raise ValueError(f"{name}={value}: is none of {', '.join(map(str, known))}")
    if not 0.001 <= spread <= 1:
        raise ValueError(f"spread={spread:g}: is not within 0.001 and 1 longer sides of the image")


def draw_small(layer):
    """Draw a convolution's weights so small that heatmaps begin flat."""
    if layer.weight.is_meta:
        return  # as in Cascade_1_net.py
    nn.init.normal_(layer.weight, std=INITIAL_STD)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _from_centre(count, device):
    """Places (count,) of cells from their middle, in cells."""
    return torch.arange(count, device=device) - (count - 1) / 2
