"""AlexNet as stage 1: its layers in both layouts, its recipes, and ImageNet's weights from files of
both formats."""

import json
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import SMALL, fails, weight_count
from torch import nn
from torchvision.models import alexnet

import Alexnet_stage_1 as stage_1_file
import Train_stage_1
from Alexnet_stage_1 import RECIPES, Alexnet_stage_1
from deeppose import alexnet_weights, augment, checkpoint, losses, networks, runtime
from deeppose.loader import Frames
from deeppose.pretrained import load_initial
from deeppose.shell import InputError
from deeppose.skeletons import LSP

RUN = runtime.Runtime(torch.device("cpu"), "fp32")
LAYOUTS = ("torchvision", "bvlc")
SHAPES = {
    "conv1": (11, 11, 3, 96),
    "conv2": (5, 5, 48, 256),
    "conv3": (3, 3, 256, 384),
    "conv4": (3, 3, 192, 384),
    # of Caffe's model as its conversions to TensorFlow have it: h, w, in, out
    "conv5": (3, 3, 192, 256),
}


@pytest.fixture
def narrow(monkeypatch):
    """The direct head with 16 hidden units instead of 4096."""
    monkeypatch.setattr(stage_1_file, "HIDDEN", 16)


def caffe_arrays(seed=0):
    rng = np.random.default_rng(seed)
    arrays = {f"{name}_W": rng.normal(0, 0.05, shape) for name, shape in SHAPES.items()}
    return arrays | {f"{name}_b": rng.normal(0, 0.1, shape[3]) for name, shape in SHAPES.items()}


def torchvision_features():
    """torchvision's layers with weights of their own, without the 58 million of the classifier."""
    with torch.device("meta"):
        features = alexnet().features
    features = features.to_empty(device="cpu")
    for weight in features.parameters():
        nn.init.normal_(weight, std=0.05)
    return features


def torchvision_file(path):
    features = torchvision_features()
    torch.save({f"features.{name}": value for name, value in features.state_dict().items()}, path)
    return features


def convolutions(network):
    return [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.padding[0], m.groups)
        for m in network.backbone.modules()
        if isinstance(m, nn.Conv2d)
    ]


def test_the_layers_are_those_of_the_two_models():
    with torch.device("meta"):
        ours, theirs = Alexnet_stage_1(14, "direct", "torchvision"), alexnet()
        bvlc = Alexnet_stage_1(14, "direct", "bvlc")
        images = torch.empty(1, 3, 227, 227)
        assert [tuple(part.shape) for part in bvlc.backbone(images)] == [
            (1, 256, 27, 27),
            (1, 256, 13, 13),
            (1, 256, 6, 6),
        ]
    assert [p.shape for p in ours.backbone.parameters()] == [
        p.shape for p in theirs.features.parameters()
    ]
    hidden = [weight.shape for weight in theirs.classifier.parameters()][:4]
    assert [p.shape for p in ours.hidden.parameters()] == hidden
    assert convolutions(bvlc) == [
        (3, 96, 11, 4, 0, 1),
        (96, 256, 5, 1, 2, 2),
        (256, 384, 3, 1, 1, 1),
        (384, 384, 3, 1, 1, 2),
        (384, 256, 3, 1, 1, 2),
    ]
    kinds = [type(layer).__name__ for layer in bvlc.backbone.features]
    assert kinds[:4] == kinds[4:8] == ["Conv2d", "ReLU", "Local_response_norm", "MaxPool2d"]
    assert weight_count(bvlc) == pytest.approx(57e6, rel=0.01) and bvlc.joints.out_features == 28
    with torch.device("meta"):
        k2hpd = Alexnet_stage_1(15, **RECIPES["k2hpd"].options)
    kinds = [type(layer).__name__ for layer in k2hpd.backbone.features]
    assert (
        kinds[:5]
        == kinds[5:10]
        == ["Conv2d", "BatchNorm2d", "ReLU", "Local_response_norm", "MaxPool2d"]
    )
    assert kinds.count("BatchNorm2d") == 2
    assert [m.out_features for m in k2hpd.modules() if isinstance(m, nn.Linear)] == [4096, 1024, 30]
    dropouts = {
        name: [m.p for m in network.modules() if isinstance(m, nn.Dropout)]
        for name, network in (("k2hpd", k2hpd), ("bvlc", bvlc))
    }
    assert dropouts == {"k2hpd": [0.5, 0.5], "bvlc": [0.6, 0.6]}  # deeppose_tf keeps .4


