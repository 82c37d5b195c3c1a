"""The two networks: shapes, layer facts, LRN, initial weights."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import weight_count, write_refiner
from torch import nn
from torchvision.models import resnet34

from Cascade_1_net import CROP_PX, EXPECTED_OFFSET, LARGEST_CROP_PX, SMALLEST_CROP_PX, Alex_net_c1
from deeppose import checkpoint, crops, files, networks, runtime
from deeppose.cascade import fit_gain
from deeppose.examples import ERROR_CAPS
from deeppose.heatmaps import TARGET_SIGMA
from deeppose.losses import SMOOTH_L1_BETA, TARGET_PEAK, count_of, heatmap_loss, masked_loss
from deeppose.lrn import local_response_norm
from deeppose.pretrained import adopt, load_initial
from deeppose.refiners import load_refiner
from deeppose.shell import InputError, RunError
from deeppose.skeleton import Skeleton
from deeppose.skeletons import LSP
from deeppose.stage_1 import Stage_1
from Resnet_stage_1 import Resnet_stage_1

RUN = runtime.Runtime(torch.device("cpu"), "fp32")
HALF = ERROR_CAPS["joints"]


def asked(joint, count=2):
    """A refiner's second argument: that joint in each of `count` crops."""
    return torch.full((count,), joint)


def square_cells(size, kind=Resnet_stage_1):
    """Centres (cells, 2) of the heatmaps' cells in square images."""
    return kind.cells((size, size)).centres


def same_twice(network, *given):
    with torch.inference_mode():
        return torch.equal(network(*given).joints, network(*given).joints)


def test_stage_1_network_of_the_original():
    torch.manual_seed(0)
    network, images = Resnet_stage_1(14, "direct"), torch.rand(2, 3, 227, 227)
    assert weight_count(network.backbone) == pytest.approx(21.8e6, rel=0.005)
    added = weight_count(network.hidden) + weight_count(network.joints)
    assert added == pytest.approx(4.2e6, rel=0.01)
    dropouts = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    assert [module.p for module in dropouts] == [0.6]
    found = network.eval()(images)
    assert (
        found.joints.shape == (2, 14, 2) and found.heatmaps is None and same_twice(network, images)
    )
    assert found.confidence.shape == (2, 14) and found.confidence.isnan().all()
    with torch.inference_mode():
        assert not torch.equal(network.train()(images).joints, network(images).joints)


def test_stage_1_network():
    """Each joint is the mean position under its heatmap, so it moves with what the heatmap sees."""
    torch.manual_seed(0)
    network, images = Resnet_stage_1(14), torch.rand(2, 3, 227, 227)
    assert weight_count(network) == pytest.approx(21.7e6, rel=0.005)
    joints, confidence, log_heatmaps = network(images)
    assert confidence is None
    assert joints.shape == (2, 14, 2) and log_heatmaps.shape == (2, 14, 29 * 29)
    torch.testing.assert_close(log_heatmaps.exp().sum(2), torch.ones(2, 14))
    heatmaps = log_heatmaps.exp().reshape(2, 14, 29, 29)
    x = sum(heatmaps[..., i].sum(2) * ((8 * i + 0.5) / 227 - 0.5) for i in range(29))
    y = sum(heatmaps[..., i, :].sum(2) * ((8 * i + 0.5) / 227 - 0.5) for i in range(29))
    torch.testing.assert_close(joints, torch.stack([x, y], 2))
    assert network.eval()(images).joints.shape == (2, 14, 2) and same_twice(network, images)


def test_stage_1_network_of_images_that_are_no_squares():
    """Joints are in widths and heights; a network for 227 x 128 is one for 128 x 227 that sees
    images turned over."""
    torch.manual_seed(0)
    network = Resnet_stage_1(14)
    joints, _, log_heatmaps = network(torch.rand(2, 3, 128, 227))
    heatmaps = log_heatmaps.exp().reshape(2, 14, 16, 29)
    x = sum(heatmaps[..., i].sum(2) * ((8 * i + 0.5) / 227 - 0.5) for i in range(29))
    y = sum(heatmaps[..., i, :].sum(2) * ((8 * i + 0.5) / 128 - 0.5) for i in range(16))
    torch.testing.assert_close(joints, torch.stack([x, y], 2))


