"""A model to hand on: half the size, the same scores, its card, and what uses it without being
told."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import FP32, SMALL, fails, write_model, write_refiner
from PIL import Image

import Generate_train_output
import predict
import test_stage_1
import test_stage_2
import Train_stage_2
from Cascade_1_net import Alex_net_c1
from deeppose import arrays, checkpoint, prediction, sample, ship, workdir
from deeppose.skeletons import LSP
from Resnet_stage_1 import Resnet_stage_1
from results import card, ledger, paths


@pytest.fixture(scope="module")
def trained(workdir, tmp_path_factory):
    """A working directory with random networks that move: stage 1 and the refiner of all joints."""
    folder = tmp_path_factory.mktemp("trained")
    for path in workdir.iterdir():
        (folder / path.name).symlink_to(path)
    torch.manual_seed(0)
    network = Resnet_stage_1(14)
    network.heatmaps.joints.weight.data *= 30
    write_model(
        folder,
        network,
        input_size=(65, 65),
        history=[1, 2],
        seconds=7200,
        epoch=3,
        seed=0,
        settings={"rows": 24, "epochs": 4, "weights": str(folder / "models" / "first")},
        initial_weights="random",
    )
    refiner = Alex_net_c1(14, range(14), crop_px=67)
    torch.nn.init.normal_(refiner.heatmaps.joints.weight, std=0.1)
    write_refiner(folder, "shared", refiner, history=[1])
    return folder


@pytest.fixture(scope="module")
def shipped(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "lsp"
    ship.main([str(trained), str(folder), "--two-pass"])
    return folder


def rerun(script, folder, *flags):
    script.main(["--workdir", str(folder), *FP32, *map(str, flags)])


def scores(folder, stage):
    return json.loads((folder / f"metrics_stage_{stage}.json").read_text())


def test_a_shipped_model_is_half_as_large_and_says_what_it_is(trained, shipped):
    """Kernels in float16; batch norms' statistics, biases and gains in float32; no history."""
    assert {path.name for path in shipped.iterdir()} == {
        f"{name}.{ending}" for name in ("model_1", "model_shared") for ending in ("pt", "json")
    }
    total = sum(path.stat().st_size for path in shipped.iterdir())
    assert total < 46e6 and total < 0.42 * sum(
        (trained / path.name).stat().st_size for path in shipped.glob("*.pt")
    )
    weights = checkpoint.read_weights(shipped / "model_1.pt", "")
    assert weights["backbone.conv1.weight"].dtype == torch.float16
    for name in ("backbone.bn1.running_var", "backbone.bn1.weight", "heatmaps.joints.bias"):
        assert weights[name].dtype == torch.float32
    assert checkpoint.read_weights(shipped / "model_shared.pt", "")["gain"].dtype == torch.float32
    facts = json.loads((shipped / "model_1.json").read_text())
    assert "history" not in facts and facts["two_pass"] is True and facts["epoch"] == 3
    # no folder of the machine that it was trained on
    assert facts["settings"] == {"rows": 24, "epochs": 4, "weights": "first"}
    assert facts["shipped"]["from"] == arrays.digest(trained / "model_1.pt")


def test_shipped_weights_are_the_nearest_with_eight_bits_after_the_point():
    weights = torch.rand(64, 64) + 0.01  # none is so small that float16 itself has fewer bits
    weights *= torch.tensor([0.01, 1.0, -1.0, 300.0]).repeat(16)
    halves = ship.halved({"weight": weights}, "model_1.pt")["weight"].double()
    steps = 2.0 ** (weights.double().abs().log2().floor() - 8)  # between numbers of so many bits
    # half a step from the rounding, and little from float16's own before it
    assert ((halves - weights.double()).abs() <= 0.63 * steps).all()
    assert (halves / steps == (halves / steps).round()).all()


def test_a_compressed_file_is_read_as_any_other(tmp_path):
    weights = {"weight": torch.randn(9, 9).half(), "gain": torch.tensor(0.5)}
    path = tmp_path / "model_1.pt"
    path.write_bytes(checkpoint.compressed(weights))
    read = checkpoint.read_weights(path, "")
    assert list(read) == list(weights)
    assert all(torch.equal(read[name], tensor) for name, tensor in weights.items())


