"""Without a GPU: every tensor of a training step would lie on it. Tensors without content stand for
those on it."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import Train_stage_1
import Train_stage_2
from Cascade_1_net import RECIPES as REFINER_RECIPES
from Cascade_1_net import Alex_net_c1
from deeppose import augment, crops, runtime
from deeppose.examples import Examples
from deeppose.recipes import Recipe
from deeppose.skeletons import LSP
from deeppose.stage_1 import Stage_1
from Resnet_stage_1 import RECIPES as STAGE_1_RECIPES
from Resnet_stage_1 import Resnet_stage_1

GPU = runtime.Runtime(torch.device("cuda", 0), "fp32")
CPU = runtime.Runtime(torch.device("cpu"), "fp32")


@pytest.fixture
def no_content(monkeypatch):
    """Operations on tensors of different devices raise; none computes anything."""
    mode, from_numpy = FakeTensorMode(allow_non_fake_inputs=True), torch.from_numpy
    monkeypatch.setattr(
        torch, "from_numpy", lambda array: mode.from_tensor(from_numpy(np.ascontiguousarray(array)))
    )
    # it would ask the driver for the device
    monkeypatch.setattr(torch.Tensor, "backward", lambda self: None)
    with mode:
        with pytest.raises(RuntimeError, match="device"):
            torch.empty(2, device=GPU.device) + torch.empty(2)
        yield


def on_gpu(make):
    """The network that `make` makes, with what it keeps on the CPU moved over: as Runtime.place
    does."""
    with GPU.device:
        network = make()
    for module in network.modules():
        for name, values in module.named_buffers(recurse=False):
            module._buffers[name] = values.to(GPU.device)
    return network


@pytest.mark.parametrize("recipe", STAGE_1_RECIPES.values(), ids=STAGE_1_RECIPES)
@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_stage_1_stays_on_the_device(recipe, no_content):
    network = on_gpu(lambda: Resnet_stage_1(14, **recipe.options))
    frames = torch.empty(4, 227, 227, 3, dtype=torch.uint8, device=GPU.device)
    views = augment.draw(4, recipe.ranges, np.random.default_rng(0))
    boxes = np.tile([[[0.0, 0.0, 227, 227]]], (4, 1, 1))
    images = augment.apply(crops.to_float(frames), boxes, views, recipe.ranges, (129, 129))
    targets = augment.move(torch.empty(4, 14, 2, device=GPU.device), views, LSP.flip)
    loss = Train_stage_1.gradient(
        network.train(), images, targets, slice(None), recipe, GPU, network.cells
    )
    model = Stage_1(network.eval(), "resnet", LSP, (227, 227), 1.0, (129, 129))
    found = network(model.view(crops.to_float(frames)))
    assert loss.device == found.joints.device == found.confidence.device == GPU.device


@pytest.mark.parametrize("recipe", REFINER_RECIPES.values(), ids=REFINER_RECIPES)
@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_stage_2_stays_on_the_device(recipe, no_content):
    network = on_gpu(lambda: Alex_net_c1(14, (3,), crop_px=recipe.crop_px, **recipe.options))
    rng = np.random.default_rng(0)
    frames = torch.empty(4, 227, 227, 3, dtype=torch.uint8, device=GPU.device)
    boxes, targets = rng.random((4, 2, 4), np.float32), rng.random((4, 2, 14, 2), np.float32)
    examples = Examples.__new__(Examples)
    examples.recipe, examples.flip = recipe, np.array(LSP.flip)
    views = augment.draw(8, recipe.ranges, rng)
    images, targets = examples.crops_and_targets(
        frames, boxes, targets, views, network.crop_px, GPU
    )
    asked = torch.full((8,), 3, device=GPU.device)
    loss = Train_stage_2.gradient(network.train(), images, asked, targets, recipe, GPU)
    network.mirror(LSP.flip)
    found = network.eval()(images, asked)
    assert loss.device == found.joints.device == found.confidence.device == GPU.device


def normalisations(network):
    return [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]


@pytest.mark.parametrize("run, kind", [(GPU, nn.SyncBatchNorm), (CPU, nn.BatchNorm2d)])
def test_networks_of_several_processes_and_of_one_interchange_checkpoints(run, kind, monkeypatch):
    """Batch statistics are of all GPUs' images, in layers that keep their names and the very
    weights; not on CPUs."""
    monkeypatch.setattr(runtime, "DistributedDataParallel", lambda network, devices=None: network)
    torch.manual_seed(0)
    network, images = Resnet_stage_1(14), torch.rand(1, 3, 65, 65)
    plain, average = copy.deepcopy(network).eval(), Recipe(average=0.5).average_of(network)
    optimised = list(network.parameters())
    shared = replace(run, world=2).share(network)
    assert {type(layer) for layer in normalisations(shared)} == {kind}
    assert list(shared.state_dict()) == list(plain.state_dict())
    assert all(
        weight is known for weight, known in zip(network.parameters(), optimised, strict=True)
    )
    with torch.no_grad():
        for layer in normalisations(shared):
            layer.weight.add_(0.1)
            layer.running_mean.add_(0.1)
    average.update_parameters(network)  # the first time, a copy
    plain.load_state_dict(shared.state_dict())
    with torch.inference_mode():
        joints = plain(images).joints
        assert torch.equal(joints, shared.eval()(images).joints)
        assert torch.equal(joints, average.module.eval()(images).joints)
    shared.load_state_dict(plain.state_dict())
