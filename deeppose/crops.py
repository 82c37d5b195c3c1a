"""Crops for the networks, from stored frames and boxes in one resampling: pure torch."""

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
    image_count, box_count = boxes_px.shape[:2]
    channels, height, width = images.shape[1:]
    crop_width, crop_height = size
    x0, y0, w, h = boxes_px.unbind(2)  # (N, K) each
    # each crop row as a weighted sum of the image's rows, each crop column of its columns
    row_weights = _weights(y0, h, crop_height, height).to(images.dtype)  # (N, K, h, H)
    column_weights = _weights(x0, w, crop_width, width).to(images.dtype)  # (N, K, w, W)
    # rows first, for all of an image's crops at once
    image_rows = images.transpose(1, 2).reshape(image_count, height, -1)  # (N, H, C * W)
    crop_rows = torch.bmm(row_weights.flatten(1, 2), image_rows)  # (N, K * h, C * W)
    # then columns, crop by crop
    crop_rows = crop_rows.view(image_count * box_count, crop_height * channels, width)
    pixels = torch.bmm(crop_rows, column_weights.flatten(0, 1).transpose(1, 2))
    pixels = pixels.view(image_count * box_count, crop_height, channels, crop_width)
    return pixels.transpose(1, 2).contiguous(memory_format=torch.channels_last)


def _weights(start_px, length_px, crop_pixels, image_pixels):
    """Weights (N, K, crop_pixels, image_pixels) of an image's pixels in a crop's, along one axis.

    start_px, length_px  (N, K), where the boxes begin and how long they are
    """
    device = start_px.device
    # centres of the crop's pixels, in box lengths, and in pixels of the image, where pixel i's is i
    centres = (torch.arange(crop_pixels, device=device) + 0.5) / crop_pixels  # (crop_pixels,)
    centres_px = start_px[..., None] + length_px[..., None] * centres - 0.5  # (N, K, crop_pixels)
    # bilinear: 1 at a pixel's own centre, falling to 0 at its neighbours'
    distances_px = (centres_px[..., None] - torch.arange(image_pixels, device=device)).abs_()
    return torch.sub(1, distances_px).clamp_(min=0)


def crop_turned(images, boxes_px, linear, offset, size):
    """`crop`, of boxes that are seen turned, scaled and moved: one resampling.

    images          (N, C, H, W)
    boxes_px        (N, K, 4), NumPy
    linear, offset  (N, K, 2, 2) and (N, K, 2), NumPy: a point p of the box, in its widths and
                    heights from its centre, is seen at linear @ p + offset
    """
    # grid_sample asks where each pixel comes from, and its coordinates run from -1 to 1
    inverse = np.linalg.inv(linear)  # (N, K, 2, 2)
    image_size = np.array([images.shape[3], images.shape[2]], float)
    scale = boxes_px[..., 2:] / image_size  # (N, K, 2)
    centre = 2 * (boxes_px[..., :2] + boxes_px[..., 2:] / 2) / image_size - 1
    shift = centre - 2 * scale * (inverse @ offset[..., None])[..., 0]
    theta = np.concatenate([scale[..., None] * inverse, shift[..., None]], -1)  # (N, K, 2, 3)
    theta = torch.from_numpy(theta.astype(np.float32)).to(images.device)
    # a bfloat16 has 8 bits: as coordinates of a frame of 227 pixels they would be half a pixel off
    frames = images.float()
    # one crop of each image: sample the whole batch at once
    crop_width, crop_height = size
    crop_count = theta.shape[1]
    if crop_count == 1:
        shape = [len(images), images.shape[1], crop_height, crop_width]
        grid = F.affine_grid(theta[:, 0], shape, align_corners=False)
        return F.grid_sample(frames, grid, align_corners=False).to(images.dtype)
    # several: image by image, so that no image is copied for each of its crops
    shape = [crop_count, images.shape[1], crop_height, crop_width]
    crops = []
    grids = [F.affine_grid(image_theta, shape, align_corners=False) for image_theta in theta]
    for frame, grid in zip(frames, grids):
        views_of_frame = frame.expand(crop_count, -1, -1, -1)
        crops.append(F.grid_sample(views_of_frame, grid, align_corners=False))
    return torch.cat(crops).to(images.dtype)
