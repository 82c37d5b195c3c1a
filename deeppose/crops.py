"""Crops: from stored frames and boxes to what the networks take, in one resampling, pure torch."""

import numpy as np
import torch
import torch.nn.functional as F


def to_float(frames, dtype=torch.float32):
    """Frames uint8 (N, H, W, 3) as stored -> `dtype` (N, 3, H, W) in [0, 1], on the same device.

    The stored order of bytes is torch's channels-last, so nothing is rearranged.
    """
    return frames.permute(0, 3, 1, 2).to(dtype).div_(255)


def crop(images, boxes_px, size):
    """Cut boxes out of images and scale each to a size (w, h), bilinear; black outside the image.

    images    (N, C, H, W)
    boxes_px  (N, K, 4) as (x0, y0, w, h) in pixels of the images: K boxes an image. A box of
              negative width reads from x0 to the left, and so is seen mirrored
    Returns   (N * K, C, h, w), channels-last, the boxes of the first image first

    Coordinates are continuous (pixel i covers [i, i + 1)), so a box of that size at whole pixels
    gives back those pixels. Bilinear sampling is a matrix product along each axis, with two weights
    a row: matrix units do that faster than pixels can be gathered, and in bfloat16 faster still.
    """
    n, k = boxes_px.shape[:2]
    channels, height, width = images.shape[1:]
    x0, y0, w, h = boxes_px.unbind(2)  # (N, K) each
    # what each row and each column of a crop takes from the image's
    down = _weights(y0, h, size[1], height).to(images.dtype).flatten(1, 2)  # (N, K * h, H)
    across = _weights(x0, w, size[0], width).to(images.dtype).flatten(0, 1)  # (N * K, w, W)
    # rows first, for all of an image's crops at once; then columns, crop by crop
    rows = torch.bmm(down, images.transpose(1, 2).reshape(n, height, -1))  # (N, K * h, C * W)
    cut = torch.bmm(rows.view(n * k, size[1] * channels, width), across.transpose(1, 2))
    cut = cut.view(n * k, size[1], channels, size[0]).transpose(1, 2)
    return cut.contiguous(memory_format=torch.channels_last)


def _weights(start_px, length_px, size, pixels):
    """Weights (N, K, size, pixels) of an image's pixels in a crop's `size` ones, along one axis.

    start_px, length_px  (N, K), where the boxes begin and how long they are
    """
    device = start_px.device
    centres = (torch.arange(size, device=device) + 0.5) / size  # (size,), in box lengths
    # where they lie, pixel i's centre being i
    places = start_px[..., None] + length_px[..., None] * centres - 0.5  # (N, K, size)
    distance = (places[..., None] - torch.arange(pixels, device=device)).abs_()
    return torch.sub(1, distance).clamp_(min=0)


def crop_turned(images, boxes_px, linear, offset, size):
    """`crop`, of boxes that are seen turned, scaled and moved: one resampling.

    images          (N, C, H, W)
    boxes_px        (N, K, 4), NumPy
    linear, offset  (N, K, 2, 2) and (N, K, 2), NumPy: a point p of the box, in its widths and
                    heights from its centre, is seen at linear @ p + offset
    """
    # grid_sample asks where each pixel comes from, and its coordinates run from -1 to 1
    back = np.linalg.inv(linear)
    image_size = np.array([images.shape[3], images.shape[2]], float)
    scale = boxes_px[..., 2:] / image_size  # (N, K, 2)
    centre = 2 * (boxes_px[..., :2] + boxes_px[..., 2:] / 2) / image_size - 1
    shift = centre - 2 * scale * (back @ offset[..., None])[..., 0]
    theta = np.concatenate([scale[..., None] * back, shift[..., None]], -1)  # (N, K, 2, 3)
    theta = torch.from_numpy(theta.astype(np.float32)).to(images.device)
    # a bfloat16 has 8 bits: as coordinates of a frame of 227 pixels they would be half a pixel off
    frames = images.float()
    # one crop of each image: sample the whole batch at once
    shape = [theta.shape[1], images.shape[1], size[1], size[0]]
    if theta.shape[1] == 1:
        grid = F.affine_grid(theta[:, 0], [len(images), *shape[1:]], align_corners=False)
        return F.grid_sample(frames, grid, align_corners=False).to(images.dtype)
    # several: image by image, so that no image is copied for each of its crops
    grids = [F.affine_grid(image_theta, shape, align_corners=False) for image_theta in theta]
    crops = [
        F.grid_sample(frame.expand(shape[0], -1, -1, -1), grid, align_corners=False)
        for frame, grid in zip(frames, grids)
    ]
    return torch.cat(crops).to(images.dtype)
