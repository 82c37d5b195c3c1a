"""The same work the plain way, as the original does it: one image or crop at a time, in float32."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from Cascade_1_net import CROP_PX, Alex_net_c1, Local_response_norm
from LSP_data import FRAME

BATCH = 10  # images, of which the original's test reads and refines so many at a time


def prepare(jobs, workdir):
    """Step 1: for every row decode its image again, cut, resize, keep all in a list; then save."""
    frames = []
    for job in jobs:
        for row in job.rows:
            image = job.read()
            side = max(image.size)
            box = (0, 0, side, side) if row.box is None else row.box
            x0, y0, width, height = np.round(box).astype(int)
            region = image.crop((x0, y0, x0 + width, y0 + height))  # black outside
            frame = np.array(region.resize(FRAME, Image.Resampling.BILINEAR))
            frames.append(frame[:, ::-1] if row.mirrored else frame)
    np.save(workdir / "plain.npy", np.array(frames))
    return len(frames)


def to_batch(images, rows, device):
    """Frames uint8 -> float32 (n, 3, H, W) in [0, 1], one at a time."""
    return torch.stack(
        [torch.from_numpy(np.array(images[row])).permute(2, 0, 1).float() / 255 for row in rows]
    ).to(device)


def optimise(optimiser, predicted, true):
    """One step of either training, and its loss fetched."""
    loss = F.mse_loss(predicted, true)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    loss.item()


def train_stage_1(network, optimiser, images, targets, rows, batch_size, device):
    """Step 2: one pass over the rows."""
    network.train()
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        optimise(
            optimiser,
            network(to_batch(images, batch, device)).joints,
            torch.nan_to_num(targets[batch]).to(device),
        )
    return len(rows)


@torch.no_grad()
def predict(network, images, rows, device):
    """Steps 3 and 4: whole frames, in small batches."""
    network.eval()
    for start in range(0, len(rows), BATCH):
        network(to_batch(images, rows[start : start + BATCH], device)).joints.cpu()
    return len(rows)


def cut_boxes(frame, boxes_px):
    """Crops float32 (K, 3, 227, 227) of one frame, each cut and resized by itself."""
    crops = []
    for x0, y0, side, _ in boxes_px.round().astype(int):
        padded = np.pad(frame, ((side, side), (side, side), (0, 0)))  # black outside
        left, top = np.clip([x0 + side, y0 + side], 0, len(padded) - side)
        region = Image.fromarray(padded[top : top + side, left : left + side])
        crop = np.array(region.resize((CROP_PX, CROP_PX), Image.Resampling.BILINEAR))
        crops.append(torch.from_numpy(crop).permute(2, 0, 1).float() / 255)
    return torch.stack(crops)


def alexnet():
    """Alex_net_c1 with PyTorch's own LRN."""
    network = Alex_net_c1(14, (0,), "direct")
    for index, layer in enumerate(network.features):
        if isinstance(layer, Local_response_norm):
            network.features[index] = nn.LocalResponseNorm(5, 1e-4, 0.75, 1)
    return network


def first_joint(crops, device):
    """Joint 0, for each of the crops (n, 3, h, w)."""
    return torch.zeros(len(crops), dtype=torch.long, device=device)


def train_stage_2(network, optimiser, examples, images, rows, batch_size, device):
    """Step 5: one pass over the rows."""
    network.train()
    rng = np.random.default_rng(0)
    for start in range(0, len(rows), batch_size):
        # cut this batch's crops, real and simulated
        batch = rows[start : start + batch_size]
        boxes, targets, _, _ = examples.draw(batch, rng)
        offsets = targets[:, :, examples.joints[0]]
        crops = torch.cat(
            [cut_boxes(np.array(images[row]), row_boxes) for row, row_boxes in zip(batch, boxes)]
        )
        # and learn from them
        predicted = network(crops.to(device), first_joint(crops, device)).joints
        optimise(optimiser, predicted, torch.from_numpy(offsets).flatten(0, 1).to(device))
    return len(rows)


@torch.no_grad()
def test_both(network, workdir, joint_names, images, rows, boxes_px, device):
    """Step 6: for every small batch stage 1, then each joint's checkpoint read again."""
    network.eval()
    for start in range(0, len(rows), BATCH):
        # stage 1
        batch = rows[start : start + BATCH]
        network(to_batch(images, batch, device)).joints.cpu()
        # each refiner, as the original reads it anew for every batch
        for joint_name in joint_names:
            refiner = alexnet()
            weights = torch.load(workdir / f"model_{joint_name}.pt", weights_only=True)
            refiner.load_state_dict(weights)
            refiner.to(device).eval()
            crops = torch.cat(
                [cut_boxes(np.array(images[row]), boxes_px[row : row + 1]) for row in batch]
            )
            refiner(crops.to(device), first_joint(crops, device)).joints.cpu()
    return len(rows)
