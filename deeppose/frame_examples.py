"""Stage 1's examples: the training frames and their joints, as the recipe has them seen."""

import numpy as np
import torch

from deeppose import augment, crops
from deeppose.loader import Frames


def deal(batch, process_count):
    """The n rows of a batch as they are dealt to processes, (max(n, process_count),).

    Too few rows are repeated, so that each process gets one.
    """
    return np.resize(batch, max(len(batch), process_count))


class FrameExamples:
    """Frames of the training rows and their joints, drawn as augmented images and targets.

    input_size  (w, h) px of the images
    """

    def __init__(self, dataset, recipe, input_size, run):
        targets = dataset.normalised(dataset.train_labels).astype(np.float32)
        # (N, J, 2), in view boxes from the centre
        self.targets = torch.from_numpy(targets).to(run.device)
        self.frames = Frames(dataset.train_images, run.device)
        self.flip = dataset.skeleton.flip
        self.view_box = dataset.view_box
        self.recipe = recipe
        self.input_size = input_size

    def draw(self, frames, rows, part, process_count, rng):
        """Images (n, 3, h, w) of this process's part, and targets (N, J, 2) of all rows as dealt.

        Repeated rows have no label, so that each row counts once: loss and gradient are those of
        one process. A process on a CPU that has a repeat has nothing else, so the batch statistics
        of what counts do not see it either; the synchronised ones of GPUs do.

        frames  uint8 (n, h, w, 3), of the part
        rows    of the whole batch
        part    slice of the rows as dealt that is this process's
        """
        # the views of all rows, whichever process shows them
        ranges = self.recipe.ranges
        aspect = self.view_box[2] / self.view_box[3]
        views = augment.draw(len(rows), ranges, rng, aspect)
        # the images of this process's part
        dealt_indices = deal(np.arange(len(rows)), process_count)  # (N,)
        boxes = np.broadcast_to(self.view_box, (len(frames), 1, 4))
        images = augment.apply(
            crops.to_float(frames), boxes, views[dealt_indices[part]], ranges, self.input_size
        )
        # the targets, moved as the views are
        targets = self.targets[torch.from_numpy(rows)]
        if ranges.moves:
            targets = augment.move(targets, views, self.flip)
        repeat_count = len(dealt_indices) - len(rows)
        repeats = targets.new_full((repeat_count, *targets.shape[1:]), torch.nan)
        return images, torch.cat([targets, repeats])
