"""Stage-1 networks by name: built, loaded by their provenance, and run.

The one module that imports them.

A network is a file at the top level with a class and its RECIPES, and a line in NETWORKS. The class
takes (joint_count, **options of the recipe); called with images (n, 3, h, w) in [0, 1] it gives a
heatmaps.Output. It has `cells(size)`, where its heatmaps' cells are, if it has any; `imagenet`,
torchvision's weights for its `backbone`, or None; `joint_layers`, the modules with channels a
joint; `unused_weights`, the names in torchvision's file that it can do without, or else
`from_imagenet(weights)`, which gives them by its own names. It may have `joint_mixers`, the modules
with channels a joint on both sides; `check_recipe(recipe)`, a ValueError where entries do not go
together; and, if its joints are its heatmaps' peaks, `predict_heatmaps(images)` and
`decode(heatmaps, size)`, so that the flip test is of heatmaps.
"""

from dataclasses import dataclass

import numpy as np
import torch

from Alexnet_stage_1 import RECIPES as ALEXNET_RECIPES
from Alexnet_stage_1 import Alexnet_stage_1
from deeppose import arrays, checkpoint, crops, files, geometry, runtime, skeleton, two_pass
from deeppose.shell import InputError
from deeppose.skeleton import Skeleton
from Heatmap_stage_1 import RECIPES as HEATMAP_RECIPES
from Heatmap_stage_1 import Heatmap_stage_1
from Resnet_stage_1 import RECIPES as RESNET_RECIPES
from Resnet_stage_1 import Resnet_stage_1

NETWORKS = {
    "resnet": (Resnet_stage_1, RESNET_RECIPES),
    "alexnet": (Alexnet_stage_1, ALEXNET_RECIPES),
    "heatmap": (Heatmap_stage_1, HEATMAP_RECIPES),
}
DEFAULT = "resnet"
STEP_2 = "Train_stage_1.py (step 2) makes it"


def build(name, joint_count, options):
    """Network of that name; InputError for an option that it does not know."""
    network_class, _ = NETWORKS[name]
    try:
        return network_class(joint_count, **options)
    except (TypeError, ValueError) as error:
        raise InputError(f"--vary: the network {name} cannot be built so: {error}") from None


@dataclass(frozen=True)
class Stage_1:
    """A stage-1 network and how it sees frames.

    name         of NETWORKS
    frame        (w, h) px of the frames that it is shown
    margin       frame sides / box sides: it looks at the box in the frame's middle
    input_size   (w, h) px of the images that it takes
    depth_white  see arrays.Dataset
    """

    network: torch.nn.Module
    name: str
    skeleton: Skeleton
    frame: tuple
    margin: float
    input_size: tuple
    depth_white: int | None = None

    @property
    def view_box(self):
        """Box (4,) px of the frame that it looks at."""
        return geometry.scale_box(geometry.image_box(self.frame), 1 / self.margin)

    def view(self, images, boxes_px=None):
        """Frames (n, 3, h, w) -> images (n, 3, h, w) of input_size, which the network takes.

        boxes_px  (n, 4) of the frames, looked at (None: view_box)
        """
        # nothing to resample: training on whole frames takes them as they are
        shows_whole = tuple(self.view_box) == (0, 0, *self.frame) == (0, 0, *self.input_size)
        if shows_whole and boxes_px is None:
            return images
        boxes_px = self.view_box if boxes_px is None else boxes_px
        boxes = torch.as_tensor(boxes_px, dtype=torch.float32).to(images.device)
        boxes = boxes.expand(images.shape[0], 4)[:, None]  # (n, 1, 4): one crop a frame
        return crops.crop(images, boxes, self.input_size)

    def described(self):
        """Entries of model_1.json about it, for `load`."""
        return {
            "network": self.name,
            "skeleton": self.skeleton.described(),
            "frame": list(self.frame),
            "margin": self.margin,
            "input_size": list(self.input_size),
            "depth_white": self.depth_white,
        }

    def predict(self, frames, rows, run, what=None, flip=False, twice=False, boxes=None):
        """Joints float32 (len(rows), J, 2) px of the frame, and confidence (len(rows), J).

        frames  a Frames
        what    a label for the progress bar; None shows none
        flip    the mean over each frame and, mirrored back, its mirror image: the flip test. Of a
                network that decodes heatmaps the mean is of these
        twice   look again, at a box around the pose that was found at first, where that is another
                one; what it shows comes from the stored frame, so a person of fewer pixels there
                than the network takes is enlarged, not seen more finely
        boxes   (len(rows), 4) px of the frame, looked at first (None: view_box)
        """
        joints, confidence = self._predict_once(frames, rows, run, what, flip, boxes)
        if twice:
            first_boxes = self.view_box if boxes is None else boxes
            first_boxes = np.broadcast_to(first_boxes, (len(rows), 4))
            label = what and f"{what}, again"

            def look(people, boxes_px):
                return self._predict_once(frames, rows[people], run, label, flip, boxes_px)

            joints, confidence, _ = two_pass.look_until_settled(
                look, joints, confidence, first_boxes
            )
        return joints, confidence

    def _predict_once(self, frames, rows, run, what, flip, boxes):
        """`predict` without `twice`."""
        if flip and hasattr(self.network, "decode"):
            return self._infer(frames, rows, run, what, self._apply_flip_test, boxes)
        joints, confidence = self._infer(frames, rows, run, what, self._apply, boxes)
        if not flip:
            return joints, confidence
        # the mirror images, in which the boxes lie mirrored too
        if boxes is not None:
            boxes = boxes.copy()
            boxes[:, 0] = self.frame[0] - boxes[:, 0] - boxes[:, 2]

        def apply_mirrored(images, boxes_px):
            return self._apply(images.flip(3), boxes_px)

        label = what and f"{what}, mirrored"
        mirrored_joints, mirrored_confidence = self._infer(
            frames, rows, run, label, apply_mirrored, boxes
        )
        # mirrored back, left and right exchanged
        order = list(self.skeleton.flip)
        joints = (joints + geometry.mirror(mirrored_joints, self.frame[0], order)) / 2
        confidence = (confidence + mirrored_confidence[:, order]) / 2
        return joints, confidence

    def _apply(self, images, boxes_px):
        """The network's Output for boxes (n, 4) px of frames (n, 3, h, w); None: view_box."""
        return self.network(self.view(images, boxes_px))

    def _apply_flip_test(self, images, boxes_px):
        """`_apply`, from the mean of the heatmaps and the mirror images'."""
        views = self.view(images, boxes_px)
        heatmaps = self.network.predict_heatmaps(views)  # (n, J, h, w)
        mirrored = self.network.predict_heatmaps(views.flip(3)).flip(3)
        mirrored = mirrored[:, list(self.skeleton.flip)]  # left and right exchanged
        return self.network.decode((heatmaps + mirrored) / 2, self.input_size)

    def _infer(self, frames, rows, run, what, apply, boxes):
        """Joints float32 (len(rows), J, 2) px of the frame, and confidence, by apply's Outputs."""
        self.network.eval()

        def compute(images, piece):
            output = apply(images, None if boxes is None else boxes[piece])
            return output.joints, output.confidence

        joints, confidence = runtime.infer(compute, frames, rows, run, what=what)
        boxes = self.view_box if boxes is None else boxes
        return geometry.denormalise(joints, boxes).astype(np.float32), confidence


