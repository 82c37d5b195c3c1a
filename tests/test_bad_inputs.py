"""Mistakes of a user: one line that names the file, exit code 2, and no earlier output
changed."""

import errno
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from fuzz import BOMBS, bomb_bytes, mat_bytes
from helpers import fails, reseal, write_model, write_refiner
from matplotlib.figure import Figure
from torch import nn

import Generate_train_output
import LSP_data
import test_stage_1
import test_stage_2
import Train_stage_1
import Train_stage_2
from Cascade_1_net import Alex_net_c1
from deeppose import (
    arrays,
    checkpoint,
    dataset_format,
    drawing,
    files,
    training_state,
)
from deeppose.dataset import open_dataset
from deeppose.locks import lock
from deeppose.shell import InputError, RunError
from deeppose.skeleton import Skeleton
from deeppose.workdir import load_output, origin, save_output
from Resnet_stage_1 import Resnet_stage_1

ROOT = Path(LSP_data.__file__).parent


@pytest.fixture
def source(photos, tmp_path):
    """A copy of the rendered photographs to be broken."""
    folder = tmp_path / "source"
    shutil.copytree(photos, folder)
    return folder


@pytest.fixture
def ready(workdir, tmp_path):
    """A copy of the prepared arrays to be broken, with a stage-1 output."""
    folder = tmp_path / "ready"
    shutil.copytree(workdir, folder)
    count = len(np.load(folder / "train_labels.npy"))
    np.save(folder / "train_output.npy", np.full((count, 28), 100, np.float32))
    return folder


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A folder with a stage-1 model of random weights."""
    folder = tmp_path_factory.mktemp("untrained")
    write_model(folder)
    return folder


def digests(folder):
    return {path.name: arrays.digest(path) for path in folder.iterdir()}


def rewrite_mat(path, change):
    joints = scipy.io.loadmat(path)["joints"]
    scipy.io.savemat(path, {"joints": change(joints)})


def claim_size(path, width, height):
    """Make a JPEG claim another size: two numbers in its frame header."""
    content = bytearray(path.read_bytes())
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    path.write_bytes(content)


def move_joint(path, value):
    rewrite_mat(path, lambda joints: np.where(joints == joints[:2].max(), value, joints))


def mat_bomb(path):
    """100 kB that unpack to more than labels can be."""
    packed = zlib.compress(bytes(110_000_000), 1)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path.write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)


BROKEN_SOURCES = {
    "nothing there": (
        lambda s: shutil.rmtree(s / "images_1"),
        ("images_1", "lsp.html", "deeppose.sample"),
    ),
    "no LSPe": (
        lambda s: shutil.rmtree(s / "images_2"),
        ("images_2", "lspet.html", "deeppose.sample"),
    ),
    "no labels": (lambda s: (s / "joints_1.mat").unlink(), ("joints_1.mat", "not found")),
    "labels no .mat": (
        lambda s: (s / "joints_2.mat").write_bytes(b"x" * 500),
        ("joints_2.mat", "joints"),
    ),
    "labels empty": (lambda s: (s / "joints_2.mat").write_bytes(b""), ("joints_2.mat",)),
    "other key": (
        lambda s: scipy.io.savemat(s / "joints_1.mat", {"pose": np.ones(3)}),
        ("joints_1.mat", "joints"),
    ),
    "sets mixed up": (
        lambda s: shutil.copy(s / "joints_2.mat", s / "joints_1.mat"),
        ("joints_1.mat", "mixed up"),
    ),
    "15 joints": (
        lambda s: rewrite_mat(s / "joints_1.mat", lambda j: np.concatenate([j, j[:, :1]], 1)),
        ("joints_1.mat",),
    ),
    "joint at infinity": (
        lambda s: rewrite_mat(s / "joints_1.mat", lambda j: np.where(j == j.max(), np.inf, j)),
        ("joints_1.mat", "finite"),
    ),
    "image missing": (
        lambda s: (s / "images_2" / "im00005.jpg").unlink(),
        ("images_2", "5", "missing"),
    ),
    "image too many": (
        lambda s: shutil.copy(s / "images_1" / "im0001.jpg", s / "images_1" / "im0021.jpg"),
        ("im0021.jpg",),
    ),
    "image number twice": (
        lambda s: shutil.copy(s / "images_1" / "im0001.jpg", s / "images_1" / "im1.jpg"),
        ("im", "again"),
    ),
    "odd number of images": (
        lambda s: rewrite_mat(s / "joints_1.mat", lambda j: j[:, :, 1:]),
        ("joints_1.mat", "odd"),
    ),
    "image truncated": (
        lambda s: (s / "images_1" / "im0013.jpg").write_bytes(
            (s / "images_1" / "im0013.jpg").read_bytes()[:900]
        ),
        ("im0013.jpg",),
    ),
    "image empty": (lambda s: (s / "images_2" / "im00003.jpg").write_bytes(b""), ("im00003.jpg",)),
    "image is text": (
        lambda s: (s / "images_1" / "im0002.jpg").write_text("hello"),
        ("im0002.jpg",),
    ),
    "image is a folder": (
        lambda s: [
            (s / "images_1" / "im0002.jpg").unlink(),
            (s / "images_1" / "im0002.jpg").mkdir(),
        ],
        ("im0002.jpg",),
    ),
    "image is a program for Ghostscript": (
        lambda s: (s / "images_1" / "im0002.jpg").write_bytes(
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
        ),
        ("im0002.jpg",),
    ),
    "image that claims to be enormous": (
        lambda s: claim_size(s / "images_1" / "im0002.jpg", 65000, 65000),
        ("im0002.jpg", "claims to be enormous"),
    ),
    "image that claims to be long": (
        lambda s: claim_size(s / "images_2" / "im00002.jpg", 65000, 9),
        ("im00002.jpg", "65000 x 9"),
    ),
    "image misnamed": (
        lambda s: (s / "images_2" / "im00005.jpg").rename(s / "images_2" / "photo 5 \u00e4\n.jpg"),
        ("photo 5", "named"),
    ),
    "labels of MATLAB 7.3": (
        lambda s: (s / "joints_1.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(600)),
        ("joints_1.mat", "7.3", "-v7"),
    ),
    "labels that unpack to 110 MB": (
        lambda s: mat_bomb(s / "joints_2.mat"),
        ("joints_2.mat", "unpacks to more"),
    ),
    "joint at NaN": (lambda s: move_joint(s / "joints_1.mat", np.nan), ("joints_1.mat", "finite")),
    "joint at 1e7": (lambda s: move_joint(s / "joints_1.mat", 1e7), ("joints_1.mat", "1e+07")),
    "joint far outside": (
        lambda s: move_joint(s / "joints_1.mat", 5000),
        ("images_1", "far outside"),
    ),
    "labels a folder": (
        lambda s: [(s / "joints_1.mat").unlink(), (s / "joints_1.mat").mkdir()],
        ("joints_1.mat",),
    ),
    "no images": (lambda s: [path.unlink() for path in (s / "images_1").iterdir()], ("images_1",)),
}


@pytest.mark.parametrize("name", BROKEN_SOURCES)
def test_step_1_names_what_is_wrong_with_the_photographs(name, source, ready, capsys):
    damage, said = BROKEN_SOURCES[name]
    damage(source)
    before = digests(ready)
    fails(LSP_data.main, ["--source", source, "--workdir", ready], capsys, *said)
    assert digests(ready) == before


def test_step_1_names_a_broken_zip(photos, tmp_path, capsys):
    path, flags = (
        tmp_path / "lsp_dataset.zip",
        ["--source", tmp_path, "--workdir", tmp_path / "out"],
    )
    path.write_bytes(b"PK no zip")
    fails(LSP_data.main, flags, capsys, "lsp_dataset.zip", "zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(photos / "joints_1.mat", "lsp_dataset/joints.mat")
    content = bytearray(path.read_bytes())
    content[200:230] = bytes(30)  # inside the compressed labels
    path.write_bytes(content)
    fails(LSP_data.main, flags, capsys, "lsp_dataset.zip", "zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images/im0001.jpg", b"")
    fails(LSP_data.main, flags, capsys, "lsp_dataset.zip", "joints.mat")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("joints.mat", b"no MATLAB")
    fails(LSP_data.main, flags, capsys, "lsp_dataset.zip/joints.mat")
    for name in (
        "../joints.mat",
        "/joints.mat",
        "//joints.mat",
        "C:/joints.mat",
        "images/../../joints.mat",
        "..\\joints.mat",
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"")
        fails(LSP_data.main, flags, capsys, "lsp_dataset.zip", "leads out of it")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("joints.mat", bytes(110_000_000))
    fails(LSP_data.main, flags, capsys, "lsp_dataset.zip/joints.mat", "claims to be 0.1 GB")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("compression", BOMBS)
def test_an_entry_that_inflates_to_more_than_it_claims(compression, tmp_path, capsys):
    labels = mat_bytes((3, 14, 2))
    (tmp_path / "lsp_dataset.zip").write_bytes(bomb_bytes(labels, BOMBS[compression]))
    tracemalloc.start()
    try:
        said = (
            "neither stored nor deflated"
            if compression != "deflated"
            else f"more than the {len(labels)} bytes"
        )
        fails(LSP_data.main, ["--source", tmp_path], capsys, "lsp_dataset.zip/joints.mat", said)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_every_broken_image_is_named(source, ready, capsys):
    for name in ("images_1/im0003.jpg", "images_2/im00007.jpg"):
        (source / name).write_bytes(b"")
    flags = ["--source", source, "--workdir", ready]
    with pytest.raises(SystemExit) as stop:
        LSP_data.main([str(flag) for flag in flags])
    said = capsys.readouterr()
    assert (
        stop.value.code == 2
        and len(said.err.strip().splitlines()) == 1
        and "--skip-broken" in said.err
    )
    assert "im0003.jpg" in said.out and "im00007.jpg" in said.out and "2 such images" in said.err


def test_skip_broken_leaves_out_just_those(source, workdir, tmp_path, capsys):
    """Unreadable, missing, misnamed: named and left out; every other image's rows are the same,
    byte for byte."""
    (source / "images_1/im0003.jpg").write_bytes(b"")
    (source / "images_1/im0020.jpg").unlink()
    (source / "images_2/im00007.jpg").rename(source / "images_2/seven.jpg")
    LSP_data.main(["--source", str(source), "--workdir", str(tmp_path / "out"), "--skip-broken"])
    said = capsys.readouterr().out
    assert all(name in said for name in ("im0003.jpg", "number 20 is missing", "seven.jpg"))
    assert json.loads((tmp_path / "out/dataset.json").read_text())["skipped_images"] == [
        [1, 3],
        [1, 20],
        [2, 7],
    ]
    for part in ("train", "test"):
        rows = np.load(workdir / f"{part}_rows.npy")
        kept = [tuple(row[:2]) not in {(1, 3), (1, 20), (2, 7)} for row in rows]
        for kind in ("rows", "labels", "images"):
            expected = np.load(workdir / f"{part}_{kind}.npy")[kept]
            np.testing.assert_array_equal(np.load(tmp_path / f"out/{part}_{kind}.npy"), expected)
        names = np.array((workdir / f"{part}_photographs.txt").read_text().splitlines())
        assert (tmp_path / f"out/{part}_photographs.txt").read_text().splitlines() == names[
            kept
        ].tolist()
    assert open_dataset(tmp_path / "out").held_out.size == 2


def edit(change):
    def damage(folder):
        facts = json.loads((folder / "dataset.json").read_text())
        change(facts)
        (folder / "dataset.json").write_text(json.dumps(facts))

    return damage


def forget(key):
    return edit(lambda facts: facts.pop(key))


def put(key, value):
    return edit(lambda facts: facts.update({key: value}))


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1000])


def change_labels(value, reseal_too=True):
    def damage(folder):
        labels = np.load(folder / "train_labels.npy")
        labels[5, 2] = value
        np.save(folder / "train_labels.npy", labels)
        if reseal_too:
            reseal(folder)

    return damage


def change_a_row(column, value):
    def damage(folder):
        rows = np.load(folder / "train_rows.npy")
        rows[5, dataset_format.COLUMNS.index(column)] = value
        np.save(folder / "train_rows.npy", rows)
        reseal(folder)

    return damage


def change_skeleton(change):
    return edit(lambda facts: change(facts["skeleton"]))


def zip_in_place_of_labels(folder):
    with open(folder / "train_labels.npy", "wb") as file:
        np.savez(file, a=1)


def change_a_pixel(folder):
    images = np.lib.format.open_memmap(folder / "test_images.npy", "r+")
    images[3, 100, 100, 1] ^= 1


BROKEN_ARRAYS = {
    "labels of another run": (
        change_labels(50, reseal_too=False),
        ("train_labels.npy", "dataset.json", "step 1"),
    ),
    "one pixel of another run": (change_a_pixel, ("test_images.npy", "dataset.json", "step 1")),
    "a label at infinity": (change_labels(np.inf), ("train_labels.npy", "row 5")),
    "a label far away": (change_labels(-4e4), ("train_labels.npy", "row 5")),
    "half a label": (change_labels(np.nan), ("train_labels.npy", "row 5")),
    "a zip in place of an array": (zip_in_place_of_labels, ("train_labels.npy", "step 1")),
    "a frame of infinite size": (put("frame", [float("inf"), 227]), ("dataset.json", "step 1")),
    "a frame of one side": (put("frame", 227), ("dataset.json", "step 1")),
    "a frame of no size": (put("frame", [0, 227]), ("dataset.json", "step 1")),
    "a margin of 0": (put("margin", 0), ("dataset.json", "step 1")),
    "a margin that is no number": (put("margin", float("nan")), ("dataset.json", "step 1")),
    "another version's": (put("format", 1), ("dataset.json", "another version", "step 1")),
    "no format": (forget("format"), ("dataset.json", "another version", "step 1")),
    "no columns": (forget("columns"), ("dataset.json", "step 1")),
    "columns without boxes": (
        put("columns", ["set", "image", "person"]),
        ("dataset.json", "step 1"),
    ),
    "fingerprints that are a list": (put("fingerprints", []), ("dataset.json", "step 1")),
    "digests that are a list": (put("digests", []), ("dataset.json", "step 1")),
    "rows of another width": (
        lambda w: np.save(w / "train_rows.npy", np.ones((len(np.load(w / "train_rows.npy")), 3))),
        ("train_rows.npy", "step 1"),
    ),
    "a row of another set": (change_a_row("set", -1), ("train_rows.npy", "row 5")),
    "a row whose box is nowhere": (change_a_row("x0", np.nan), ("train_rows.npy", "row 5")),
    "a row whose box has no size": (change_a_row("w", 0), ("train_rows.npy", "row 5")),
    "a million million rows": (
        put("rows", {"train": 10**12, "test": 10}),
        ("train_images.npy", "step 1"),
    ),
    "held-out rows too large": (put("held_out_rows", [10**30]), ("dataset.json", "step 1")),
    "held-out rows in rows": (put("held_out_rows", [[0], [5]]), ("dataset.json", "held-out")),
    "all rows held out": (
        lambda w: put("held_out_rows", list(range(len(np.load(w / "train_labels.npy")))))(w),
        ("dataset.json", "holds out all"),
    ),
    "a mean pose far away": (put("mean_pose_px", [1e308] * 28), ("dataset.json", "mean pose")),
    "a skeleton that is none": (put("skeleton", []), ("dataset.json", "step 1")),
    "a skeleton by name alone": (put("skeleton", "lsp"), ("dataset.json", "step 1")),
    "a skeleton without an entry": (
        change_skeleton(lambda s: s.pop("joints")),
        ("dataset.json", "step 1"),
    ),
    "a skeleton with an unknown entry": (
        change_skeleton(lambda s: s.update(tail=1)),
        ("dataset.json", "step 1"),
    ),
    "a joint that names a folder": (
        change_skeleton(lambda s: s["joints"].__setitem__(13, "../head")),
        ("dataset.json", "step 1"),
    ),
    "an epoch chosen by no score": (
        change_skeleton(lambda s: s.update(chosen_by=["pdj", "0.2"])),
        ("dataset.json", "step 1"),
    ),
    "an epoch chosen by a number": (
        change_skeleton(lambda s: s.update(chosen_by=3)),
        ("dataset.json", "step 1"),
    ),
    "a mean of no parts": (
        change_skeleton(lambda s: s["means"].update(mean_4=["wings"])),
        ("dataset.json", "step 1"),
    ),
    "a stick with one end": (
        change_skeleton(lambda s: s["limbs"].update(head=[[["head"]]])),
        ("dataset.json", "step 1"),
    ),
    "a bone to no joint": (
        change_skeleton(lambda s: s["bones"].append(["head", "tail"])),
        ("dataset.json", "step 1"),
    ),
    "no mean pose": (put("mean_pose_px", [None] * 28), ("dataset.json", "mean pose")),
    "dataset.json too deep": (
        lambda w: (w / "dataset.json").write_text("[" * 100_000),
        ("dataset.json", "step 1"),
    ),
    "dataset.json not text": (
        lambda w: (w / "dataset.json").write_bytes(b"\xff\xfe{"),
        ("dataset.json", "step 1"),
    ),
    "no dataset.json": (
        lambda w: (w / "dataset.json").unlink(),
        ("dataset.json", "LSP_data.py (step 1)"),
    ),
    "dataset.json no JSON": (
        lambda w: (w / "dataset.json").write_text("{"),
        ("dataset.json", "step 1"),
    ),
    "dataset.json a list": (
        lambda w: (w / "dataset.json").write_text("[1]"),
        ("dataset.json", "step 1"),
    ),
    "no digests": (forget("digests"), ("dataset.json", "step 1")),
    "no skeleton": (forget("skeleton"), ("dataset.json", "step 1")),
    "no held-out rows": (forget("held_out_rows"), ("dataset.json", "step 1")),
    "no images": (
        lambda w: (w / "train_images.npy").unlink(),
        ("train_images.npy", "LSP_data.py (step 1)"),
    ),
    "images cut short": (
        lambda w: cut_short(w / "train_images.npy"),
        ("train_images.npy", "step 1"),
    ),
    "images empty": (
        lambda w: (w / "test_images.npy").write_bytes(b""),
        ("test_images.npy", "step 1"),
    ),
    "images of another type": (
        lambda w: np.save(w / "test_images.npy", np.ones((10, 227, 227, 3))),
        ("test_images.npy", "float64"),
    ),
    "labels of another length": (
        lambda w: np.save(w / "train_labels.npy", np.ones((3, 28), np.float32)),
        ("train_labels.npy", "(3, 28)"),
    ),
    "labels of objects": (
        lambda w: np.save(w / "train_labels.npy", np.array([{}, []], object)),
        ("train_labels.npy", "step 1"),
    ),
}


@pytest.mark.parametrize(
    "step", [Train_stage_1, test_stage_1, Generate_train_output, Train_stage_2]
)
@pytest.mark.parametrize("name", BROKEN_ARRAYS)
def test_every_later_step_names_what_is_wrong_with_the_arrays(name, step, ready, capsys):
    damage, said = BROKEN_ARRAYS[name]
    damage(ready)
    fails(step.main, ["--workdir", ready], capsys, *said)
    assert not list(ready.glob("*.pt")) and not list(ready.glob("metrics*"))


def no_numbers():
    weights = Resnet_stage_1(14).state_dict()
    weights["heatmaps.joints.bias"][0] = float("nan")
    return weights


BROKEN_MODELS = {
    "none": (lambda p: None, ("model_1.pt", "Train_stage_1.py (step 2)")),
    "text": (lambda p: p.write_text("hello"), ("model_1.pt", "Train_stage_1.py (step 2)")),
    "empty": (lambda p: p.write_bytes(b""), ("model_1.pt",)),
    "another network's": (
        lambda p: torch.save(nn.Linear(3, 3).state_dict(), p),
        ("model_1.pt", "Resnet_stage_1"),
    ),
    "another skeleton's": (
        lambda p: torch.save(Resnet_stage_1(16).state_dict(), p),
        ("model_1.pt", "skeleton"),
    ),
    "a number": (lambda p: torch.save(3, p), ("model_1.pt", "state_dict")),
    "weights that are no numbers": (
        lambda p: torch.save(no_numbers(), p),
        ("model_1.pt", "not finite"),
    ),
    "pickled call": (lambda p: torch.save({"a": nn.Linear(2, 2)}, p), ("model_1.pt",)),
}


@pytest.mark.parametrize("step", [test_stage_1, Generate_train_output])
@pytest.mark.parametrize("name", BROKEN_MODELS)
def test_the_stage_1_model(name, step, ready, capsys):
    damage, said = BROKEN_MODELS[name]
    write_model(ready)
    (ready / "model_1.pt").unlink()
    damage(ready / "model_1.pt")
    fails(step.main, ["--workdir", ready], capsys, *said)


BROKEN_PROVENANCES = {
    "none": (lambda p: p.unlink(), ("not found",)),
    "text": (lambda p: p.write_text("{"), ("is not JSON",)),
    "a list": (lambda p: p.write_text("[1]"), ("no JSON object",)),
    "another network": (lambda p: rewrite_json(p, network="Alex_net_c1"), ("what network",)),
    "a network that is no name": (lambda p: rewrite_json(p, network=[]), ("what network",)),
    "an unknown option": (lambda p: rewrite_json(p, options={"depth": 3}), ("what network",)),
    "another head": (lambda p: rewrite_json(p, options={"head": "two"}), ("what network",)),
    "options that are none": (lambda p: rewrite_json(p, options=3), ("what network",)),
    "a skeleton by name alone": (lambda p: rewrite_json(p, skeleton="lsp"), ("what network",)),
    "a frame of one side": (lambda p: rewrite_json(p, frame=[227]), ("what network",)),
    "an infinite frame": (lambda p: rewrite_json(p, frame=[float("inf"), 227]), ("what network",)),
    "an input of no size": (lambda p: rewrite_json(p, input_size=[0, 227]), ("what network",)),
    "an enormous input": (lambda p: rewrite_json(p, input_size=[10**9, 10**9]), ("what network",)),
    "a margin that is no number": (
        lambda p: rewrite_json(p, margin=float("nan")),
        ("what network",),
    ),
}


def rewrite_json(path, **entries):
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize("step", [test_stage_1, test_stage_2, Generate_train_output])
@pytest.mark.parametrize("name", BROKEN_PROVENANCES)
def test_what_the_stage_1_model_is_must_be_told(name, step, ready, untrained, capsys):
    damage, said = BROKEN_PROVENANCES[name]
    (ready / "model_1.json").write_text((untrained / "model_1.json").read_text())
    (ready / "model_1.pt").symlink_to(untrained / "model_1.pt")
    torch.save({}, ready / "model_head.pt")
    damage(ready / "model_1.json")
    fails(
        step.main, ["--workdir", ready], capsys, "model_1.json", "Train_stage_1.py (step 2)", *said
    )


def test_a_model_of_another_skeleton_or_joint_is_told_by_its_json(ready, capsys):
    other = Skeleton("mpii", ("head", "neck"))
    write_model(ready, skeleton=other)
    fails(
        test_stage_1.main,
        ["--workdir", ready],
        capsys,
        "model_1.pt",
        "mpii",
        "lsp",
        "Train_stage_1.py",
    )
    write_model(ready, frame=(256, 256))
    fails(
        test_stage_1.main,
        ["--workdir", ready],
        capsys,
        "model_1.pt",
        "256 x 256",
        "227 x 227",
        "Train_stage_1.py",
    )
    write_model(ready)
    write_refiner(ready, "neck")
    for ending in (".pt", ".json"):
        (ready / f"model_neck{ending}").rename(ready / f"model_head{ending}")
    fails(test_stage_2.main, ["--workdir", ready], capsys, "model_head.pt", "neck", "not head")
    write_refiner(ready, "head", skeleton=other)
    fails(
        test_stage_2.main,
        ["--workdir", ready],
        capsys,
        "model_head.json",
        "lsp",
        "Train_stage_2.py",
    )


BROKEN_REFINERS = {
    "none": lambda p: p.unlink(),
    "text": lambda p: p.write_text("{"),
    "no joints": lambda p: rewrite_json(p, joints=[]),
    "joints that are a number": lambda p: rewrite_json(p, joints=3),
    "joints twice": lambda p: rewrite_json(p, joints=["head", "head"]),
    "another skeleton": lambda p: rewrite_json(p, skeleton={"joints": ["head"]}),
    "a skeleton by name alone": lambda p: rewrite_json(p, skeleton="lsp"),
    "options that are none": lambda p: rewrite_json(p, options=[]),
    "another head": lambda p: rewrite_json(p, options={"head": "two"}),
    "no crop_px": lambda p: rewrite_json(p, crop_px=None),
    "an infinite crop_px": lambda p: rewrite_json(p, crop_px=float("inf")),
    "an enormous crop_px": lambda p: rewrite_json(p, crop_px=10**6),
    "boxes without size": lambda p: rewrite_json(p, crop_scale=0, smallest_crop_px=0),
    "boxes of infinite size": lambda p: rewrite_json(p, crop_scale=float("inf")),
    "boxes that are no number": lambda p: rewrite_json(p, smallest_crop_px=float("nan")),
}


@pytest.mark.parametrize("name", BROKEN_REFINERS)
def test_what_a_refiner_is_must_be_told(name, ready, untrained, capsys):
    for path in untrained.iterdir():
        (ready / path.name).symlink_to(path)
    write_refiner(ready, "head")
    BROKEN_REFINERS[name](ready / "model_head.json")
    fails(
        test_stage_2.main, ["--workdir", ready], capsys, "model_head.", "Train_stage_2.py (step 5)"
    )
    assert not list(ready.glob("test_output*")) and not list(ready.glob("metrics*"))


class Intruder:
    """Unpickled without weights_only, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["model_1.pt", "model_1.resume.pt", "weights.pth"])