def test_what_cannot_be_shipped(trained, tmp_path, capsys, monkeypatch):
    fails(ship.main, [tmp_path, tmp_path / "new"], capsys, "model_1.json", "step 2")
    fails(ship.main, [trained, trained], capsys, "working directory itself")
    monkeypatch.setattr(ship, "LARGEST_MB", 20)
    fails(ship.main, [trained, tmp_path / "new"], capsys, "more than 20", "--refiner shared")
    assert not (tmp_path / "new").exists()
    path = tmp_path / "model_1.pt"
    torch.save({"weight": torch.full((2, 2), 1e6)}, path)
    shutil.copy(trained / "model_1.json", tmp_path)
    fails(ship.main, [tmp_path, tmp_path / "new"], capsys, "model_1.pt: weight", "float16")
    (tmp_path / "model_1.json").write_text('{"skeleton": {"name": 3}}')
    fails(ship.main, [tmp_path, tmp_path / "new"], capsys, "no skeleton")


def test_the_shipped_model_scores_by_one_command_what_its_card_says(shipped, own_workdir, capsys):
    """Steps 3 and 6 with --model, in a folder without models: both stages, to .001 of what its card
    says."""
    rerun(test_stage_2, own_workdir, "--model", shipped)
    assert f"refiners of {shipped}" in capsys.readouterr().out
    found = scores(own_workdir, 2)
    card.RENDERED, rendered = 3, card.RENDERED
    try:
        card.main([str(shipped), "--workdir", str(own_workdir), *FP32])
    finally:
        card.RENDERED = rendered
    text = (shipped / "MODEL_CARD.md").read_text()
    for kind, key, name in (
        ("pcp_strict", "mean_4", "mean of 4 limbs"),
        ("pcp_strict", "lower_arms", "lower arms"),
        ("pdj", "0.20", "all joints"),
        ("pdj_per_joint_0.2", "head", "head"),
    ):
        part = text.partition("| PDJ@0.2 |")[0 if kind == "pcp_strict" else 2]
        line = next(line for line in part.splitlines() if line.startswith(f"| {name} |"))
        cells = [float(cell.split("±")[0]) for cell in line.strip("| ").split(" | ")[1:]]
        assert cells == pytest.approx(
            [found[f"stage_{stage}"][kind][key] for stage in (1, 2)], abs=6e-4
        )
    for words in (
        "smallest in the image",
        "most usual poses",
        "python test_stage_2.py --model",
        "2.0 on",
        "random",
        "owners",
    ):
        assert words in text
    assert Image.open(shipped / "failures.png").size[0] > 300


def test_a_card_of_all_of_lsp_is_a_line_in_the_ledger(shipped, data, tmp_path, monkeypatch):
    """Once for a model, however often its card is written; never for a part of LSP."""
    monkeypatch.setattr(paths, "ledger", lambda: tmp_path / "ledger.csv")
    recorded = {"models": {"model_1.pt": "0123456789abcdef"}, "stage_1": {}, "stage_2": {}}
    card.enter_in_ledger(shipped, data, recorded)
    assert ledger.entries() == []
    monkeypatch.setattr(card, "LSP_TEST_IMAGES", len(data.test_labels))
    card.enter_in_ledger(shipped, data, recorded)
    card.enter_in_ledger(shipped, data, recorded)
    (line,) = ledger.entries()
    assert line["row"] == f"shipped_{shipped.name}" and line["stages"] == "1 2"
    assert "stage 1 0123456789ab" in line["what"]


def test_a_shipped_model_predicts_what_its_source_does(trained, shipped):
    """But for half precision."""
    images = np.load(trained / "test_images.npy")[:2]
    regions = np.array([[0, 0, 227, 227]] * 2, float)
    poses = [
        prediction.estimate(prediction.load(folder, "cpu", "fp32"), regions, images)[0]
        for folder in (trained, shipped)
    ]
    # px; of untrained networks, whose flat heatmaps make the most of any difference
    assert 0 < np.median(np.abs(poses[0]["stage_2"] - poses[1]["stage_2"])) < 3


def test_a_card_is_of_the_model_that_was_tested(shipped, trained, own_workdir, capsys):
    flags = [shipped, "--workdir", own_workdir]
    fails(card.main, flags, capsys, "metrics_stage_2.json", "test_stage_2.py --model")
    rerun(test_stage_1, own_workdir, "--model", trained)
    (own_workdir / "metrics_stage_1.json").rename(own_workdir / "metrics_stage_2.json")
    fails(
        card.main, flags, capsys, "metrics_stage_2.json", "another model", "test_stage_2.py --model"
    )


