"""The cascade network: an AlexNet that looks at a crop around one joint's estimate and says how far off it is.

Krizhevsky et al., NIPS 2012, for the layers; Toshev and Szegedy, CVPR 2014, section 3.1, for the cascade.
The layer sizes are those of the original project's Alex_net_c1, whose author does not claim them as his own.
"""
import numpy as np
import torch
from torch import nn

from deeppose import checkpoint, crops, geometry, runtime
from deeppose.lrn import local_response_norm
from deeppose.predictions import model_name

CROP_PX = 227                     # side of the crops the network takes
DROPOUT = 0.6                     # DeepPose, section 3.2
MEAN = (123.7, 116.3, 103.5)      # of ImageNet, RGB in 0...255
SMALLEST_CROP_PX = 67             # 7 x 7 cells
LARGEST_CROP_PX = 1000
WIDTH = 128                       # channels of the integral head
EXPECTED = 0.2                    # box sides by which estimates are expected to be off: its heatmap's prior
STEP_5 = "Train_stage_2.py (step 5) makes it"
STAGES = (2, 3)                   # of the cascade; DeepPose has three in all


class Local_response_norm(nn.Module):
    """deeppose.lrn as a layer: size 5, alpha 1e-4, beta 0.75, k 1."""

    def forward(self, x):
        return local_response_norm(x)


class Alex_net_c1(nn.Module):
    """Crops (N, 3, 227, 227), RGB in [0, 1] -> displacement (N, 2) from the crop's centre to the joint, in box sides.

    While training the integral head's log-heatmaps (N, J, cells) come as well, those of the direct head are None.

    head         "integral": the mean place under the joint's heatmap, beside which the other joints' are learnt, so
                 that a crop teaches all that is in it; "direct": the original's linear layers. 4.2 M or 58 M weights
    joint_count  J, for the integral head
    joint        the place of the network's own joint among them
    crop_px      the side of the crops that it takes; the direct head needs 227

    Buffers, which travel in the checkpoint: `joint`, `crop_px` and `gain`, the share of the displacement to be trusted:
    refined joint = centre + gain x displacement x side. It is fitted on held-out rows after training and does
    not act in forward.
    """

    def __init__(self, head="integral", joint_count=14, joint=0, crop_px=CROP_PX):
        super().__init__()
        self.features = nn.Sequential(                                                    # (3, 227, 227)
            nn.Conv2d(3, 96, 11, 4, 1), nn.ReLU(inplace=True), Local_response_norm(),     # (96, 55, 55)
            nn.MaxPool2d(3, 2),                                                           # (96, 27, 27)
            nn.Conv2d(96, 256, 5, 1, 2), nn.ReLU(inplace=True), Local_response_norm(),
            nn.MaxPool2d(3, 2),                                                           # (256, 13, 13)
            nn.Conv2d(256, 384, 3, 1, 1), nn.ReLU(inplace=True),
            nn.Conv2d(384, 384, 3, 1, 1), nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2))                                                           # (256, 6, 6)
        if head == "direct":
            self.hidden = nn.Sequential(
                nn.Linear(9216, 4096), nn.ReLU(inplace=True), nn.Dropout(DROPOUT),
                nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(DROPOUT))
            self.displacement = nn.Linear(4096, 2)
        else:
            self.heatmaps = Heatmaps(joint_count)
            for layer in self.features:
                if isinstance(layer, nn.Conv2d):  # torch's own choice shrinks activations layer by layer
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    nn.init.zeros_(layer.bias)
        self.head, self.joint_count, self.crop_sizes = head, joint_count, crop_sizes(head)
        self.register_buffer("gain", torch.ones(()))
        self.register_buffer("joint", torch.tensor(joint, device="cpu"))
        self.register_buffer("crop_px", torch.tensor(crop_px, device="cpu"))
        self.register_load_state_dict_post_hook(lambda network, _: network.look(network.joint, network.crop_px))
        self.look(joint, crop_px)
        self.register_buffer("mean", torch.tensor(MEAN, device="cpu")[:, None, None], persistent=False)

    def look(self, joint, crop_px):
        """Look for this joint, in crops of this size; ValueError where that cannot be."""
        self.own, self.size_px = int(joint), int(crop_px)  # as numbers, which can be read without waiting for a GPU
        if not 0 <= self.own < self.joint_count or self.size_px not in self.crop_sizes:
            raise ValueError(f"joint {self.own} in crops of {self.size_px} pixels")
        self.joint.fill_(self.own)
        self.crop_px.fill_(self.size_px)

    @torch.no_grad()
    def mirror(self, flip):
        """Become the network that finds in a crop what this one finds in its mirror image: for the opposite joint.

        flip  (J,): each joint's opposite one
        Exact where size_px is 16 k + 1, as 129 and 225 are: the cells then lie alike from either edge. At 227 crops
        are seen 2 pixels off, of which a little training makes up.
        """
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.weight.copy_(layer.weight.flip(3))
        if self.head == "direct":
            first, side = self.hidden[0].weight, 6
            first.copy_(first.unflatten(1, (-1, side, side)).flip(3).flatten(1))
            for values in (self.displacement.weight, self.displacement.bias):
                values[0] *= -1
        else:
            for values in (self.heatmaps.joints.weight, self.heatmaps.joints.bias):
                values.copy_(values[torch.as_tensor(flip, device=values.device)])
        self.look(flip[self.own], self.size_px)

    def forward(self, images):
        # 0...255, not [0, 1]: with activations that small LRN would do nothing.
        images = torch.add(-self.mean, images, alpha=255)
        if self.head == "direct":
            hidden = self.hidden(self.features(images).flatten(1))
            with torch.autocast(hidden.device.type, enabled=False):
                moves, log_heatmaps = self.displacement(hidden.float()), None  # coordinates stay in float32
        else:
            fine = self.features[:7](images)  # (N, 256, 27, 27)
            heatmaps = self.heatmaps(fine, self.features[7:14](fine))
            with torch.autocast(heatmaps.device.type, enabled=False):
                log_heatmaps = heatmaps.float().flatten(2)  # (N, J, cells)
                cells = cell_centres(images.shape[-1], images.device)
                log_heatmaps[:, self.own] -= cells.square().sum(1) / (2 * EXPECTED ** 2)
                log_heatmaps = log_heatmaps.log_softmax(2)
                moves = log_heatmaps[:, self.own].exp() @ cells
        return (moves, log_heatmaps) if self.training else moves


