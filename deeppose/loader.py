"""Stored frames on their way to the network: all on the device where they fit, else read ahead."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

FILLS = 0.5  # of an accelerator's free memory, at most, by the frames: training needs room too
PIECE_BYTES = 2**28  # uploaded at a time


class Frames:
    """Frames uint8 (N, h, w, 3), memory-mapped or not, that come in batches on a device."""

    def __init__(self, images, device):
        self.images = images
        self.device = device
        self.resident = _upload(images, device) if _fits(images, device) else None

    def take(self, rows):
        """Frames with these row numbers: uint8 (n, h, w, 3) on the device."""
        if self.resident is not None:
            return self.resident[torch.from_numpy(rows).to(self.device)]
        batch = torch.from_numpy(np.take(self.images, rows, 0))
        if self.device.type == "cuda":
            batch = batch.pin_memory()  # so that the copy does not wait for the device
        return batch.to(self.device, non_blocking=True)

    def batches(self, batches):
        """Yield `take` of each of these arrays of row numbers, read one batch ahead of its use."""
        if self.resident is not None:
            yield from map(self.take, batches)
        else:
            yield from ahead(self.take, batches)


def ahead(function, items):
    """Yield function(item) for each item in turn, while a thread already works on the next."""
    with ThreadPoolExecutor(1) as thread:
        coming = None
        for item in items:
            ready = coming
            coming = thread.submit(function, item)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()


def _fits(images, device):
    """Whether the device is an accelerator with room for all frames."""
    return device.type == "cuda" and images.nbytes < FILLS * torch.cuda.mem_get_info(device)[0]


def _upload(images, device):
    """Copy all frames to the device, piece by piece: they are never in main memory as a whole."""
    frames = torch.empty(images.shape, dtype=torch.uint8, device=device)
    piece_rows = max(1, PIECE_BYTES // max(1, images[:1].nbytes))
    for start in range(0, len(images), piece_rows):
        piece = np.array(images[start : start + piece_rows])  # reads what is memory-mapped
        frames[start : start + piece_rows] = torch.from_numpy(piece)
    return frames
