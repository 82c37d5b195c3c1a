"""The heatmap network: its attention, what it learns from, decoding, the flip test, and tiny runs
through the steps."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from five_joints_data import DOLL
from helpers import FP32, fails
from test_seams import true_joints
from torch import nn
from torchvision import models

import Generate_train_output
import test_stage_1
import test_stage_2
import Train_stage_1
import Train_stage_2
from deeppose import (
    checkpoint,
    geometry,
    heatmaps,
    losses,
    networks,
    pretrained,
    runtime,
    ship,
)
from deeppose.adoption import adopt
from deeppose.dataset import open_dataset
from deeppose.loader import Frames
from deeppose.shell import InputError
from deeppose.skeletons import LSP
from deeppose.stage_1 import Stage_1
from Heatmap_stage_1 import RECIPES, Attention, Branches, Heatmap_stage_1

CPU = torch.device("cpu")
RUN = runtime.Runtime(CPU, "fp32")
SMALL = [
    "--network",
    "heatmap",
    "--vary",
    "backbone=resnet18",
    "--weights",
    "none",
    "--input-px",
    "64",
    *FP32,
]
SIZES = [(192, 256), (288, 384), (48, 64), (129, 129), (227, 227), (150, 67)]  # (w, h) of images


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def literal_attention(features, weight, bias, kernel):
    """One map (h, w) from features (C, h, w), cell by cell; weight (C, 3, 3)."""
    channels, height, width = features.shape
    found = torch.zeros(height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            unary = bias
            for c in range(channels):
                for dy in (-1, 0, 1):
                    for dx in (-1, 0, 1):
                        if 0 <= y + dy < height and 0 <= x + dx < width:
                            unary += (
                                weight[c, dy + 1, dx + 1].item()
                                * features[c, y + dy, x + dx].item()
                            )
            field = sigmoid(kernel * unary + unary)
            field = sigmoid(kernel * field + unary)
            field = sigmoid(kernel * field + unary)
            found[y, x] = field
    return found


def drawn(module):
    """The module with weights that are not small, float64."""
    for weight in module.double().parameters():
        nn.init.normal_(weight)
    return module


def perfect(network, true, size):
    """Heatmaps (N, J, h, w), 1 high, of joints (N, J, 2): literal Gaussians about them."""
    cells = network.cells(size)
    pixels = (true[:, :, None] - cells.centres) * torch.tensor(size)  # (N, J, cells, 2)
    sigma = max(size) / 32
    height = 8 * math.ceil(size[1] / 32)
    return (-pixels.square().sum(3) / (2 * sigma**2)).exp().unflatten(2, (height, -1))


# -- attention


def test_attention_is_the_mean_field_of_a_literal_loop():
    torch.manual_seed(0)
    attention = drawn(Attention(3, 2))
    features = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    found = attention(features)
    assert found.shape == (2, 2, 4, 5)
    for n in range(2):
        for j in range(2):
            expected = literal_attention(
                features[n],
                attention.unary.weight[j],
                attention.unary.bias[j].item(),
                attention.kernel[j].item(),
            )
            assert (found[n, j] - expected).abs().max() < 1e-6


def test_attention_without_unary_and_kernel_is_half():
    attention = Attention(3)
    for weight in attention.parameters():
        nn.init.zeros_(weight)
    assert torch.equal(attention(torch.randn(1, 3, 6, 4)), torch.full((1, 1, 6, 4), 0.5))


def test_attention_has_a_gradient_in_all_its_weights_and_features():
    torch.manual_seed(0)
    attention = drawn(Attention(2))
    features = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(attention, features)
    attention(features).sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in attention.parameters())


def test_branches_are_one_network_a_joint():
    """The features times the joint's own attention, 1 x 1 to one map; concatenated; 1 x 1 of all
    maps."""
    torch.manual_seed(0)
    branches = drawn(Branches(6, 4))
    features = torch.randn(2, 6, 5, 3, dtype=torch.float64)
    maps = []
    for joint in range(4):
        own = drawn(Attention(6))
        own.unary.weight.data = branches.attention.unary.weight.data[joint : joint + 1]
        own.unary.bias.data = branches.attention.unary.bias.data[joint : joint + 1]
        own.kernel.data = branches.attention.kernel.data[joint : joint + 1]
        maps.append(F.conv2d(features * own(features), branches.maps.weight[joint : joint + 1]))
    expected = F.conv2d(torch.cat(maps, 1), branches.mix.weight, branches.mix.bias)
    torch.testing.assert_close(branches(features), expected)


def test_all_three_attended_maps_are_summed():
    torch.manual_seed(0)
    network = Heatmap_stage_1(3, "resnet18")
    for attention in network.attentions:
        drawn(attention).float()
    sizes = ((4, 3), (8, 6), (16, 12))
    maps = [torch.randn(1, 256, *size) for size in sizes]
    total = torch.zeros(1, 256, *sizes[-1])
    for attention, each, repeat in zip(network.attentions, maps, (4, 2, 1)):
        attended = each * attention(each)
        total += attended.repeat_interleave(repeat, 2).repeat_interleave(repeat, 3)
    torch.testing.assert_close(network._attended(maps), total)


# -- layers, weights and recipes


@pytest.mark.parametrize(
    "backbone, millions",
    [
        ("resnet18", 15.4),
        ("resnet34", 25.5),
        ("resnet50", 34.0),
        ("resnet101", 53.0),
        ("resnet152", 68.6),
    ],
)
def test_every_backbone_has_its_weights(backbone, millions):
    """Without attention those of SimpleBaseline's papers and tables; the attention adds a few."""
    with torch.device("meta"):
        counts = [
            sum(weight.numel() for weight in Heatmap_stage_1(17, backbone, attention).parameters())
            for attention in (0, 1)
        ]
        torchvisions = models.get_model(backbone).state_dict()
        network = Heatmap_stage_1(17, backbone)
    assert counts[0] == pytest.approx(millions * 1e6, rel=0.005) and 0 < counts[1] - counts[0] < 5e4
    assert set(torchvisions) == set(network.backbone.state_dict()) | set(network.unused_weights)
    assert (
        type(network.imagenet) is models.get_model_weights(backbone)
        and backbone in network.imagenet.url
    )


