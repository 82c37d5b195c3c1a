"""Seeds, the cascade's examples, simulated errors, and that the networks learn."""

import copy
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import (
    SMALL,
    SMALL_CROPS,
    SMALL_IMAGES,
    fails,
    reseal,
    same,
    weights,
    write_predictions,
)
from torch import nn
from torchvision.models import resnet34

import Train_stage_1
import Train_stage_2
from Cascade_1_net import RECIPES as REFINER_RECIPES
from Cascade_1_net import Alex_net_c1
from deeppose import cascade, checkpoint, crops, geometry, runtime
from deeppose import deltas as deltas_of
from deeppose.cascade import fit_gain, truncated_errors
from deeppose.dataset import Dataset
from deeppose.examples import ERROR_CAPS, Boxing, Examples, boxing_of
from deeppose.frame_examples import FrameExamples
from deeppose.loader import Frames
from deeppose.recipes import Recipe
from deeppose.refiners import load_refiner, load_refiners
from deeppose.skeletons import LSP
from Resnet_stage_1 import Resnet_stage_1

BEST = REFINER_RECIPES["best"]
ORIGINAL = REFINER_RECIPES["original"]
RUN = runtime.Runtime(torch.device("cpu"), "fp32")
SIGMA = LSP.crop_scale
SMALLEST_SIDE_PX = Recipe().smallest_crop_px
LSP_BOXING = boxing_of(Recipe(), LSP)


def test_stage_1_same_seed_same_weights(own_workdir):
    flags = [
        "--workdir",
        str(own_workdir),
        "--weights",
        "none",
        "--rows",
        "4",
        "--epochs",
        "2",
        *SMALL_IMAGES,
    ]
    Train_stage_1.main(flags)
    first = weights(own_workdir, "model_1")
    Train_stage_1.main(flags)
    assert same(first, weights(own_workdir, "model_1"))
    Train_stage_1.main([*flags, "--seed", "1"])
    assert not same(first, weights(own_workdir, "model_1"))
    facts = json.loads((own_workdir / "model_1.json").read_text())
    assert (
        facts["seed"] == 1
        and facts["settings"]["rows"] == 4
        and facts["initial_weights"] == "random"
    )


def test_stage_2_same_seed_same_weights_whatever_other_joints_are_trained(own_workdir):
    write_predictions(own_workdir)
    flags = ["--workdir", str(own_workdir), "--rows", "2", "--epochs", "1", *SMALL_CROPS]
    Train_stage_2.main([*flags, "--make-deltas", "--joints", "left_wrist,head"])
    first, deltas = weights(own_workdir, "model_head"), np.load(own_workdir / "deltas.npy")
    Train_stage_2.main([*flags, "--make-deltas", "--joints", "head"])
    assert same(first, weights(own_workdir, "model_head"))
    np.testing.assert_array_equal(deltas, np.load(own_workdir / "deltas.npy"))


def test_held_out_rows_are_never_trained_on(data, own_workdir, monkeypatch):
    """Neither stage passes a held-out row to its training epoch; with all rows wanted, they pass
    all others."""
    predicted, seen = write_predictions(own_workdir), {}

    def stage_1_epoch(network, optimiser, examples, rows, *rest):
        seen[1] = set(rows)
        return 0.0

    def stage_2_epoch(network, optimiser, examples, rows, *rest):
        seen[2] = set(rows)
        return 0.0

    monkeypatch.setattr(Train_stage_1, "train_epoch", stage_1_epoch)
    monkeypatch.setattr(Train_stage_2, "train_epoch", stage_2_epoch)
    everything, held_out = set(range(len(predicted))), set(data.held_out)
    Train_stage_1.main(
        ["--workdir", str(own_workdir), "--weights", "none", "--epochs", "1", *SMALL_IMAGES]
    )
    assert seen[1] == everything - held_out
    Train_stage_2.main(
        [
            "--workdir",
            str(own_workdir),
            "--make-deltas",
            "--joints",
            "head",
            "--epochs",
            "1",
            *SMALL_CROPS,
        ]
    )
    unlabelled = set(np.flatnonzero(np.isnan(data.train_labels[:, LSP.index("head")]).any(1)))
    assert seen[2] == everything - held_out - unlabelled