def input_size(view_size, input_px=0, stretch=False):
    """Size (w, h) px of the images that a network takes of a view (w, h) px.

    input_px  the longer side (0: as it is);  stretch  a square, whatever the view's aspect
    """
    longer_side = max(view_size)
    wanted_side = input_px or round(longer_side)
    if stretch:
        return wanted_side, wanted_side
    return tuple(max(1, round(side * wanted_side / longer_side)) for side in view_size)


def load(folder, run, data=None):
    """The trained Stage_1 of a folder's model_1.pt: see load_file."""
    return load_file(folder / "model_1.pt", run, data)


def load_file(path, run, data=None):
    """The trained Stage_1 of a checkpoint, on the Runtime's device, and its provenance.

    data  the Dataset that it is to be run on: InputError where it was trained for other joints or
          frames
    """
    weights = checkpoint.read_weights(path, STEP_2)
    facts = files.load_json(path.with_suffix(".json"), STEP_2.removesuffix(" makes it"))
    # what its .json tells, which anybody may have edited
    try:
        network_class, _ = NETWORKS[facts["network"]]
        model_skeleton = skeleton.from_description(facts["skeleton"])
        frame = tuple(int(side) for side in facts["frame"])
        size = tuple(int(side) for side in facts["input_size"])
        margin = float(facts["margin"])
        if (
            len(frame) != 2
            or len(size) != 2
            or min(*frame, *size) < 1
            or max(*frame, *size) > 4096
            or not 1 <= margin < 10
        ):
            raise ValueError("size")
        depth_white = facts.get("depth_white")
        arrays.check_white(depth_white)
        with torch.device("meta"):  # without weights, which are loaded below
            network = network_class(model_skeleton.joint_count, **facts["options"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise InputError(
            f"{path.with_suffix('.json')}: does not tell what network {path.name} is; {STEP_2}"
        ) from None
    if data is not None:
        _check_fits(path, data, model_skeleton, frame, margin, depth_white)
    network = run.place(checkpoint.load_weights(network, weights, path, STEP_2)).eval()
    model = Stage_1(network, facts["network"], model_skeleton, frame, margin, size, depth_white)
    return model, facts


def _check_fits(path, data, model_skeleton, frame, margin, depth_white):
    """InputError where a model was made for other joints, frames or depths than the Dataset's."""
    if model_skeleton.joints != data.skeleton.joints:
        raise InputError(
            f"{path}: is of the skeleton {model_skeleton.name}, with other joints than "
            f"{data.skeleton.name}; {STEP_2}"
        )
    if (frame, margin) != (data.frame, data.margin):
        raise InputError(
            f"{path}: is for frames of {frame[0]} x {frame[1]} px, margin {margin:g}, not "
            f"{data.frame[0]} x {data.frame[1]}, margin {data.margin:g}; {STEP_2}"
        )
    if depth_white != data.depth_white:
        raise InputError(
            f"{path}: is for images whose depth_white is {depth_white}, not {data.depth_white}; {STEP_2}"
        )
