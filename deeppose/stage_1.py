"""A stage-1 network, how it sees frames, and its predictions: with flip test and further looks."""

from dataclasses import dataclass

import numpy as np
import torch

from deeppose import crops, geometry
from deeppose.batch_inference import infer
from deeppose.shell import InputError
from deeppose.skeleton import Skeleton
from deeppose.two_pass import look_until_settled


def check_flip_test(flip_test, skeleton):
    """InputError where the flip test is asked for, and the skeleton does not tell left from right."""
    if flip_test and not skeleton.has_sides:
        raise InputError(
            f"--flip-test: no joint of {skeleton.name} has an opposite one; leave it out"
        )


@dataclass(frozen=True)
class Stage_1:
    """A stage-1 network and how it sees frames.

    name         its name in networks.NETWORKS
    frame        (w, h) px of the frames that it is shown
    margin       frame sides / box sides: it looks at the box in the frame's middle
    input_size   (w, h) px of the images that it takes
    depth_white  see Dataset
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
        """Box (4,) px of the frame that the network looks at."""
        return geometry.view_box(self.frame, self.margin)

    def view(self, images, boxes_px=None):
        """Images (n, 3, h, w) of input_size, as the network takes them, of frames (n, 3, h, w).

        boxes_px  (n, 4) of the frames, which are looked at (None: view_box)
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
        """Entries of model_1.json from which networks.load builds it again."""
        return {
            "network": self.name,
            "skeleton": self.skeleton.described(),
            "frame": list(self.frame),
            "margin": self.margin,
            "input_size": list(self.input_size),
            "depth_white": self.depth_white,
        }

    def predict(self, frames, rows, run, label=None, flip_test=False, two_pass=False, boxes=None):
        """Joints float32 (N, J, 2) px of the frame, and confidence (N, J), of N rows.

        frames     a Frames
        rows       (N,), numbers of the frames
        label      of the progress bar; None shows none
        flip_test  whether to take the mean over each frame and, mirrored back, its mirror image. Of
                   a network that decodes heatmaps the mean is of the heatmaps
        two_pass   whether to look again, at a box around the first pose, where that is another box.
                   It is cut from the stored frame, so a person who has fewer pixels there than the
                   network takes is enlarged, not seen more finely
        boxes      (N, 4) px of the frame, which are looked at first (None: view_box)
        """
        joints, confidence = self._predict_once(frames, rows, run, label, flip_test, boxes)
        if not two_pass:
            return joints, confidence
        first_boxes = self.view_box if boxes is None else boxes
        first_boxes = np.broadcast_to(first_boxes, (len(rows), 4))
        # further looks, each around the pose of the one before
        later_label = label and f"{label}, again"

        def look(people, boxes_px):
            return self._predict_once(frames, rows[people], run, later_label, flip_test, boxes_px)

        joints, confidence, _ = look_until_settled(look, joints, confidence, first_boxes)
        return joints, confidence

    def _predict_once(self, frames, rows, run, label, flip_test, boxes):
        """Predict as `predict` does without `two_pass`."""
        # a flip test of heatmaps, which are averaged before they are decoded
        if flip_test and hasattr(self.network, "decode"):
            return self._infer(frames, rows, run, label, self._apply_flip_test, boxes)
        joints, confidence = self._infer(frames, rows, run, label, self._apply, boxes)
        if not flip_test:
            return joints, confidence
        # a flip test of joints: predict the mirror images, in which the boxes lie mirrored too
        if boxes is not None:
            boxes = boxes.copy()
            boxes[:, 0] = self.frame[0] - boxes[:, 0] - boxes[:, 2]

        def apply_mirrored(images, boxes_px):
            return self._apply(images.flip(3), boxes_px)

        mirrored_label = label and f"{label}, mirrored"
        mirrored_joints, mirrored_confidence = self._infer(
            frames, rows, run, mirrored_label, apply_mirrored, boxes
        )
        # mirror the predictions back, left and right exchanged
        opposite_joints = list(self.skeleton.flip)
        mirrored_back = geometry.mirror(mirrored_joints, self.frame[0], opposite_joints)
        joints = (joints + mirrored_back) / 2
        confidence = (confidence + mirrored_confidence[:, opposite_joints]) / 2
        return joints, confidence

    def _apply(self, images, boxes_px):
        """The network's Output for boxes (n, 4) px of frames (n, 3, h, w); None: view_box."""
        return self.network(self.view(images, boxes_px))

    def _apply_flip_test(self, images, boxes_px):
        """The Output as `_apply` gives it, of the mean of the images' and mirror images' heatmaps."""
        views = self.view(images, boxes_px)
        heatmaps = self.network.predict_heatmaps(views)  # (n, J, h, w)
        mirrored = self.network.predict_heatmaps(views.flip(3)).flip(3)
        mirrored = mirrored[:, list(self.skeleton.flip)]  # left and right exchanged
        return self.network.decode((heatmaps + mirrored) / 2, self.input_size)

    def _infer(self, frames, rows, run, label, apply, boxes):
        """Joints float32 (N, J, 2) px of the frame and confidence (N, J), from apply's Outputs."""
        if self.network.training:  # a walk over all modules, which takes a millisecond
            self.network.eval()

        def compute(images, batch):
            output = apply(images, None if boxes is None else boxes[batch])
            return output.joints, output.confidence

        joints, confidence = infer(compute, frames, rows, run, label=label)
        # the network's joints are in boxes
        boxes = self.view_box if boxes is None else boxes
        return geometry.denormalise(joints, boxes).astype(np.float32), confidence