@pytest.mark.parametrize(
    "network, more", [(Resnet_stage_1, ()), (partial(Alex_net_c1, joints=(3,)), (asked(3),))]
)
def test_confidence_is_the_heatmaps_share_near_its_joint(network, more):
    """Within a cell and a half along both axes, whatever the images' proportions."""
    torch.manual_seed(0)
    network = network(14)
    heads = network.heatmaps
    nn.init.normal_(heads.joints.weight, std=0.1)
    images = torch.rand(2, 3, 129, 129)
    for module in network.modules():
        module.eval()
    seen = []
    heads.register_forward_hook(
        lambda module, inputs, output: seen.append(output.flatten(2).softmax(2))
    )
    with torch.inference_mode():
        joints, confidence, heatmaps = network(images, *more)
    assert heatmaps is None and confidence.shape == joints.shape[:-1]
    assert 0 <= confidence.min() and confidence.max() <= 1 and 0.1 < confidence.mean() < 0.9
    if more:
        return  # the prior comes on top
    cells = square_cells(129)
    for n, j in ((0, 0), (1, 5), (1, 13)):
        near = ((cells - joints[n, j]).abs() <= 1.5 * 8 / 129).all(1)
        assert confidence[n, j].item() == pytest.approx(seen[0][n, j][near].sum().item(), abs=1e-5)