@pytest.mark.parametrize("layers", LAYOUTS)
def test_each_joint_is_the_mean_position_under_its_heatmap(layers):
    torch.manual_seed(0)
    network = Alexnet_stage_1(5, layers=layers)
    joints, confidence, log_heatmaps = network(torch.rand(2, 3, 97, 150))
    first = 7.5 if layers == "torchvision" else 9.5  # px: convolution 1 pads by 2, or not
    centres = network.cells((150, 97)).centres
    assert confidence is None and log_heatmaps.shape == (2, 5, len(centres))
    assert centres[0].tolist() == pytest.approx([first / 150 - 0.5, first / 97 - 0.5])
    assert (centres[1] - centres[0]).tolist() == pytest.approx([8 / 150, 0], abs=1e-6)
    expected = (log_heatmaps.exp()[..., None] * centres).sum(2)
    torch.testing.assert_close(joints, expected)
    found = network.eval()(torch.rand(2, 3, 97, 150))
    assert found.joints.shape == (2, 5, 2) and found.heatmaps is None
    assert 0 <= found.confidence.min() and found.confidence.max() <= 1


@pytest.mark.parametrize("layers", LAYOUTS)
@pytest.mark.parametrize("head", ["integral", "direct"])
def test_images_of_any_size_from_64_pixels_on(head, layers, narrow):
    """The heatmaps have as many cells as `cells` says, and linear layers for one size serve
    another."""
    network = Alexnet_stage_1(3, head, layers, second=8).eval()
    with torch.inference_mode():
        for size in (64, 65, 66, 67, 68, 69, 70, 71, 97, 129, 227):
            assert network(torch.rand(1, 3, size, 64)).joints.shape == (1, 3, 2)
        if head == "direct":
            last = network.backbone(torch.rand(1, 3, 227, 227))[2]
            # 227 pixels have just these cells
            torch.testing.assert_close(F.adaptive_avg_pool2d(last, 6), last)


@pytest.mark.parametrize("layers", LAYOUTS)
@pytest.mark.parametrize("size", [67, 70, 97, 131])
def test_heatmap_cells_lie_where_their_receptive_fields_are_centred(size, layers):
    """With all weights alike, a pixel near the centre is seen most by the cells that `cells` puts
    around it."""
    network = Alexnet_stage_1(1, layers=layers).eval().double()
    network.factor, network.shift = network.factor.double(), network.shift.double()
    pixel = size // 2
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                module.weight.fill_(1 / module.weight[0].numel())
                module.bias = None
        images = torch.full((1, 3, size, size), 0.5, dtype=torch.float64)
        seen = []
        network.heatmaps.register_forward_hook(
            lambda module, inputs, output: seen.append(output[0, 0].flatten())
        )
        network(images)
        images[:, :, pixel, pixel] = 1
        network(images)
    change = (seen[1] - seen[0]).abs()
    centre = (change[:, None] * network.cells((size, size)).centres).sum(0) / change.sum()
    expected = (pixel + 0.5) / size - 0.5
    assert centre.tolist() == pytest.approx([expected, expected], abs=4 / size)  # half a cell


def test_contrast_is_each_images_own():
    network = Alexnet_stage_1(2, scaling="contrast")
    images = torch.rand(3, 3, 20, 30) * torch.tensor([0.1, 0.5, 1.0])[:, None, None, None]
    images[2] = 0.25  # of one colour
    seen = network._scaled(images).numpy()
    for image, scaled in zip(images[:2].numpy().astype(float), seen):
        for channel, found in zip(image, scaled):
            np.testing.assert_allclose(found, (channel - channel.mean()) / channel.std(), atol=1e-3)
    assert np.abs(seen[2]).max() < 0.1


