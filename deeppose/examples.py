"""Training examples of a refiner: crops around real and simulated estimates of its joints.

Three lengths occur: pixels of the frame, box sides (offsets), and pose sizes (errors): box side =
scale x pose size.
"""

from dataclasses import dataclass

import numpy as np
import torch

from deeppose import augment, geometry
from deeppose.crops import to_float

# pose sizes: the most that an error counts for, half a torso or about as much
ERROR_CAPS = {"joints": 0.5, "extent": 0.2}


@dataclass(frozen=True)
class Boxing:
    """Size of a refiner's boxes: `scale` x the predicted pose's size, at least `smallest_px`.

    Both pose sizes and smallest_px are pixels of the frame.
    """

    scale: float
    smallest_px: float

    def sides_px(self, poses_px, skeleton):
        """Sides (...) px of the boxes, from the former stage's poses (..., J, 2) px.

        Never from partly refined ones (original: the side changed as soon as a hip or shoulder had
        been refined). Tensors work too.
        """
        return (self.scale * skeleton.pose_sizes_px(poses_px)).clip(self.smallest_px)


def boxing_of(recipe, skeleton):
    """The Boxing of a recipe, whose crop_scale of 0 is the skeleton's."""
    return Boxing(recipe.crop_scale or skeleton.crop_scale, recipe.smallest_crop_px)