def crop_sizes(head):
    """Sides in pixels of the crops that a network with that head can take."""
    return range(SMALLEST_CROP_PX, LARGEST_CROP_PX + 1) if head == "integral" else (CROP_PX,)


class Heatmaps(nn.Module):
    """Features (N, 256, 27, 27) and (N, 256, 13, 13) -> a heatmap (27, 27) a joint; flat ones to begin with."""

    def __init__(self, joint_count):
        super().__init__()
        self.coarse = nn.ConvTranspose2d(256, WIDTH, 3, 2)  # cell i lies on 2 i + 1 of the finer ones, as in the pool
        self.fine = nn.Conv2d(256, WIDTH, 1)
        self.smooth = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH),
                                    nn.ReLU(inplace=True))
        self.joints = nn.Conv2d(WIDTH, joint_count, 1)
        nn.init.zeros_(self.joints.weight)
        nn.init.zeros_(self.joints.bias)

    def forward(self, fine, coarse):
        features = self.smooth(self.coarse(coarse, output_size=fine.shape[2:]) + self.fine(fine))
        with torch.autocast(features.device.type, enabled=False):
            return self.joints(features.to(self.joints.weight.dtype))  # float32: bfloat16 keeps 3 digits of a logit


def cell_centres(size_px, device=None):
    """Where the cells of the heatmaps of crops of that size look, in box sides from the centre: (cells, 2), x fastest.

    Convolution 1 (11 wide, stride 4, padded by 1) and the pool after it (3, stride 2) centre cell i at pixel 8 i + 8.
    """
    count = ((size_px - 9) // 4 - 2) // 2 + 1
    at = (8 * torch.arange(count, device=device) + 8.5) / size_px - 0.5
    return torch.cartesian_prod(at, at).flip(1)


def displacements(network, frames, rows, boxes_px, run, mirrored=False):
    """The network's displacements (len(rows), 2), in box sides, for one box a row.

    frames    a Frames
    boxes_px  (len(rows), 3) around the estimates
    mirrored  whether the network sees the boxes' mirror images, of which its displacements then are
    """
    boxes = torch.from_numpy(boxes_px[:, None].astype(np.float32)).to(run.device)  # (len(rows), 1, 3)

    def cut(images, piece):
        seen = crops.crop(images, boxes[piece], network.size_px)
        return seen.flip(3) if mirrored else seen
    return runtime.infer(network, frames, rows, run, cut)


def refine_joint(network, frames, rows, estimates_px, sides_px, run):
    """Refined joint (len(rows), 2) px: estimate + gain x displacement, from one network for one joint."""
    gain, boxes = network.gain.item(), geometry.box_around(estimates_px, sides_px)
    if gain == 0:
        return estimates_px
    return estimates_px + gain * displacements(network, frames, rows, boxes, run) * sides_px[:, None]


def load_cascade(workdir, joint, run, stage=2):
    """The trained network of one joint on the Runtime's device, in eval(); None where its checkpoint is missing."""
    path = workdir / f"{model_name(joint, stage)}.pt"
    if not path.exists():
        return None
    checkpoint.check_provenance(path, STEP_5, network="Alex_net_c1", joint=joint)
    weights = checkpoint.read_weights(path, STEP_5)
    with torch.device("meta"):
        network = Alex_net_c1(*shape_of(weights))
    return run.place(checkpoint.load_weights(network, weights, path, STEP_5)).eval()


def shape_of(weights):
    """Head and number of joints of the Alex_net_c1 whose state_dict this is, or might be."""
    bias = weights.get("heatmaps.joints.bias")
    return ("direct",) if bias is None else ("integral", max(1, bias.numel()))


def stages_here(workdir, skeleton):
    """The stages of the cascade of which a working directory has a checkpoint: (), (2,) or (2, 3)."""
    return tuple(stage for stage in STAGES
                 if any((workdir / f"{model_name(name, stage)}.pt").exists() for name in skeleton.joints))


def refine(workdir, data, frames, rows, joints_px, run, stage=2):
    """A stage's joints (len(rows), J, 2) px from the former one's, one network in memory at a time, and each gain.

    A joint whose checkpoint is missing keeps its estimate; its gain is None.
    """
    refined, gains, sides = joints_px.copy(), {}, geometry.box_sides(joints_px, data.skeleton)
    print(f"stage {stage}, joint by joint:")
    for joint, name in enumerate(data.skeleton.joints):
        network = load_cascade(workdir, name, run, stage)
        gains[name] = None if network is None else network.gain.item()
        if network is not None:
            refined[:, joint] = refine_joint(network, frames, rows, joints_px[:, joint], sides, run)
        print(f"  {name:<16}" + (f"gain {gains[name]:.2f}" if network is not None else
                                 f"keeps its stage-{stage - 1} estimate: no {model_name(name, stage)}.pt"), flush=True)
    return refined, gains
