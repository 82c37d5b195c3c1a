"""K2HPD in the pipeline: step 1 against its files, depth of 16 bits, scores, the authors' refiner,
six steps."""

import json
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import FP32, fails
from literal import literal_pck, literal_pcp
from PIL import Image
from torch import nn

import Generate_train_output
import K2HPD_data
import predict
import test_stage_1
import test_stage_2
import Train_stage_1
import Train_stage_2
from Cascade_1_net import RECIPES, Alex_net_c1
from deeppose import augment, downloads, k2hpd, metrics, photos, recipes
from deeppose.dataset import open_dataset
from deeppose.examples import Examples
from deeppose.refiners import load_refiner
from deeppose.skeletons import K2HPD
from Resnet_stage_1 import RECIPES as RESNET_RECIPES

THEIRS = RECIPES["k2hpd"]
COUNTS = {"train": 24, "test": 6}
# head, neck, spine; right and left shoulder, elbow, hand; right and left hip, knee, foot; then four
# that are not used
POSE = [
    (128, 40),
    (128, 52),
    (128, 78),
    (114, 58),
    (104, 78),
    (96, 96),
    (142, 58),
    (152, 78),
    (160, 96),
    (121, 100),
    (119, 130),
    (118, 160),
    (135, 100),
    (137, 130),
    (138, 160),
    (128, 56),
    (128, 98),
    (97, 94),
    (159, 94),
]


def pose(number):
    """Whole-numbered joints (19, 2) px of an image: some lie outside of their frames."""
    rng = np.random.default_rng((7, number))
    return np.array(POSE) + rng.integers(-60, 60, 2) + rng.integers(-6, 6, (19, 2))


