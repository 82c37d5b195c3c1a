"""What a user can get wrong: one line that names the file, exit code 2, and no earlier output changed."""
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from torch import nn

import Generate_train_output
import LSP_data
import test_stage_1
import test_stage_2
import Train_stage_1
import Train_stage_2
from Cascade_1_net import Alex_net_c1
from deeppose import arrays
from deeppose.shell import InputError, RunError
from Resnet_stage_1 import Resnet_stage_1

ROOT = Path(LSP_data.__file__).parent


def fails(main, flags, capsys, *said, code=2):
    """main(flags) ends with the exit code and one line on stderr in which every one of `said` stands."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(flag) for flag in flags])
    line = capsys.readouterr().err.strip()
    assert stop.value.code == code, line
    assert len(line.splitlines()) == 1 and "Traceback" not in line
    for words in said:
        assert str(words) in line, line


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


def rewrite_mat(path, change):
    joints = scipy.io.loadmat(path)["joints"]
    scipy.io.savemat(path, {"joints": change(joints)})


BROKEN_SOURCES = {
    "nothing there": (lambda s: shutil.rmtree(s / "images_1"), ("images_1", "lsp.html", "deeppose.sample")),
    "no LSPe": (lambda s: shutil.rmtree(s / "images_2"), ("images_2", "lspet.html", "deeppose.sample")),
    "no labels": (lambda s: (s / "joints_1.mat").unlink(), ("joints_1.mat", "not found")),
    "labels no .mat": (lambda s: (s / "joints_2.mat").write_bytes(b"x" * 500), ("joints_2.mat", "joints")),
    "labels empty": (lambda s: (s / "joints_2.mat").write_bytes(b""), ("joints_2.mat",)),
    "other key": (lambda s: scipy.io.savemat(s / "joints_1.mat", {"pose": np.ones(3)}), ("joints_1.mat", "joints")),
    "sets mixed up": (lambda s: shutil.copy(s / "joints_2.mat", s / "joints_1.mat"), ("joints_1.mat", "mixed up")),
    "15 joints": (lambda s: rewrite_mat(s / "joints_1.mat", lambda j: np.concatenate([j, j[:, :1]], 1)),
                  ("joints_1.mat",)),
    "joint at infinity": (lambda s: rewrite_mat(s / "joints_1.mat", lambda j: np.where(j == j.max(), np.inf, j)),
                          ("joints_1.mat", "finite")),
    "image missing": (lambda s: (s / "images_2" / "im00005.jpg").unlink(), ("images_2", "5", "missing")),
    "image too many": (lambda s: shutil.copy(s / "images_1" / "im0001.jpg", s / "images_1" / "im0021.jpg"),
                       ("im0021.jpg",)),
    "image number twice": (lambda s: shutil.copy(s / "images_1" / "im0001.jpg", s / "images_1" / "im1.jpg"),
                           ("im", "again")),
    "odd number of images": (lambda s: rewrite_mat(s / "joints_1.mat", lambda j: j[:, :, 1:]), ("joints_1.mat", "odd")),
    "image truncated": (lambda s: (s / "images_1" / "im0013.jpg").write_bytes(
        (s / "images_1" / "im0013.jpg").read_bytes()[:900]), ("im0013.jpg",)),
    "image empty": (lambda s: (s / "images_2" / "im00003.jpg").write_bytes(b""), ("im00003.jpg",)),
    "image is text": (lambda s: (s / "images_1" / "im0002.jpg").write_text("hello"), ("im0002.jpg",)),
    "no images": (lambda s: [path.unlink() for path in (s / "images_1").iterdir()], ("images_1",)),
}


@pytest.mark.parametrize("name", BROKEN_SOURCES)
def test_step_1_names_what_is_wrong_with_the_photographs(name, source, ready, capsys):
    damage, said = BROKEN_SOURCES[name]
    damage(source)
    before = {path.name: arrays.digest(path) for path in ready.iterdir()}
    fails(LSP_data.main, ["--source", source, "--workdir", ready], capsys, *said)
    assert {path.name: arrays.digest(path) for path in ready.iterdir()} == before


def test_step_1_names_a_broken_zip(photos, tmp_path, capsys):
    path, flags = tmp_path / "lsp_dataset.zip", ["--source", tmp_path, "--workdir", tmp_path / "out"]
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
    assert not (tmp_path / "out").exists()


def forget(key):
    def damage(folder):
        facts = json.loads((folder / "dataset.json").read_text())
        del facts[key]
        (folder / "dataset.json").write_text(json.dumps(facts))
    return damage


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1000])


BROKEN_ARRAYS = {
    "no dataset.json": (lambda w: (w / "dataset.json").unlink(), ("dataset.json", "LSP_data.py (step 1)")),
    "dataset.json no JSON": (lambda w: (w / "dataset.json").write_text("{"), ("dataset.json", "step 1")),
    "dataset.json a list": (lambda w: (w / "dataset.json").write_text("[1]"), ("dataset.json", "step 1")),
    "no digests": (forget("digests"), ("dataset.json", "step 1")),
    "no skeleton": (forget("skeleton"), ("dataset.json", "step 1")),
    "no held-out rows": (forget("held_out_rows"), ("dataset.json", "step 1")),
    "no images": (lambda w: (w / "train_images.npy").unlink(), ("train_images.npy", "LSP_data.py (step 1)")),
    "images cut short": (lambda w: cut_short(w / "train_images.npy"), ("train_images.npy", "step 1")),
    "images empty": (lambda w: (w / "test_images.npy").write_bytes(b""), ("test_images.npy", "step 1")),
    "images of another type": (lambda w: np.save(w / "test_images.npy", np.ones((10, 227, 227, 3))),
                               ("test_images.npy", "float64")),
    "labels of another length": (lambda w: np.save(w / "train_labels.npy", np.ones((3, 28), np.float32)),
                                 ("train_labels.npy", "(3, 28)")),
    "labels of objects": (lambda w: np.save(w / "train_labels.npy", np.array([{}, []], object)),
                          ("train_labels.npy", "step 1")),
}


@pytest.mark.parametrize("step", [Train_stage_1, test_stage_1, Generate_train_output, Train_stage_2])
@pytest.mark.parametrize("name", BROKEN_ARRAYS)
def test_every_later_step_names_what_is_wrong_with_the_arrays(name, step, ready, capsys):
    damage, said = BROKEN_ARRAYS[name]
    damage(ready)
    fails(step.main, ["--workdir", ready], capsys, *said)
    assert not list(ready.glob("*.pt")) and not list(ready.glob("metrics*"))


BROKEN_MODELS = {
    "none": (lambda p: None, ("model_1.pt", "Train_stage_1.py (step 2)")),
    "text": (lambda p: p.write_text("hello"), ("model_1.pt", "Train_stage_1.py (step 2)")),
    "empty": (lambda p: p.write_bytes(b""), ("model_1.pt",)),
    "another network's": (lambda p: torch.save(nn.Linear(3, 3).state_dict(), p), ("model_1.pt", "Resnet_stage_1")),
    "another skeleton's": (lambda p: torch.save(Resnet_stage_1(16).state_dict(), p), ("model_1.pt", "skeleton")),
    "a number": (lambda p: torch.save(3, p), ("model_1.pt", "state_dict")),
    "pickled call": (lambda p: torch.save({"a": nn.Linear(2, 2)}, p), ("model_1.pt",)),
}


@pytest.mark.parametrize("step", [test_stage_1, Generate_train_output])
@pytest.mark.parametrize("name", BROKEN_MODELS)
def test_the_stage_1_model(name, step, ready, capsys):
    damage, said = BROKEN_MODELS[name]
    damage(ready / "model_1.pt")
    fails(step.main, ["--workdir", ready], capsys, *said)


def test_step_5_names_what_is_wrong_with_its_inputs(ready, capsys):
    output = ready / "train_output.npy"
    good = np.load(output)
    np.save(output, good[:-1])
    fails(Train_stage_2.main, ["--workdir", ready], capsys, "train_output.npy", "Generate_train_output.py (step 4)")
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
    fails(Train_stage_2.main, ["--workdir", ready], capsys, "train_output.npy", "Generate_train_output.py (step 4)")
    assert not list(ready.glob("model_*"))


def test_step_5_suggests_the_joint_that_was_meant(ready, capsys):
    fails(Train_stage_2.main, ["--workdir", ready, "--joints", "head,left_wirst"], capsys, "left_wirst", "left_wrist")
    fails(Train_stage_2.main, ["--workdir", ready, "--joints", "tail"], capsys, "'tail'")
    fails(Train_stage_2.main, ["--workdir", ready, "--joints", ""], capsys, "--joints")


def test_step_6_without_a_single_refiner(ready, capsys):
    torch.save(Resnet_stage_1(14).state_dict(), ready / "model_1.pt")
    fails(test_stage_2.main, ["--workdir", ready], capsys, "model_right_ankle.pt", "Train_stage_2.py (step 5)")


def test_step_6_with_a_refiner_that_is_none(ready, capsys):
    torch.save(Resnet_stage_1(14).state_dict(), ready / "model_1.pt")
    torch.save(nn.Linear(2, 2).state_dict(), ready / "model_head.pt")
    fails(test_stage_2.main, ["--workdir", ready], capsys, "model_head.pt", "Alex_net_c1")
    assert not list(ready.glob("test_output*")) and not list(ready.glob("metrics*"))


@pytest.mark.parametrize("flags", [["--limit", "0"], ["--limit", "-3"], ["--seed", "-1"], ["--bogus"]])
def test_flags_that_make_no_sense(flags, photos, tmp_path, capsys):
    fails(LSP_data.main, ["--source", photos, "--workdir", tmp_path, *flags], capsys, flags[0])
    assert not list(tmp_path.iterdir())


def test_a_working_directory_that_is_a_file(photos, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    fails(LSP_data.main, ["--source", photos, "--workdir", tmp_path / "file"], capsys, "file", "not a folder")
    fails(Train_stage_1.main, ["--workdir", tmp_path / "file"], capsys, "dataset.json")


def test_a_stage_1_model_that_predicts_no_numbers(ready, capsys):
    weights = Resnet_stage_1(14).state_dict()
    weights["joints.bias"][0] = float("nan")
    torch.save(weights, ready / "model_1.pt")
    (ready / "train_output.npy").unlink()
    fails(Generate_train_output.main, ["--workdir", ready], capsys, "model_1.pt", "finite")
    assert not (ready / "train_output.npy").exists()


def test_out_of_memory_is_one_line_and_exit_code_1(ready, capsys, monkeypatch):
    def full(*rest):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
    monkeypatch.setattr(Train_stage_1, "train", full)
    fails(Train_stage_1.main, ["--workdir", ready, "--weights", "none"], capsys, "--batch-size", code=1)


def test_a_device_that_is_not_there(ready, capsys):
    fails(Train_stage_1.main, ["--workdir", ready, "--device", "cuda:9"], capsys, "cuda:9")
    fails(Train_stage_1.main, ["--workdir", ready, "--device", "toaster"], capsys, "toaster")
    fails(Train_stage_1.main, ["--workdir", ready, "--device", "meta"], capsys, "meta")


def test_weights_that_are_none(ready, capsys):
    fails(Train_stage_1.main, ["--workdir", ready, "--weights", ready / "no.pth"], capsys, "no.pth", "not found")
    torch.save(Alex_net_c1().state_dict(), ready / "alex.pth")
    fails(Train_stage_1.main, ["--workdir", ready, "--weights", ready / "alex.pth"], capsys, "alex.pth")


def test_a_full_disk_is_one_line_and_exit_code_1(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))
    fails(LSP_data.main, ["--source", photos, "--workdir", tmp_path], capsys, "GB free", code=1)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_the_former_file(tmp_path):
    arrays.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(RunError), arrays.create(tmp_path / "a.npy", np.float32, (5,)):
        raise RunError("stopped half-way")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.arange(3))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_a_folder_in_place_of_a_file(tmp_path):
    (tmp_path / "x.npy").mkdir()
    with pytest.raises(InputError, match="is not a file"):
        arrays.load(tmp_path / "x.npy", np.float32, (None,), "step 0")


def test_json_holds_no_nan(tmp_path):
    arrays.save_json(tmp_path / "a.json", {"score": float("nan"), "list": [1.0, float("inf")]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"score": None, "list": [1.0, None]}


@pytest.mark.parametrize("script", ["LSP_data.py", "Train_stage_1.py", "test_stage_1.py", "Generate_train_output.py",
                                    "Train_stage_2.py", "test_stage_2.py"])
def test_the_shell_sees_it_too(script, tmp_path):
    """In an empty folder every script ends with exit code 2 and one line; --help shows the docstring and its flags."""
    done = subprocess.run([sys.executable, ROOT / script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and not done.stdout
    assert not list(tmp_path.iterdir())
    done = subprocess.run([sys.executable, ROOT / script, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "--workdir" in done.stdout and "Reads" in done.stdout and "default" in done.stdout