@pytest.mark.parametrize("attention", [0, 1])
@pytest.mark.parametrize("recipe", RECIPES)
def test_shapes_and_float32_under_autocast(attention, recipe):
    torch.manual_seed(0)
    network = Heatmap_stage_1(
        5, **RECIPES[recipe].options | {"backbone": "resnet18", "attention": attention}
    )
    images = torch.rand(2, 3, 64, 48)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(images)
        assert found.joints.shape == (2, 5, 2) and found.confidence is None
        assert found.heatmaps.shape == (2, 5, 16 * 16) and found.heatmaps.dtype == torch.float32
        # 48 px are two strides of 32, as 64 are
        assert len(network.cells((48, 64)).centres) == 16 * 16
        found = network.eval()(images)
    assert found.joints.dtype == found.confidence.dtype == torch.float32 and found.heatmaps is None
    assert (
        found.confidence.shape == (2, 5)
        and 0 <= found.confidence.min()
        and found.confidence.max() <= 1
    )


def test_every_weight_learns():
    torch.manual_seed(0)
    network = Heatmap_stage_1(3, "resnet18")
    true = torch.rand(2, 3, 2) - 0.5
    found = network(torch.rand(2, 3, 64, 64))
    assert not found.joints.requires_grad
    losses.heatmap_loss(found.heatmaps, true, network.cells((64, 64)), torch.tensor(6)).backward()
    assert all(
        weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters()
    )
    assert all(
        weight.grad.abs().sum() > 0
        for name, weight in network.named_parameters()
        if "backbone" not in name
    )


def test_the_originals_recipe_is_its_authors():
    """Targets 255 high, sigma 2 (3 of 384 px); MSE; Adam 5e-4, a tenth of it at 90 and 120 of 140
    epochs."""
    recipe = Train_stage_1.parse(["--network", "heatmap", "--recipe", "original"]).recipe
    assert recipe.options == {
        "backbone": "resnet50",
        "attention": 1,
        "softmax": 0,
        "decoding": "quarter",
        "spread": 1 / 32,
    }
    assert (recipe.loss, recipe.heatmaps, recipe.heatmap_loss) == (
        "none",
        1,
        "mse",
    ) and losses.TARGET_PEAK == 255
    assert type(recipe.optimiser_of(nn.Linear(2, 2), CPU)) is torch.optim.Adam
    rates = [recipe.rate(epoch * 10, 1400) for epoch in (0, 89, 90, 119, 120, 139)]
    assert rates == pytest.approx([5e-4, 5e-4, 5e-5, 5e-5, 5e-6, 5e-6])
    assert (
        recipe.ranges.turn_deg,
        recipe.ranges.turn_share,
        recipe.ranges.scale,
        recipe.ranges.mirror,
    ) == (40, 0.6, 0.3, 0.5)
    with torch.device("meta"):
        network = Heatmap_stage_1(17, **recipe.options)
    assert [network.cells(size).sigma for size in ((192, 256), (288, 384))] == [2, 3]


