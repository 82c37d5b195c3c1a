"""Stored frames on their way to the network: all on the device where they fit, else read ahead."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

# share of an accelerator's free memory that the frames may take: training needs room too
LARGEST_SHARE = 0.5
UPLOAD_BYTES = 2**28  # uploaded at a time


class Frames:
    """Frames uint8 (N, h, w, 3), memory-mapped or not, that come in batches on a device."""

    def __init__(self, images, device):
        self.images = images
        self.device = device
        # all frames on the device, or None where they do not fit
        self.resident = _upload(images, device) if _fits(images, device) else None

    def take(self, rows):
        """Frames with these row numbers: uint8 (n, h, w, 3) on the device."""
        if self.resident is not None:
            return self.resident[torch.from_numpy(rows).to(self.device)]
        batch = torch.from_numpy(np.take(self.images, rows, 0))  # (n, h, w, 3)
        if self.device.type == "cuda":
            batch = batch.pin_memory()  # so that the copy does not wait for the device
        return batch.to(self.device, non_blocking=True)

    def batches(self, batch_rows):
        """Yield `take` of each of these arrays of row numbers, read one batch ahead of its use."""
        if self.resident is not None:
            yield from map(self.take, batch_rows)
        else:
            yield from ahead(self.take, batch_rows)


def ahead(function, items):
    """Yield function(item) for each item in turn, while a thread already works on the next."""
    with ThreadPoolExecutor(1) as thread:
        next_future = None
        for item in items:
            # begin the next one before the caller gets this one
            future = next_future
            next_future = thread.submit(function, item)
            if future is not None:
                yield future.result()
        if next_future is not None:
            yield next_future.result()


def _fits(images, device):
    """Whether the device is an accelerator with room for all frames."""
    if device.type != "cuda":
        return False
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return images.nbytes < LARGEST_SHARE * free_bytes


def _upload(images, device):
    """All frames on the device, copied in chunks: they are never in main memory as a whole."""
    frames = torch.empty(images.shape, dtype=torch.uint8, device=device)
    chunk_length = max(1, UPLOAD_BYTES // max(1, images[:1].nbytes))  # frames
    for start in range(0, len(images), chunk_length):
        chunk = np.array(images[start : start + chunk_length])  # reads what is memory-mapped
        frames[start : start + chunk_length] = torch.from_numpy(chunk)
    return frames
