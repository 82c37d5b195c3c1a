"""The limit of a step: the bare network on one resident batch, without reading or cutting."""

import torch
import torch.nn.functional as F

from Cascade_1_net import CROP_PX, Alex_net_c1

STEPS = 4  # optimiser steps, or batches, in one round
INFERENCE_BATCH = 64


def training(network, optimiser, batch_size, output_count, run):
    """A function that trains a network for STEPS on one batch, and returns how many images."""
    network = network.train()
    images = resident_batch(batch_size, run)
    targets = torch.rand(batch_size, output_count, device=run.device)
    joint_arguments = joints_of(network, batch_size, run)

    def train():
        for _ in range(STEPS):
            optimiser.zero_grad()
            with run.autocast():
                output = network(images, *joint_arguments)
            loss = F.mse_loss(output.joints.flatten(1), targets)
            loss.backward()
            optimiser.step()
        loss.item()  # waits for the device
        return STEPS * batch_size

    return train


@torch.inference_mode()
def inference(network, run):
    """A function that applies a network to one batch STEPS times, and returns how many images."""
    network = network.eval()
    images = resident_batch(INFERENCE_BATCH, run)
    joint_arguments = joints_of(network, INFERENCE_BATCH, run)

    @torch.inference_mode()
    def predict():
        with run.autocast():
            for _ in range(STEPS):
                output = network(images, *joint_arguments)
        output.joints.cpu()  # waits for the device
        return STEPS * INFERENCE_BATCH

    return predict


def resident_batch(batch_size, run):
    """Random images (n, 3, h, w) on the device, laid out and typed as the steps have them."""
    images = torch.rand(batch_size, 3, CROP_PX, CROP_PX, device=run.device, dtype=run.dtype)
    return images.contiguous(memory_format=torch.channels_last)


def joints_of(network, batch_size, run):
    """Arguments beside the images: a refiner takes each crop's joint, stage 1 nothing."""
    if not isinstance(network, Alex_net_c1):
        return []
    return [torch.zeros(batch_size, dtype=torch.long, device=run.device)]