@pytest.mark.parametrize(
    "entries, said",
    [
        (["loss=l1"], "loss=none"),
        (["heatmaps=0"], "above 0"),
        (["heatmap_loss=mse"], "softmax=0"),
        (["softmax=0"], "heatmap_loss=mse"),
    ],
)
def test_entries_that_do_not_go_together_are_one_line(entries, said, capsys):
    with pytest.raises(SystemExit) as stop:
        Train_stage_1.parse(["--network", "heatmap", *(f"--vary={entry}" for entry in entries)])
    line = capsys.readouterr().err
    assert stop.value.code == 2 and said in line and line.count("\n") == 1
    Train_stage_1.parse(["--network", "heatmap", "--vary=heatmap_loss=mse", "--vary=softmax=0"])


@pytest.mark.parametrize(
    "options, said",
    [
        ({"backbone": "vgg16"}, "resnet152"),
        ({"attention": 2}, "attention=2"),
        ({"decoding": "best"}, "vertex"),
        ({"spread": 0.0}, "spread=0"),
    ],
)
def test_options_that_there_are_not_are_one_line(options, said):
    with pytest.raises(InputError, match=said):
        networks.build("heatmap", 3, options)


def test_weights_in_torchvisions_format_are_of_the_backbone_that_was_named(tmp_path):
    torch.manual_seed(1)
    weights = models.resnet18().state_dict()
    torch.save(weights, tmp_path / "resnet18.pth")
    network = Heatmap_stage_1(14, "resnet18")
    assert (
        pretrained.load_initial(network, str(tmp_path / "resnet18.pth"), LSP) == "file resnet18.pth"
    )
    assert all(
        torch.equal(value, weights[name]) for name, value in network.backbone.state_dict().items()
    )
    with torch.device("meta"), pytest.raises(InputError, match="resnet18.pth"):
        pretrained.load_initial(
            Heatmap_stage_1(14, "resnet34"), str(tmp_path / "resnet18.pth"), LSP
        )


def test_a_whole_models_network_and_backbone_go_on_unless_others_are_named(tmp_path, capsys):
    facts = {"network": "heatmap", "options": {"backbone": "resnet18", "softmax": 0}}
    (tmp_path / "model_1.json").write_text(json.dumps(facts))
    (tmp_path / "model_1.pt").touch()
    own = ["--weights", str(tmp_path)]
    chosen = Train_stage_1.parse(own)
    assert chosen.network == "heatmap" and chosen.recipe.options["backbone"] == "resnet18"
    assert chosen.recipe.options["softmax"] == 1  # the recipe's, not the model's
    varied = Train_stage_1.parse([*own, "--vary", "backbone=resnet34"])
    assert varied.recipe.options["backbone"] == "resnet34"
    assert Train_stage_1.parse([*own, "--network", "resnet"]).network == "resnet"
    for weights in ("none", "auto", str(tmp_path / "a.pth")):
        assert Train_stage_1.parse(["--weights", weights]).network == "resnet"
    for broken in ({"network": "other"}, {"network": ["heatmap"]}, {"options": 3}):
        (tmp_path / "model_1.json").write_text(json.dumps(broken))
        fails(Train_stage_1.main, own, capsys, "model_1.json", "network")


@pytest.mark.parametrize("shipped", [False, True])
def test_joints_of_another_skeletons_model_are_taken_by_name_on_both_sides_of_the_mixture(shipped):
    """A shipped model's matrices are float16."""
    torch.manual_seed(0)
    there = ("neck", "left_hand", "right_hand")
    here = ("right_hand", "neck", "tail")  # as many, in another order
    other = drawn(Heatmap_stage_1(3, "resnet18")).float()
    weights = ship.halved(other.state_dict(), "model_1.pt") if shipped else other.state_dict()
    other.load_state_dict(weights)
    network = Heatmap_stage_1(3, "resnet18")
    before = checkpoint.weights_of(network)
    assert adopt(network, weights, there, here) == len(before)
    places = [(0, 2), (1, 0)]  # of right_hand and of neck, here and there
    for name in (
        "attention.kernel",
        "attention.unary.weight",
        "attention.unary.bias",
        "maps.weight",
        "mix.bias",
    ):
        own = network.get_parameter(f"joints.{name}")
        for mine, theirs in places:
            assert torch.equal(own[mine], other.get_parameter(f"joints.{name}")[theirs]), name
        assert torch.equal(own[2], before[f"joints.{name}"][2]), name
    mixed = network.joints.mix.weight
    for mine, theirs in places:
        for column, their_column in places:
            assert torch.equal(mixed[mine, column], other.joints.mix.weight[theirs, their_column])
    assert torch.equal(mixed[2], before["joints.mix.weight"][2])
    assert torch.equal(network.backbone.conv1.weight, other.backbone.conv1.weight)


