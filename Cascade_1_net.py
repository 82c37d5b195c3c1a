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
SIGMA = 2.0                       # box side / torso diameter of the stage-1 pose; DeepPose, section 4.1 (LSP)
SMALLEST_SIDE_PX = 40             # of the 227 frame: a collapsed pose still gets a box with something in it
STEP_5 = "Train_stage_2.py (step 5) makes it"
STAGES = (2, 3)                   # of the cascade; DeepPose has three in all


class Local_response_norm(nn.Module):
    """deeppose.lrn as a layer: size 5, alpha 1e-4, beta 0.75, k 1."""

    def forward(self, x):
        return local_response_norm(x)


class Alex_net_c1(nn.Module):
    """Crops (N, 3, 227, 227), RGB in [0, 1] -> displacement (N, 2) from the crop's centre to the joint, in box sides.

    58 M weights. `gain`, a buffer, is the share of the displacement to be trusted: refined joint = centre +
    gain x displacement x side. It is fitted on held-out rows after training and does not act in forward.
    """

    def __init__(self):
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
        self.hidden = nn.Sequential(
            nn.Linear(9216, 4096), nn.ReLU(inplace=True), nn.Dropout(DROPOUT),
            nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(DROPOUT))
        self.displacement = nn.Linear(4096, 2)
        self.register_buffer("gain", torch.ones(()))
        self.register_buffer("mean", torch.tensor(MEAN, device="cpu")[:, None, None], persistent=False)

    def forward(self, images):
        # 0...255, not [0, 1]: with activations that small LRN would do nothing.
        features = self.features(torch.add(-self.mean, images, alpha=255))
        hidden = self.hidden(features.flatten(1))
        with torch.autocast(hidden.device.type, enabled=False):
            return self.displacement(hidden.float())  # coordinates stay in float32


def box_sides(poses_px, skeleton):
    """Sides (N,) px of the cascade's boxes from the former stage's poses (N, J, 2), never from partly refined ones.

    original: the side changed as soon as a hip or shoulder had been refined.
    """
    diameter = geometry.torso_diameter(poses_px, skeleton.torso_ends)
    return np.maximum(SIGMA * diameter, SMALLEST_SIDE_PX)


def displacements(network, frames, rows, boxes_px, run):
    """The network's displacements (len(rows), 2), in box sides, for one box a row.

    frames    a Frames
    boxes_px  (len(rows), 3) around the estimates
    """
    boxes = torch.from_numpy(boxes_px[:, None].astype(np.float32)).to(run.device)  # (len(rows), 1, 3)
    return runtime.infer(network, frames, rows, run, lambda images, piece: crops.crop(images, boxes[piece], CROP_PX))


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
    with torch.device("meta"):
        network = Alex_net_c1()
    return run.place(checkpoint.load_into(network, path, STEP_5)).eval()


def stages_here(workdir, skeleton):
    """The stages of the cascade of which a working directory has a checkpoint: (), (2,) or (2, 3)."""
    return tuple(stage for stage in STAGES
                 if any((workdir / f"{model_name(name, stage)}.pt").exists() for name in skeleton.joints))


def refine(workdir, data, frames, rows, joints_px, run, stage=2):
    """A stage's joints (len(rows), J, 2) px from the former one's, one network in memory at a time, and each gain.

    A joint whose checkpoint is missing keeps its estimate; its gain is None.
    """
    refined, gains, sides = joints_px.copy(), {}, box_sides(joints_px, data.skeleton)
    print(f"stage {stage}, joint by joint:")
    for joint, name in enumerate(data.skeleton.joints):
        network = load_cascade(workdir, name, run, stage)
        gains[name] = None if network is None else network.gain.item()
        if network is not None:
            refined[:, joint] = refine_joint(network, frames, rows, joints_px[:, joint], sides, run)
        print(f"  {name:<16}" + (f"gain {gains[name]:.2f}" if network is not None else
                                 f"keeps its stage-{stage - 1} estimate: no {model_name(name, stage)}.pt"), flush=True)
    return refined, gains