@pytest.mark.parametrize(
    "options, expected",
    [
        (
            {"layers": "torchvision"},
            [(0.5 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.5 - 0.406) / 0.225],
        ),
        ({"layers": "bvlc"}, [127.5 - 123.675, 127.5 - 116.28, 127.5 - 103.53]),
        ({"layers": "bvlc", "scaling": "256th"}, [0.01494, 0.04383, 0.09363]),
    ],
)
def test_images_are_scaled_as_the_layouts_weights_expect(options, expected):
    seen = Alexnet_stage_1(2, **options)._scaled(torch.full((1, 3, 2, 2), 0.5))
    assert seen[0, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("head", ["integral", "direct"])
def test_last_layers_and_outputs_are_float32_under_autocast(head, narrow):
    network, dtypes = Alexnet_stage_1(4, head, "bvlc", second=8).eval(), []
    last = network.joints if head == "direct" else network.heatmaps.joints
    for layer in (network.backbone.features[0], last):
        layer.register_forward_hook(
            lambda module, inputs, output: dtypes.append((inputs[0].dtype, output.dtype))
        )
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        found = network(torch.rand(1, 3, 64, 64))
    assert found.joints.dtype == found.confidence.dtype == torch.float32
    assert dtypes[0][1] == torch.bfloat16 and dtypes[1] == (torch.float32, torch.float32)


def test_options_that_there_are_not_are_named(own_workdir, capsys):
    flags = ["--workdir", own_workdir, "--network", "alexnet", *SMALL]
    for vary, said in (
        ("layers=vgg", "torchvision, bvlc"),
        ("scaling=log", "contrast"),
        ("head=two", "integral"),
    ):
        fails(
            Train_stage_1.main,
            [*flags, "--vary", vary],
            capsys,
            "--vary",
            vary.partition("=")[2],
            said,
        )


# ImageNet's weights


def test_weights_from_a_file_in_torchvisions_format(tmp_path):
    features = torchvision_file(tmp_path / "alexnet.pth")
    network = Alexnet_stage_1(14).eval()
    assert load_initial(network, str(tmp_path / "alexnet.pth"), LSP) == "file alexnet.pth"
    images = torch.rand(1, 3, 227, 227)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    spread = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.inference_mode():
        expected = features((images - mean) / spread)
        found = network.backbone(network._scaled(images))[2]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def test_torchvisions_linear_layers_are_taken_where_they_fit():
    """Its names on the left, by hand; the last layer, of ImageNet's classes, is left over."""
    with torch.device("meta"):
        theirs = alexnet().state_dict()
        taken = Alexnet_stage_1(14, "direct", "torchvision").from_imagenet(theirs)
        narrower = Alexnet_stage_1(14, "direct", "torchvision", second=1024).from_imagenet(theirs)
        integral = Alexnet_stage_1(14).from_imagenet(theirs)
    for name, ours in (
        ("features.3.weight", "backbone.features.3.weight"),
        ("classifier.1.weight", "hidden.0.weight"),
        ("features.10.bias", "backbone.features.10.bias"),
        ("classifier.4.bias", "hidden.3.bias"),
    ):
        assert taken[ours] is theirs[name]
    assert len(taken) == 14 and len(narrower) == 12 and len(integral) == 10


def test_batch_normalisation_between_does_not_hinder_torchvisions_weights(tmp_path):
    features = torchvision_file(tmp_path / "alexnet.pth")
    network = Alexnet_stage_1(14, batch_norm=1)
    load_initial(network, str(tmp_path / "alexnet.pth"), LSP)
    theirs = [m for m in features if isinstance(m, nn.Conv2d)]
    for ours, other in zip(network.backbone.convolutions, theirs, strict=True):
        assert torch.equal(ours.weight, other.weight) and torch.equal(ours.bias, other.bias)


def literal_convolution(weights, bias, image, y, x, channel, inputs):
    """One output of a convolution in TensorFlow's layout: the window of an image (h, w, c) whose
    corner is (y, x)."""
    total = float(bias[channel])
    for row in range(weights.shape[0]):
        for column in range(weights.shape[1]):
            for place, source in enumerate(inputs):
                total += weights[row, column, place, channel] * image[y + row, x + column, source]
    return total


def test_weights_of_caffes_model_from_a_npz(tmp_path):
    """Convolutions 1 and 2 by hand: blue, green, red, 0...255 less the mean; the second in two
    groups."""
    arrays = caffe_arrays()
    np.savez(tmp_path / "bvlc.npz", **arrays)
    network = Alexnet_stage_1(14, layers="bvlc").eval()
    assert load_initial(network, str(tmp_path / "bvlc.npz"), LSP) == "file bvlc.npz"
    image = np.random.default_rng(1).random((67, 67, 3))  # RGB
    seen = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    mean = 255 * np.array([0.485, 0.456, 0.406])
    blue_first = (255 * image - mean)[..., ::-1]
    with torch.inference_mode():
        first = network.backbone.features[0](network._scaled(seen))[0].numpy()
        pooled = network.backbone.features[:4](network._scaled(seen))
        second = network.backbone.features[4](pooled)[0].numpy()
    for channel, y, x in ((0, 0, 0), (50, 3, 9), (95, 14, 14)):
        expected = literal_convolution(
            arrays["conv1_W"], arrays["conv1_b"], blue_first, 4 * y, 4 * x, channel, range(3)
        )
        assert first[channel, y, x] == pytest.approx(expected, rel=1e-4, abs=1e-2)
    padded = np.pad(pooled[0].permute(1, 2, 0).numpy(), ((2, 2), (2, 2), (0, 0)))
    for channel, inputs in (
        (5, range(48)),
        (127, range(48)),
        (128, range(48, 96)),
        (255, range(48, 96)),
    ):
        expected = literal_convolution(
            arrays["conv2_W"], arrays["conv2_b"], padded, 3, 2, channel, inputs
        )
        assert second[channel, 3, 2] == pytest.approx(expected, rel=1e-4, abs=1e-2)


def test_the_linear_layers_of_caffes_model_see_the_cells_in_their_own_order():
    """TensorFlow's inputs run over h, w, channel; ours over channel, h, w."""
    arrays = {name: torch.from_numpy(value) for name, value in caffe_arrays().items()}
    weights = torch.rand(6 * 6 * 4, 5)
    found = alexnet_weights.from_caffe(
        arrays | {"fc6_W": weights, "fc6_b": torch.rand(5)}, list(SHAPES)
    )
    for output, channel, y, x in ((0, 0, 0, 0), (4, 3, 5, 2), (2, 1, 0, 4)):
        ours = found["hidden.0.weight"][output, channel * 36 + y * 6 + x]
        assert ours == weights[(y * 6 + x) * 4 + channel, output]
    shapes = {"fc6": (9216, 4096), "fc7": (4096, 4096), "fc8": (4096, 1000)}
    with torch.device("meta"):
        arrays |= {f"{name}_W": torch.empty(shape) for name, shape in shapes.items()}
        arrays |= {f"{name}_b": torch.empty(shape[1]) for name, shape in shapes.items()}
        taken = Alexnet_stage_1(14, **RECIPES["deeppose_tf"].options).from_imagenet(arrays)
        narrower = Alexnet_stage_1(15, **RECIPES["k2hpd"].options).from_imagenet(arrays)
    assert {name for name in taken if name.startswith("hidden")} == {
        "hidden.0.weight",
        "hidden.0.bias",
        "hidden.3.weight",
        "hidden.3.bias",
    }
    assert {name for name in narrower if name.startswith("hidden")} == {
        "hidden.0.weight",
        "hidden.0.bias",
    }


def without(arrays, name):
    return {key: value for key, value in arrays.items() if key != name}


def write_wrong(path, kind):
    """A file that is no .npz of this network's weights."""
    arrays = caffe_arrays()
    if kind == "truncated":
        np.savez(path, **arrays)
        path.write_bytes(path.read_bytes()[:-2000])
    elif kind == "no zip":
        path.write_bytes(b"conv1_W")
    elif kind == "bzip2":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
            archive.writestr("conv1_W.npy", b"0")
    else:
        wrong = {
            "incomplete": without(arrays, "conv3_b"),
            "pickled": arrays | {"conv1_b": np.array([{}], object)},
            "whole numbers": arrays | {"conv1_b": np.zeros(96, int)},
            "other layout": arrays | {"conv1_W": arrays["conv1_W"].transpose(3, 2, 0, 1)},
            "other shape": arrays | {"conv4_b": np.zeros(5)},
            "flat": arrays | {"conv2_W": arrays["conv2_W"].ravel()},
            "not finite": arrays | {"conv5_W": np.full(SHAPES["conv5"], np.nan)},
        }[kind]
        np.savez(path, **wrong)


@pytest.mark.parametrize(
    "kind",
    [
        "truncated",
        "no zip",
        "bzip2",
        "incomplete",
        "pickled",
        "whole numbers",
        "other layout",
        "other shape",
        "flat",
        "not finite",
    ],
)
def test_a_npz_that_is_none_is_refused(kind, tmp_path):
    write_wrong(tmp_path / "wrong.npz", kind)
    with pytest.raises(InputError, match="wrong.npz: "):
        load_initial(Alexnet_stage_1(14, layers="bvlc"), str(tmp_path / "wrong.npz"), LSP)


def test_a_wrong_npz_is_one_line_at_the_shell(own_workdir, capsys):
    path = own_workdir / "wrong.npz"
    write_wrong(path, "incomplete")
    flags = [
        "--workdir",
        own_workdir,
        "--network",
        "alexnet",
        "--vary",
        "layers=bvlc",
        "--weights",
        path,
        *SMALL,
    ]
    fails(
        Train_stage_1.main,
        flags,
        capsys,
        "wrong.npz",
        "conv1_W, conv1_b to conv5_b",
        "see --weights",
    )
    assert not (own_workdir / "model_1.pt").exists()


def test_a_npz_that_claims_too_much_is_refused_before_it_is_read(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "large.npz", conv1_W=np.zeros(1_000_000))
    monkeypatch.setattr(checkpoint, "LARGEST_ARRAYS", 7_999_999)
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(InputError, match="large.npz: is no complete .npz of floats up to 8 MB"):
        load_initial(Alexnet_stage_1(14, layers="bvlc"), str(tmp_path / "large.npz"), LSP)


def test_weights_of_the_other_layout_or_of_another_network_are_refused(tmp_path):
    torchvision_file(tmp_path / "alexnet.pth")
    np.savez(tmp_path / "bvlc.npz", **caffe_arrays())
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    for layers, name, said in (
        ("bvlc", "alexnet.pth", "conv1_W"),
        ("torchvision", "bvlc.npz", "features.0.weight"),
        ("torchvision", "other.pth", "features.0.weight"),
        ("bvlc", "missing.npz", "not found"),
    ):
        with pytest.raises(InputError, match=f"{name}.*{said}"):
            load_initial(Alexnet_stage_1(14, layers=layers), str(tmp_path / name), LSP)
    with pytest.raises(InputError, match="torchvision has none"):
        load_initial(Alexnet_stage_1(14, layers="bvlc"), "imagenet", LSP)
    assert load_initial(Alexnet_stage_1(14, layers="bvlc"), "auto", LSP) == "random"


# The recipes


def test_the_recipe_of_deeppose_tf(narrow):
    options = Train_stage_1.parse(
        ["--network", "alexnet", "--recipe", "deeppose_tf", "--batch-size", "128"]
    )
    recipe = options.recipe
    assert recipe.options == {
        "head": "direct",
        "layers": "bvlc",
        "scaling": "contrast",
        "second": 4096,
        "dropout": 0.6,
    }
    assert (recipe.loss, recipe.heatmaps, recipe.stretch, recipe.mirror, recipe.shift) == (
        "image_mse",
        0,
        1,
        0.5,
        0.1,
    )
    network = Alexnet_stage_1(14, **recipe.options | {"second": 8})
    optimiser = recipe.optimiser_of(network, RUN.device)
    assert (
        type(optimiser) is torch.optim.Adagrad and recipe.rate(0, 10) == recipe.rate(9, 10) == 5e-4
    )
    assert optimiser.state[network.joints.bias]["sum"].unique().tolist() == pytest.approx([1e-4])
    for share, loaded, learns in (
        (0, True, False),
        (0.0099, True, False),
        (0.01, True, True),
        (0, False, True),
    ):
        for weight in network.parameters():
            weight.grad = torch.ones_like(weight)
        Train_stage_1.freeze(network, share, recipe, loaded)
        assert {weight.grad is not None for weight in network.backbone.parameters()} == {learns}
        assert all(weight.grad is not None for weight in network.hidden.parameters())


def test_the_recipe_of_k2hpd_takes_the_steps_of_caffe():
    """Its loss is of joints in pixels, Σd² / (2 images outputs), and its solver's rate and decay go
    with that."""
    recipe = RECIPES["k2hpd"]
    assert recipe.ranges == augment.Ranges(mirror=0.5) and recipe.stretch == 1
    torch.manual_seed(0)
    last = nn.Linear(5, 6)
    optimiser = recipe.optimiser_of(last, RUN.device)
    weights = np.column_stack([last.weight.detach().numpy(), last.bias.detach().numpy()]).astype(
        float
    )
    before, velocity = weights, 0.0
    for step in range(3):
        inputs = torch.rand(4, 5)
        true_px = torch.rand(4, 6) * 200 - 100
        optimiser.param_groups[0]["lr"] = recipe.rate(step, 120_000)
        optimiser.zero_grad()
        joints = (last(inputs) / recipe.options["output_px"]).unflatten(1, (3, 2))
        losses.masked_loss(joints, (true_px / 256).unflatten(1, (3, 2)), recipe.loss).backward()
        optimiser.step()
        seen = np.column_stack([inputs.numpy(), np.ones(4)])
        gradient = (seen @ weights.T - true_px.numpy()).T @ seen / (4 * 6)
        rate = 1e-4 * (1 + 1e-4 * step) ** -0.75
        velocity = 0.9 * velocity + rate * (gradient + 0.005 * weights)
        weights = weights - velocity
    found = np.column_stack([last.weight.detach().numpy(), last.bias.detach().numpy()])
    np.testing.assert_allclose(found - before, weights - before, rtol=1e-3, atol=1e-5)


def test_each_network_has_its_own_recipes(capsys):
    with pytest.raises(SystemExit):
        Train_stage_1.parse(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "best, original (resnet)" in said and "best, deeppose_tf, k2hpd (alexnet)" in said
    with pytest.raises(SystemExit):
        Train_stage_1.parse(["--network", "alexnet", "--recipe", "original"])
    assert "there are best, deeppose_tf, k2hpd" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_was_trained_is_loaded_again(recipe, data, own_workdir, narrow):
    """Every recipe takes its steps, and what model_1.json tells is enough to predict as it did."""
    vary = [] if recipe == "best" else ["--vary", "second=8"]
    Train_stage_1.main(
        [
            "--workdir",
            str(own_workdir),
            *SMALL,
            "--network",
            "alexnet",
            "--recipe",
            recipe,
            *vary,
            "--weights",
            "none",
            "--rows",
            "4",
            "--epochs",
            "1",
            "--input-px",
            "64",
        ]
    )
    facts = json.loads((own_workdir / "model_1.json").read_text())
    assert (
        facts["network"] == "alexnet" and facts["settings"]["recipe"]["options"] == facts["options"]
    )
    model, _ = networks.load(own_workdir, RUN, data)
    joints, _ = model.predict(Frames(data.train_images, RUN.device), data.held_out, RUN)
    rows = data.train_labels[data.held_out]
    outputs, true = (
        torch.from_numpy(data.normalised(px).astype(np.float32)) for px in (joints, rows)
    )
    loss = losses.masked_loss(outputs, true, model_loss := RECIPES[recipe].loss).item()
    assert loss == pytest.approx(facts["held_out_loss"], rel=1e-4), model_loss


def test_convolutions_from_imagenet_stay_as_they_are_for_their_share_of_the_run(
    own_workdir, narrow, monkeypatch
):
    """The two epochs' scores are made up, so that the second is kept: trained on from its first
    step, or not at all."""
    scores = iter(2 * [0.1, 0.2])

    def evaluate(model, *rest):
        value = next(scores)
        return 0.5, {"pdj": {"0.20": value}, "pcp_strict": {"mean_4": value}}

    monkeypatch.setattr(Train_stage_1, "evaluate", evaluate)
    np.savez(own_workdir / "bvlc.npz", **caffe_arrays())
    flags = [
        "--workdir",
        str(own_workdir),
        *SMALL,
        "--network",
        "alexnet",
        "--recipe",
        "deeppose_tf",
        "--vary",
        "second=8",
        "--rows",
        "4",
        "--epochs",
        "2",
        "--input-px",
        "64",
        "--weights",
        str(own_workdir / "bvlc.npz"),
    ]
    expected = torch.from_numpy(caffe_arrays()["conv3_W"].astype(np.float32)).permute(3, 2, 0, 1)
    for frozen, stays in (("1", True), ("0.5", False)):
        Train_stage_1.main([*flags, "--vary", f"frozen={frozen}"])
        weights = torch.load(own_workdir / "model_1.pt", weights_only=True)
        assert torch.equal(weights["backbone.features.8.weight"], expected) == stays