def test_steps_4_5_and_6_run_without_step_2(shipped, own_workdir, capsys):
    """From a shipped model; once step 5 has trained a refiner here, step 6 takes that and not the
    model's."""
    for name in ("model_1.pt", "model_1.json"):
        assert not (own_workdir / name).exists()
    rerun(Generate_train_output, own_workdir, "--model", shipped)
    Train_stage_2.main(
        [
            "--workdir",
            str(own_workdir),
            "--model",
            str(shipped),
            "--joints",
            "left_wrist",
            "--rows",
            "4",
            "--epochs",
            "1",
            "--simulated",
            "1",
            "--crop-px",
            "67",
            *SMALL,
        ]
    )
    capsys.readouterr()
    rerun(test_stage_2, own_workdir, "--model", shipped)
    said = capsys.readouterr().out
    assert (
        "refiners of" not in said and "warning" not in said and "keeps its stage-1 estimate" in said
    )
    assert set(scores(own_workdir, 2)["models"]) == {"model_1.pt", "model_left_wrist.pt"}
    assert not (own_workdir / "model_1.pt").exists()


def test_training_starts_from_a_shipped_refiner(shipped, own_workdir):
    """--weights takes its half precision as any other's."""
    rerun(Generate_train_output, own_workdir, "--model", shipped)
    Train_stage_2.main(
        [
            "--workdir",
            str(own_workdir),
            "--model",
            str(shipped),
            "--refiner",
            "shared",
            "--rows",
            "4",
            "--epochs",
            "1",
            "--simulated",
            "1",
            "--crop-px",
            "67",
            "--weights",
            str(shipped / "model_shared.pt"),
            *SMALL,
        ]
    )
    trained = checkpoint.read_weights(own_workdir / "model_shared.pt", "")
    assert all(value.dtype in (torch.float32, torch.int64) for value in trained.values())


def test_predict_takes_the_current_folders_model_or_the_shipped_one(
    shipped, trained, tmp_path, monkeypatch, capsys
):
    """And says which; without either, it names the one that is missing here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workdir, "SHIPPED", tmp_path / "models" / "lsp")
    sample.write_photo(tmp_path / "photo.jpg")
    fails(predict.main, ["photo.jpg", *FP32], capsys, "model_1.pt: not found", "step 2")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "lsp").symlink_to(shipped)
    predict.main(["photo.jpg", *FP32])
    assert f"of {shipped.resolve()}" in capsys.readouterr().out
    facts = json.loads((tmp_path / "photo_pose.json").read_text())
    assert (
        set(facts["people"][0]["stage_2"]) == set(LSP.joints) and facts["model"]["two_pass"] is True
    )
    for name in ("model_1.pt", "model_1.json"):
        (tmp_path / name).symlink_to(trained / name)
    predict.main(["photo.jpg", *FP32])
    assert f"of {tmp_path.resolve()}" in capsys.readouterr().out
    assert json.loads((tmp_path / "photo_pose.json").read_text())["people"][0]["stage_2"] is None
    predict.main(["photo.jpg", "--workdir", str(shipped), "--no-two-pass", *FP32])
    assert json.loads((tmp_path / "photo_pose.json").read_text())["model"]["two_pass"] is False


def test_the_sample_photo_is_rendered(tmp_path):
    """docs/sample_photo.jpg is what write_photo writes: a person in a landscape picture."""
    sample.write_photo(tmp_path / "photo.jpg")
    here, there = (
        Image.open(path)
        for path in (tmp_path / "photo.jpg", arrays.PROJECT / "docs" / "sample_photo.jpg")
    )
    assert here.size == there.size and here.width > 1.3 * here.height
    # JPEG libraries differ
    assert np.abs(np.asarray(here, float) - np.asarray(there, float)).mean() < 2


@pytest.mark.skipif(
    not (workdir.SHIPPED / "model_1.pt").exists(), reason="there is no shipped model yet"
)
@pytest.mark.skipif(
    not (arrays.PROJECT / ".git").exists(), reason="git does not know what belongs to the project"
)
def test_a_fresh_clone_predicts_in_its_first_minute(tmp_path):
    """Picture and numbers from the README's first command, in a copy of what git knows; 15 s on 2
    idle cores."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=arrays.PROJECT, capture_output=True, check=True
    ).stdout
    for name in names.decode().split("\0"):
        source = arrays.PROJECT / name
        if source.is_file() and not name.startswith(("results/", "tests/")):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, tmp_path / name)
    resource = pytest.importorskip("resource")  # Windows has none
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "predict.py", "docs/sample_photo.jpg"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # of a core: no clock of a busy one
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 15
    people = json.loads((tmp_path / "docs" / "sample_photo_pose.json").read_text())["people"]
    assert np.isfinite(list(people[0]["stage_2"].values())).all()
    assert (tmp_path / "docs" / "sample_photo_pose.png").exists()


def test_step_6_names_a_model_that_is_not_there(own_workdir, tmp_path, capsys):
    flags = ["--workdir", own_workdir, "--model", tmp_path / "misspelt"]
    fails(test_stage_2.main, flags, capsys, "misspelt/model_1.pt", "--model names the folder")