def test_no_test_row_reaches_training(own_workdir):
    """With other test images and labels, weights, gain and deltas stay the same, bit for bit."""
    write_predictions(own_workdir)
    found = []
    for poisoned in (False, True):
        if poisoned:
            for name in ("test_images", "test_labels"):
                array = np.load(own_workdir / f"{name}.npy")
                (own_workdir / f"{name}.npy").unlink()
                np.save(own_workdir / f"{name}.npy", np.full_like(array, 7))
            reseal(own_workdir)
        flags = ["--workdir", str(own_workdir), "--rows", "2", "--epochs", "1", *SMALL]
        Train_stage_1.main([*flags, "--weights", "none", "--input-px", "65"])
        Train_stage_2.main([*flags, "--make-deltas", "--joints", "neck", "--crop-px", "67"])
        found.append(
            (
                weights(own_workdir, "model_1"),
                weights(own_workdir, "model_neck"),
                {"deltas": torch.from_numpy(np.load(own_workdir / "deltas.npy"))},
            )
        )
    assert all(same(before, after) for before, after in zip(*found))


def test_the_saved_gain_is_that_of_the_saved_weights_for_both_sides(data, own_workdir):
    """A refiner that learns from mirror images is judged by the opposite joint's errors too,
    mirrored."""
    predicted = write_predictions(own_workdir)
    Train_stage_2.main(
        [
            "--workdir",
            str(own_workdir),
            "--make-deltas",
            "--joints",
            "left_knee",
            "--rows",
            "6",
            "--epochs",
            "2",
            *SMALL_CROPS,
        ]
    )
    network, rows = load_refiner(own_workdir, "left_knee", LSP, RUN).network, data.held_out
    joint = LSP.index("left_knee")
    images = torch.from_numpy(np.array(data.train_images[rows])).permute(0, 3, 1, 2) / 255
    said, wanted = [], []
    for mirrored in (False, True):
        poses, true = (joints[rows].astype(float) for joints in (predicted, data.train_labels))
        if mirrored:
            images = images.flip(3)
            poses, true = (
                geometry.mirror(joints, data.frame[0], LSP.flip) for joints in (poses, true)
            )
        sides = np.maximum(2 * np.linalg.norm(poses[:, 9] - poses[:, 2], axis=1), 40)
        estimates = poses[:, LSP.index("left_knee")]
        boxes = torch.from_numpy(
            np.column_stack([estimates - sides[:, None] / 2, sides, sides])
        ).float()
        with torch.inference_mode():
            seen = crops.crop(images, boxes[:, None], (67, 67))
            said.append(network(seen, torch.full((len(rows),), joint)).joints.numpy())
        wanted.append((true[:, LSP.index("left_knee")] - estimates) / sides[:, None])
    said, wanted = SIGMA * np.stack(said, 1), SIGMA * np.stack(wanted, 1)
    most = ERROR_CAPS["joints"]
    assert network.gain.item() == pytest.approx(fit_gain(said, wanted, most), abs=0.011)
    recorded = json.loads((own_workdir / "model_left_knee.json").read_text())["history"]
    assert recorded[0]["loss_without"] == pytest.approx(
        truncated_errors(wanted, most).mean(), rel=1e-5
    )
    assert (
        min(abs(entry["loss"] - truncated_errors(wanted - said, most).mean()) for entry in recorded)
        < 1e-4
    )


def write_refiner(folder, name, network):
    """A refiner's two files, as step 5 writes them."""
    facts = {
        "joints": [LSP.joints[joint] for joint in network.joints],
        "skeleton": LSP.described(),
        "options": {"head": network.head},
        "crop_px": network.crop_px,
        "crop_scale": SIGMA,
        "smallest_crop_px": SMALLEST_SIDE_PX,
    }
    checkpoint.save(folder / f"model_{name}.pt", checkpoint.weights_of(network), facts)


