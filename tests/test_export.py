"""One ONNX file: its joints are PyTorch's, for every kind of model, and its metadata tell what it
is."""

import ast
import importlib.util
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from five_joints_data import DOLL, LAYOUT
from helpers import fails, write_model, write_refiner
from PIL import Image
from torch import nn

from Cascade_1_net import Alex_net_c1
from deeppose import (
    arrays,
    checkpoint,
    dependencies,
    export,
    geometry,
    heatmaps,
    networks,
    prediction,
    runtime,
)
from deeppose.examples import Boxing
from deeppose.shell import InputError
from deeppose.skeletons import LSP
from Resnet_stage_1 import Resnet_stage_1

EXTRAS = (*export.EXTRAS, "onnxruntime")
needs_extras = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in EXTRAS),
    reason="the packages of requirements-export.txt are not installed",
)
SEEN_PX = (48, 64)
WHOLE = np.array([0.0, 0.0, *LAYOUT.frame])
PROJECT = Path(__file__).resolve().parent.parent


def spread(network):
    """Random weights in the head and statistics, so that joints lie all over and no layer passes
    for another."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.05)
            module.running_var.uniform_(0.8, 1.2)
    if network.head == "integral":
        nn.init.normal_(network.heatmaps.joints.weight, std=0.3)
        nn.init.normal_(network.heatmaps.joints.bias, std=0.5)
    return network


def refiner(joints, gains):
    """A refiner of those joints that takes crops of 67 px."""
    network = spread(Alex_net_c1(DOLL.joint_count, joints, crop_px=67))
    network.gain.copy_(torch.tensor(gains))
    return network


class Peaks(nn.Module):
    """A stage-1 network that decodes its heatmaps by their highest cell."""

    joint_layers = ("maps",)

    def __init__(self, joint_count, head="peaks"):
        super().__init__()
        self.head = head
        self.maps = nn.Conv2d(3, joint_count, 7, 4, 3)

    def forward(self, images):
        maps = self.maps(images)  # (N, J, h, w)
        best = maps.flatten(2).argmax(2)
        width = maps.shape[3]
        cells = torch.stack([best % width, best // width], 2)
        joints = (cells + 0.5) / torch.tensor([width, maps.shape[2]]) - 0.5
        return heatmaps.Output(joints, maps.flatten(2).amax(2).sigmoid())


@pytest.fixture(scope="module")
def frames():
    """Frames uint8 (5, h, w, 3) of smooth noise, so that no crop is like another."""
    noise = np.random.default_rng(0).integers(0, 256, (5, 16, 12, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(part).resize(LAYOUT.frame)) for part in noise])


def write_onnx(folder, network, size=SEEN_PX):
    """Model, refiners already there, exported to pose.onnx: a SimpleNamespace of folder, session
    and model."""
    import onnxruntime

    write_model(
        folder,
        network,
        skeleton=DOLL,
        frame=LAYOUT.frame,
        margin=LAYOUT.margin,
        input_size=size,
        epoch=7,
        seed=3,
    )
    export.main(["--workdir", str(folder), str(folder / "pose.onnx")])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return SimpleNamespace(
        folder=folder,
        model=prediction.load(folder, "cpu", "fp32"),
        session=onnxruntime.InferenceSession(folder / "pose.onnx", options),
    )


def compare(written, frames):
    """Joints and confidences of both, stage after stage: lists of (ONNX Runtime's, PyTorch's)."""
    regions = np.tile(WHOLE, (len(frames), 1))
    poses, confidence = prediction.estimate(written.model, regions, frames)
    names = [output.name for output in written.session.get_outputs()]
    found = dict(zip(names, written.session.run(None, {"frames": frames})))
    numbers = [stage.removeprefix("stage_") for stage in written.model.stages]
    assert names == [f"{kind}_{number}" for number in numbers for kind in ("joints", "confidence")]
    return (
        [(found[f"joints_{number}"], poses[f"stage_{number}"]) for number in numbers],
        [(found[f"confidence_{number}"], confidence[f"stage_{number}"]) for number in numbers],
    )


@pytest.fixture(scope="module")
def integral(tmp_path_factory):
    """An integral head that sees the middle of the frame; of stage 2 a joint's own refiner and a
    shared one, without gain for one joint and none for another; a third stage of one joint.
    """
    folder = tmp_path_factory.mktemp("integral")
    torch.manual_seed(0)
    write_refiner(folder, "hat", refiner((0,), [0.5]), skeleton=DOLL, smallest_crop_px=20.0)
    write_refiner(
        folder,
        "shared",
        refiner((0, 1, 2, 3), [0.9, 0.6, 0.0, 0.4]),
        skeleton=DOLL,
        smallest_crop_px=20.0,
    )
    write_refiner(
        folder, "belt", refiner((3,), [0.7]), skeleton=DOLL, stage=3, smallest_crop_px=20.0
    )
    return write_onnx(folder, spread(Resnet_stage_1(DOLL.joint_count)))


@needs_extras
def test_every_stage_is_pytorchs(integral, frames):
    joints, confidence = compare(integral, frames)
    for found, expected in joints:
        assert found.shape == (5, 5, 2) and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=0.05)
    for found, expected in confidence:
        np.testing.assert_allclose(found, expected, atol=1e-3)
    first, second, third = (found for found, _ in joints)
    moved = np.abs(second - first).max((0, 2)) > 0.5
    assert moved.tolist() == [True, True, False, True, False]  # gain 0, and no refiner
    assert (np.abs(third - second).max((0, 2)) > 0).tolist() == [False, False, False, True, False]
    assert first.std(0).min() > 0.01  # not what any frame would give


@needs_extras
def test_any_number_of_frames(integral, frames):
    whole = integral.session.run(None, {"frames": frames})
    for count in (1, 2, 3):
        for part, all_of_it in zip(integral.session.run(None, {"frames": frames[:count]}), whole):
            np.testing.assert_allclose(part, all_of_it[:count], atol=1e-3)


@needs_extras
def test_metadata_tell_what_it_is(integral):
    told = integral.session.get_modelmeta().custom_metadata_map
    told = {name: json.loads(text) for name, text in told.items()}
    assert told["frame"] == list(LAYOUT.frame) and told["margin"] == LAYOUT.margin
    assert told["joints"] == list(DOLL.joints) and told["stages"] == [1, 2, 3]
    assert set(told["models"]) == {
        "model_1.pt",
        "model_hat.pt",
        "model_shared.pt",
        "model_3_belt.pt",
    }
    digest = arrays.digest(integral.folder / "model_1.pt")
    assert told["models"]["model_1.pt"] == {"digest": digest, "epoch": 7, "seed": 3}
    assert str(integral.folder) not in json.dumps(told)  # no path of the machine it was made on
    assert [path.name for path in integral.folder.glob("pose*")] == ["pose.onnx"]  # one file


@needs_extras
def test_direct_head_without_a_cascade(tmp_path, frames):
    torch.manual_seed(0)
    written = write_onnx(tmp_path, Resnet_stage_1(DOLL.joint_count, "direct"))
    ((found, expected),) = compare(written, frames)[0]
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert np.isfinite(found).all()
    assert np.isnan(written.session.run(["confidence_1"], {"frames": frames})[0]).all()


@needs_extras
def test_networks_that_decode_by_the_highest_cell(tmp_path, frames, monkeypatch):
    monkeypatch.setitem(networks.NETWORKS, "resnet", (Peaks, {}))
    torch.manual_seed(0)
    written = write_onnx(tmp_path, Peaks(DOLL.joint_count))
    ((found, expected),) = compare(written, frames)[0]
    assert (np.abs(found - expected).max(2) < 0.05).mean() >= 0.995


@needs_extras
def test_the_snippets_of_the_documentation_run_and_agree(integral, monkeypatch, capsys):
    text = (PROJECT / "docs" / "deploy.md").read_text(encoding="utf-8")
    snippets = dict(re.findall(r"<!-- (\w+) -->\n```python\n(.*?)```", text, re.DOTALL))
    noise = np.random.default_rng(1).integers(0, 256, (12, 24, 3), np.uint8)
    Image.fromarray(noise).resize((240, 120)).save(integral.folder / "photo.jpg")
    monkeypatch.chdir(integral.folder)
    monkeypatch.setattr(runtime, "_has_bf16", lambda device: False)
    spaces = {name: {} for name in ("onnx", "predict")}
    for name, space in spaces.items():
        exec(snippets[name], space)
    expected = spaces["predict"]["people"]["stage_3"][0]
    np.testing.assert_allclose(spaces["onnx"]["joints"], expected, atol=0.05)
    shown = capsys.readouterr().out
    assert all(shown.count(name) >= 4 for name in DOLL.joints) and "confidence" in shown


def test_a_model_of_another_folder_comes_with_its_refiners(integral, tmp_path):
    flags = ["--workdir", str(tmp_path), "--model", str(integral.folder), "pose.onnx"]
    model, model_entries = export.load(export.parse(flags))
    assert set(model.refiners) == {2, 3}
    assert {"model_1.pt", "model_hat.pt", "model_shared.pt", "model_3_belt.pt"} == set(
        model_entries
    )


def test_missing_packages_are_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    fails(
        export.main,
        ["--workdir", tmp_path, tmp_path / "pose.onnx"],
        capsys,
        "onnx, onnxscript: not installed",
        "requirements-export.txt",
    )


def test_bad_input_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "EXTRAS", ())
    fails(
        export.main,
        ["--workdir", tmp_path, tmp_path / "pose.pt"],
        capsys,
        "pose.pt",
        "let it end in .onnx",
    )
    fails(
        export.main,
        ["--workdir", tmp_path, tmp_path / "pose.onnx"],
        capsys,
        "model_1.pt: not found",
    )
    write_model(
        tmp_path,
        Resnet_stage_1(DOLL.joint_count),
        skeleton=DOLL,
        frame=LAYOUT.frame,
        margin=LAYOUT.margin,
    )
    write_refiner(tmp_path, "hat", refiner((0,), [0.5]), skeleton=DOLL)
    monkeypatch.setattr(export, "LARGEST_BYTES", 0.1e9)
    fails(
        export.main,
        ["--workdir", tmp_path, tmp_path / "pose.onnx"],
        capsys,
        tmp_path,
        "0.1 GB",
        "--refiner shared",
    )
    monkeypatch.setattr(export, "LARGEST_BYTES", 1.5e9)
    (tmp_path / "file").write_text("")
    fails(
        export.main,
        ["--workdir", tmp_path, tmp_path / "file" / "pose.onnx"],
        capsys,
        "is not a folder",
    )
    assert not list(tmp_path.glob("*.onnx*"))


def test_fourteen_direct_refiners_are_too_large():
    with torch.device("meta"):
        stage_1 = Resnet_stage_1(14)
        direct = Alex_net_c1(14, (0,), "direct")
    size = checkpoint.size(stage_1) + 14 * checkpoint.size(direct)
    assert 3.2e9 < size < 3.5e9
    with pytest.raises(InputError, match="one .onnx"):
        export.check_size(size, "folder")
    export.check_size(checkpoint.size(stage_1) + 5 * checkpoint.size(direct), "folder")


def test_boxes_of_tensors_are_those_of_arrays():
    poses = np.random.default_rng(0).uniform(0, 200, (3, 14, 2))
    boxing = Boxing(LSP.crop_scale, 90.0)
    sides = boxing.sides_px(poses, LSP)
    tensors = torch.tensor(poses)
    np.testing.assert_allclose(boxing.sides_px(tensors, LSP), sides)
    boxes = geometry.box_around(tensors, boxing.sides_px(tensors, LSP)[:, None])
    np.testing.assert_allclose(boxes, geometry.box_around(poses, sides[:, None]))


def test_no_step_imports_the_exporter():
    for script in (
        "LSP_data.py",
        "Train_stage_1.py",
        "test_stage_1.py",
        "Generate_train_output.py",
        "Train_stage_2.py",
        "test_stage_2.py",
        "predict.py",
    ):
        assert "deeppose/export.py" not in dependencies.prerequisites(script)
    source = (PROJECT / "deeppose" / "export.py").read_text(encoding="utf-8")
    # its own checks come first
    assert not dependencies.imported_names(ast.parse(source)) & set(EXTRAS)


@needs_extras
def test_a_network_that_fixes_the_number_of_frames_is_refused(tmp_path, capsys, monkeypatch):
    class Fixed(Peaks):
        def forward(self, images):
            return super().forward(images[: int(len(images))])

    monkeypatch.setitem(networks.NETWORKS, "resnet", (Fixed, {}))
    write_model(
        tmp_path, Fixed(DOLL.joint_count), skeleton=DOLL, frame=LAYOUT.frame, margin=LAYOUT.margin
    )
    fails(
        export.main,
        ["--workdir", tmp_path, tmp_path / "pose.onnx"],
        capsys,
        "pose.onnx: is not written",
    )
