"""From stored frames and boxes to what the networks take: pure torch, any device, whole batches at once."""
import torch


def to_float(frames, dtype=torch.float32):
    """Frames uint8 (N, H, W, 3), as stored -> `dtype` (N, 3, H, W) in [0, 1], on the frames' device.

    The stored order of bytes is torch's channels-last, so nothing is rearranged.
    """
    return frames.permute(0, 3, 1, 2).to(dtype).div_(255)


def crop(images, boxes_px, size_px):
    """Cut square boxes out of images and scale each to size_px x size_px, bilinear; black outside the image.

    images    (N, C, H, W)
    boxes_px  (N, K, 3) as (x0, y0, side) in pixels of the images: K boxes an image
    Returns   (N * K, C, size_px, size_px), channels-last, the boxes of the first image first

    Coordinates are continuous (pixel i covers [i, i + 1)), so a box of side size_px at whole pixels
    gives back those pixels. Bilinear sampling is a matrix product along each axis, with two weights a row:
    matrix units do that faster than pixels can be gathered, and in bfloat16 faster still.
    """
    (n, k), (channels, height, width) = boxes_px.shape[:2], images.shape[1:]
    x0, y0, side = boxes_px.unbind(2)  # (N, K) each
    down = _weights(y0, side, size_px, height).to(images.dtype).flatten(1, 2)  # (N, K * S, H)
    across = _weights(x0, side, size_px, width).to(images.dtype).flatten(0, 1)  # (N * K, S, W)
    rows = torch.bmm(down, images.transpose(1, 2).reshape(n, height, -1))  # (N, K * S, C * W)
    cut = torch.bmm(rows.view(n * k, size_px * channels, width), across.transpose(1, 2))
    cut = cut.view(n * k, size_px, channels, size_px).transpose(1, 2)
    return cut.contiguous(memory_format=torch.channels_last)


def _weights(start_px, side_px, size, length):
    """What each of a crop's `size` pixels takes from each of the image's `length` ones along one axis: (N, K, S, L)."""
    centres = (torch.arange(size, device=start_px.device) + 0.5) / size  # of the crop's pixels, in box sides
    at = start_px[..., None] + side_px[..., None] * centres - 0.5  # (N, K, S), in numbers of the image's pixels
    distance = (at[..., None] - torch.arange(length, device=start_px.device)).abs_()
    return torch.sub(1, distance).clamp_(min=0)