def test_refining_moves_each_joint_by_gain_times_offset_times_the_stage_1_side(data, tmp_path):
    """Refiners that always say the same: what becomes of the joints follows by arithmetic from the
    stage-1 poses."""
    said = {"left_shoulder": (0.3, -0.2), "right_hip": (-0.4, 0.1), "neck": (0.05, 0.25)}
    # the torso's joints first: refining them must not change the later boxes
    for name, move in said.items():
        network = Alex_net_c1(14, (LSP.index(name),), "direct")
        nn.init.zeros_(network.offset.weight)
        network.offset.bias.data = torch.tensor(move)
        network.gain.fill_(0.5)
        write_refiner(tmp_path, name, network)
    joints = np.random.default_rng(0).uniform(60, 160, data.test_labels.shape)
    joints[0, 9] = joints[0, 2] + 3  # a collapsed torso: the smallest box
    rows, frames = np.arange(len(joints)), Frames(data.test_images, RUN.device)
    unsure = np.full(joints.shape[:2], 0.25)
    refined, sure, gains = cascade.refine_from(tmp_path, LSP, frames, rows, joints, unsure, RUN)
    sides = np.maximum(2 * np.linalg.norm(joints[:, 9] - joints[:, 2], axis=1), 40)
    expected = joints.copy()
    for name, move in said.items():
        expected[:, LSP.index(name)] += 0.5 * np.array(move) * sides[:, None]
    np.testing.assert_allclose(refined, expected, atol=1e-4)
    assert {name for name, gain in gains.items() if gain is not None} == set(said)
    assert (sure == 0.25).all()  # the direct head does not know how sure it is: stage 1's stays


def test_a_loss_that_is_not_finite_stops_the_run(own_workdir, capsys):
    broken = resnet34().state_dict()
    broken["fc.bias"] += 1e30  # finite, but its square is not
    torch.save(broken, own_workdir / "broken.pth")
    fails(
        Train_stage_1.main,
        [
            "--workdir",
            own_workdir,
            "--weights",
            own_workdir / "broken.pth",
            "--epochs",
            "1",
            "--recipe",
            "original",
            *SMALL,
        ],
        capsys,
        "loss is inf",
        "epoch 1, step 0",
        "rows of train_images.npy",
        code=1,
    )
    assert not list(own_workdir.glob("model_1*"))


def deltas_at(joint, deltas):
    """Simulated errors (14, 40, 2) that are those of one joint, none of the others."""
    every = np.full((14, *deltas.shape), np.nan)
    every[joint] = deltas
    return every


def test_examples_are_the_truth_plus_deltas_and_the_real_prediction(data, own_workdir):
    predicted, joint = write_predictions(own_workdir), LSP.index("left_knee")
    deltas = np.random.default_rng(1).normal(0, 9, (40, 2))
    examples = Examples(data, None, predicted, (joint,), deltas_at(joint, deltas), ORIGINAL, 20)
    labelled = ~np.isnan(data.train_labels[:, joint]).any(1)
    assert set(examples.rows) == set(np.flatnonzero(labelled)) - set(data.held_out)
    rows = examples.rows[:5]
    boxes, targets, asked, _ = examples.draw(rows, np.random.default_rng(2))
    assert boxes.shape == (5, 21, 4) and targets.shape == (5, 21, 14, 2)
    assert asked.shape == (5, 21) and (asked == joint).all()
    moves = targets[:, :, joint]
    centres, sides = boxes[..., :2] + boxes[..., 2:] / 2, boxes[..., 2:]
    np.testing.assert_array_equal(sides[..., 0], sides[..., 1])
    true = data.train_labels[rows, joint][:, None]
    np.testing.assert_allclose(
        centres + moves * sides, np.broadcast_to(true, centres.shape), atol=1e-3
    )
    np.testing.assert_allclose(centres[:, 0], predicted[rows, joint], atol=1e-3)
    drawn = centres[:, 1:] - true
    for image in drawn:  # 20 different ones of the 40
        which = [int(np.abs(deltas - delta).sum(1).argmin()) for delta in image]
        assert len(set(which)) == 20 and np.abs(deltas[which] - image).max() < 1e-3
    diameter = np.linalg.norm(predicted[rows, 9] - predicted[rows, 2], axis=1)
    np.testing.assert_allclose(
        sides[:, 0, 0], np.maximum(SIGMA * diameter, SMALLEST_SIDE_PX), rtol=1e-5
    )


