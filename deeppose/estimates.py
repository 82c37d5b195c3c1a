"""What a stage of the cascade learns from: estimates of a joint, real and simulated, and the crops around them."""
import numpy as np
import torch

from deeppose import augment, crops, geometry


class Examples:
    """What one joint's network learns from: crops around estimates of it, real and simulated, with all their joints.

    predicted_px  (N, J, 2), the former stage's joints of the training rows
    deltas        (40, 2) px, the simulated errors of the joint
    simulated     how many of them are used for an image and epoch
    """

    def __init__(self, data, frames, predicted_px, joint, deltas, recipe, simulated):
        self.frames, self.deltas, self.simulated = frames, deltas, simulated
        self.joint, self.flip, self.recipe = joint, np.array(data.skeleton.flip), recipe
        self.true = data.train_labels.astype(float)  # (N, J, 2) px
        self.estimates = predicted_px.astype(float)  # (N, J, 2) px
        mirrored = geometry.mirror(self.estimates, data.frame_px, self.flip)
        self.sides = np.stack([geometry.box_sides(poses, data.skeleton)
                               for poses in (self.estimates, mirrored)])  # (2, N) px
        labelled = ~np.isnan(self.true).any(2)  # (N, J)
        self.rows = data.trained_on[labelled[data.trained_on, joint]]
        self.judged = (joint, self.flip[joint]) if recipe.mirror else (joint,)
        self.held_out = data.held_out[labelled[data.held_out][:, list(self.judged)].any(1)]

    def held_out_errors(self):
        """The estimates that a network is judged by: for each of them a held-out row's box and what is wanted there.

        The joint's own, and of a network that learns from mirror images too its opposite's, to be seen mirrored: twice
        as many errors tell a gain from chance. Yields boxes (n, 3) px, displacements (n, 2) in box sides of the box as
        seen (NaN without a label), and whether it is to be seen mirrored.
        """
        for mirrored, joint in enumerate(self.judged):
            estimates, sides = self.estimates[self.held_out, joint], self.sides[mirrored, self.held_out]
            wanted = (self.true[self.held_out, joint] - estimates) / sides[:, None]
            wanted[:, 0] *= -1 if mirrored else 1
            yield geometry.box_around(estimates, sides), wanted, bool(mirrored)

    def draw(self, rows, rng):
        """Boxes (n, 21, 3) px, targets (n, 21, J, 2) in box sides from their centres, and Views of the n x 21 crops.

        An image's first estimate is the real one, the others are simulated. What will be seen mirrored is cut around
        the opposite joint; where that has no label, around its real estimate.
        """
        count, rows = self.simulated + 1, rows[:, None]
        picks = rng.permuted(np.tile(np.arange(len(self.deltas)), (len(rows), 1)), axis=1)[:, :self.simulated]
        views = augment.draw(rows.size * count, self.recipe.ranges, rng)
        mirrored = views.mirrored.reshape(-1, count)  # (n, 21)
        joints = np.where(mirrored, self.flip[self.joint], self.joint)
        estimates, errors = self.estimates[rows, joints], self.deltas[picks]  # (n, 21, 2) px, (n, 20, 2) px
        errors[..., 0] *= np.where(mirrored[:, 1:], -1, 1)
        simulated = self.true[rows, joints][:, 1:] + errors  # original: prediction + delta, displaced twice
        estimates[:, 1:] = np.where(np.isnan(simulated), estimates[:, 1:], simulated)
        sides = self.sides[mirrored.astype(int), rows]
        targets = (self.true[rows] - estimates[:, :, None]) / sides[..., None, None]
        return geometry.box_around(estimates, sides).astype(np.float32), targets.astype(np.float32), views

    def see(self, frames, boxes, targets, views, size_px, run):
        """Crops (n * 21, 3, size, size) as the views show them, and their targets (n * 21, J, 2)."""
        boxes, targets = (torch.from_numpy(part).to(run.device) for part in (boxes, targets))
        cut, targets = crops.crop(crops.to_float(frames, run.dtype), boxes, size_px), targets.flatten(0, 1)
        if self.recipe.ranges.moves:
            cut, targets = cut.float(), augment.move(targets, views, self.flip)  # warped in full precision
        return augment.see(cut, views, self.recipe.ranges, size_px), targets
