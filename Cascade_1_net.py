"""The cascade network: an AlexNet that predicts from a crop how far off a joint's estimate is.

Krizhevsky et al., NIPS 2012, for the layers; Toshev and Szegedy, CVPR 2014, section 3.1, for the
cascade. The layer sizes are those of the original project's Alex_net_c1, whose author does not
claim them as his own; those of the "batch_norm" layers are the K2HPD authors' refiner's.
"""

import torch
from torch import nn

from deeppose import heatmaps
from deeppose.heatmaps import Output
from deeppose.lrn import Local_response_norm
from deeppose.recipes import Recipe

CROP_PX = 227  # side of the crops the network takes
DROPOUT = 0.6  # DeepPose, section 3.2
MEAN = (123.7, 116.3, 103.5)  # of ImageNet, RGB in 0...255
SMALLEST_CROP_PX = 67  # 7 x 7 cells
LARGEST_CROP_PX = 1000
# layers -> px of the crops that lead to 6 x 6 cells
DIRECT_CROP_PX = {"plain": CROP_PX, "batch_norm": 64}
WIDTH = 128  # channels of the integral head
# the heatmap's prior: box sides by which estimates are expected to be off
EXPECTED_OFFSET = 0.2
# how many of the layers of `features` lead to 27 x 27 cells, and how many to 13 x 13: the heatmaps
# are made of both, since the coarse ones see more and the fine ones place it
FINE = 7
COARSE = 14

RECIPES = {
    "best": Recipe(  # what is on record of its entries: docs/accuracy.md
        options={"head": "integral"},
        loss="l1",
        heatmaps=0.1,
        optimiser="adamw",
        weight_decay=0.05,
        warm_up=200,
        schedule="cosine",
        mirror=0.5,
    ),
    # what the original has, and DeepPose, section 3.2
    "original": Recipe(options={"head": "direct"}, optimiser="adagrad"),
    # The K2HPD authors' loss is half the mean square in pixels of a crop, 64^2 / 2 = 2048 times
    # that in box sides: so their rate of 1e-4 is 2048 times as large here, and their weight decay
    # of 0.001 as much smaller.
    "k2hpd": Recipe(
        options={"head": "direct", "layers": "batch_norm"},
        optimiser="sgd",
        learning_rate=1e-4 * 2048,
        weight_decay=0.001 / 2048,
        momentum=0.9,
        schedule="inverse",
        crop_px=64,
        crop_scale=0.8,
        smallest_crop_px=1.0,
        true_sizes=1,
        simulated=0,
        batch_size=64,
        mirror=0.5,
    ),
}


