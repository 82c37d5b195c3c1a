"""Networks made ready to predict say what they said before, and load without what only training needs."""
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import write_model, write_refiner
from torch import nn

from Cascade_1_net import Alex_net_c1
from deeppose import cascade, checkpoint, crops, inference, networks, runtime
from deeppose.arrays import PROJECT
from deeppose.loader import Frames
from deeppose.skeleton import LSP
from Resnet_stage_1 import Resnet_stage_1

FP32 = runtime.Runtime(torch.device("cpu"), "fp32")
BF16 = runtime.Runtime(torch.device("cpu"), "bf16")


def used(network):
    """The network as training leaves it: batch norms that do something, and heatmaps that are not flat."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.1)
    return network.eval()


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_folded_networks_say_the_same(name):
    """Every network of stage 1, of each recipe: within 1e-5 of the image's width, and no batch norm is left.

    Of joints that random weights place widths outside the image, within 1e-5 of how far that is.
    """
    network_class, recipes = networks.NETWORKS[name]
    options = {tuple(sorted(recipe.options.items())) for recipe in recipes.values()}
    images = torch.rand(1, 3, 227, 227)
    for chosen in options:
        network = used(network_class(14, **dict(chosen)))
        with torch.inference_mode():
            before = network(images)
            after = inference.prepare(network, "fp32")(images)
        torch.testing.assert_close(after.joints, before.joints, rtol=1e-5, atol=1e-5)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()), chosen


def test_a_folded_refiner_says_the_same():
    network = used(Alex_net_c1(14, range(14), crop_px=67))
    images = torch.rand(3, 3, 67, 67)
    asked = torch.tensor([0, 7, 13])
    with torch.inference_mode():
        before = network(images, asked)
        after = inference.prepare(network, "fp32")(images, asked)
    torch.testing.assert_close(after.joints, before.joints, rtol=0, atol=1e-5)
    torch.testing.assert_close(after.confidence, before.confidence, rtol=0, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_only_batch_norms_that_follow_a_convolution_are_folded():
    """Whatever lies between them or around them is left alone."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4),
                            nn.ConvTranspose2d(4, 5, 3, 2, bias=False), nn.BatchNorm2d(5))
    network.joint_layers = ()
    images = torch.rand(2, 3, 9, 9)
    network = used(network)
    with torch.inference_mode():
        before = network(images)
        torch.testing.assert_close(inference.prepare(network, "fp32")(images), before)
    kinds = [type(layer).__name__ for layer in network]
    assert kinds == ["BatchNorm2d", "Conv2d", "ReLU", "BatchNorm2d", "ConvTranspose2d", "Identity"]


def test_bfloat16_weights_are_stored_as_autocast_would_cast_them():
    """All but the last layers', of which coordinates are made; what is said stays as near to float32 as it was."""
    network = used(Resnet_stage_1(14))
    images = torch.rand(2, 3, 65, 65)
    with torch.inference_mode():
        exact = network(images).joints
        with BF16.autocast():
            cast = network(images.bfloat16()).joints
            network = inference.prepare(network, "bf16")
            stored = network(images.bfloat16()).joints
    assert network.backbone.conv1.weight.dtype == torch.bfloat16
    assert network.heatmaps.joints.weight.dtype == stored.dtype == torch.float32
    assert (stored - exact).abs().max() < 2 * (cast - exact).abs().max()


def test_a_model_in_half_precision_is_loaded_as_float32(tmp_path, workdir, data):
    """As stage 1, as a refiner, and as what a training starts from."""
    network = write_model(tmp_path, used(Resnet_stage_1(14)), input_size=(65, 65))
    refiner = write_refiner(tmp_path, "shared", used(Alex_net_c1(14, range(14), crop_px=67)))
    expected = {}
    for path in tmp_path.glob("*.pt"):
        weights = checkpoint.read_weights(path, "")
        halved = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
        torch.save(halved, path)
        expected[path.stem] = halved
    model, _ = networks.load(tmp_path, FP32)
    joints, _ = model.predict(Frames(data.test_images, FP32.device), np.arange(2), FP32)
    assert {value.dtype for value in model.network.state_dict().values()} <= {torch.float32, torch.int64}
    network.load_state_dict(expected["model_1"])
    images = model.view(crops.to_float(torch.from_numpy(np.array(data.test_images[:2]))))
    with torch.inference_mode():
        said = network.eval()(images).joints.numpy()
    np.testing.assert_allclose(joints, (said + 0.5) * 227, atol=0.01)
    loaded = cascade.load_refiner(tmp_path, "shared", LSP, FP32)
    assert {value.dtype for value in loaded.network.state_dict().values()} <= {torch.float32, torch.int64}
    torch.testing.assert_close(loaded.network.features[0].weight, refiner.features[0].weight.half().float())
    fresh = Resnet_stage_1(14)
    from deeppose.pretrained import load_initial
    load_initial(fresh, str(tmp_path), LSP)
    assert fresh.backbone.conv1.weight.dtype == torch.float32
    assert torch.equal(fresh.backbone.conv1.weight, expected["model_1"]["backbone.conv1.weight"].float())


def test_predicting_loads_neither_torchvision_nor_a_compiler(tmp_path):
    """They take longer than all else that is loaded beyond torch, and memory."""
    write_model(tmp_path, input_size=(65, 65))
    code = ("import sys, predict; predict.load(sys.argv[1], 'cpu', 'fp32');"
            "print(sorted({'torchvision', 'torch._dynamo', 'scipy'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT, capture_output=True, text=True,
                          check=True)
    assert done.stdout.strip() == "[]"


def test_crops_on_a_cpu_are_those_of_the_matrix_product():
    """In float32 a CPU gathers what elsewhere are two matrix products, mirrored boxes and those outside included."""
    torch.manual_seed(0)
    images = torch.rand(2, 3, 40, 50)
    boxes = torch.tensor([[[3.2, 4.7, 20.5, 11.0], [45.0, 3, -30, 33], [-10, -5, 25, 60]],
                          [[0, 0, 50, 40], [60, 60, 5, 5], [20.5, 10.25, 1, 1]]])
    found = crops.crop(images, boxes, (24, 16))
    expected = crops.crop(images.double(), boxes.double(), (24, 16))
    assert found.is_contiguous(memory_format=torch.channels_last) and found.shape == (6, 3, 16, 24)
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=2e-4)