def test_a_pickled_call_is_refused_and_not_run(name, ready, tmp_path, capsys):
    torch.save({"joints.bias": Intruder(tmp_path / "was here")}, ready / name)
    main, flags = {
        "model_1.pt": (test_stage_1.main, []),
        "model_1.resume.pt": (Train_stage_1.main, ["--resume"]),
        "weights.pth": (Train_stage_1.main, ["--weights", ready / name]),
    }[name]
    fails(main, ["--workdir", ready, *flags], capsys, name)
    assert not (tmp_path / "was here").exists()


def test_step_5_knows_predictions_of_another_model_and_of_other_data(ready, capsys):
    output, good = ready / "train_output.npy", np.load(ready / "train_output.npy")
    data = open_dataset(ready)
    (ready / "model_1.pt").write_bytes(b"weights")
    save_output(output, good.reshape(len(good), 14, 2), origin(ready, data))
    np.testing.assert_array_equal(load_output(ready, data).reshape(good.shape), good)
    np.save(output, good + 1)
    fails(
        Train_stage_2.main,
        ["--workdir", ready],
        capsys,
        "train_output.npy",
        "train_output.json",
        "step 4",
    )
    np.save(output, good)
    (ready / "model_1.pt").write_bytes(b"other weights")
    fails(
        Train_stage_2.main,
        ["--workdir", ready],
        capsys,
        "train_output.npy",
        "another model_1.pt",
        "step 4",
    )
    (ready / "model_1.pt").unlink()  # step 5 itself does not need it
    put("digests", {"train_images.npy": "other"})(ready)
    fails(
        Train_stage_2.main,
        ["--workdir", ready],
        capsys,
        "train_output.npy",
        "another dataset",
        "step 4",
    )


