"""Networks made ready to predict say what they said before, and load without what only training
needs."""

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from helpers import write_model, write_refiner
from torch import nn

from Cascade_1_net import Alex_net_c1
from deeppose import checkpoint, crops, inference, networks, runtime
from deeppose.arrays import PROJECT
from deeppose.loader import Frames
from deeppose.refiners import load_refiner
from deeppose.skeletons import LSP
from Heatmap_stage_1 import Heatmap_stage_1
from Resnet_stage_1 import Resnet_stage_1

FP32 = runtime.Runtime(torch.device("cpu"), "fp32")
BF16 = runtime.Runtime(torch.device("cpu"), "bf16")


def used(network):
    """The network as training leaves it: batch norms that do something, and heatmaps that are not
    flat."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
        if (
            isinstance(module, nn.Conv2d)
            and module.kernel_size == (1, 1)
            and not module.weight.any()
        ):
            nn.init.normal_(module.weight, std=0.1)
    return network.eval()


def best_networks():
    """Every network of stage 1 by its best recipe, and both heads of the refiner."""
    for network_class, recipes in networks.NETWORKS.values():
        yield partial(network_class, 14, **recipes["best"].options), 65
    yield partial(Alex_net_c1, 14, range(14), crop_px=67), 67
    yield partial(Alex_net_c1, 14, (3,), "direct", 64, "batch_norm"), 64


@pytest.mark.parametrize("build, side", list(best_networks()))
def test_bfloat16_weights_are_stored_as_autocast_would_cast_them(build, side):
    """All but the last layers', of which coordinates are made; so what is said stays the same to
    the bit."""
    torch.manual_seed(0)
    network = used(build())
    asked = (torch.tensor([network.joints[0]]),) if isinstance(network, Alex_net_c1) else ()
    images = torch.rand(1, 3, side, side).bfloat16()
    with torch.inference_mode(), BF16.autocast():
        before = network(images, *asked)
    assert inference.prepare(network, "fp32") is network
    assert {weights.dtype for weights in network.parameters()} == {torch.float32}
    inference.prepare(network, "bf16")
    with torch.inference_mode(), BF16.autocast():  # anew, since it keeps what it cast
        after = network(images, *asked)
    for said, expected in ((after.joints, before.joints), (after.confidence, before.confidence)):
        # direct heads know no confidence
        torch.testing.assert_close(said, expected, rtol=0, atol=0, equal_nan=True)
    kept = [name for name, weights in network.named_parameters() if weights.dtype == torch.float32]
    assert any(name.startswith(network.joint_layers) for name in kept)
    assert next(network.parameters()).dtype == torch.bfloat16


def test_a_model_in_half_precision_is_loaded_as_float32(tmp_path, workdir, data):
    """As stage 1, as a refiner, and as what a training starts from."""
    network = write_model(tmp_path, used(Resnet_stage_1(14)), input_size=(65, 65))
    refiner = write_refiner(tmp_path, "shared", used(Alex_net_c1(14, range(14), crop_px=67)))
    expected = {}
    for path in tmp_path.glob("*.pt"):
        weights = checkpoint.read_weights(path, "")
        halved = {
            name: value.half() if value.is_floating_point() else value
            for name, value in weights.items()
        }
        torch.save(halved, path)
        expected[path.stem] = halved
    model, _ = networks.load(tmp_path, FP32)
    joints, _ = model.predict(Frames(data.test_images, FP32.device), np.arange(2), FP32)
    assert {value.dtype for value in model.network.state_dict().values()} <= {
        torch.float32,
        torch.int64,
    }
    network.load_state_dict(expected["model_1"])
    images = model.view(crops.to_float(torch.from_numpy(np.array(data.test_images[:2]))))
    with torch.inference_mode():
        said = network.eval()(images).joints.numpy()
    np.testing.assert_allclose(joints, (said + 0.5) * 227, atol=0.01)
    loaded = load_refiner(tmp_path, "shared", LSP, FP32)
    assert {value.dtype for value in loaded.network.state_dict().values()} <= {
        torch.float32,
        torch.int64,
    }
    torch.testing.assert_close(
        loaded.network.features[0].weight, refiner.features[0].weight.half().float()
    )
    fresh = Resnet_stage_1(14)
    from deeppose.pretrained import load_initial

    load_initial(fresh, str(tmp_path), LSP)
    assert fresh.backbone.conv1.weight.dtype == torch.float32
    assert torch.equal(
        fresh.backbone.conv1.weight, expected["model_1"]["backbone.conv1.weight"].float()
    )


@pytest.mark.parametrize("name", ["resnet", "heatmap"])
def test_predicting_loads_neither_torchvision_nor_a_compiler(name, tmp_path):
    """They take longer than all else that is loaded beyond torch, and memory."""
    write_model(tmp_path, input_size=(64, 64))
    if name == "heatmap":
        network = Heatmap_stage_1(14, "resnet34")
        torch.save(network.state_dict(), tmp_path / "model_1.pt")
        facts = json.loads((tmp_path / "model_1.json").read_text())
        facts |= {"network": name, "options": {"backbone": "resnet34"}}
        (tmp_path / "model_1.json").write_text(json.dumps(facts))
    code = (
        "import sys, predict; predict.load(sys.argv[1], 'cpu', 'fp32');"
        "print(sorted({'torchvision', 'torch._dynamo', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