class Examples:
    """Crops around real and simulated estimates of the joints that a refiner serves.

    predicted_px  (N, J, 2), the former stage's joints of the training rows
    joints        the numbers of the joints served
    deltas        (J, 40, 2) px, the simulated errors
    simulated     how many of them are used for an image and epoch
    """

    def __init__(self, dataset, frames, predicted_px, joints, deltas, recipe, simulated):
        self.frames = frames
        self.joints = np.array(joints)
        self.deltas = deltas
        self.simulated = simulated
        self.recipe = recipe
        self.flip = np.array(dataset.skeleton.flip)
        self.boxing = boxing_of(recipe, dataset.skeleton)
        sized_by = "extent" if dataset.skeleton.crop_size_from == "extent" else "joints"
        self.error_cap = ERROR_CAPS[sized_by]
        self.true_px = dataset.train_labels.astype(float)  # (N, J, 2)
        self.estimates_px = predicted_px.astype(float)  # (N, J, 2)
        # the boxes' sides, which while training may be those of the true poses
        self.box_sides_px = self._box_sides_px(self.estimates_px, dataset)  # (2, N)
        self.drawn_sides_px = self.box_sides_px
        if recipe.true_sizes:
            true_sides = self._box_sides_px(self.true_px, dataset)
            unknown = np.isnan(true_sides)
            self.drawn_sides_px = np.where(unknown, self.box_sides_px, true_sides)
        # a row without a label of any joint served teaches nothing
        self.labelled = ~np.isnan(self.true_px).any(2)  # (N, J)
        is_useful = self.labelled[:, self.joints].any(1)  # (N,)
        self.rows = dataset.trained_on[is_useful[dataset.trained_on]]
        self.held_out = dataset.held_out[is_useful[dataset.held_out]]
        self._all_held_out = dataset.held_out

    def _box_sides_px(self, poses_px, dataset):
        """Sides (2, N) px of the boxes of poses (N, J, 2) px, and of their mirror images."""
        mirrored_px = geometry.mirror(poses_px, dataset.frame[0], self.flip)
        sides = self.boxing.sides_px(poses_px, dataset.skeleton)
        mirrored_sides = self.boxing.sides_px(mirrored_px, dataset.skeleton)
        return np.stack([sides, mirrored_sides])

    def scored_joints(self, joint):
        """Numbers of the joints whose estimates a refiner of one joint is judged by.

        Its own, and of one that learns from mirror images the opposite one too, which it is to see
        mirrored: twice as many errors tell a gain from chance.
        """
        return (joint, self.flip[joint]) if self.recipe.mirror else (joint,)

    def held_out_errors(self, joint):
        """Held-out estimates that a refiner of that joint is judged by.

        Yields for each of scored_joints the rows (n,), boxes (n, 4) px, wanted offsets (n, 2) in
        box sides of the box as it is seen (NaN without a label), and whether it is to be seen
        mirrored.
        """
        scored_joints = self.scored_joints(joint)
        is_useful = self.labelled[self._all_held_out][:, list(scored_joints)].any(1)
        rows = self._all_held_out[is_useful]
        # a joint's own estimates are seen as they are, its opposite's mirrored
        for mirrored, source_joint in enumerate(scored_joints):
            estimates = self.estimates_px[rows, source_joint]  # (n, 2) px
            sides = self.box_sides_px[mirrored, rows]  # (n,) px
            wanted_offsets = (self.true_px[rows, source_joint] - estimates) / sides[:, None]
            wanted_offsets[:, 0] *= -1 if mirrored else 1
            boxes = geometry.box_around(estimates, sides)
            yield rows, boxes, wanted_offsets, bool(mirrored)

    def draw(self, rows, rng):
        """Boxes, targets, joints and Views of crops around K = 1 + simulated estimates a row.

        rows     (n,) numbers of training rows
        Returns  boxes (n, K, 4) px, targets (n, K, J, 2) in box sides from their centres, the joint
                 asked for in each (n, K), and the Views of the n x K crops

        An image's first estimate is the real one, the others are simulated. What will be seen
        mirrored is cut around the opposite joint; where that has no label, around its real
        estimate.
        """
        crop_count = self.simulated + 1  # K
        rows = rows[:, None]  # (n, 1)
        # draw the simulated errors, each at most once for an image, the views and the joints
        delta_numbers = np.tile(np.arange(self.deltas.shape[1]), (len(rows), 1))  # (n, 40)
        chosen_deltas = rng.permuted(delta_numbers, axis=1)[:, : self.simulated]  # (n, K - 1)
        views = augment.draw(rows.size * crop_count, self.recipe.ranges, rng)
        mirrored = views.mirrored.reshape(-1, crop_count)  # (n, K)
        asked_joints = self._draw_joints(rows, mirrored, rng)  # (n, K)
        source_joints = np.where(mirrored, self.flip[asked_joints], asked_joints)
        # replace all estimates but the first by simulated ones
        estimates = self.estimates_px[rows, source_joints]  # (n, K, 2) px
        errors = self.deltas[asked_joints[:, 1:], chosen_deltas]  # (n, K - 1, 2) px
        errors[..., 0] *= np.where(mirrored[:, 1:], -1, 1)
        # original: prediction + delta, so that it was displaced twice
        simulated = self.true_px[rows, source_joints][:, 1:] + errors
        estimates[:, 1:] = np.where(np.isnan(simulated), estimates[:, 1:], simulated)
        # the boxes around them, and where in these the true joints are
        sides = self.drawn_sides_px[mirrored.astype(int), rows]  # (n, K) px
        targets = (self.true_px[rows] - estimates[:, :, None]) / sides[..., None, None]
        boxes = geometry.box_around(estimates, sides)
        return boxes, targets.astype(np.float32), asked_joints, views

    def _draw_joints(self, rows, mirrored, rng):
        """The joint asked for in each crop (n, K): the one served, or any labelled one of several.

        rows, mirrored  (n, 1), and (n, K)
        """
        if len(self.joints) == 1:
            return np.full(mirrored.shape, self.joints[0])
        is_served = np.zeros(len(self.flip), bool)  # (J,)
        is_served[self.joints] = True
        # whether what each joint's crop would be cut around is labelled
        labelled = self.labelled[rows[:, 0]][:, None]  # (n, 1, J)
        labelled = np.where(mirrored[..., None], labelled[..., self.flip], labelled)  # (n, K, J)
        # the highest of the allowed joints' random numbers: each is as likely as the others
        allowed = labelled & is_served
        return (rng.random(allowed.shape) * allowed).argmax(2)

    def crops_and_targets(self, frames, boxes, targets, views, crop_px, run):
        """Crops (n * K, 3, h, w) as the views show them, h = w = crop_px, and their targets.

        The targets are (n * K, J, 2) in box sides from the crops' centres. Boxes, targets and views
        are what `draw` returns.
        """
        ranges = self.recipe.ranges
        images = to_float(frames, run.dtype)  # (n, 3, H, W)
        images = augment.apply(images, boxes, views, ranges, (crop_px, crop_px))
        targets = torch.from_numpy(targets).to(run.device).flatten(0, 1)
        if ranges.moves:
            targets = augment.move(targets, views, self.flip)
        return images, targets