def test_step_5_names_what_is_wrong_with_its_inputs(ready, capsys):
    output = ready / "train_output.npy"
    good = np.load(output)
    np.save(output, good[:-1])
    fails(
        Train_stage_2.main,
        ["--workdir", ready],
        capsys,
        "train_output.npy",
        "Generate_train_output.py (step 4)",
    )
    np.save(output, np.where(np.arange(28) == 3, np.nan, good))
    fails(Train_stage_2.main, ["--workdir", ready], capsys, "train_output.npy", "step 4")
    np.save(output, np.where(np.arange(28) == 3, np.float32(np.nan), good))
    fails(Train_stage_2.main, ["--workdir", ready], capsys, "train_output.npy", "finite")
    np.save(output, good)
    np.save(ready / "deltas.npy", np.zeros((14, 20, 2)))
    fails(Train_stage_2.main, ["--workdir", ready], capsys, "deltas.npy", "(14, 20, 2)")
    np.save(ready / "deltas.npy", np.full((14, 40, 2), np.inf))
    fails(Train_stage_2.main, ["--workdir", ready], capsys, "deltas.npy", "finite")
    output.unlink()
    fails(
        Train_stage_2.main,
        ["--workdir", ready],
        capsys,
        "train_output.npy",
        "Generate_train_output.py (step 4)",
    )
    assert not list(ready.glob("model_*"))


