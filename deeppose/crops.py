"""From stored frames and boxes to what the networks take: pure torch, any device, whole batches at once."""
import numpy as np
import torch
import torch.nn.functional as F


def to_float(frames, device):
    """Frames uint8 (N, H, W, 3), as stored -> float32 (N, 3, H, W) in [0, 1] on the device.

    The stored order of bytes is torch's channels-last, so nothing is rearranged.
    """
    frames = torch.from_numpy(np.require(frames, requirements="W")).to(device)
    return frames.permute(0, 3, 1, 2).float() / 255


def crop(images, boxes_px, size_px):
    """Cut square boxes out of images and scale each to size_px x size_px, bilinear; black outside the image.

    images    (N, C, H, W)
    boxes_px  (N, K, 3) as (x0, y0, side) in pixels of the images: K boxes an image
    Returns   (N * K, C, size_px, size_px), the boxes of the first image first

    Coordinates are continuous (pixel i covers [i, i + 1)), so a box of side size_px at whole pixels
    gives back those pixels.
    """
    n, k = boxes_px.shape[:2]
    height, width = images.shape[2:]
    centres = (torch.arange(size_px, device=images.device) + 0.5) / size_px  # of the crop's pixels, in box sides
    x0, y0, side = boxes_px.to(images.dtype).unsqueeze(-1).unbind(2)  # (N, K, 1) each
    x = (x0 + side * centres) * (2 / width) - 1  # (N, K, S), -1 ... 1 across the image
    y = (y0 + side * centres) * (2 / height) - 1
    grid = torch.stack(torch.broadcast_tensors(x[:, :, None, :], y[:, :, :, None]), -1)  # (N, K, S, S, 2)
    # One tall grid an image: its K crops are sampled without copying the image K times.
    tall = F.grid_sample(images, grid.flatten(1, 2), align_corners=False)  # (N, C, K * S, S)
    return tall.unflatten(2, (k, size_px)).transpose(1, 2).flatten(0, 1)