def test_heatmap_cells_lie_where_their_receptive_fields_are_centred():
    """With all weights alike, the centre pixel is seen most by the cell that `cells` puts there,
    evenly around."""
    torch.manual_seed(0)
    network, size = Resnet_stage_1(1).eval().double(), 129  # small differences of large numbers
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.fill_(1 / module.weight[0].numel())
        images = torch.full((1, 3, size, size), 0.5, dtype=torch.float64)
        before = network.heatmaps(*network._features(images))[0, 0]
        images[:, :, size // 2, size // 2] = 1
        change = network.heatmaps(*network._features(images))[0, 0] - before
    assert square_cells(size)[change.argmax()].tolist() == pytest.approx([0, 0], abs=1e-6)
    torch.testing.assert_close(change, change.flip(0, 1), rtol=0.01, atol=0)


def only_coarse(network):
    """The network with a pyramid that hands on the coarsest features alone: convolutions see their
    middle only."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                middle = module.kernel_size[0] // 2
                module.weight.zero_()
                module.weight[:, :, middle, middle] = 1 / module.in_channels
        for layer in network.heatmaps.lateral:
            layer.bias.zero_()
        network.heatmaps.joints.bias.zero_()
        for layer in network.heatmaps.lateral[:2]:
            layer.weight.zero_()
    return network


SIZES = [
    (96, 96),
    (128, 128),
    (129, 129),
    (160, 160),
    (224, 224),
    (227, 227),
    (64, 100),
    (227, 128),
    (150, 67),
]


@pytest.mark.parametrize("height, width", SIZES)
def test_coarse_features_lie_where_they_are_seen(height, width):
    """A white pixel where the coarse cell k looks, at 32 k, is brightest in the heatmaps' cell 4
    k."""
    network = only_coarse(Resnet_stage_1(1).eval())
    with torch.inference_mode():
        for y, x in ((32, 32), (32 * ((height - 1) // 64), 32 * ((width - 33) // 32))):
            images = torch.zeros(1, 3, height, width)
            images[:, :, y, x] = 1
            heatmap = network.heatmaps(*network._features(images))[0, 0]
            assert divmod(heatmap.argmax().item(), heatmap.shape[1]) == (y // 8, x // 8)


@pytest.mark.parametrize("height, width", SIZES)
def test_the_pyramid_keeps_a_ramp_a_ramp(height, width):
    """Coarse features that tell their pixel's number become heatmaps that do, up to the last coarse
    cell."""
    network = only_coarse(Resnet_stage_1(1).eval())
    cells = [[-(-size // stride) for size in (height, width)] for stride in (8, 16, 32)]
    y, x = (32.0 * torch.arange(count) for count in cells[2])
    for ramp, axis in ((y[:, None].expand(cells[2]), 0), (x.expand(cells[2]), 1)):
        fine, middle, coarse = (
            torch.zeros(1, channels, *shape) for channels, shape in zip((128, 256, 512), cells)
        )
        heatmap = network.heatmaps(fine, middle, coarse + ramp)[0, 0]
        pixels = (8.0 * torch.arange(cells[0][axis])).clamp(max=ramp.max().item())
        expected = pixels[:, None].expand(cells[0]) if axis == 0 else pixels.expand(cells[0])
        torch.testing.assert_close(heatmap, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("size", [129, 227])
def test_the_pyramid_of_odd_maps_is_what_it_was(size):
    """Models that were trained before every size was right saw these sizes as they are seen now,
    bit for bit."""
    torch.manual_seed(0)
    network = Resnet_stage_1(14).eval()
    heads = network.heatmaps
    with torch.inference_mode():
        fine, middle, coarse = network._features(torch.rand(1, 3, size, size))
        features = heads.lateral[2](coarse)
        for place, finer in ((1, middle), (0, fine)):
            features = F.interpolate(features, finer.shape[2:], mode="bilinear", align_corners=True)
            features = heads.smooth[place](features + heads.lateral[place](finer))
        assert torch.equal(heads(fine, middle, coarse), heads.joints(features))


@pytest.mark.parametrize(
    "frame, margin, size, box",
    [
        ((227, 227), 1.0, (65, 65), (0, 0, 227, 227)),
        ((160, 200), 1.25, (64, 80), (16, 20, 128, 160)),
    ],
)
def test_what_a_network_takes_is_kept_beside_its_weights(frame, margin, size, box, tmp_path):
    """Frames are cut and reduced to it whoever calls, and a network loaded from its files does the
    same."""
    torch.manual_seed(0)
    images = torch.rand(2, 3, frame[1], frame[0])
    model = Stage_1(Resnet_stage_1(14).eval(), "resnet", LSP, frame, margin, size)
    checkpoint.save(
        tmp_path / "model_1.pt",
        checkpoint.weights_of(model.network),
        model.described() | {"options": {"head": "integral"}},
    )
    again, facts = networks.load(tmp_path, RUN)
    assert (
        facts["network"] == again.name == "resnet"
        and again.skeleton == LSP
        and again.input_size == size
    )
    with torch.inference_mode():
        seen = again.view(images)
        assert torch.equal(model.view(images), seen)
        assert torch.equal(
            seen, crops.crop(images, torch.tensor([[box]] * 2, dtype=torch.float), size)
        )
        assert again.network(seen).joints.shape == (2, 14, 2)
        assert torch.equal(model.network(seen).joints, again.network(seen).joints)


def test_a_model_that_does_not_tell_what_it_is_is_refused(tmp_path):
    model = Stage_1(Resnet_stage_1(14), "resnet", LSP, (227, 227), 1.0, (65, 65))
    facts = model.described() | {"options": {"head": "integral"}}
    path = tmp_path / "model_1.pt"
    checkpoint.save(path, checkpoint.weights_of(model.network), facts)
    for wrong in (
        {"network": "vgg"},
        {"options": {"head": "l7"}},
        {"options": {"tail": 1}},
        {"skeleton": {}},
        {"frame": [0, 227]},
        {"margin": "wide"},
        {"input_size": [65]},
    ):
        files.save_json(path.with_suffix(".json"), facts | wrong)
        with pytest.raises(InputError, match="model_1.json"):
            networks.load(tmp_path, RUN)
    files.save_json(path.with_suffix(".json"), facts | {"options": {"head": "direct"}})
    with pytest.raises(InputError, match="model_1.pt"):
        networks.load(tmp_path, RUN)
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="model_1.json"):
        networks.load(tmp_path, RUN)


@pytest.mark.parametrize("head", ["integral", "direct"])
def test_stage_1_network_scales_its_input_itself(head):
    network = Resnet_stage_1(14, head).eval()
    images, seen = torch.rand(1, 3, 227, 227), []
    network.backbone.conv1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(images)
    expected = (images - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
        [0.229, 0.224, 0.225]
    )[:, None, None]
    torch.testing.assert_close(seen[0], expected)


def test_cascade_network():
    torch.manual_seed(0)
    network, images = Alex_net_c1(14, (3,), "direct"), torch.rand(2, 3, 227, 227)
    assert weight_count(network) == pytest.approx(58e6, rel=0.01)
    convolutions = [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.padding[0])
        for m in network.modules()
        if isinstance(m, nn.Conv2d)
    ]
    assert convolutions == [
        (3, 96, 11, 4, 1),
        (96, 256, 5, 1, 2),
        (256, 384, 3, 1, 1),
        (384, 384, 3, 1, 1),
        (384, 256, 3, 1, 1),
    ]
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.6, 0.6]
    assert network.features(images).shape == (2, 256, 6, 6)
    found = network.eval()(images, asked(3))
    assert (
        found.joints.shape == (2, 2)
        and found.confidence.isnan().all()
        and same_twice(network, images, asked(3))
    )
    (first, _, heatmaps), (second, _, _) = (
        network.train()(images, asked(3)),
        network(images, asked(3)),
    )
    assert heatmaps is None and not torch.equal(first, second)
    assert "gain" in network.state_dict() and network.gain.shape == (1,)
    assert Alex_net_c1(14, range(14)).gain.shape == (14,)


def test_cascade_network_with_heatmaps():
    """It begins by leaving every estimate where it is; then its offset is the mean position under its
    joint's."""
    torch.manual_seed(0)
    network, images = Alex_net_c1(14, (3,)), torch.rand(2, 3, 227, 227)
    assert weight_count(network) == pytest.approx(4.2e6, rel=0.01)
    offsets, confidence, log_heatmaps = network(images, asked(3))
    assert (
        confidence is None and log_heatmaps.shape == (2, 14, 27 * 27) and offsets.abs().max() < 0.01
    )
    nn.init.normal_(network.heatmaps.joints.weight)
    offsets, _, log_heatmaps = network(images, asked(3))
    heatmap = log_heatmaps[:, 3].exp().reshape(2, 27, 27)
    at = torch.tensor([(8 * i + 8.5) / 227 - 0.5 for i in range(27)])
    torch.testing.assert_close(offsets, torch.stack([heatmap.sum(1) @ at, heatmap.sum(2) @ at], 1))
    assert network.eval()(images, asked(3)).joints.shape == (2, 2) and same_twice(
        network, images, asked(3)
    )


def test_cascade_heatmaps_expect_the_joint_near_the_centre():
    """Of all joints only the network's own: its flat heatmap falls off like a Gaussian of EXPECTED_OFFSET
    box sides."""
    network = Alex_net_c1(14, (3,))
    log_heatmaps = network(torch.rand(2, 3, 227, 227), asked(3)).heatmaps
    cells = square_cells(CROP_PX, Alex_net_c1).square().sum(1)
    fallen = log_heatmaps[0, 3] + cells / (2 * EXPECTED_OFFSET**2)
    assert fallen.std() < 1e-4 and log_heatmaps[0, [0, 1, 2, *range(4, 14)]].std() < 1e-4


# all remainders by 8
@pytest.mark.parametrize("size", [67, 68, 69, 70, 71, 72, 73, 74, 100, 131, 227])
def test_cascade_cells_lie_where_their_receptive_fields_are_centred(size):
    """With all weights alike, a pixel near the centre is seen most by the cell that `cells` puts
    nearest."""
    network = Alex_net_c1(1, (0,), crop_px=size).eval().double()
    pixel = size // 2
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                module.weight.fill_(1 / module.weight[0].numel())
        images = torch.full((1, 3, size, size), 0.5, dtype=torch.float64)
        seen = []
        network.heatmaps.register_forward_hook(
            lambda module, inputs, output: seen.append(output[0, 0].flatten())
        )
        network(images, asked(0, 1))
        images[:, :, pixel, pixel] = 1
        network(images, asked(0, 1))
    change, cells = (seen[1] - seen[0]).abs(), square_cells(size, Alex_net_c1)
    assert len(change) == len(cells)
    centre = (change[:, None] * cells).sum(0) / change.sum()
    expected = (pixel + 0.5) / size - 0.5
    assert centre.tolist() == pytest.approx([expected, expected], abs=4 / size)  # half a cell


def test_cascade_cells_are_as_many_as_its_heatmaps_have_at_every_crop_size():
    with torch.device("meta"):
        first, pool = nn.Conv2d(3, 1, 11, 4, 1), nn.MaxPool2d(3, 2)
        coarser = nn.ConvTranspose2d(1, 1, 3, 2)
        for size in range(SMALLEST_CROP_PX, LARGEST_CROP_PX + 1):
            fine = pool(first(torch.empty(1, 3, size, size)))
            assert coarser(pool(fine), output_size=fine.shape[2:]).shape == fine.shape
            assert len(Alex_net_c1.cells((size, size), "meta").centres) == fine[0, 0].numel(), size


def test_a_refiners_joint_and_crops_travel_beside_its_weights(tmp_path):
    network = Alex_net_c1(14, (5,), crop_px=131)
    network.gain.fill_(0.25)
    facts = {
        "joints": ["left_ankle"],
        "skeleton": LSP.described(),
        "options": {"head": "integral"},
        "crop_px": 131,
        "crop_scale": 1.5,
        "smallest_crop_px": 30.0,
    }
    path = tmp_path / "model_left_ankle.pt"
    checkpoint.save(path, checkpoint.weights_of(network), facts)
    refiner = load_refiner(tmp_path, "left_ankle", LSP, RUN)
    assert (refiner.network.joints, refiner.network.crop_px, refiner.gain(5)) == ((5,), 131, 0.25)
    assert (refiner.boxing.scale, refiner.boxing.smallest_px) == (1.5, 30)
    other = Skeleton("other", LSP.joints[::-1]).described()
    for wrong in (
        {"joints": ["tail"]},
        {"joints": 5},
        {"crop_px": 66},
        {"crop_px": 1001},
        {"skeleton": other},
        {"options": {"head": "direct"}},
        {"options": {}},
        {"crop_scale": None},
    ):
        files.save_json(path.with_suffix(".json"), facts | wrong)
        with pytest.raises(InputError, match="model_left_ankle.json"):
            load_refiner(tmp_path, "left_ankle", LSP, RUN)
    # 14 gains, not 1
    files.save_json(path.with_suffix(".json"), facts | {"joints": list(LSP.joints)})
    with pytest.raises(InputError, match="model_left_ankle.pt"):
        load_refiner(tmp_path, "left_ankle", LSP, RUN)
    with pytest.raises(ValueError, match="131"):
        Alex_net_c1(14, (5,), "direct", 131)


def test_a_direct_refiner_of_before_loads(tmp_path):
    """Its last layer had another name."""
    network = write_refiner(tmp_path, "left_ankle", Alex_net_c1(LSP.joint_count, (5,), "direct"))
    path = tmp_path / "model_left_ankle.pt"
    weights = {
        name.replace("offset.", "displacement."): value
        for name, value in torch.load(path, weights_only=True).items()
    }
    assert "displacement.bias" in weights
    torch.save(weights, path)
    loaded = load_refiner(tmp_path, "left_ankle", LSP, RUN).network
    assert torch.equal(loaded.offset.weight, network.offset.weight)


@pytest.mark.parametrize("head, size", [("integral", 129), ("direct", 225)])
def test_a_mirrored_refiner_finds_the_opposite_joint_in_the_mirror_image(head, size):
    torch.manual_seed(0)
    network, images, flip = Alex_net_c1(14, (3,), head), torch.rand(2, 3, size, size), LSP.flip
    if head == "integral":
        nn.init.normal_(network.heatmaps.joints.weight)
        network.heatmaps.smooth[1].eval()  # of the layers that act otherwise in training
    else:
        network.eval()
    before, _, heatmaps = network(images, asked(3))
    of_mirror_image = network(images.flip(3), asked(3)).joints
    assert (before - of_mirror_image * before.new_tensor([-1, 1])).abs().max() > 1e-4
    network.mirror(flip)
    found, _, mirrored = network(images.flip(3), asked(flip[3]))
    if head == "integral":
        mirrored = mirrored.unflatten(2, (15, 15))
        torch.testing.assert_close(
            mirrored, heatmaps.unflatten(2, (15, 15))[:, flip].flip(3), atol=1e-4, rtol=1e-3
        )
    torch.testing.assert_close(found, before * before.new_tensor([-1, 1]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "make, last",
    [
        (lambda: Resnet_stage_1(14), "heatmaps.joints"),
        (lambda: Resnet_stage_1(14, "direct"), "joints"),
        (lambda: Alex_net_c1(14, (3,)), "heatmaps.joints"),
        (lambda: Alex_net_c1(14, (3,), "direct"), "offset"),
    ],
)
def test_last_layers_and_outputs_are_float32_under_autocast(make, last):
    network, images, dtypes = make().eval(), torch.rand(1, 3, 227, 227), []
    hidden = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    for layer in (hidden, network.get_submodule(last)):
        layer.register_forward_hook(
            lambda module, inputs, output: dtypes.append(
                {module.weight.dtype, inputs[0].dtype, output.dtype}
            )
        )
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        found = (
            network(images) if isinstance(network, Resnet_stage_1) else network(images, asked(3, 1))
        )
        assert found.joints.dtype == found.confidence.dtype == torch.float32
    assert torch.bfloat16 in dtypes[0] and dtypes[1] == {torch.float32}


def test_lrn_does_something_at_real_activations():
    """At 0...255 LRN changes activations by a good part; at [0, 1] it would do nothing."""
    torch.manual_seed(0)
    network, images = Alex_net_c1(14, (0,)).eval(), torch.rand(1, 3, 227, 227)
    with torch.inference_mode():
        activations = network.features[:2](images * 255 - network.mean)
        change = 1 - local_response_norm(activations).sum() / activations.sum()
        small = network.features[:2](images)
        change_if_small = 1 - local_response_norm(small).sum() / small.sum()
    assert change > 0.02 and change_if_small < 1e-4


@pytest.mark.parametrize("shape", [(2, 96, 13, 13), (3, 5, 40, 40), (1, 256, 27, 27)])
def test_lrn_equals_torchs(shape):
    torch.manual_seed(0)
    values = torch.rand(shape) * 400
    grad = torch.randn(shape)
    ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    y, expected = local_response_norm(ours), F.local_response_norm(theirs, 5, 1e-4, 0.75, 1.0)
    y.backward(grad)
    expected.backward(grad)
    assert (y - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert (ours.grad - theirs.grad).abs().max() <= 1e-5 * theirs.grad.abs().max()


def test_lrn_gradient_in_float64():
    torch.manual_seed(0)
    values = (torch.rand(2, 7, 3, 3, dtype=torch.float64) * 100).requires_grad_()
    assert torch.autograd.gradcheck(local_response_norm, values)


def test_masked_loss_leaves_unlabelled_coordinates_out():
    predicted = torch.tensor([[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]], requires_grad=True)
    true = torch.tensor([[[1.0, 0], [torch.nan, torch.nan]], [[5, 9], [7, 8]]])
    loss = masked_loss(predicted, true)
    loss.backward()
    assert loss.item() == pytest.approx((4 + 9) / 6)
    assert torch.isfinite(predicted.grad).all() and predicted.grad[0, 1].abs().sum() == 0
    assert masked_loss(predicted, torch.full_like(true, torch.nan)).item() == 0
    assert masked_loss(predicted, true, "l1").item() == pytest.approx((2 + 3) / 6)
    assert masked_loss(predicted, true, "smooth_l1").item() == pytest.approx(
        (2 + 3 - SMOOTH_L1_BETA) / 6
    )
    assert masked_loss(predicted, true, "image_mse").item() == pytest.approx((4 / 1 + 9 / 2) / 2)
    assert masked_loss(predicted, true, "none").item() == 0
    unlabelled = torch.full_like(true, torch.nan)
    for kind in ("mse", "l1", "smooth_l1", "image_mse"):
        assert masked_loss(predicted, unlabelled, kind).item() == 0
        # a batch dealt to two processes, one of which has no label
        more = torch.cat([true, unlabelled])
        whole = masked_loss(predicted, true, kind, count_of(more, kind))
        assert whole.item() == masked_loss(predicted, true, kind).item()
        assert masked_loss(predicted, unlabelled, kind, count_of(more, kind)).item() == 0


def test_a_loss_of_another_name_is_no_loss():
    joints = torch.zeros(1, 1, 2)
    with pytest.raises(ValueError, match="l2"):
        masked_loss(joints, joints, "l2")
    cells = Resnet_stage_1.cells((65, 65))
    with pytest.raises(ValueError, match="l2"):
        heatmap_loss(torch.zeros(1, 1, len(cells.centres)), joints, cells, torch.tensor(2), "l2")


def test_heatmap_loss_is_least_for_the_gaussian_about_the_joint_and_leaves_unlabelled_joints_out():
    true = torch.tensor([[[0.1, -0.2], [torch.nan, torch.nan]]])  # (1, 2, 2)
    cells = Resnet_stage_1.cells((129, 129))
    distance = (cells.centres - true[0, 0]).square().sum(1)
    gaussian = (-distance / (2 * (TARGET_SIGMA * 8 / 129) ** 2)).exp()
    wanted = (gaussian / gaussian.sum()).expand(1, 2, -1)
    least = heatmap_loss(wanted.log().clamp(min=-1e9), true, cells, torch.tensor(1))
    assert least.item() == pytest.approx(
        -(wanted[0, 0] * wanted[0, 0].log().clamp(min=-1e9)).sum().item(), rel=1e-5
    )
    flat = torch.full_like(wanted, -np.log(17 * 17)).requires_grad_()
    loss = heatmap_loss(flat, true, cells, torch.tensor(1))
    loss.backward()
    assert loss > least and flat.grad[0, 1].abs().sum() == 0 and torch.isfinite(flat.grad).all()
    high = TARGET_PEAK * gaussian.expand(1, 2, -1)
    assert heatmap_loss(high, true, cells, torch.tensor(1), "mse").item() == pytest.approx(
        0, abs=1e-4
    )
    assert heatmap_loss(high + 3, true, cells, torch.tensor(1), "mse").item() == pytest.approx(
        9, rel=1e-4
    )


def test_heatmaps_gaussian_is_round_in_pixels():
    """Cells of images that are no squares are as many pixels wide as high."""
    true = torch.tensor([[[0.05, -0.1]]])
    cells = Resnet_stage_1.cells((129, 257))
    pixels = (cells.centres - true[0, 0]) * torch.tensor([129.0, 257.0])
    gaussian = (-pixels.square().sum(1) / (2 * (TARGET_SIGMA * 8) ** 2)).exp()[None, None]
    assert heatmap_loss(TARGET_PEAK * gaussian, true, cells, torch.tensor(1), "mse").item() < 1e-3


def test_gain_leaves_the_least_error_within_0_and_1():
    rng = np.random.default_rng(0)
    said = rng.normal(0, 0.2, (50, 1, 2)).astype(np.float32)
    assert fit_gain(said, 0.3 * said, HALF) == pytest.approx(0.3)
    assert fit_gain(said, 0.3 * said + rng.normal(0, 0.01, said.shape), HALF) == pytest.approx(
        0.3, abs=0.05
    )
    gross = 0.6 * said
    # some that are far off whatever it says do not decide
    gross[::7] = rng.uniform(2, 4, gross[::7].shape)
    assert fit_gain(said, gross, HALF) == pytest.approx(0.6)
    assert fit_gain(said, 2 * said, HALF) == 1 and fit_gain(said, -said, HALF) == 0
    assert fit_gain(0 * said, said, HALF) == 0
    assert fit_gain(said[:1], said[:1], HALF) == 0


def test_gain_is_zero_unless_it_clearly_helps():
    """Displacements that have nothing to do with what is wanted get a gain above 0 by chance in one
    case of 40."""
    rng = np.random.default_rng(1)
    pairs = rng.normal(size=(400, 2, 30, 1, 2))
    assert np.mean([fit_gain(said, wanted, HALF) > 0 for said, wanted in pairs]) < 0.06


def test_two_errors_of_an_image_that_are_alike_do_not_count_twice():
    """Were they taken for independent, chance would give a gain far more often."""
    rng = np.random.default_rng(2)
    pairs = rng.normal(size=(400, 2, 30, 1, 2)).repeat(4, 3)
    assert np.mean([fit_gain(said, wanted, HALF) > 0 for said, wanted in pairs]) < 0.06
    said, wanted = pairs[0]
    wanted = 0.4 * said + 0.01 * wanted
    some = wanted.copy()
    some[::2, 1:] = np.nan  # not labelled
    assert (
        fit_gain(said, some, HALF) == fit_gain(said, wanted, HALF) == pytest.approx(0.4, abs=0.02)
    )


def test_weights_from_a_file_in_torchvisions_format(tmp_path):
    torch.manual_seed(1)
    torch.save(resnet34().state_dict(), tmp_path / "resnet34.pth")
    torch.manual_seed(1)
    expected = resnet34().state_dict()
    for head in ("direct", "integral"):
        network = Resnet_stage_1(14, head)
        assert "resnet34.pth" in load_initial(network, str(tmp_path / "resnet34.pth"), LSP)
        if head == "integral":
            expected = {
                name: value for name, value in expected.items() if not name.startswith("fc.")
            }
        torch.testing.assert_close(dict(network.backbone.state_dict()), dict(expected))


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match="other.pth"):
        load_initial(Resnet_stage_1(14), str(tmp_path / "other.pth"), LSP)
    with pytest.raises(InputError, match="not found"):
        load_initial(Resnet_stage_1(14), str(tmp_path / "missing.pth"), LSP)


def test_auto_takes_cached_imagenet_weights_else_says_random(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("deeppose.pretrained._page_answers", lambda url: False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    network = Resnet_stage_1(14, "direct")
    assert load_initial(network, "auto", LSP) == "random" and "RANDOM" in capsys.readouterr().out
    with pytest.raises(RunError, match="weights none"):
        load_initial(network, "imagenet", LSP)
    # A file in the cache is taken, under the name that torchvision gives it.
    (tmp_path / "checkpoints").mkdir()
    torch.manual_seed(2)
    torch.save(resnet34().state_dict(), tmp_path / "checkpoints" / "resnet34-b627a593.pth")
    assert load_initial(network, "auto", LSP).startswith("ImageNet")
    torch.manual_seed(2)
    torch.testing.assert_close(network.backbone.state_dict(), resnet34().state_dict())


@pytest.mark.parametrize(
    "head, last, each", [("integral", "heatmaps.joints", 1), ("direct", "joints", 2)]
)
def test_joints_of_another_skeletons_model_are_taken_by_name(head, last, each):
    """And all else that fits; what the other model has no joint for stays as it was."""
    torch.manual_seed(0)
    wanted = ("nose", "right_knee", "head", "left_knee")
    network = Resnet_stage_1(len(wanted), head)
    before = checkpoint.weights_of(network)
    other = checkpoint.weights_of(Resnet_stage_1(14, head))
    assert adopt(network, other, LSP.joints, wanted) == len(before)
    after = network.state_dict()
    for name, value in after.items():
        if name not in (f"{last}.weight", f"{last}.bias"):
            assert torch.equal(value, other[name]), name
            continue
        found = value.unflatten(0, (len(wanted), each))
        assert torch.equal(found[0], before[name].unflatten(0, (len(wanted), each))[0])
        for place, joint in list(enumerate(wanted))[1:]:
            assert torch.equal(
                found[place], other[name].unflatten(0, (14, each))[LSP.index(joint)]
            ), (name, joint)
    assert adopt(network, nn.Linear(2, 2).state_dict(), LSP.joints, wanted) == 0


def test_initial_weights_from_a_model_of_another_skeleton(tmp_path):
    """The model's own .json tells its joints; the folder stands for the model in it."""
    torch.manual_seed(0)
    one = Skeleton("one", ("neck", "left_wrist", "right_wrist"))
    other = Resnet_stage_1(14)
    model = Stage_1(other, "resnet", LSP, (227, 227), 1.0, (65, 65))
    path = tmp_path / "model_1.pt"
    checkpoint.save(
        path, checkpoint.weights_of(other), model.described() | {"options": {"head": "integral"}}
    )
    for choice in (path, tmp_path):
        network = Resnet_stage_1(3)
        assert "model_1.pt" in load_initial(network, str(choice), one)
        assert torch.equal(
            network.heatmaps.joints.bias,
            other.heatmaps.joints.bias[[LSP.index(j) for j in one.joints]],
        )
        assert torch.equal(network.backbone.conv1.weight, other.backbone.conv1.weight)
    files.save_json(path.with_suffix(".json"), {"skeleton": None})
    with pytest.raises(InputError, match="model_1.json"):
        load_initial(Resnet_stage_1(3), str(tmp_path), one)