def test_step_5_suggests_the_joint_that_was_meant(ready, capsys):
    fails(
        Train_stage_2.main,
        ["--workdir", ready, "--joints", "head,left_wirst"],
        capsys,
        "left_wirst",
        "left_wrist",
    )
    fails(Train_stage_2.main, ["--workdir", ready, "--joints", "tail"], capsys, "'tail'")
    fails(Train_stage_2.main, ["--workdir", ready, "--joints", ""], capsys, "--joints")


def test_deltas_of_another_skeleton_or_frame_are_told_by_their_json(ready, capsys):
    flags = ["--workdir", ready, "--joints", "head"]
    lsp = open_dataset(ready).skeleton
    right = {"skeleton": lsp.name, "joints": list(lsp.joints), "frame": [227, 227]}
    np.save(ready / "deltas.npy", np.zeros((14, 40, 2)))
    for entry, value in (
        ("frame", [256, 256]),
        ("joints", [*lsp.joints[1:], lsp.joints[0]]),
        ("frame", None),
    ):
        files.save_json(ready / "deltas.json", right | {entry: value})
        fails(
            Train_stage_2.main,
            flags,
            capsys,
            "deltas.npy",
            "another skeleton or frame",
            "--make-deltas",
        )
    (ready / "deltas.json").write_text("{")
    fails(Train_stage_2.main, flags, capsys, "deltas.json", "--make-deltas")
    assert not list(ready.glob("model_*"))


