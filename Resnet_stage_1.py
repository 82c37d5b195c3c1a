"""The stage-1 network: ResNet-34 with two added linear layers regresses all joints from a whole frame.

He et al., CVPR 2016, for the backbone; Toshev and Szegedy, CVPR 2014, for the regression.
"""
import http.client
import threading
import urllib.request
from pathlib import Path

import torch
from torch import nn
from torchvision.models import ResNet34_Weights, resnet34

from deeppose import checkpoint, geometry, runtime
from deeppose.shell import RunError

HIDDEN = 4096
DROPOUT = 0.6                     # original, and DeepPose, section 3.2
MEAN = (0.485, 0.456, 0.406)      # of ImageNet, RGB in [0, 1]: what the pre-trained weights expect
SPREAD = (0.229, 0.224, 0.225)
WEIGHTS_PAGE = ResNet34_Weights.IMAGENET1K_V1.url
CONNECT_SECONDS = 5               # longer, and `auto` starts from random weights
STEP_2 = "Train_stage_1.py (step 2) makes it"


class Resnet_stage_1(nn.Module):
    """Images (N, 3, 227, 227), RGB in [0, 1] -> normalised joints (N, 2 * joint_count): x0, y0, x1, y1 ...

    Normalised means (px - 113.5) / 227 of the frame. 21.8 M weights in the backbone, 4.2 M in the added layers.
    """

    def __init__(self, joint_count):
        super().__init__()
        self.backbone = resnet34()  # with its 1000 outputs, as in the original
        self.hidden = nn.Sequential(nn.Linear(1000, HIDDEN), nn.ReLU(inplace=True), nn.Dropout(DROPOUT))
        self.joints = nn.Linear(HIDDEN, 2 * joint_count)
        self.register_buffer("mean", torch.tensor(MEAN, device="cpu")[:, None, None], persistent=False)
        self.register_buffer("spread", torch.tensor(SPREAD, device="cpu")[:, None, None], persistent=False)

    def forward(self, images):
        images = torch.addcmul(-self.mean / self.spread, images, 1 / self.spread)  # (images - mean) / spread, at once
        features = self.hidden(self.backbone(images))  # (N, 4096)
        with torch.autocast(features.device.type, enabled=False):
            return self.joints(features.float())  # coordinates stay in float32


def load_initial(network, choice):
    """Load --weights (auto, imagenet, none or a file) into the backbone; returns what it was, for the record."""
    if choice == "none":
        return "random"
    if choice not in ("auto", "imagenet"):
        made_by = "--weights takes torchvision's ResNet-34 weights (.pth)"
        checkpoint.load_into(network.backbone, Path(choice), made_by)
        return f"file {Path(choice).name}"
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(WEIGHTS_PAGE).name
    if not cached.is_file() and not _page_answers():
        if choice == "imagenet":
            raise RunError(f"{cached}: not found, and {WEIGHTS_PAGE} cannot be reached; "
                           "fetch it, or use --weights none")
        print("No ImageNet weights: none cached, and no connection to fetch them. Starting from RANDOM weights, "
              "which score far lower; see --weights.")
        return "random"
    if not cached.is_file():
        _download(cached)
    checkpoint.load_into(network.backbone, cached, "delete it, so that it is fetched again")
    return "ImageNet (torchvision ResNet34_Weights.IMAGENET1K_V1)"


def _download(path):
    """Fetch the ImageNet weights, checked against the hash in their name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(WEIGHTS_PAGE, path, hash_prefix=path.stem.rpartition("-")[2])
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise RunError(f"{WEIGHTS_PAGE}: cannot be fetched ({error}); "
                       "fetch it yourself, or use --weights none") from None


def _page_answers():
    """Whether the weights' server answers within CONNECT_SECONDS, name look-up included."""
    answered = threading.Event()

    def ask():
        try:
            request = urllib.request.Request(WEIGHTS_PAGE, method="HEAD")
            urllib.request.urlopen(request, timeout=CONNECT_SECONDS).close()
            answered.set()
        except (OSError, http.client.HTTPException):
            pass  # no answer
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return answered.is_set()


def load_stage_1(workdir, data, run):
    """The trained network of a working directory, on the device and in eval(); InputError where there is none."""
    with torch.device("meta"):
        network = Resnet_stage_1(data.skeleton.joint_count)
    return run.place(checkpoint.load_into(network, workdir / "model_1.pt", STEP_2)).eval()


def predict_joints(network, frames, rows, data, run, what=None, prepare=None):
    """Joints float32 (len(rows), J, 2), pixels of the frame, predicted from whole frames (see runtime.infer)."""
    outputs = runtime.infer(network, frames, rows, run, prepare, what=what)
    joints = outputs.reshape(len(rows), -1, 2)
    return geometry.denormalise(joints, data.frame_box).astype("float32")


def predict_flipped(network, frames, rows, data, run, what=None):
    """The mean of predict_joints for each frame and, mirrored back, for its mirror image: the flip test."""
    joints = predict_joints(network, frames, rows, data, run, what)
    mirrored = predict_joints(network, frames, rows, data, run, what and f"{what}, mirrored",
                              lambda images, piece: images.flip(3))
    return (joints + geometry.mirror(mirrored, data.frame_px, data.skeleton.flip)) / 2
