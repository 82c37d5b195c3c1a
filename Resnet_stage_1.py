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

from deeppose import checkpoint, crops, geometry, runtime
from deeppose.shell import RunError

HIDDEN = 4096
DROPOUT = 0.6                     # original, and DeepPose, section 3.2
WIDTH, STRIDE = 128, 8            # of the integral head: its channels, and input pixels a heatmap's cell
HEADS = ("integral", "direct")
MEAN = (0.485, 0.456, 0.406)      # of ImageNet, RGB in [0, 1]: what the pre-trained weights expect
SPREAD = (0.229, 0.224, 0.225)
WEIGHTS_PAGE = ResNet34_Weights.IMAGENET1K_V1.url
CONNECT_SECONDS = 5               # longer, and `auto` starts from random weights
STEP_2 = "Train_stage_1.py (step 2) makes it"


class Resnet_stage_1(nn.Module):
    """Images (N, 3, 227, 227), RGB in [0, 1] -> normalised joints (N, 2 * joint_count): x0, y0, x1, y1 ...

    Normalised means (px - 113.5) / 227 of the frame. While training the integral head's log-heatmaps (N, J, h, w)
    come as well, those of the direct head are None.

    head  "integral": each joint is the mean place under its heatmap (Sun et al., ECCV 2018); "direct": the
          original's two linear layers after the backbone's 1000 outputs. 21.3 M or 26.0 M weights.

    `input_px`, a buffer, is the side to which larger images are reduced first; 0 takes them as they are.
    """

    def __init__(self, joint_count, head="integral", input_px=0):
        super().__init__()
        self.backbone = resnet34()
        if head == "direct":
            self.hidden = nn.Sequential(nn.Linear(1000, HIDDEN), nn.ReLU(inplace=True), nn.Dropout(DROPOUT))
            self.joints = nn.Linear(HIDDEN, 2 * joint_count)
        else:
            self.backbone.fc = nn.Identity()
            self.heatmaps = Heatmaps(joint_count)
        self.head = head
        self.size_px = input_px  # as a number, which can be read without waiting for a GPU
        self.register_buffer("input_px", torch.tensor(input_px, device="cpu"))
        self.register_load_state_dict_post_hook(lambda network, _: setattr(network, "size_px", int(network.input_px)))
        self.register_buffer("mean", torch.tensor(MEAN, device="cpu")[:, None, None], persistent=False)
        self.register_buffer("spread", torch.tensor(SPREAD, device="cpu")[:, None, None], persistent=False)

    def forward(self, images):
        if 0 < self.size_px < images.shape[-1]:
            whole = torch.tensor([0, 0, images.shape[-1]], device=images.device).expand(len(images), 1, 3)
            images = crops.crop(images, whole, self.size_px)
        images = torch.addcmul(-self.mean / self.spread, images, 1 / self.spread)  # (images - mean) / spread, at once
        if self.head == "direct":
            features = self.hidden(self.backbone(images))  # (N, 4096)
            with torch.autocast(features.device.type, enabled=False):
                joints, log_heatmaps = self.joints(features.float()), None  # coordinates stay in float32
        else:
            heatmaps = self.heatmaps(*self._features(images))  # (N, J, h, w)
            with torch.autocast(heatmaps.device.type, enabled=False):
                log_heatmaps = heatmaps.float().flatten(2).log_softmax(2)  # (N, J, h * w)
                joints = (log_heatmaps.exp() @ cell_centres(images.shape[-1], images.device)).flatten(1)
        return (joints, log_heatmaps) if self.training else joints

    def _features(self, images):
        """The backbone's features of strides 8, 16 and 32."""
        net = self.backbone
        features = [net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(images)))))]
        for layer in (net.layer2, net.layer3, net.layer4):
            features.append(layer(features[-1]))
        return features[1:]


class Heatmaps(nn.Module):
    """Features of strides 8, 16 and 32 -> a heatmap a joint, of stride 8; a feature pyramid (Lin et al., CVPR 2017)."""

    def __init__(self, joint_count):
        super().__init__()
        self.lateral = nn.ModuleList([nn.Conv2d(channels, WIDTH, 1) for channels in (128, 256, 512)])
        self.smooth = nn.ModuleList([nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
                                                   nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True)) for _ in range(2)])
        self.joints = nn.Conv2d(WIDTH, joint_count, 1)

    def forward(self, fine, middle, coarse):
        features = self.lateral[2](coarse)
        for place, finer in ((1, middle), (0, fine)):
            features = _upsample(features, *finer.shape[2:])
            features = self.smooth[place](features + self.lateral[place](finer))
        with torch.autocast(features.device.type, enabled=False):
            return self.joints(features.to(self.joints.weight.dtype))  # float32: bfloat16 keeps 3 digits of a logit


def _upsample(features, height, width):
    """Features (N, C, h, w) on the cells of the map of half their stride, (N, C, height, width), bilinear.

    Cell i lies on the finer cell 2 i (see cell_centres), so of 2 h - 1 finer cells the corners lie on the corners.
    Images of an even number of cells have one more, beyond the last coarse cell: it repeats the one before.
    """
    finer = [2 * cells - 1 for cells in features.shape[2:]]
    features = nn.functional.interpolate(features, finer, mode="bilinear", align_corners=True)
    below = height - finer[0]
    right = width - finer[1]
    if below or right:
        features = nn.functional.pad(features, (0, right, 0, below), mode="replicate")
    return features


def cell_centres(size_px, device=None):
    """Where the cells of the heatmaps of images of that size look, normalised: (h * w, 2), x fastest.

    Convolutions and pools of stride 2 look at every second pixel from the first on, so cell i at pixel 8 i.
    """
    at = (STRIDE * torch.arange(-(-size_px // STRIDE), device=device) + 0.5) / size_px - 0.5
    return torch.cartesian_prod(at, at).flip(1)


def load_initial(network, choice):
    """Load --weights (auto, imagenet, none or a file) into the backbone; returns what it was, for the record."""
    if choice == "none":
        return "random"
    if choice not in ("auto", "imagenet"):
        _load_backbone(network, Path(choice), "--weights takes torchvision's ResNet-34 weights (.pth)")
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
    _load_backbone(network, cached, "delete it, so that it is fetched again")
    return "ImageNet (torchvision ResNet34_Weights.IMAGENET1K_V1)"


def _load_backbone(network, path, made_by):
    """Load a file of ResNet-34 weights; the integral head has no use for its last layer."""
    with torch.device("meta"):
        backbone = resnet34()
    network.backbone.load_state_dict(checkpoint.load_into(backbone, path, made_by).state_dict(),
                                     strict=network.head == "direct")


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
    path = workdir / "model_1.pt"
    weights = checkpoint.read_weights(path, STEP_2)
    checkpoint.check_provenance(path, STEP_2, network="Resnet_stage_1", skeleton=data.skeleton.name)
    with torch.device("meta"):
        network = Resnet_stage_1(data.skeleton.joint_count, "direct" if "hidden.0.weight" in weights else "integral")
    return run.place(checkpoint.load_weights(network, weights, path, STEP_2)).eval()


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