def test_step_6_without_a_single_refiner(ready, capsys):
    write_model(ready)
    fails(
        test_stage_2.main,
        ["--workdir", ready],
        capsys,
        "model_right_ankle.pt",
        "Train_stage_2.py (step 5)",
    )


def test_step_6_with_a_refiner_that_is_none(ready, capsys):
    write_model(ready)
    write_refiner(ready, "head")
    torch.save({"heatmaps.joints.bias": torch.zeros(())}, ready / "model_head.pt")
    fails(test_stage_2.main, ["--workdir", ready], capsys, "model_head.pt", "Alex_net_c1")
    torch.save(nn.Linear(2, 2).state_dict(), ready / "model_head.pt")
    fails(test_stage_2.main, ["--workdir", ready], capsys, "model_head.pt", "Alex_net_c1")
    assert not list(ready.glob("test_output*")) and not list(ready.glob("metrics*"))


@pytest.mark.parametrize("minutes", ["-1", "nan", "soon"])
def test_minutes_that_make_no_sense(minutes, ready, capsys):
    fails(
        Train_stage_1.main,
        ["--workdir", ready, "--save-minutes", minutes],
        capsys,
        "--save-minutes",
    )


@pytest.mark.parametrize(
    "flags", [["--limit", "0"], ["--limit", "-3"], ["--seed", "-1"], ["--bogus"]]
)
def test_flags_that_make_no_sense(flags, photos, tmp_path, capsys):
    fails(LSP_data.main, ["--source", photos, "--workdir", tmp_path, *flags], capsys, flags[0])
    assert not list(tmp_path.iterdir())