# -- cells and decoding


@pytest.mark.parametrize("size", SIZES)
def test_cells_lie_evenly_about_the_centre_four_pixels_apart(size):
    network = Heatmap_stage_1(1, "resnet18").eval()
    cells = network.cells(size)
    with torch.inference_mode():
        maps = network.predict_heatmaps(torch.rand(1, 3, size[1], size[0]))[0, 0]
    assert len(cells.centres) == maps.numel()
    places = cells.centres.unflatten(0, maps.shape)  # (h, w, 2)
    torch.testing.assert_close(cells.size * torch.tensor(size), torch.tensor([4.0, 4.0]))
    torch.testing.assert_close(places.flip(0, 1), -places)
    torch.testing.assert_close(places[0, 1, 0] - places[0, 0, 0], cells.size[0])
    torch.testing.assert_close(places[1, 0, 1] - places[0, 0, 1], cells.size[1])


@pytest.mark.parametrize("decoding, most", [("vertex", 1e-3), ("quarter", 1.001)])
@pytest.mark.parametrize("size", SIZES)
def test_perfect_heatmaps_decode_to_their_joints(size, decoding, most):
    """By the vertex exactly; by the quarter shift within a quarter of a cell, one pixel, but beyond
    the last cells."""
    torch.manual_seed(0)
    network = Heatmap_stage_1(6, "resnet18", decoding=decoding)
    inside = 1 if decoding == "vertex" else 1 - 8 / min(size)
    true = inside * (torch.rand(40, 6, 2) - 0.5)
    found = network.decode(perfect(network, true, size), size)
    assert ((found.joints - true) * torch.tensor(size)).abs().max() < most
    between_cells = math.exp(-(0.5**2) / (max(size) / 128) ** 2)  # half a cell off along both axes
    assert 0.99 * between_cells < found.confidence.min() and found.confidence.max() <= 1
    probabilities = perfect(network, true, size).flatten(2)
    probabilities /= probabilities.sum(2, keepdim=True) * heatmaps.highest_share(max(size) / 128)
    again = network.decode(probabilities.unflatten(2, (8 * math.ceil(size[1] / 32), -1)), size)
    assert ((again.joints - true) * torch.tensor(size)).abs().max() < most


def test_a_heatmap_of_which_nothing_can_be_told_is_decoded_to_a_cell():
    for shift in heatmaps.SHIFTS.values():
        for maps in (
            torch.zeros(1, 1, 8, 8),
            torch.full((1, 1, 8, 8), -3.0),
            torch.eye(8)[None, None],
        ):
            places = maps.flatten(2).argmax(2)
            assert (shift(maps, places).abs() <= 0.5).all()


class Perfect(Heatmap_stage_1):
    """A network whose heatmaps are perfect, of joints `true` (N, J, 2), normalised, whatever the
    images show."""

    def predict_heatmaps(self, images):
        return perfect(self, self.true, (images.shape[3], images.shape[2]))

    def forward(self, images):
        return self.decode(self.predict_heatmaps(images), (images.shape[3], images.shape[2]))


@pytest.mark.parametrize("decoding, most_cells", [("vertex", 0.001), ("quarter", 0.251)])
def test_perfect_heatmaps_lead_back_to_the_photographs(decoding, most_cells, dolls):
    """Within half a pixel of the photograph by the vertex; by the quarter shift within a quarter of
    a cell."""
    data = open_dataset(dolls)
    network = Perfect(5, "resnet18", decoding=decoding)
    size = networks.input_size(data.view_box[2:])
    model = Stage_1(network, "heatmap", DOLL, data.frame, data.margin, size)
    network.true = torch.from_numpy(data.normalised(data.test_labels)).float()
    rows = np.arange(len(data.test_images))
    joints, _ = model.predict(Frames(data.test_images, CPU), rows, RUN)
    errors = np.abs(data.to_photographs(joints, "test") - true_joints("test"))  # (N, J, 2) px
    cell = 4 * data.boxes("test")[:, 2] / size[0]  # (N,) px of the photographs
    assert (errors.max((1, 2)) < most_cells * cell).all()
    if decoding == "vertex":
        assert errors.max() < 0.5