def test_mirrored_examples_are_those_of_the_mirrored_image(data, own_workdir):
    """Each crop and its targets are what the mirrored frame, labels, prediction and errors would
    have given."""
    predicted, joint = write_predictions(own_workdir), LSP.index("left_knee")
    deltas = np.random.default_rng(1).normal(0, 9, (40, 2))
    examples = Examples(
        data,
        Frames(data.train_images, RUN.device),
        predicted,
        (joint,),
        deltas_at(joint, deltas),
        Recipe(mirror=1.0),
        3,
    )
    labels = data.train_labels.astype(float)
    rows = examples.rows[~np.isnan(labels[examples.rows, LSP.index("right_knee")]).any(1)][:4]
    boxes, targets, asked, views = examples.draw(rows, np.random.default_rng(2))
    assert (asked == joint).all()
    images, targets = examples.crops_and_targets(
        examples.frames.take(rows), boxes, targets, views, 131, RUN
    )
    mirrored = geometry.mirror(predicted.astype(float), 227, LSP.flip)
    sides = LSP_BOXING.sides_px(mirrored, LSP)[rows]
    boxes = geometry.box_around(mirrored[rows, joint], sides)[:, None]
    frames = crops.to_float(examples.frames.take(rows)).flip(3)
    expected = crops.crop(frames, torch.from_numpy(boxes.astype(np.float32)), (131, 131))
    torch.testing.assert_close(images[::4], expected, atol=0.02, rtol=0)
    true = geometry.mirror(labels, 227, LSP.flip)[rows]
    wanted = (true - mirrored[rows, joint][:, None]) / sides[:, None, None]
    wanted[(np.abs(wanted) > 0.5).any(2)] = np.nan
    np.testing.assert_allclose(targets[::4].numpy(), wanted, atol=1e-3)
    simulated = (
        true[:, None, joint]
        - targets.numpy().reshape(4, 4, 14, 2)[:, 1:, joint] * sides[:, None, None]
    )
    for error in (simulated - true[:, None, joint]).reshape(-1, 2):
        assert np.isnan(error).any() or np.abs(deltas - error).sum(1).min() < 1e-2


@pytest.mark.parametrize("head", ["integral", "direct"])
def test_the_joint_asked_for_matters_to_the_shared_network(head):
    """By its prior, which the direct head has not."""
    torch.manual_seed(0)
    size = 67 if head == "integral" else 227
    network = Alex_net_c1(14, range(14), head, size).eval()
    images = torch.rand(2, 3, size, size)
    if head == "integral":
        nn.init.normal_(network.heatmaps.joints.weight, std=0.01)
    with torch.inference_mode():
        knee, ankle = (network(images, torch.full((2,), joint)).joints for joint in (4, 5))
        mixed = network(images, torch.tensor([4, 5])).joints
    assert torch.equal(knee, ankle) == (head == "direct")
    torch.testing.assert_close(mixed, torch.stack([knee[0], ankle[1]]))
    if head == "direct":
        return
    network.heatmaps.joints.reset_parameters()
    network.heatmaps.smooth[1].eval()
    maps = {joint: network.train()(images, torch.full((2,), joint)).heatmaps for joint in (4, 5)}
    distance = network.cells((size, size)).centres.square().sum(1)
    for joint, other in ((4, 5), (5, 4)):
        prior = maps[other][:, joint] - maps[joint][:, joint]  # up to a constant
        assert (prior[:, distance.argmax()] - prior[:, distance.argmin()] > 1).all()
    torch.testing.assert_close(maps[4][:, :4], maps[5][:, :4])