def test_a_working_directory_that_is_a_file(photos, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    fails(
        LSP_data.main,
        ["--source", photos, "--workdir", tmp_path / "file"],
        capsys,
        "file",
        "not a folder",
    )
    fails(Train_stage_1.main, ["--workdir", tmp_path / "file"], capsys, "dataset.json")


def test_out_of_memory_is_one_line_and_exit_code_1(ready, capsys, monkeypatch):
    def full(*rest):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(Train_stage_1, "train", full)
    fails(
        Train_stage_1.main,
        ["--workdir", ready, "--weights", "none"],
        capsys,
        "--batch-size",
        code=1,
    )


def test_a_device_that_is_not_there(ready, capsys):
    fails(Train_stage_1.main, ["--workdir", ready, "--device", "cuda:9"], capsys, "cuda:9")
    fails(Train_stage_1.main, ["--workdir", ready, "--device", "toaster"], capsys, "toaster")
    fails(Train_stage_1.main, ["--workdir", ready, "--device", "meta"], capsys, "meta")


@pytest.mark.parametrize("step", [Train_stage_1, Train_stage_2])
def test_processes_that_would_share_one_device(step, ready, capsys, monkeypatch):
    """Said before the device is looked for: there is none here."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    fails(
        step.main,
        ["--workdir", ready, "--device", "cuda:0"],
        capsys,
        "--device cuda:0",
        "--device cuda,",
        "leave",
    )


@pytest.mark.parametrize(
    "entry, value", [("settings", []), ("settings", None), ("run", [1]), ("run", "x")]
)
def test_a_finished_model_whose_json_is_odd(entry, value, tmp_path):
    (tmp_path / "model_1.pt").write_bytes(b"weights")
    files.save_json(tmp_path / "model_1.json", {entry: value})
    with pytest.raises(InputError, match="model_1.json: an entry is wrong"):
        training_state.finished(tmp_path / "model_1.pt", {}, True)


def test_a_curve_that_is_none(ready, capsys):
    write_model(ready)
    (ready / "curves_stage_1.csv").write_text("epoch,train_loss\n1," + "1" * 200_000 + "\n")
    fails(test_stage_1.main, ["--workdir", ready], capsys, "curves_stage_1.csv", "delete it")


def test_weights_that_are_none(ready, capsys):
    fails(
        Train_stage_1.main,
        ["--workdir", ready, "--weights", ready / "no.pth"],
        capsys,
        "no.pth",
        "not found",
    )
    torch.save(Alex_net_c1(14, (0,)).state_dict(), ready / "alex.pth")
    fails(
        Train_stage_1.main,
        ["--workdir", ready, "--weights", ready / "alex.pth"],
        capsys,
        "alex.pth",
    )


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 400 kB, for real: what a mock does not know cannot be tested with it."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    done = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder], capture_output=True
        )
        if shutil.which("mount")
        else None
    )
    if done is None or done.returncode:
        pytest.skip("a small disk cannot be mounted here (needs Linux and root)")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_step_1_on_a_full_disk(photos, small_disk, capsys):
    fails(LSP_data.main, ["--source", photos, "--workdir", small_disk], capsys, "GB free", code=1)
    assert not list(small_disk.iterdir())


def test_a_full_disk_leaves_the_former_files(small_disk):
    """Of every kind of file: an error that names the file and the disk, the former file whole, no
    temporary."""
    writers = {
        "a.npy": lambda path, size: arrays.save(path, np.zeros(size // 8)),
        "a.json": lambda path, size: files.save_json(path, ["x" * size]),
        "a.pt": lambda path, size: checkpoint.save(path, {"a": torch.zeros(size // 4)}, {}),
        "a.png": lambda path, size: drawing.save(
            Figure(figsize=(2, 2) if size < 1e5 else (90, 90)), path
        ),
    }
    for name, write in writers.items():
        write(small_disk / name, 1000)
    before = {path.name: path.read_bytes() for path in small_disk.iterdir()}
    (small_disk / "filler").write_bytes(bytes(330_000))
    for name, write in writers.items():
        with pytest.raises((OSError, RunError)) as error:
            write(small_disk / name, 1_000_000)
        assert isinstance(error.value, RunError) or error.value.errno == errno.ENOSPC
        assert name in str(error.value)
        assert {
            path.name: path.read_bytes() for path in small_disk.iterdir() if path.name != "filler"
        } == before


def test_a_step_on_a_full_disk(ready, small_disk, capsys):
    write_model(ready)
    for path in ready.iterdir():
        (small_disk / path.name).symlink_to(path)
    before = np.load(ready / "train_output.npy")
    # the lock still fits, the predictions do not
    (small_disk / "filler").write_bytes(bytes(390_000))
    fails(
        Generate_train_output.main,
        ["--workdir", small_disk],
        capsys,
        "output.npy",
        "disk is full",
        code=1,
    )
    np.testing.assert_array_equal(np.load(small_disk / "train_output.npy"), before)
    assert not list(small_disk.glob("*.tmp")) and not list(small_disk.glob("*.lock"))


@pytest.fixture
def stranger():
    """While the test runs, permissions count: root, who has none to fear, becomes a user without
    rights."""
    if os.name != "posix":
        pytest.skip("permissions are those of POSIX")
    root = os.geteuid() == 0
    if root:
        os.setegid(65534)
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)


@pytest.fixture
def open_folder():
    """A folder that everybody may write to, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


@pytest.fixture
def public(open_folder, photos, workdir):
    """Photographs and prepared arrays where everybody may read them."""
    shutil.copytree(photos, open_folder / "photos")
    shutil.copytree(workdir, open_folder / "ready")
    write_model(open_folder / "ready")
    for name in ("photos", "ready"):
        (open_folder / name).chmod(0o777)
    return open_folder


def without_rights(path):
    if os.name == "posix":
        path.chmod(0o555 if path.name == "ready" else 0)
    return path


def forbid(*names):
    """A fixture that takes the rights away before the test becomes a stranger."""
    return pytest.mark.parametrize("name", names)


@pytest.fixture
def forbidden(name, public):
    return without_rights(public / name)


@forbid(
    "photos/joints_1.mat", "photos/joints_2.mat", "photos/images_1", "photos/images_1/im0003.jpg"
)
def test_photographs_without_permission(name, public, forbidden, stranger, capsys):
    fails(
        LSP_data.main,
        ["--source", public / "photos", "--workdir", public / "out"],
        capsys,
        name,
        "ermission",
    )


@forbid(
    "ready/dataset.json",
    "ready/train_images.npy",
    "ready/test_labels.npy",
    "ready/model_1.pt",
    "ready/model_1.json",
)
def test_arrays_and_models_without_permission(name, public, forbidden, stranger, capsys):
    fails(test_stage_1.main, ["--workdir", public / "ready"], capsys, name, "permissions")


@forbid("ready")
def test_a_read_only_folder(name, public, forbidden, stranger, capsys):
    """Every step says so before its long work."""
    for main, flags in (
        (LSP_data.main, ["--source", public / "photos"]),
        (Train_stage_1.main, ["--weights", "none"]),
        (test_stage_1.main, []),
        (Generate_train_output.main, []),
    ):
        fails(
            main,
            ["--workdir", forbidden, *flags],
            capsys,
            "ready",
            "cannot be written to",
            "Permission denied",
        )


@pytest.mark.parametrize(
    "main, output",
    [
        (LSP_data.main, "dataset"),
        (Train_stage_1.main, "model_1"),
        (test_stage_1.main, "test_output_1"),
        (test_stage_2.main, "test_output_2"),
        (Generate_train_output.main, "train_output"),
        (Train_stage_2.main, "model_neck"),
    ],
)
def test_the_second_of_two_runs_is_told_who_holds_the_folder(main, output, ready, photos, capsys):
    torch.save({}, ready / "model_head.pt")
    flags = ["--workdir", ready] + {
        "dataset": ["--source", photos],
        "model_neck": ["--joints", "neck"],
    }.get(output, [])
    before = digests(ready)
    with lock(ready, output):
        fails(main, flags, capsys, f"{output}.lock", f"process {os.getpid()} on", "since", code=1)
    assert digests(ready) == before


def test_a_lock_ends_with_its_process(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from deeppose.locks import lock\n"
        "with lock(Path(sys.argv[1]), 'model_1'): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        with pytest.raises(RunError, match=f"process {process.pid}"), lock(tmp_path, "model_1"):
            pass
        with lock(tmp_path, "model_head"):
            pass  # another output of the same folder
        process.kill()
    with lock(tmp_path, "model_1"):
        assert f"process {os.getpid()}" in (tmp_path / "model_1.lock").read_text()
    assert not list(tmp_path.iterdir())


def test_two_runs_of_step_1_at_once(photos, workdir, tmp_path):
    command = [sys.executable, ROOT / "LSP_data.py", "--source", photos, "--workdir", tmp_path]
    runs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [run.communicate()[1] for run in runs]
    assert 0 in [run.returncode for run in runs] and {run.returncode for run in runs} <= {0, 1}
    assert all("dataset.lock" in line for run, line in zip(runs, said) if run.returncode)
    assert digests(tmp_path) == digests(workdir)


def test_what_a_killed_run_left_is_replaced_and_never_written_through(photos, workdir, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / "train_images.npy.tmp").write_bytes(b"half")
    (out / "train_labels.npy.tmp").symlink_to(outside)
    (out / "dataset.lock").write_text("LSP_data.py, process 1 on nowhere")
    LSP_data.main(["--source", str(photos), "--workdir", str(out)])
    assert {path.name for path in out.iterdir()} == {path.name for path in workdir.iterdir()}
    assert outside.read_text() == "mine"
    (out / "dataset.lock").symlink_to(outside)
    with pytest.raises(InputError, match="cannot be written to"), lock(out, "dataset"):
        pass
    assert outside.read_text() == "mine"


def test_names_with_spaces_umlauts_and_newlines(photos, workdir, tmp_path, capsys):
    source, out = tmp_path / "Fotos \u00e4\u00f6\u00fc\n\u4eba", tmp_path / "Aus gabe\n\u00df"
    shutil.copytree(photos, source)
    LSP_data.main(["--source", str(source), "--workdir", str(out)])
    assert arrays.digest(out / "dataset.json") == arrays.digest(workdir / "dataset.json")
    (source / "joints_1.mat").unlink()
    fails(
        LSP_data.main,
        ["--source", source, "--workdir", out],
        capsys,
        "Fotos \u00e4\u00f6\u00fc \u4eba/joints_1.mat",
    )
    fails(test_stage_1.main, ["--workdir", out], capsys, "Aus gabe \u00df/model_1.pt")


def test_an_interrupted_write_leaves_the_former_file(tmp_path):
    arrays.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(RunError), arrays.create(tmp_path / "a.npy", np.float32, (5,)):
        raise RunError("stopped half-way")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.arange(3))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


@pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="the system does not say what is mapped"
)
def test_no_file_is_mapped_while_it_is_renamed(photos, tmp_path, monkeypatch):
    """Windows renames no file that is mapped, nor anything over one."""
    rename, renamed = os.replace, set()

    def checked_rename(source, target):
        mapped = Path("/proc/self/maps").read_text()
        assert str(source) not in mapped and str(target) not in mapped
        renamed.add(Path(target).name)
        rename(source, target)

    monkeypatch.setattr(os, "replace", checked_rename)
    arrays.save(tmp_path / "a.npy", np.arange(3))
    with arrays.create(tmp_path / "b.npy", np.float32, (3, 2)) as rows:
        rows[1] = 5
        digest = rows.begin_digest()
        rows.add_to_digest(digest, slice(0, 3))
    LSP_data.main(["--source", str(photos), "--workdir", str(tmp_path), "--limit", "2"])
    assert {"a.npy", "b.npy", "train_images.npy", "test_rows.npy", "dataset.json"} <= renamed
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.arange(3))
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), [[0, 0], [5, 5], [0, 0]])
    assert digest.hexdigest() == arrays.digest(tmp_path / "b.npy")


def test_a_folder_in_place_of_a_file(tmp_path):
    (tmp_path / "x.npy").mkdir()
    with pytest.raises(InputError, match="is not a file"):
        arrays.load(tmp_path / "x.npy", np.float32, (None,), "step 0")


def test_json_holds_no_nan(tmp_path):
    files.save_json(tmp_path / "a.json", {"score": float("nan"), "list": [1.0, float("inf")]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"score": None, "list": [1.0, None]}


@pytest.mark.parametrize(
    "script",
    [
        "LSP_data.py",
        "Train_stage_1.py",
        "test_stage_1.py",
        "Generate_train_output.py",
        "Train_stage_2.py",
        "test_stage_2.py",
    ],
)
def test_the_shell_sees_it_too(script, tmp_path):
    """In an empty folder every script ends with exit code 2 and one line; --help shows the
    docstring and its flags."""
    done = subprocess.run(
        [sys.executable, ROOT / script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and not done.stdout
    assert not list(tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, ROOT / script, "--help"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (
        done.returncode == 0
        and "--workdir" in done.stdout
        and "Reads" in done.stdout
        and "default" in done.stdout
    )
