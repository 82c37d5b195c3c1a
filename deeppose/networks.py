"""Stage-1 networks by name: built, loaded by their provenance, and run. The one module that imports them.

A network is a file at the top level with a class and its RECIPES, and a line in NETWORKS. The class takes
(joint_count, **options of the recipe); called with images (n, 3, h, w) in [0, 1] it gives a heatmaps.Output. It has
`cells(size)`, where its heatmaps' cells are, if it has any; `imagenet`, torchvision's weights for its `backbone`, or
None; `joint_layers`, the modules with channels a joint; `unused_weights`, the names in torchvision's file that it can
do without.
"""
from dataclasses import dataclass

import numpy as np
import torch

from deeppose import checkpoint, crops, files, geometry, runtime, skeleton, two_pass
from deeppose.shell import InputError
from deeppose.skeleton import Skeleton
from Resnet_stage_1 import RECIPES as RESNET_RECIPES
from Resnet_stage_1 import Resnet_stage_1

NETWORKS = {"resnet": (Resnet_stage_1, RESNET_RECIPES)}
DEFAULT = "resnet"
STEP_2 = "Train_stage_1.py (step 2) makes it"


def build(name, joint_count, options):
    """The network of that name; InputError for an option that it does not know."""
    network_class, _ = NETWORKS[name]
    try:
        return network_class(joint_count, **options)
    except (TypeError, ValueError) as error:
        raise InputError(f"--vary: the network {name} cannot be built so: {error}") from None


@dataclass(frozen=True)
class Stage_1:
    """A stage-1 network and how it sees frames.

    name        of NETWORKS
    frame       (w, h) px of the frames that it is shown
    margin      frame sides / box sides: it looks at the box in the frame's middle
    input_size  (w, h) px of what it takes
    """
    network: torch.nn.Module
    name: str
    skeleton: Skeleton
    frame: tuple
    margin: float
    input_size: tuple

    @property
    def view_box(self):
        """What it looks at, as a box (4,) px of the frame."""
        return geometry.scale_box(geometry.whole(self.frame), 1 / self.margin)

    def view(self, images, boxes_px=None):
        """Frames (n, 3, h, w) -> what the network takes; boxes_px (n, 4) is looked at (None: view_box)."""
        whole = tuple(self.view_box) == (0, 0, *self.frame) == (0, 0, *self.input_size)
        if whole and boxes_px is None:
            return images
        box = torch.as_tensor(self.view_box if boxes_px is None else boxes_px, dtype=torch.float32).to(images.device)
        return crops.crop(images, box.expand(len(images), 4)[:, None], self.input_size)

    def described(self):
        """What model_1.json tells of it, for `load`."""
        return {"network": self.name, "skeleton": self.skeleton.described(), "frame": list(self.frame),
                "margin": self.margin, "input_size": list(self.input_size)}

    def predict(self, frames, rows, run, what=None, flip=False, twice=False, boxes=None):
        """Joints float32 (len(rows), J, 2) px of the frame, and how sure it is of each (len(rows), J).

        frames  a Frames
        flip    the mean over each frame and, mirrored back, its mirror image: the flip test
        twice   look again, at a box around the pose that was found at first; what it shows comes from the stored
                frame, so a person of fewer pixels there than the network takes is enlarged, not seen more finely
        boxes   (len(rows), 4) px of the frame, looked at first (None: view_box)
        """
        boxes = np.tile(self.view_box, (len(rows), 1)) if boxes is None else boxes
        joints, confidence = self._predict(frames, rows, run, what, flip, boxes)
        if twice:
            boxes = two_pass.boxes_around(joints, boxes)
            joints, confidence = self._predict(frames, rows, run, what and f"{what}, again", flip, boxes)
        return joints, confidence

    def _predict(self, frames, rows, run, what, flip, boxes):
        joints, confidence = self._look(frames, rows, run, what, lambda images: images, boxes)
        if flip:
            boxes = boxes.copy()
            boxes[:, 0] = self.frame[0] - boxes[:, 0] - boxes[:, 2]
            mirrored, sure = self._look(frames, rows, run, what and f"{what}, mirrored",
                                        lambda images: images.flip(3), boxes)
            order = list(self.skeleton.flip)
            joints = (joints + geometry.mirror(mirrored, self.frame[0], order)) / 2
            confidence = (confidence + sure[:, order]) / 2
        return joints, confidence

    def _look(self, frames, rows, run, what, turn, boxes):
        self.network.eval()
        whole = (boxes == self.view_box).all()

        def compute(images, piece):
            found = self.network(self.view(turn(images), None if whole else boxes[piece]))
            return found.joints, found.confidence
        joints, confidence = runtime.infer(compute, frames, rows, run, what=what)
        return geometry.denormalise(joints, boxes).astype(np.float32), confidence


def input_size(view_size, input_px=0, stretch=False):
    """(w, h) px of what a network takes of a view (w, h) px.

    input_px  the longer side (0: as it is);  stretch  a square, whatever the view's aspect
    """
    longer = max(view_size)
    wanted = input_px or round(longer)
    if stretch:
        return wanted, wanted
    return tuple(max(1, round(side * wanted / longer)) for side in view_size)


def load(folder, run, data=None):
    """The trained Stage_1 of a folder, on the Runtime's device, and its provenance.

    data  the Dataset that it is to be run on: InputError where it was trained for other joints or frames
    """
    path = folder / "model_1.pt"
    weights = checkpoint.read_weights(path, STEP_2)
    facts = files.load_json(path.with_suffix(".json"), STEP_2.removesuffix(" makes it"))
    try:
        network_class, _ = NETWORKS[facts["network"]]
        known = skeleton.from_description(facts["skeleton"])
        frame, size = (tuple(int(side) for side in facts[key]) for key in ("frame", "input_size"))
        margin = float(facts["margin"])
        if len(frame) != 2 or len(size) != 2 or min(*frame, *size) < 1 or max(*frame, *size) > 4096 \
                or not 1 <= margin < 10:
            raise ValueError("size")
        with torch.device("meta"):
            network = network_class(known.joint_count, **facts["options"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise InputError(f"{path.with_suffix('.json')}: does not tell what network model_1.pt is; {STEP_2}") from None
    if data is not None:
        _check_fits(path, data, known, frame, margin)
    network = run.place(checkpoint.load_weights(network, weights, path, STEP_2)).eval()
    return Stage_1(network, facts["network"], known, frame, margin, size), facts


def _check_fits(path, data, known, frame, margin):
    """InputError where a model was made for other joints or frames than the Dataset's."""
    if known.joints != data.skeleton.joints:
        raise InputError(f"{path}: is of the skeleton {known.name}, with other joints than {data.skeleton.name}; "
                         f"{STEP_2}")
    if (frame, margin) != (data.frame, data.margin):
        raise InputError(f"{path}: is for frames of {frame[0]} x {frame[1]} px, margin {margin:g}, not "
                         f"{data.frame[0]} x {data.frame[1]}, margin {data.margin:g}; {STEP_2}")