def test_the_shared_refiner_learns_all_joints(data, own_workdir):
    """A step changes each joint's heatmap; a crop is asked for a labelled joint; there is a gain
    for each of them."""
    predicted = write_predictions(own_workdir)
    examples = Examples(data, None, predicted, range(14), np.zeros((14, 40, 2)), BEST, 3)
    rows = examples.rows[:6]
    _, targets, asked, views = examples.draw(rows, np.random.default_rng(0))
    assert asked.shape == (6, 4) and len(np.unique(asked)) > 7
    source = np.where(views.mirrored.reshape(6, 4), np.array(LSP.flip)[asked], asked)
    assert not np.isnan(np.take_along_axis(targets, source[..., None, None], 2)).any()
    torch.manual_seed(0)
    network = Alex_net_c1(14, range(14), crop_px=67).train()
    before = checkpoint.weights_of(network)
    optimiser = BEST.optimiser_of(network, RUN.device)
    frames = torch.from_numpy(np.array(data.train_images[rows]))
    boxes, targets, asked, views = examples.draw(rows, np.random.default_rng(0))
    images, seen = examples.crops_and_targets(frames, boxes, targets, views, 67, RUN)
    loss = Train_stage_2.gradient(
        network, images, torch.from_numpy(asked).flatten(), seen, BEST, RUN
    )
    optimiser.step()
    changed = (
        (network.heatmaps.joints.weight - before["heatmaps.joints.weight"]).abs().amax((1, 2, 3))
    )
    assert torch.isfinite(loss) and (changed > 0).all()
    Train_stage_2.main(
        [
            "--workdir",
            str(own_workdir),
            "--make-deltas",
            "--refiner",
            "shared",
            "--rows",
            "2",
            "--epochs",
            "1",
            "--simulated",
            "2",
            "--crop-px",
            "67",
            *SMALL,
        ]
    )
    facts = json.loads((own_workdir / "model_shared.json").read_text())
    assert (
        facts["joints"] == list(LSP.joints)
        and len(facts["gain"]) == len(facts["by_joint"]["loss"]) == 14
    )
    ((refiner, joints),) = load_refiners(own_workdir, LSP, RUN)
    assert refiner.name == "shared" and joints == list(range(14))
    np.testing.assert_allclose(refiner.network.gain, facts["gain"], atol=1e-6)
    # a joint's own comes before the shared one
    write_refiner(own_workdir, "head", Alex_net_c1(14, (13,)))
    assert [joints for _, joints in load_refiners(own_workdir, LSP, RUN)] == [
        [13],
        list(range(13)),
    ]


# best's floor is high: entropy
@pytest.mark.parametrize("recipe, falls_to", [("original", 0.9), ("best", 0.97)])
def test_stage_2_learns(recipe, falls_to, own_workdir):
    """Some epochs on a few crops bring the training loss down."""
    write_predictions(own_workdir)
    Train_stage_2.main(
        [
            "--workdir",
            str(own_workdir),
            "--make-deltas",
            "--joints",
            "head",
            "--rows",
            "4",
            "--epochs",
            "6",
            "--simulated",
            "3",
            "--device",
            "cpu",
            "--batch-size",
            "2",
            "--recipe",
            recipe,
        ]
    )
    history = json.loads((own_workdir / "model_head.json").read_text())["history"]
    assert min(entry["train_loss"] for entry in history[3:]) < falls_to * history[0]["train_loss"]