# -- the flip test


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_flip_test_is_of_heatmaps(recipe, dolls):
    """Poses of mirror images are the mirrored poses, whatever the network; the mean is of heatmaps,
    not of joints."""
    torch.manual_seed(0)
    data = open_dataset(dolls)
    network = Heatmap_stage_1(5, **RECIPES[recipe].options | {"backbone": "resnet18"})
    nn.init.normal_(network.joints.maps.weight, std=0.05)
    size = networks.input_size(data.view_box[2:], 64)
    model = Stage_1(network.eval(), "heatmap", DOLL, data.frame, data.margin, size)
    images, mirrors = (
        Frames(np.ascontiguousarray(data.test_images[:, :, ::way]), CPU) for way in (1, -1)
    )
    rows = np.arange(len(data.test_images))
    joints, confidence = model.predict(images, rows, RUN, flip_test=True)
    mirrored, sure = model.predict(mirrors, rows, RUN, flip_test=True)
    np.testing.assert_allclose(
        geometry.mirror(mirrored, data.frame[0], DOLL.flip), joints, atol=1e-2
    )
    np.testing.assert_allclose(sure[:, list(DOLL.flip)], confidence, atol=1e-4)
    alone, _ = model.predict(images, rows, RUN)
    assert np.abs(alone - joints).max() > 1
    maps = []
    with torch.inference_mode():
        for frames in (images, mirrors):
            maps.append(
                network.predict_heatmaps(model.view(frames.take(rows).permute(0, 3, 1, 2) / 255))
            )
        mean = (maps[0] + maps[1].flip(3)[:, list(DOLL.flip)]) / 2
        expected = network.decode(mean, size).joints
    np.testing.assert_allclose(
        geometry.denormalise(expected.numpy(), data.view_box), joints, atol=1e-2
    )


# -- through the steps


def linked(folder, source):
    """Links to step 1's arrays in another folder; the flags that name it."""
    for path in source.glob("*.*"):
        if path.name.startswith(("train_", "test_", "dataset")):
            (folder / path.name).symlink_to(path)
    return ["--workdir", str(folder)]


@pytest.fixture
def undrawn(monkeypatch):
    """No pictures are drawn."""
    for step in (test_stage_1, test_stage_2):
        monkeypatch.setattr(step, "draw", lambda *_: {})


def test_all_steps_after_the_heatmap_network(undrawn, dolls, tmp_path):
    own = linked(tmp_path, dolls)
    Train_stage_1.main([*own, *SMALL, "--rows", "8", "--epochs", "2", "--batch-size", "4"])
    facts = json.loads((tmp_path / "model_1.json").read_text())
    assert facts["network"] == "heatmap" and facts["options"] == RECIPES["best"].options | {
        "backbone": "resnet18"
    }
    assert facts["input_size"] == [48, 64] and facts["held_out_loss"] > 0
    test_stage_1.main([*own, *FP32, "--flip-test"])
    sure = np.load(tmp_path / "test_confidence_1.npy")
    assert sure.shape == (8, 5) and (0 <= sure).all() and (sure <= 1).all()
    assert json.loads((tmp_path / "metrics_stage_1.json").read_text())["flip_test"] is True
    Generate_train_output.main([*own, *FP32])
    Train_stage_2.main(
        [
            *own,
            "--joints",
            "hat",
            "--rows",
            "4",
            "--epochs",
            "1",
            "--batch-size",
            "2",
            "--simulated",
            "1",
            "--crop-px",
            "67",
            *FP32,
        ]
    )
    test_stage_2.main([*own, *FP32])
    assert (
        np.isfinite(np.load(tmp_path / "test_output_2.npy")).all()
        and (tmp_path / "report.html").exists()
    )


@pytest.mark.parametrize("recipe, attention", [("original", 1), ("best", 0)])
def test_each_recipe_trains_and_is_scored(recipe, attention, undrawn, dolls, tmp_path):
    own = linked(tmp_path, dolls)
    Train_stage_1.main(
        [
            *own,
            *SMALL,
            "--recipe",
            recipe,
            "--vary",
            f"attention={attention}",
            "--rows",
            "4",
            "--epochs",
            "1",
            "--batch-size",
            "2",
        ]
    )
    test_stage_1.main([*own, *FP32])
    assert np.isfinite(np.load(tmp_path / "test_output_1.npy")).all()


def test_it_learns_where_joints_are():
    """A network of one joint too: after some steps on two images its joints are where they are."""
    torch.manual_seed(0)
    network = Heatmap_stage_1(1, "resnet18")
    images = torch.rand(2, 3, 64, 64)
    true = 0.8 * (torch.rand(2, 1, 2) - 0.5)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(15):
        optimiser.zero_grad()
        found = network(images)
        losses.heatmap_loss(
            found.heatmaps, true, network.cells((64, 64)), losses.count_of(true, "mse")
        ).backward()
        optimiser.step()
    assert ((found.joints - true).abs() * 64).max() < 4  # a cell
