"""The heatmap network: a ResNet, deconvolutions and spatial attention make a heatmap a joint.

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
from Resnet_stage_1 import IMAGENET_MEAN, IMAGENET_STD, Resnet_34

BACKBONES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")  # torchvision's names
CHANNELS = 256  # of each deconvolution
MEAN_FIELD_ITERATIONS = 3
COARSE_STRIDE = 32  # input pixels a cell of the backbone's features
STRIDE = 4  # input pixels a cell of the heatmaps, after three deconvolutions
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
    """Network from images (N, 3, h, w), RGB in [0, 1], to the Output of all joints.

    Its joints (N, J, 2) are in widths and heights from the images' centres: a joint is where its
    heatmap is highest, and its confidence how high that is, in heights of a perfect one. Raises
    ValueError for options that it does not have.

    backbone   of BACKBONES, without its last two layers
    attention  0: the last deconvolution's maps become heatmaps by a 1 x 1 convolution, as
               SimpleBaseline's do
    softmax    1: a heatmap is the logarithm of a probability over its cells; 0: it is a Gaussian
               TARGET_PEAK high
    decoding   of heatmaps.SHIFTS: how a joint's place between the cells is found
    spread     sigma of the Gaussians that the heatmaps should be, in longer sides of the images
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
        self.softmax = softmax
        self.decoding = decoding
        self.spread = spread
        # the backbone, without the classifier
        self.backbone_name = backbone
        self.backbone = build_backbone(backbone)
        backbone_channels = self.backbone.fc.in_features
        self.backbone.fc = nn.Identity()
        self.unused_weights = ("fc.weight", "fc.bias")  # of torchvision's file
        # three deconvolutions, from stride 32 to stride 4
        self.deconvolutions = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(channels, CHANNELS, 4, 2, 1, bias=False),
                nn.BatchNorm2d(CHANNELS),
                nn.ReLU(inplace=True),
            )
            for channels in (backbone_channels, CHANNELS, CHANNELS)
        )
        # the last layers, which make the heatmaps; joint_layers are those with channels a joint
        if attention:
            self.attentions = nn.ModuleList(Attention(CHANNELS) for _ in self.deconvolutions)
            self.joints = Branches(CHANNELS, joint_count)
            self.joint_layers = ("joints.attention", "joints.attention.unary", "joints.maps")
            self.joint_mixers = ("joints.mix",)
        else:
            self.attentions = None
            self.joints = nn.Conv2d(CHANNELS, joint_count, 1)
            draw_small(self.joints)
            self.joint_layers = ("joints",)
        # (3, 1, 1) each, on the CPU even where the network is built without weights
        self.register_buffer(
            "mean", torch.tensor(IMAGENET_MEAN, device="cpu")[:, None, None], persistent=False
        )
        self.register_buffer(
            "deviation", torch.tensor(IMAGENET_STD, device="cpu")[:, None, None], persistent=False
        )

    @property
    def imagenet(self):
        """torchvision's weights for the backbone."""
        from torchvision.models import get_model_weights

        return get_model_weights(self.backbone_name).IMAGENET1K_V1

    @staticmethod
    def check_recipe(recipe):
        """Raise ValueError where a recipe's entries do not go together."""
        if recipe.loss != "none" or not recipe.heatmaps:
            raise ValueError(
                "this network learns by its heatmaps alone: it needs loss=none, and heatmaps above 0"
            )
        if (recipe.heatmap_loss == "cross_entropy") != bool(recipe.options["softmax"]):
            raise ValueError(
                "heatmap_loss=cross_entropy goes with softmax=1, and heatmap_loss=mse with softmax=0"
            )

    def forward(self, images):
        image_size = images.shape[3], images.shape[2]
        if not self.training:
            return self.decode(self.predict_heatmaps(images), image_size)
        # while training also the maps that the loss is of
        raw_heatmaps = self._raw_heatmaps(images)
        with torch.no_grad():  # the place of a peak teaches nothing
            joints = self.decode(self._of_perfect(raw_heatmaps, image_size), image_size).joints
        learned_heatmaps = raw_heatmaps.flatten(2)  # (N, J, h * w), as the loss takes them
        if self.softmax:
            learned_heatmaps = learned_heatmaps.log_softmax(2)
        return Output(joints, heatmaps=learned_heatmaps)

    def predict_heatmaps(self, images):
        """Heatmaps (N, J, h, w), float32, as `decode` takes them: a perfect one is 1 high.

        They may be averaged.
        """
        return self._of_perfect(self._raw_heatmaps(images), (images.shape[3], images.shape[2]))

    def decode(self, joint_heatmaps, image_size):
        """The Output for heatmaps (N, J, h, w) of images of that (w, h) px."""
        peak_heights, peak_cells = joint_heatmaps.flatten(2).max(2)  # (N, J)
        cells = self.cells(image_size, joint_heatmaps.device)
        # (N, J, 2), in cells
        shifts = heatmaps.SHIFTS[self.decoding](joint_heatmaps, peak_cells)
        joints = cells.centres[peak_cells] + shifts * cells.size
        return Output(joints, peak_heights.clamp(0, 1))

    def cells(self, image_size, device=None):
        """Centres of the heatmaps' cells in images of that (w, h) px, as heatmaps.Cells.

        They are STRIDE pixels apart, evenly about the centre, so the heatmap of a mirror image,
        mirrored, lies on that of the image. original: cell i at pixel 4 i, so that mirrored
        heatmaps are moved by one cell, which is one pixel of the input too far.
        """
        centres = []  # of x, then of y
        for side_px in image_size:
            coarse_count = -(-side_px // COARSE_STRIDE)  # the backbone's cells, rounded up
            # each deconvolution doubles the cells
            from_middle = _cells_from_middle(8 * coarse_count, device)
            centres.append(STRIDE * from_middle / side_px)
        return heatmaps.grid(*centres, self.spread * max(image_size) / STRIDE)

    def _of_perfect(self, raw_heatmaps, image_size):
        """The last layer's maps (N, J, h, w) in heights of a perfect heatmap's peak."""
        if not self.softmax:
            return raw_heatmaps / TARGET_PEAK
        probabilities = raw_heatmaps.flatten(2).softmax(2).view_as(raw_heatmaps)
        return probabilities / heatmaps.highest_share(self.cells(image_size).sigma)

    def _raw_heatmaps(self, images):
        """The last layer's maps (N, J, h, w), float32."""
        images = (images - self.mean) / self.deviation
        # the backbone, without its average pool and classifier
        net = self.backbone
        features = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        features = net.layer4(net.layer3(net.layer2(net.layer1(features))))
        upsampled = []  # (N, CHANNELS, h, w) of strides 16, 8 and 4
        for deconvolution in self.deconvolutions:
            features = deconvolution(features)  # the next one sees them without attention
            upsampled.append(features)
        if self.attentions is not None:
            features = self._attended(upsampled)
        with torch.autocast(features.device.type, enabled=False):
            return self.joints(features.to(self.mean.dtype))  # float32: bfloat16 keeps 3 digits

    def _attended(self, feature_maps):
        """The sum (N, CHANNELS, h, w) of all three attended maps at the size of the last.

        original: it adds the first twice, and never the second.
        """
        finest_size = feature_maps[-1].shape[2:]
        total = 0
        for attention, features in zip(self.attentions, feature_maps):
            attended = features * attention(features)
            total = total + nn.functional.interpolate(attended, finest_size)  # nearest
        return total


class Attention(nn.Module):
    """Spatial attention: factors (N, map_count, h, w) in (0, 1) for features (N, C, h, w).

    A mean field over space (Chu et al., CVPR 2017): U is a convolution of the features and K a
    learned scalar for each map; Q1 = sigmoid(K U + U), Q2 = sigmoid(K Q1 + U), Q3 = sigmoid(K Q2 +
    U).
    """

    def __init__(self, channels, map_count=1):
        super().__init__()
        self.unary = nn.Conv2d(channels, map_count, 3, padding=1)
        self.kernel = nn.Parameter(torch.zeros(map_count))
        draw_small(self.unary)

    def forward(self, features):
        # (N, map_count, h, w); the unary term is also where the iteration starts
        unary = self.unary(features)
        field = unary
        for _ in range(MEAN_FIELD_ITERATIONS):
            field = torch.sigmoid(self.kernel[:, None, None] * field + unary)
        return field


class Branches(nn.Module):
    """Layers from features (N, C, h, w) to maps (N, J, h, w), with a branch for each joint.

    A branch has its own attention and a 1 x 1 convolution to the joint's map; a last 1 x 1
    convolution mixes all J maps. The branches are computed together: attention is one factor a
    cell, so it may multiply a branch's map in place of the features that the map is made of.
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


def build_backbone(backbone_name):
    """A ResNet of BACKBONES with random weights, which are named as torchvision's are."""
    if backbone_name == "resnet34":
        return Resnet_34()  # torchvision takes longer to import than a photograph to predict
    from torchvision.models import get_model

    return get_model(backbone_name, weights=None)


def check_options(backbone, attention, softmax, decoding, spread):
    """Raise ValueError for options that the network does not have."""
    for option_name, value, known_values in (
        ("backbone", backbone, BACKBONES),
        ("decoding", decoding, heatmaps.SHIFTS),
        ("attention", attention, (0, 1)),
        ("softmax", softmax, (0, 1)),
    ):
        if value not in known_values:
            raise ValueError(
                f"{option_name}={value}: is none of {', '.join(map(str, known_values))}"
            )
    if not 0.001 <= spread <= 1:
        raise ValueError(f"spread={spread:g}: is not within 0.001 and 1 longer sides of the image")


def draw_small(layer):
    """Draw a convolution's weights so small that heatmaps begin flat."""
    if layer.weight.is_meta:
        return  # as in Cascade_1_net.py
    nn.init.normal_(layer.weight, std=INITIAL_STD)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _cells_from_middle(count, device):
    """Places (count,) of cells in a line from its middle, in cells."""
    return torch.arange(count, device=device) - (count - 1) / 2