def test_boxes_are_never_below_the_minimum():
    collapsed = np.full((3, 14, 2), 100.0)
    np.testing.assert_array_equal(LSP_BOXING.sides_px(collapsed, LSP), [SMALLEST_SIDE_PX] * 3)
    assert (LSP_BOXING.scale, LSP_BOXING.smallest_px) == (2, 40)
    assert boxing_of(Recipe(crop_scale=0.7, smallest_crop_px=9), LSP) == Boxing(0.7, 9)


def test_deltas_have_the_errors_mean_and_spread():
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 227, (4000, 14, 2))
    spread = np.array([[60, 25], [25, 40.0]])
    errors = rng.multivariate_normal([4, -3], spread, (4000, 14))
    true[:50, 3] = np.nan
    deltas = np.concatenate(
        [deltas_of.draw(true + errors, true, LSP, seed) for seed in range(60)], 1
    )
    assert deltas.shape == (14, 60 * 40, 2)
    np.testing.assert_allclose(deltas.mean(1), np.tile([4, -3], (14, 1)), atol=0.7)
    for joint in deltas:
        np.testing.assert_allclose(np.cov(joint.T), spread, atol=8)


def test_deltas_of_the_working_directory_come_before_the_projects(data, own_workdir):
    options = Train_stage_2.parse(["--workdir", str(own_workdir)])
    path, deltas = deltas_of.find(options, data, None, RUN)
    assert path == deltas_of.OWN and deltas.shape == (14, 40, 2) and np.abs(deltas).max() > 1
    np.save(own_workdir / "deltas.npy", np.ones((14, 40, 2)))
    path, deltas = deltas_of.find(options, data, None, RUN)
    assert path == own_workdir / "deltas.npy" and (deltas == 1).all()


def test_the_same_deltas_are_not_written_again(data, own_workdir):
    """Each of make's commands for a joint may draw them; the joints before it are not stale for
    that."""
    predicted = write_predictions(own_workdir)
    options = Train_stage_2.parse(["--workdir", str(own_workdir), "--make-deltas"])
    path, drawn = deltas_of.find(options, data, predicted, RUN)
    written = path.stat().st_mtime_ns
    _, again = deltas_of.find(options, data, predicted, RUN)
    assert path.stat().st_mtime_ns == written and (again == drawn).all()
    path.write_bytes(b"")
    assert (deltas_of.find(options, data, predicted, RUN)[1] == drawn).all()
    np.save(path, np.ones((14, 40, 3)))
    assert (deltas_of.find(options, data, predicted, RUN)[1] == drawn).all()


def test_evaluation_knows_a_network_that_is_right(data, own_workdir, monkeypatch):
    """If the network said exactly what is wanted, nothing would be left over and its gain would be
    1."""
    predicted = write_predictions(own_workdir)
    # two held-out rows are too few to tell a gain from chance
    held_out = data.trained_on[::2]
    data = replace(data, held_out=held_out, trained_on=np.setdiff1d(data.trained_on, held_out))
    joints = LSP.index("neck"), LSP.index("left_knee")
    examples = Examples(data, None, predicted, joints, np.zeros((14, 40, 2)), BEST, 20)

    def say(network, frames, rows, boxes, asked, run, mirrored):
        joint = LSP.flip[asked[0, 0]] if mirrored else asked[0, 0]
        centres = boxes[:, 0, :2] + boxes[:, 0, 2:] / 2
        wanted = (examples.true_px[rows, joint] - centres) / boxes[:, 0, 2:]
        return 2 * (wanted * [-1 if mirrored else 1, 1])[:, None], None  # twice what is wanted

    monkeypatch.setattr(cascade, "predict_offsets", say)
    found = cascade.held_out_scores(None, examples, None)
    assert found["gain"] == pytest.approx([0.5, 0.5]) and max(found["loss_with_gain"]) < 1e-12
    assert found["loss"] == pytest.approx(found["loss_without"])