def png_of_16_bits(values):
    """The bytes of a PNG with three channels of 16 bits, which Pillow does not write; values (h, w,
    3)."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)  # no filter
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 1))
        + chunk(b"IEND", b"")
    )


def depth(number):
    """Depth (212, 256) of an image in mm, up to 9,000, in blocks."""
    blocks = np.random.default_rng((8, number)).integers(0, 9001, (4, 4))
    return np.kron(blocks, np.ones((53, 64), int))


def write_image(path, number):
    """An image of one of four kinds: 8 or 16 bits, one or three channels; returns the greys (212,
    256) to be seen."""
    millimetres = depth(number)
    if number % 4 < 2:
        greys = (millimetres // 36).astype(np.uint8)
        Image.fromarray(greys if number % 4 == 0 else np.stack([greys] * 3, 2)).save(path)
        return greys
    if number % 4 == 2:
        Image.fromarray(millimetres.astype(np.uint16)).save(path)
    else:
        path.write_bytes(png_of_16_bits(np.stack([millimetres] * 3, 2)))
    return np.array([[min(255, int(value * 255 / 8000)) for value in row] for row in millimetres])


def write_film(folder, images=True):
    """A set as it is downloaded; returns number -> the greys of its image."""
    places = folder / K2HPD_data.IMAGES
    places.mkdir(parents=True)
    shown = {}
    first = 0
    for part, count in COUNTS.items():
        numbers = range(first, first + count)
        lines = [
            b"\0" * (n % 3) + f"{n:08d}.png {','.join(map(str, pose(n).ravel()))}\n".encode()
            for n in numbers
        ]
        (folder / f"{part}_annos.txt").write_bytes(b"".join(lines))
        if images:
            shown |= {n: write_image(places / f"{n:08d}.png", n) for n in numbers}
        first += count
    return shown


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    return SimpleNamespace(folder=folder, shown=write_film(folder))


@pytest.fixture(scope="module")
def prepared(film, tmp_path_factory):
    """A working directory after step 1."""
    folder = tmp_path_factory.mktemp("k2hpd")
    K2HPD_data.main(["--source", str(film.folder), "--workdir", str(folder)])
    return folder


@pytest.fixture(scope="module")
def finished(prepared):
    """A working directory after all six steps, as small as can be, with the authors' refiner,
    trusted by half."""
    own = ["--workdir", str(prepared)]
    Train_stage_1.main(
        [
            *own,
            "--weights",
            "none",
            "--rows",
            "4",
            "--epochs",
            "1",
            "--batch-size",
            "4",
            "--input-px",
            "64",
            *FP32,
        ]
    )
    test_stage_1.main([*own, *FP32])
    Generate_train_output.main([*own, *FP32])
    Train_stage_2.main([*own, "--refiner", "shared", "--recipe", "k2hpd", "--epochs", "1", *FP32])
    path = prepared / "model_shared.pt"
    weights = torch.load(path, weights_only=True)
    weights["gain"].fill_(0.5)
    torch.save(weights, path)
    test_stage_2.main([*own, *FP32])
    scores = json.loads((prepared / "metrics_stage_2.json").read_text())
    joints = {
        stage: np.load(prepared / f"test_output_{stage}.npy").reshape(-1, 15, 2).astype(float)
        for stage in (1, 2)
    }
    return SimpleNamespace(folder=prepared, scores=scores, joints=joints)


# -- step 1


def test_frames_and_labels_are_those_of_the_files(film, prepared):
    data = open_dataset(prepared)
    assert (
        data.skeleton == K2HPD
        and data.frame == (256, 212)
        and data.margin == 1
        and data.depth_white == 8000
    )
    first = 0
    for part, count in COUNTS.items():
        labels = getattr(data, f"{part}_labels")
        assert labels.shape == (count, 15, 2)
        for row, number in enumerate(range(first, first + count)):
            # those outside the frame as well
            np.testing.assert_array_equal(labels[row], pose(number)[:15])
            seen = getattr(data, f"{part}_images")[row]
            np.testing.assert_array_equal(seen, np.stack([film.shown[number]] * 3, 2))
        assert data.column(part, "image").tolist() == list(range(first, first + count))
        assert data.photographs(part)[0] == f"{first:08d}.png"
        first += count
    outside = (data.train_labels < 0) | (data.train_labels > data.frame)
    assert outside.any() and not data.column("train", "mirrored").any()


def test_whole_stretches_of_the_film_are_held_out():
    held_out = [index for index in range(200) if K2HPD_data.is_held_out(index, 200)]
    assert held_out == [n for start in (20, 60, 100, 140, 180) for n in range(start, start + 4)]


def test_ten_missing_images_are_named_and_the_rest_counted(film, tmp_path, capsys):
    write_film(tmp_path, images=False)
    folder = tmp_path / K2HPD_data.IMAGES
    own = ["--source", tmp_path, "--workdir", tmp_path / "work"]
    for number in (*range(14), 24, 25, 26):
        (folder / f"{number:08d}.png").symlink_to(
            film.folder / K2HPD_data.IMAGES / f"{number:08d}.png"
        )
    with pytest.raises(SystemExit) as stop:
        K2HPD_data.main([str(flag) for flag in own])
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert stop.value.code == 2 and len(lines) == 11 and lines[10] == "... and 3 more such images"
    assert lines[0] == f"{folder / '00000014.png'}: not found, but train_annos.txt has its joints"
    assert (
        "00000014.png" in said.err
        and "13 such images, 10 of them" in said.err
        and len(said.err.splitlines()) == 1
    )
    assert not (tmp_path / "work").exists()
    K2HPD_data.main([*map(str, own), "--skip-broken"])
    data = open_dataset(tmp_path / "work")
    assert data.column("train", "image").tolist() == list(range(14)) and len(data.test_rows) == 3
    np.testing.assert_array_equal(data.test_labels[2], pose(26)[:15])


def test_broken_sets_are_refused_in_one_line(tmp_path, capsys):
    own = ["--source", tmp_path, "--workdir", tmp_path / "work"]
    fails(K2HPD_data.main, own, capsys, "train_annos.txt: not found", K2HPD_data.PAGE)
    write_film(tmp_path, images=False)
    folder = tmp_path / K2HPD_data.IMAGES
    fails(K2HPD_data.main, own, capsys, f"{folder}: none of the 30 images is here")
    fails(K2HPD_data.main, [*own, "--skip-broken"], capsys, f"{folder}: none of the 30 images")
    path = tmp_path / "test_annos.txt"
    good = path.read_bytes()
    numbers = b",1" * 37
    for bad, fault in (
        (b"1.png 1,2", "2 numbers"),
        (b"1.png x" + numbers, "'x'"),
        (bytes(1_000_000), "longer"),
        (b"1.png 1000000000" + numbers, "1000000000 pixels"),
        (b"../1.png 1" + numbers, "'../1.png'"),
        (b"one.png 1" + numbers, "'one.png'"),
    ):
        path.write_bytes(good + bad + b"\n")
        fails(K2HPD_data.main, own, capsys, f"{path}: line 7: ", fault)
    path.write_bytes(b"")
    fails(K2HPD_data.main, own, capsys, f"{path}: holds no annotations")
    path.write_bytes(good)
    folder.rmdir()
    fails(K2HPD_data.main, own, capsys, f"{folder}: not found")


def test_images_of_another_size_are_refused(film, tmp_path, capsys):
    """Kinect 2's own frames are twice as large: joints of the smaller ones would lie wrong in
    them."""
    write_film(tmp_path)
    large = tmp_path / K2HPD_data.IMAGES / "00000003.png"
    Image.new("L", (512, 424)).save(large)
    fails(
        K2HPD_data.main,
        ["--source", tmp_path, "--workdir", tmp_path / "work"],
        capsys,
        large,
        "512 x 424",
        "256 x 212",
    )


# -- depth of 16 bits


@pytest.mark.parametrize("white", [8000, 65535, 3000])
def test_depth_of_16_bits_is_shown_in_proportion(white, tmp_path):
    """In step 1 and for predict.py alike; nothing is cut off at 255."""
    values = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    values[0] = (0, 255, 256)
    values[1] = (white, white // 2, min(white + 1, 65535))
    expected = np.array(
        [
            [[min(255, int(int(value) * 255 / white)) for value in pixel] for pixel in row]
            for row in values
        ]
    )
    (tmp_path / "three.png").write_bytes(png_of_16_bits(values))
    Image.fromarray(values[..., 0]).save(tmp_path / "one.png")
    for name, shown in (("three", expected), ("one", expected[..., :1])):
        path = tmp_path / f"{name}.png"
        for image in (
            downloads.read_image(path, lambda path=path: open(path, "rb"), white),
            photos.read(path, white=white).image,
        ):
            assert image.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(image), np.broadcast_to(shown, (20, 30, 3)))


def test_broken_16_bit_images_are_named(tmp_path):
    whole = png_of_16_bits(np.zeros((20, 30, 3), np.uint16))
    path = tmp_path / "short.png"
    path.write_bytes(whole[:60])
    for read in (
        lambda: downloads.read_image(path, lambda: open(path, "rb"), 8000),
        lambda: photos.read(path),
    ):
        with pytest.raises(downloads.InputError, match="short.png: is no image"):
            read()


def test_grey_that_is_a_distance_is_not_varied():
    best = RESNET_RECIPES["best"]
    colour = SimpleNamespace(depth_white=None, skeleton=K2HPD)
    depth = SimpleNamespace(depth_white=8000, skeleton=K2HPD)
    assert recipes.for_data(best, colour) is best
    assert best.colour > 0
    assert vars(recipes.for_data(best, depth)) == vars(best) | {"colour": 0.0}


# -- joints and scores


def test_mirrored_rows_swap_all_pairs():
    names = K2HPD.joints
    assert [names[j] for j in K2HPD.flip] == [
        "head",
        "neck",
        "spine",
        "left_shoulder",
        "left_elbow",
        "left_hand",
        "right_shoulder",
        "right_elbow",
        "right_hand",
        "left_hip",
        "left_knee",
        "left_foot",
        "right_hip",
        "right_knee",
        "right_foot",
    ]
    joints = (pose(0)[:15] / (256, 212) - 0.5).clip(-0.5, 0.5)
    views = augment.draw(1, augment.Ranges(mirror=1.0), np.random.default_rng(0), 256 / 212)
    moved = augment.move(torch.from_numpy(joints[None]), views, K2HPD.flip)[0].numpy()
    for first, second in (
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 6),
        (4, 7),
        (5, 8),
        (9, 12),
        (10, 13),
        (11, 14),
    ):
        np.testing.assert_allclose(moved[first], joints[second] * (-1, 1))
        np.testing.assert_allclose(moved[second], joints[first] * (-1, 1))


def literal_scores(predicted, true):
    """Strict PCP pooled over the authors' ten limbs, PDJ at .05 ... .75, and half the mean square,
    as loops."""
    limbs = ((0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (9, 10), (10, 11), (12, 13), (13, 14))
    rates = literal_pcp(predicted, true, [((a,), (b,)) for a, b in limbs], 0.5, True)
    diameters = [float(np.hypot(*(pose[3] - pose[12]))) for pose in true]
    pdj = {
        f"{t / 20:.2f}": literal_pck(predicted, true, diameters, range(15), t / 20)
        for t in range(1, 16)
    }
    squares = [float(value) ** 2 for value in (predicted - true).ravel()]
    return sum(rates) / len(rates), pdj, sum(squares) / len(squares) / 2


def test_scores_agree_with_literal_loops():
    rng = np.random.default_rng(0)
    true = np.array([pose(n)[:15] for n in range(20)], float)
    predicted = true + rng.normal(0, 12, true.shape)
    found = metrics.score(predicted, true, K2HPD)
    pcp, pdj, loss = literal_scores(predicted, true)
    assert found["pcp_strict"]["mean_10"] == pytest.approx(pcp) and found["loss"] == pytest.approx(
        loss
    )
    assert set(found["pdj"]) == {"0.00", *pdj}
    for key, rate in pdj.items():
        assert found["pdj"][key] == pytest.approx(rate), key


def test_the_mean_pose_on_the_real_test_lines(real_k2hpd):
    """The floor, as computed elsewhere, of all training lines."""
    train, test = (
        k2hpd.read_annotations(real_k2hpd / f"{part}_annos.txt")[1][:, :15] for part in COUNTS
    )
    mean_pose = np.broadcast_to(train.mean(0), test.shape)
    found = metrics.score(mean_pose, test, K2HPD)
    for key, known in (("0.10", 0.031), ("0.20", 0.116), ("0.50", 0.455)):
        assert found["pdj"][key] == pytest.approx(known, abs=0.001)
    pcp, pdj, loss = literal_scores(mean_pose[::10], test[::10])
    found = metrics.score(mean_pose[::10], test[::10], K2HPD)
    assert (found["pcp_strict"]["mean_10"], found["loss"]) == pytest.approx((pcp, loss))
    assert {key: found["pdj"][key] for key in pdj} == pytest.approx(pdj)


# -- the authors' refiner


def test_the_authors_refiner_has_their_layers():
    torch.manual_seed(0)
    network = Alex_net_c1(15, range(15), crop_px=64, **THEIRS.options).eval()
    layers = [
        (m.out_channels, m.kernel_size[0], m.stride[0], m.padding[0], m.groups)
        if isinstance(m, nn.Conv2d)
        else type(m).__name__
        for m in network.features
    ]
    between = ["BatchNorm2d", "ReLU", "Local_response_norm", "MaxPool2d"]
    assert layers == [
        (96, 10, 1, 0, 1),
        *between,
        (256, 5, 1, 2, 2),
        *between,
        (384, 3, 1, 1, 1),
        "ReLU",
        (384, 3, 1, 1, 2),
        "ReLU",
        (256, 3, 1, 1, 2),
        "ReLU",
        "MaxPool2d",
    ]
    linear = [
        (m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)
    ]
    assert linear == [(9216, 4096), (4096, 1024), (1024, 2)]
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    crops = torch.rand(2, 3, 64, 64)
    seen = []
    network.features[0].register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].clone())
    )
    network.offset.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.inference_mode():
        found = network(crops, torch.tensor([3, 12]))
        other = network(crops, torch.tensor([0, 1]))
    # it is not told which joint
    assert torch.equal(found.joints, other.joints) and found.confidence.isnan().all()
    torch.testing.assert_close(found.joints, seen[1] / 64)  # it says pixels of the crop
    mean = torch.tensor([123.7, 116.3, 103.5])[:, None, None]
    torch.testing.assert_close(seen[0], (255 * crops - mean) / 256)
    for wrong in ({"head": "integral"}, {"crop_px": 227}, {"layers": "seven"}):
        with pytest.raises(ValueError):
            Alex_net_c1(
                15, range(15), **{"head": "direct", "layers": "batch_norm", "crop_px": 64} | wrong
            )


def test_a_mirrored_network_of_theirs_finds_the_opposite_joint():
    torch.manual_seed(0)
    network = Alex_net_c1(15, (3,), crop_px=64, **THEIRS.options).eval()
    crops = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        before = network(crops, torch.tensor([3, 3])).joints
        network.mirror(K2HPD.flip)
        found = network(crops.flip(3), torch.tensor([6, 6])).joints
    torch.testing.assert_close(found, before * torch.tensor([-1, 1]), atol=1e-5, rtol=1e-4)


def test_a_step_of_theirs_is_caffes():
    """On one linear layer: their loss in pixels of the crop, rate 1e-4 (1 + 1e-4 step)^-.75,
    momentum and decay."""
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (6, 8))
    wanted_px = rng.normal(0, 8, (6, 2))  # (truth - prediction) / side x 64
    weight = rng.normal(0, 0.1, (2, 8))
    layer = nn.Linear(8, 2, bias=False).double()
    layer.weight.data = torch.from_numpy(weight.copy())
    optimiser = THEIRS.optimiser_of(layer, torch.device("cpu"))
    before = weight
    history = np.zeros_like(weight)
    for step in range(5):
        rate = 1e-4 * (1 + 1e-4 * step) ** -0.75
        # loss: the sum of squares / (2 images x 2 outputs)
        errors = features @ weight.T - wanted_px
        history = 0.9 * history + rate * (errors.T @ features / (6 * 2) + 0.001 * weight)
        weight = weight - history
        optimiser.param_groups[0]["lr"] = THEIRS.rate(step, 5)
        optimiser.zero_grad()
        offsets = layer(torch.from_numpy(features)) / 64
        Train_stage_2.losses.masked_loss(
            offsets, torch.from_numpy(wanted_px / 64), THEIRS.loss
        ).backward()
        optimiser.step()
        moved = layer.weight.detach().numpy() - before
        # Caffe's history has the rates of its steps
        np.testing.assert_allclose(moved, weight - before, rtol=1e-3)


def test_their_crops_are_of_real_estimates_sized_by_the_true_pose_in_training_alone(prepared):
    data = open_dataset(prepared)
    predicted = data.train_labels + np.random.default_rng(0).normal(0, 9, data.train_labels.shape)
    options = Train_stage_2.parse(["--refiner", "shared", "--recipe", "k2hpd"])
    assert (options.simulated, options.crop_px, options.batch_size) == (0, 64, 64)
    examples = Examples(
        data, None, predicted, range(15), np.zeros((15, 40, 2)), options.recipe, options.simulated
    )
    rows = np.repeat(examples.rows, 40)
    boxes, _, asked, views = examples.draw(rows, np.random.default_rng(0))
    assert boxes.shape == (len(rows), 1, 4)
    counts = np.bincount(asked[:, 0], minlength=15) / len(rows)
    assert counts == pytest.approx(np.full(15, 1 / 15), abs=0.03)
    for row, box, joint, mirrored in zip(
        rows[:200], boxes[:200, 0], asked[:200, 0], views.mirrored[:200]
    ):
        source = K2HPD.flip[joint] if mirrored else joint
        ends = (6, 9) if mirrored else (3, 12)  # the other shoulder and hip
        side = 0.8 * np.hypot(*(data.train_labels[row, ends[0]] - data.train_labels[row, ends[1]]))
        np.testing.assert_allclose(box[2:], side, rtol=1e-5)
        np.testing.assert_allclose(box[:2] + box[2:] / 2, predicted[row, source], atol=1e-4)
    for _, boxes, _, mirrored in examples.held_out_errors(4):
        held_out = predicted[data.held_out]
        ends = (6, 9) if mirrored else (3, 12)
        sides = 0.8 * np.hypot(*(held_out[:, ends[0]] - held_out[:, ends[1]]).T)
        np.testing.assert_allclose(boxes[:, 2], sides, rtol=1e-5)


def test_more_simulated_estimates_than_are_drawn_are_refused(capsys):
    with pytest.raises(SystemExit):
        Train_stage_2.parse(["--vary", "simulated=41"])
    assert "only 40" in capsys.readouterr().err


# -- all six steps


def test_six_steps_and_their_scores(finished):
    data = open_dataset(finished.folder)
    true = data.test_labels.astype(float)
    for stage in (1, 2):
        found = finished.scores[f"stage_{stage}"]
        pcp, pdj, loss = literal_scores(finished.joints[stage], true)
        assert (found["pcp_strict"]["mean_10"], found["loss"]) == pytest.approx(
            (pcp, loss), rel=1e-5
        )
        assert {key: found["pdj"][key] for key in pdj} == pytest.approx(pdj, abs=1e-6)
    assert list(finished.scores["gains"].values()) == [0.5] * 15 and "sample" not in finished.scores
    facts = json.loads((finished.folder / "model_1.json").read_text())
    assert facts["depth_white"] == 8000 and facts["settings"]["recipe"]["colour"] == 0
    facts = json.loads((finished.folder / "model_shared.json").read_text())
    assert (
        facts["options"] == THEIRS.options and facts["crop_px"] == 64 and facts["crop_scale"] == 0.8
    )
    assert facts["settings"]["batch_size"] == 64 and facts["settings"]["simulated"] == 0
    refiner = load_refiner(
        finished.folder, "shared", K2HPD, predict.load(finished.folder, "cpu", "fp32").run
    )
    assert refiner.boxing.smallest_px == 1 and refiner.network.joints == tuple(range(15))


def test_a_sample_is_a_random_share_and_says_so(finished, capsys):
    own = ["--workdir", str(finished.folder), *FP32]
    test_stage_1.main([*own, "--sample", "40"])
    assert "a sample of 1 of the 6 test rows" in capsys.readouterr().out
    scores = json.loads((finished.folder / "metrics_stage_1.json").read_text())
    assert (
        scores["images"] == 1 and scores["sample"]["one_in"] == 40 and scores["sample"]["of"] == 6
    )
    test_stage_2.main([*own, "--sample", "2"])
    scores = json.loads((finished.folder / "metrics_stage_2.json").read_text())
    rows = scores["sample"]["rows"]
    assert scores["images"] == len(set(rows)) == 3 and set(rows) <= set(range(6))
    true = np.array([pose(24 + row)[:15] for row in rows], float)
    loss = literal_scores(finished.joints[2][rows], true)[2]
    assert scores["stage_2"]["loss"] == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("number", [24, 26, 27])
def test_a_depth_image_is_predicted_as_its_test_row(number, film, finished, tmp_path):
    """8 bits, 16 bits, and three channels of 16: fifteen joints of both stages and a drawing."""
    image = film.folder / K2HPD_data.IMAGES / f"{number:08d}.png"
    predict.main([str(image), "--workdir", str(finished.folder), "--output", str(tmp_path), *FP32])
    written = json.loads((tmp_path / f"{number:08d}_pose.json").read_text())
    (person,) = written["people"]
    for stage in (1, 2):
        joints = person[f"stage_{stage}"]
        assert list(joints) == list(K2HPD.joints)
        np.testing.assert_allclose(
            list(joints.values()), finished.joints[stage][number - 24], atol=0.01
        )
    assert person["stage_1"] != person["stage_2"]
    assert np.asarray(Image.open(tmp_path / f"{number:08d}_pose.png").convert("L")).std() > 10


def test_a_model_of_other_depths_is_refused(finished, tmp_path, capsys):
    for path in finished.folder.iterdir():
        if path.suffix in (".npy", ".txt") or path.stem == "model_1":
            (tmp_path / path.name).symlink_to(path)
    facts = json.loads((finished.folder / "dataset.json").read_text())
    for white, fault in (
        (65535, "depth_white is 8000, not 65535"),
        (None, "not None"),
        ("far", "dataset.json"),
    ):
        (tmp_path / "dataset.json").write_text(json.dumps(facts | {"depth_white": white}))
        fails(test_stage_1.main, ["--workdir", tmp_path, *FP32], capsys, fault)
