"""The stage-1 network: a ResNet-34 regresses all joints from a whole frame.

He et al., CVPR 2016, for the backbone; Toshev and Szegedy, CVPR 2014, for the regression; Sun et
al., ECCV 2018, for the mean place under a heatmap; Lin et al., CVPR 2017, for the feature pyramid.
"""

import torch
from torch import nn

from deeppose import heatmaps
from deeppose.heatmaps import Output
from deeppose.recipes import Recipe

HIDDEN = 4096
DROPOUT = 0.6  # original, and DeepPose, section 3.2
WIDTH = 128  # channels of the integral head
BLOCKS = (3, 4, 6, 3)  # of ResNet-34, at strides 4, 8, 16 and 32
STRIDE = 8  # input pixels a heatmap's cell
HEADS = ("integral", "direct")
MEAN = (0.485, 0.456, 0.406)  # of ImageNet, RGB in [0, 1]: what the pre-trained weights expect
SPREAD = (0.229, 0.224, 0.225)

RECIPES = {
    "best": Recipe(  # what is on record of each entry: docs/accuracy.md
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
    """Images (N, 3, h, w), RGB in [0, 1] -> Output: joints (N, J, 2) in widths and heights from the
    images' centres.

    head  "integral": each joint is the mean place under its heatmap, which a feature pyramid over
          the backbone's strides 8, 16 and 32 makes; "direct": the original's two linear layers
          after the backbone's 1000 outputs. 21.3 M or 26.0 M weights.
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
            self.joint_layers = ("joints",)  # have channels a joint
            self.unused_weights = ()  # of torchvision's file
        else:
            self.backbone.fc = nn.Identity()
            self.heatmaps = Heatmaps(joint_count)
            self.joint_layers = ("heatmaps.joints",)
            self.unused_weights = ("fc.weight", "fc.bias")
        self.register_buffer(
            "mean", torch.tensor(MEAN, device="cpu")[:, None, None], persistent=False
        )
        self.register_buffer(
            "spread", torch.tensor(SPREAD, device="cpu")[:, None, None], persistent=False
        )

    @property
    def imagenet(self):
        """torchvision's weights for the backbone.

        Imported here alone: it takes as long as torch itself.
        """
        from torchvision.models import ResNet34_Weights

        return ResNet34_Weights.IMAGENET1K_V1

    def forward(self, images):
        size = images.shape[3], images.shape[2]
        # (images - mean) / spread, at once
        images = torch.addcmul(-self.mean / self.spread, images, 1 / self.spread)
        if self.head == "direct":
            features = self.hidden(self.backbone(images))  # (N, 4096)
            with torch.autocast(features.device.type, enabled=False):
                joints = self.joints(features.float())  # coordinates stay in float32
            joints = joints.unflatten(1, (self.joint_count, 2))
            return Output(joints, None if self.training else heatmaps.unsure(joints))
        maps = self.heatmaps(*self._features(images))  # (N, J, h, w)
        return heatmaps.integrate(maps, self.cells(size, images.device), self.training)

    def _features(self, images):
        """The backbone's features of strides 8, 16 and 32."""
        return self.backbone.pyramid(images)[1:]

    @staticmethod
    def cells(size, device=None):
        """Where the heatmaps' cells look in images of that (w, h).

        Convolutions and pools of stride 2 look at every second pixel from the first on, so cell i
        at pixel 8 i.
        """
        x, y = (
            (STRIDE * torch.arange(-(-pixels // STRIDE), device=device) + 0.5) / pixels - 0.5
            for pixels in size
        )
        return heatmaps.grid(x, y)


class Resnet_34(nn.Module):
    """Images (N, 3, h, w) -> 1000 outputs (He et al., table 1).

    Its weights are named as torchvision's are.
    """

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _blocks(64, 64, BLOCKS[0])
        self.layer2 = _blocks(64, 128, BLOCKS[1])
        self.layer3 = _blocks(128, 256, BLOCKS[2])
        self.layer4 = _blocks(256, 512, BLOCKS[3])
        self.fc = nn.Linear(512, 1000)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and not layer.weight.is_meta:  # as in Cascade_1_net.py
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images):
        return self.fc(self.pyramid(images)[-1].mean((2, 3)))

    def pyramid(self, images):
        """The features of strides 4, 8, 16 and 32."""
        features = [self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(images)))))]
        for layer in (self.layer2, self.layer3, self.layer4):
            features.append(layer(features[-1]))
        return features


def _blocks(channels, width, count):
    """Blocks in a row; the first halves the size where it changes the width."""
    stride = 1 if channels == width else 2
    return nn.Sequential(
        Block(channels, width, stride), *(Block(width, width, 1) for _ in range(count - 1))
    )


class Block(nn.Module):
    """Two convolutions and a short cut around them (He et al., figure 2)."""

    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        # torchvision's name for the short cut, where it changes size and width
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, features):
        short_cut = features if self.downsample is None else self.downsample(features)
        features = self.relu(self.bn1(self.conv1(features)))
        return self.relu(self.bn2(self.conv2(features)) + short_cut)


class Heatmaps(nn.Module):
    """Features of strides 8, 16 and 32 -> a heatmap a joint, of stride 8: a feature pyramid."""

    def __init__(self, joint_count):
        super().__init__()
        self.lateral = nn.ModuleList(
            [nn.Conv2d(channels, WIDTH, 1) for channels in (128, 256, 512)]
        )
        self.smooth = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
                    nn.BatchNorm2d(WIDTH),
                    nn.ReLU(inplace=True),
                )
                for _ in range(2)
            ]
        )
        self.joints = nn.Conv2d(WIDTH, joint_count, 1)

    def forward(self, fine, middle, coarse):
        features = self.lateral[2](coarse)
        for place, finer in ((1, middle), (0, fine)):
            features = _upsample(features, *finer.shape[2:])
            features = self.smooth[place](features + self.lateral[place](finer))
        with torch.autocast(features.device.type, enabled=False):
            # in float32, since bfloat16 keeps 3 digits of a logit
            return self.joints(features.to(self.joints.weight.dtype))


def _upsample(features, height, width):
    """Features (N, C, h, w) on the cells of the map of half their stride, (N, C, height, width),
    bilinear.

    Cell i lies on the finer cell 2 i (see cells), so of 2 h - 1 finer cells the corners lie on the
    corners. Images of an even number of cells have one more, beyond the last coarse cell: it
    repeats the one before.
    """
    finer = [2 * cells - 1 for cells in features.shape[2:]]
    features = nn.functional.interpolate(features, finer, mode="bilinear", align_corners=True)
    below = height - finer[0]
    right = width - finer[1]
    if below or right:
        features = nn.functional.pad(features, (0, right, 0, below), mode="replicate")
    return features