def step_of(network, data, count, labelled, run):
    """Loss and gradient of a training step of stage 1 on `count` rows, in which so many joints are
    labelled."""
    network = copy.deepcopy(network)
    options = Train_stage_1.parse([])
    examples = FrameExamples(data, options.recipe, (65, 65), run)
    examples.targets[:, labelled:] = torch.nan
    state = SimpleNamespace(
        epoch=1,
        step=0,
        total=0.0,
        average=None,
        stop_signals=SimpleNamespace(exchange=lambda loss: loss),
        network=network,
        about={"initial_weights": "random"},
        check_finite=lambda loss, rows: None,
        tick=lambda: None,
    )
    network.train = lambda: network  # its batch statistics stay the stored ones
    optimiser = torch.optim.SGD(network.parameters())
    loss = Train_stage_1.train_epoch(
        network, optimiser, examples, data.trained_on[:count], options, state, run
    )
    return loss, torch.cat([weight.grad.flatten() for weight in network.parameters()])


@pytest.mark.parametrize("count, world, labelled", [(1, 2, 14), (3, 4, 14), (1, 4, 1)])
def test_a_batch_has_the_gradient_of_one_process_even_where_it_has_fewer_rows(
    count, world, labelled, data
):
    """The mean over the processes, as DistributedDataParallel takes it; augmentation is drawn
    alike."""
    torch.manual_seed(0)
    network = Resnet_stage_1(14)
    for module in network.modules():
        module.train(module is network)
    expected_loss, expected = step_of(network, data, count, labelled, RUN)
    runs = [replace(RUN, rank=rank, world=world) for rank in range(world)]
    losses, gradients = zip(*(step_of(network, data, count, labelled, run) for run in runs))
    assert expected_loss > 0
    assert np.mean(losses) == pytest.approx(expected_loss, rel=1e-5)
    assert (torch.stack(gradients).mean(0) - expected).norm() <= 1e-4 * expected.norm()


# best's has a floor: entropy
@pytest.mark.parametrize("recipe, falls_to", [("original", 0.5), ("best", 0.8)])
def test_stage_1_learns(recipe, falls_to, own_workdir, capsys):
    """Some epochs on a few images bring the training loss well down."""
    Train_stage_1.main(
        [
            "--workdir",
            str(own_workdir),
            "--weights",
            "none",
            "--rows",
            "8",
            "--epochs",
            "8",
            "--batch-size",
            "4",
            "--device",
            "cpu",
            "--recipe",
            recipe,
            "--input-px",
            "97",
        ]
    )
    history = json.loads((own_workdir / "model_1.json").read_text())["history"]
    assert [entry["epoch"] for entry in history] == list(range(1, 9))
    assert min(entry["train_loss"] for entry in history[4:]) < falls_to * history[0]["train_loss"]


def test_the_saved_epoch_is_the_one_with_the_best_held_out_pdj(own_workdir, monkeypatch):
    """Scores are made up; the weights saved must be those of the epoch that scored best, on
    held-out rows only."""
    scores = iter([0.1, 0.4, 0.3])
    seen = []

    def evaluate(model, *rest):
        seen.append({name: value.clone() for name, value in model.network.state_dict().items()})
        value = next(scores)
        return 0.0, {"pdj": {"0.20": value}, "pcp_strict": {"mean_4": value}}

    monkeypatch.setattr(Train_stage_1, "evaluate", evaluate)
    Train_stage_1.main(
        [
            "--workdir",
            str(own_workdir),
            "--weights",
            "none",
            "--rows",
            "2",
            "--epochs",
            "3",
            *SMALL_IMAGES,
        ]
    )
    assert json.loads((own_workdir / "model_1.json").read_text())["epoch"] == 2
    assert same(seen[1], weights(own_workdir, "model_1"))


def test_normalised_targets_are_the_originals(data):
    labels = data.train_labels
    targets = data.normalised(labels)
    np.testing.assert_array_equal(targets, geometry.normalise(labels, np.array([0.0, 0, 227, 227])))
    np.testing.assert_allclose(targets, (labels - 113.5) / 227, atol=1e-6)
    assert isinstance(data, Dataset)