class Alex_net_c1(nn.Module):
    """Crops (N, 3, s, s), RGB in [0, 1], and the joint asked for in each -> Output: offsets (N, 2)
    in box sides.

    An offset leads from the crop's centre, which is a joint's estimate, to the joint. While
    training, the integral head gives log-heatmaps (N, J, cells) of all joints as well.

    joint_count  J
    joints       the numbers of those that it serves: one, or all
    head         "integral": the mean position under the joint's heatmap, 4.2 M weights; the other
                 joints' heatmaps are learnt beside it, so that a crop teaches all that is in it.
                 "direct": the original's linear layers, which are not told which joint they look
                 for, 58 M weights
    crop_px      s; the direct head needs DIRECT_CROP_PX
    layers       "plain": AlexNet's; "batch_norm": the K2HPD authors', with the direct head alone:
                 smaller crops that are seen at stride 1, batch normalisation, grouped convolutions.
                 44 M weights

    `gain`, a buffer (joints served,): the share of an offset to be trusted, refined joint = centre
    + gain x offset x side. It is fitted on held-out rows after training, and does not act in
    forward.
    """

    def __init__(self, joint_count, joints, head="integral", crop_px=CROP_PX, layers="plain"):
        super().__init__()
        check_shape(head, crop_px, layers)
        # the convolutions, and a head
        self.features = plain_features() if layers == "plain" else batch_norm_features()
        if head == "direct":
            width, dropout = (4096, DROPOUT) if layers == "plain" else (1024, 0.5)
            self.hidden = nn.Sequential(
                nn.Linear(9216, 4096),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
                nn.Linear(4096, width),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
            )
            self.offset = nn.Linear(width, 2)
            self.joint_layers = ("offset",)  # stay in float32
        else:
            self.heatmaps = Heatmaps(joint_count)
            self.joint_layers = ("heatmaps.joints",)
        if head == "integral" or layers == "batch_norm":
            for layer in self.features:
                # Torch's own choice shrinks activations layer by layer. On "meta", where nothing is
                # drawn, asking for it would load torch's compiler, which takes as long as torch.
                if isinstance(layer, nn.Conv2d) and not layer.weight.is_meta:
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    nn.init.zeros_(layer.bias)
        # The K2HPD authors' network predicts pixels of the crop, and takes images / 256.
        self.outputs_per_side = 1 if layers == "plain" else crop_px
        self.white = 255 if layers == "plain" else 255 / 256
        self.head = head
        self.joint_count = joint_count
        self.joints = tuple(joints)
        self.crop_px = crop_px
        self.register_buffer("gain", torch.ones(len(self.joints)))
        self.register_buffer(
            "mean", torch.tensor(MEAN, device="cpu")[:, None, None], persistent=False
        )

    @torch.no_grad()
    def mirror(self, flip):
        """Become the network that finds in a crop what this one finds in its mirror image: for the
        opposite joint.

        flip  (J,): each joint's opposite one
        Exact where crop_px is 16 k + 1, as 129 and 225 are: the cells then lie alike from either
        edge. At 227 crops are seen 2 pixels off, of which a little training makes up.
        """
        # mirror every kernel
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.weight.copy_(layer.weight.flip(3))
        # and what the head makes of the mirrored features
        if self.head == "direct":
            cell_weights = self.hidden[0].weight
            # its inputs are 6 x 6 cells of each channel
            cell_weights.copy_(cell_weights.unflatten(1, (-1, 6, 6)).flip(3).flatten(1))
            for parameter in (self.offset.weight, self.offset.bias):
                parameter[0] *= -1  # an offset's x
        else:
            for parameter in (self.heatmaps.joints.weight, self.heatmaps.joints.bias):
                parameter.copy_(parameter[torch.as_tensor(flip, device=parameter.device)])

    def forward(self, images, asked_joints):
        """The Output for crops (N, 3, s, s); asked_joints (N,) are the numbers of their joints."""
        # 0...255, not [0, 1]: with activations that small LRN would do nothing.
        images = torch.add(-self.mean * (self.white / 255), images, alpha=self.white)
        if self.head == "direct":
            return self._forward_direct(images)
        return self._forward_integral(images, asked_joints)

    def _forward_direct(self, images):
        """The direct head's Output, the same for whichever joint is asked for."""
        hidden = self.hidden(self.features(images).flatten(1))
        with torch.autocast(hidden.device.type, enabled=False):
            # in float32, since bfloat16 is too coarse for coordinates
            offsets = self.offset(hidden.float()) / self.outputs_per_side
        return Output(offsets, None if self.training else heatmaps.unknown_confidence(offsets))

    def _forward_integral(self, images, asked_joints):
        """The integral head's Output, read at the heatmap of the joint asked for in each crop."""
        fine = self.features[:FINE](images)  # (N, 256, 27, 27)
        coarse = self.features[FINE:COARSE](fine)  # (N, 256, 13, 13)
        logits = self.heatmaps(fine, coarse)  # (N, J, 27, 27)
        with torch.autocast(logits.device.type, enabled=False):
            cells = self.cells((images.shape[3], images.shape[2]), images.device)
            # The joint asked for is expected near the centre: that is how the network is told which
            # it is.
            prior = cells.centres.square().sum(1) / (2 * EXPECTED_OFFSET**2)  # (cells,)
            is_asked = nn.functional.one_hot(asked_joints, self.joint_count)[..., None]  # (N, J, 1)
            logits = logits.float().flatten(2) - is_asked * prior
            log_heatmaps = logits.log_softmax(2)  # (N, J, cells)
            # read the offset at that joint's heatmap
            index = asked_joints[:, None, None].expand(-1, 1, log_heatmaps.shape[2])
            asked_heatmaps = log_heatmaps.gather(1, index)[:, 0]  # (N, cells)
            offsets = heatmaps.mean_position(asked_heatmaps, cells)
            if self.training:
                return Output(offsets, heatmaps=log_heatmaps)
            return Output(offsets, heatmaps.confidence(asked_heatmaps, cells, offsets))

    @staticmethod
    def cells(size, device=None):
        """The Cells of the heatmaps of crops of that (w, h).

        Convolution 1 (11 wide, stride 4, padded by 1) and the pool after it (3, stride 2) centre
        cell i at pixel 8 i + 8.
        """
        centres = []  # along x, and along y
        for pixels in size:
            cell_count = ((pixels - 9) // 4 - 2) // 2 + 1
            centres_px = 8 * torch.arange(cell_count, device=device) + 8.5
            centres.append(centres_px / pixels - 0.5)
        return heatmaps.grid(*centres)


def plain_features():
    """AlexNet's convolutions: crops (N, 3, 227, 227) -> (N, 256, 6, 6)."""
    return nn.Sequential(  # (3, 227, 227)
        nn.Conv2d(3, 96, 11, 4, 1),  # (96, 55, 55)
        nn.ReLU(inplace=True),
        Local_response_norm(),
        nn.MaxPool2d(3, 2),  # (96, 27, 27)
        nn.Conv2d(96, 256, 5, 1, 2),
        nn.ReLU(inplace=True),
        Local_response_norm(),
        nn.MaxPool2d(3, 2),  # (256, 13, 13)
        nn.Conv2d(256, 384, 3, 1, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 384, 3, 1, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, 1, 1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),  # (256, 6, 6)
    )


def batch_norm_features():
    """The K2HPD authors' convolutions: crops (N, 3, 64, 64) -> (N, 256, 6, 6)."""
    return nn.Sequential(  # (3, 64, 64)
        nn.Conv2d(3, 96, 10),  # (96, 55, 55)
        nn.BatchNorm2d(96),
        nn.ReLU(inplace=True),
        Local_response_norm(),
        nn.MaxPool2d(3, 2),  # (96, 27, 27)
        nn.Conv2d(96, 256, 5, 1, 2, groups=2),
        nn.BatchNorm2d(256),
        nn.ReLU(inplace=True),
        Local_response_norm(),
        nn.MaxPool2d(3, 2),  # (256, 13, 13)
        nn.Conv2d(256, 384, 3, 1, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 384, 3, 1, 1, groups=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, 1, 1, groups=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),  # (256, 6, 6)
    )


def check_shape(head, crop_px, layers="plain"):
    """ValueError for crops that a network with that head and those layers cannot take."""
    if head not in ("integral", "direct"):
        raise ValueError(f"head={head}: is none of integral, direct")
    if layers not in tuple(DIRECT_CROP_PX):
        raise ValueError(f"layers={layers}: is none of {', '.join(DIRECT_CROP_PX)}")
    if head == "integral" and layers != "plain":
        raise ValueError(f"layers={layers}: come with the direct head alone")
    if head == "direct" and crop_px != DIRECT_CROP_PX[layers]:
        raise ValueError(
            f"the direct head takes crops of {DIRECT_CROP_PX[layers]} pixels alone, not {crop_px}"
        )
    if head == "integral" and not SMALLEST_CROP_PX <= crop_px <= LARGEST_CROP_PX:
        raise ValueError(
            f"crops are {SMALLEST_CROP_PX} to {LARGEST_CROP_PX} pixels wide, not {crop_px}"
        )


class Heatmaps(nn.Module):
    """Features (N, 256, 27, 27) and (N, 256, 13, 13) -> a heatmap (27, 27) a joint.

    The heatmaps are flat to begin with.
    """

    def __init__(self, joint_count):
        super().__init__()
        # a kernel of 3 at stride 2 puts cell i on 2 i + 1 of the finer cells, as the pool did
        self.coarse = nn.ConvTranspose2d(256, WIDTH, 3, 2)
        self.fine = nn.Conv2d(256, WIDTH, 1)
        self.smooth = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(inplace=True),
        )
        self.joints = nn.Conv2d(WIDTH, joint_count, 1)
        nn.init.zeros_(self.joints.weight)
        nn.init.zeros_(self.joints.bias)

    def forward(self, fine, coarse):
        features = self.smooth(self.coarse(coarse, output_size=fine.shape[2:]) + self.fine(fine))
        with torch.autocast(features.device.type, enabled=False):
            # in float32, since bfloat16 keeps 3 digits of a logit
            return self.joints(features.to(self.joints.weight.dtype))
