"""The stage-1 network: a ResNet-34 regresses all joints from a whole frame.

He et al., CVPR 2016, for the backbone; Toshev and Szegedy, CVPR 2014, for the regression; Sun et
al., ECCV 2018, for the mean position under a heatmap; Lin et al., CVPR 2017, for the feature pyramid.
"""

import torch
from torch import nn

from deeppose import heatmaps
from deeppose.heatmaps import Output
from deeppose.recipes import Recipe

HIDDEN = 4096
DROPOUT = 0.6  # original, and DeepPose, section 3.2
HEAD_CHANNELS = 128  # of the integral head
BLOCK_COUNTS = (3, 4, 6, 3)  # of ResNet-34, at strides 4, 8, 16 and 32
STRIDE = 8  # input pixels a heatmap's cell
HEADS = ("integral", "direct")
# of ImageNet, RGB in [0, 1]: what the pre-trained weights expect
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

RECIPES = {
    # docs/accuracy.md has the experiments behind each entry
    "best": Recipe(
        options={"head": "integral"},
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
    # MSE, Adam 5e-4, no augmentation but step 1's copies
    "original": Recipe(options={"head": "direct"}),
}


class Resnet_stage_1(nn.Module):
    """Network from images (N, 3, h, w), RGB in [0, 1], to the Output of all joints.

    Its joints (N, J, 2) are in widths and heights from the images' centres. Raises ValueError for a
    head that it does not have.

    head  "integral", 21.7 M weights: each joint is the mean position under its heatmap, which a
          feature pyramid over the backbone's strides 8, 16 and 32 makes; "direct", 26.0 M weights:
          the original's two linear layers after the backbone's 1000 outputs
    """

    def __init__(self, joint_count, head="integral"):
        super().__init__()
        if head not in HEADS:
            raise ValueError(f"head={head}: is none of {', '.join(HEADS)}")
        self.head = head
        self.joint_count = joint_count
        self.backbone = Resnet_34()
        if head == "direct":
            self.hidden = nn.Sequential(
                nn.Linear(1000, HIDDEN), nn.ReLU(inplace=True), nn.Dropout(DROPOUT)
            )
            self.joints = nn.Linear(HIDDEN, 2 * joint_count)
            # what deeppose.networks asks of a network: the layers with channels a joint, and the
            # weights in torchvision's file that are left over
            self.joint_layers = ("joints",)
            self.unused_weights = ()
        else:
            self.backbone.fc = nn.Identity()
            self.heatmaps = Heatmaps(joint_count)
            self.joint_layers = ("heatmaps.joints",)
            self.unused_weights = ("fc.weight", "fc.bias")
        # (3, 1, 1) each, on the CPU even where the network is built without weights
        self.register_buffer(
            "mean", torch.tensor(IMAGENET_MEAN, device="cpu")[:, None, None], persistent=False
        )
        self.register_buffer(
            "deviation", torch.tensor(IMAGENET_STD, device="cpu")[:, None, None], persistent=False
        )

    @property
    def imagenet(self):
        """torchvision's weights for the backbone.

        Imported here alone: it takes as long as torch itself.
        """
        from torchvision.models import ResNet34_Weights

        return ResNet34_Weights.IMAGENET1K_V1

    def forward(self, images):
        image_size = images.shape[3], images.shape[2]
        # (images - mean) / deviation, in one pass over the pixels
        images = torch.addcmul(-self.mean / self.deviation, images, 1 / self.deviation)
        if self.head == "direct":
            features = self.hidden(self.backbone(images))  # (N, 4096)
            with torch.autocast(features.device.type, enabled=False):
                joints = self.joints(features.float())  # coordinates stay in float32
            joints = joints.unflatten(1, (self.joint_count, 2))
            return Output(joints, None if self.training else heatmaps.unknown_confidence(joints))
        logits = self.heatmaps(*self._features(images))  # (N, J, h, w), of stride 8
        return heatmaps.integrate(logits, self.cells(image_size, images.device), self.training)

    def _features(self, images):
        """The backbone's features of strides 8, 16 and 32."""
        return self.backbone.pyramid(images)[1:]

    @staticmethod
    def cells(image_size, device=None):
        """Centres of what the heatmaps' cells see in images of that (w, h) px, as heatmaps.Cells.

        Convolutions and pools of stride 2 look at every second pixel from the first on, so cell i
        looks at pixel 8 i.
        """
        centres = []  # of x, then of y
        for side_px in image_size:
            cell_count = -(-side_px // STRIDE)  # rounded up
            pixels = STRIDE * torch.arange(cell_count, device=device)
            centres.append((pixels + 0.5) / side_px - 0.5)
        return heatmaps.grid(*centres)


class Resnet_34(nn.Module):
    """Network from images (N, 3, h, w) to 1000 outputs (N, 1000): He et al., table 1.

    Its weights are named as torchvision's are, so that ImageNet's can be loaded into it.
    """

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _blocks(64, 64, BLOCK_COUNTS[0])
        self.layer2 = _blocks(64, 128, BLOCK_COUNTS[1])
        self.layer3 = _blocks(128, 256, BLOCK_COUNTS[2])
        self.layer4 = _blocks(256, 512, BLOCK_COUNTS[3])
        self.fc = nn.Linear(512, 1000)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and not layer.weight.is_meta:  # as in Cascade_1_net.py
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images):
        return self.fc(self.pyramid(images)[-1].mean((2, 3)))

    def pyramid(self, images):
        """The features (N, channels, h, w) of strides 4, 8, 16 and 32, in a list."""
        stem = self.relu(self.bn1(self.conv1(images)))
        features = [self.layer1(self.maxpool(stem))]
        for layer in (self.layer2, self.layer3, self.layer4):
            features.append(layer(features[-1]))
        return features


def _blocks(in_channels, channels, count):
    """Blocks in a row; the first halves the size where it changes the number of channels."""
    stride = 1 if in_channels == channels else 2
    first = Block(in_channels, channels, stride)
    return nn.Sequential(first, *(Block(channels, channels, 1) for _ in range(count - 1)))


class Block(nn.Module):
    """Two convolutions and a short cut around them (He et al., figure 2)."""

    def __init__(self, in_channels, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        # torchvision's name for the short cut, where it changes size and channels
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, features):
        short_cut = features if self.downsample is None else self.downsample(features)
        features = self.relu(self.bn1(self.conv1(features)))
        return self.relu(self.bn2(self.conv2(features)) + short_cut)


class Heatmaps(nn.Module):
    """Feature pyramid (Lin et al.): features of strides 8, 16 and 32 -> logits (N, J, h, w).

    The heatmaps that these are have stride 8.
    """

    def __init__(self, joint_count):
        super().__init__()
        self.lateral = nn.ModuleList(
            [nn.Conv2d(channels, HEAD_CHANNELS, 1) for channels in (128, 256, 512)]
        )
        self.smooth = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(HEAD_CHANNELS, HEAD_CHANNELS, 3, padding=1, bias=False),
                    nn.BatchNorm2d(HEAD_CHANNELS),
                    nn.ReLU(inplace=True),
                )
                for _ in range(2)
            ]
        )
        self.joints = nn.Conv2d(HEAD_CHANNELS, joint_count, 1)

    def forward(self, fine, middle, coarse):
        # from the coarsest features down to the finest
        features = self.lateral[2](coarse)
        for level, finer_features in ((1, middle), (0, fine)):
            features = _upsample(features, *finer_features.shape[2:])
            features = self.smooth[level](features + self.lateral[level](finer_features))
        with torch.autocast(features.device.type, enabled=False):
            # in float32, since bfloat16 keeps 3 digits of a logit
            return self.joints(features.to(self.joints.weight.dtype))


def _upsample(features, height, width):
    """Features (N, C, h, w) on the cells of the map of half their stride, (N, C, height, width).

    Bilinear. Cell i lies on the finer cell 2 i (see Resnet_stage_1.cells), so of 2 h - 1 finer
    cells the corners lie on the corners. Images of an even number of cells have one more, beyond
    the last coarse cell: it repeats the one before.
    """
    fine_size = [2 * cell_count - 1 for cell_count in features.shape[2:]]
    features = nn.functional.interpolate(features, fine_size, mode="bilinear", align_corners=True)
    rows_below = height - fine_size[0]
    columns_right = width - fine_size[1]
    if rows_below or columns_right:
        padding = (0, columns_right, 0, rows_below)
        features = nn.functional.pad(features, padding, mode="replicate")
    return features
