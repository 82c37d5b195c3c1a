"""All six commands, from the shell, on a small rendered set; then every file of the contract."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from literal import literal_pcp, literal_pdj
from PIL import Image

from Cascade_1_net import Alex_net_c1
from deeppose import dataset_format, skeleton
from deeppose.skeletons import LSP
from Resnet_stage_1 import Resnet_stage_1

ROOT = Path(__file__).resolve().parent.parent
FP32 = ("--precision", "fp32")


def run(script, workdir, *flags):
    command = [sys.executable, str(ROOT / script), "--workdir", str(workdir), *flags]
    done = subprocess.run(command, cwd=workdir, capture_output=True, text=True)
    assert done.returncode == 0, f"{script}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    """A working directory after all six steps, and what they printed."""
    workdir = tmp_path_factory.mktemp("six steps")  # a space in the name
    try:
        yield workdir, run_all(photos, workdir)
    finally:
        for checkpoint in workdir.glob("*.pt"):
            checkpoint.unlink()  # 3.3 GB


def run_all(photos, workdir):
    """Run the six commands: step's number -> what it printed."""
    return {
        1: run("LSP_data.py", workdir, "--source", str(photos)),
        2: run(
            "Train_stage_1.py",
            workdir,
            "--weights",
            "none",
            "--rows",
            "6",
            "--epochs",
            "2",
            "--batch-size",
            "3",
            *FP32,
        ),
        3: run("test_stage_1.py", workdir, *FP32),
        4: run("Generate_train_output.py", workdir, *FP32),
        5: run(
            "Train_stage_2.py",
            workdir,
            "--make-deltas",
            "--rows",
            "2",
            "--epochs",
            "1",
            "--batch-size",
            "1",
            "--crop-px",
            "67",
            "--simulated",
            "4",
        ),
        6: run("test_stage_2.py", workdir, *FP32),
    }


def test_arrays(finished):
    workdir, _ = finished
    facts = json.loads((workdir / "dataset.json").read_text())
    assert skeleton.from_description(facts["skeleton"]) == LSP
    assert (facts["frame"], facts["margin"], facts["columns"]) == (
        [227, 227],
        1,
        list(dataset_format.COLUMNS),
    )
    for part, count in facts["rows"].items():
        assert len((workdir / f"{part}_photographs.txt").read_text().splitlines()) == count
        for kind, dtype, shape in (
            ("images", np.uint8, (227, 227, 3)),
            ("labels", np.float32, (28,)),
            ("rows", np.float64, (len(dataset_format.COLUMNS),)),
        ):
            array = np.load(workdir / f"{part}_{kind}.npy", mmap_mode="r")
            assert array.dtype == dtype and array.shape == (count, *shape)
    outputs = {
        "train_output": "train",
        "training_output": "train",
        "test_output_1": "test",
        "test_output_2": "test",
    }
    for name, part in outputs.items():
        array = np.load(workdir / f"{name}.npy")
        assert (
            array.dtype == np.float32
            and array.shape == (facts["rows"][part], 28)
            and np.isfinite(array).all()
        )
    for stage in (1, 2):
        confidence = np.load(workdir / f"test_confidence_{stage}.npy")
        assert confidence.dtype == np.float32 and confidence.shape == (facts["rows"]["test"], 14)
        assert ((0 <= confidence) & (confidence <= 1)).all()
    assert (workdir / "train_output.npy").read_bytes() == (
        workdir / "training_output.npy"
    ).read_bytes()
    assert np.load(workdir / "deltas.npy").shape == (14, 40, 2)
    assert not list(workdir.glob("*.tmp"))


def test_checkpoints_are_bare_float32_state_dicts(finished):
    workdir, _ = finished
    weights = torch.load(workdir / "model_1.pt", weights_only=True)
    # int64: batches counted
    assert all(value.dtype in (torch.float32, torch.int64) for value in weights.values())
    Resnet_stage_1(14).load_state_dict(weights)
    for joint, name in enumerate(LSP.joints):
        refiner = torch.load(workdir / f"model_{name}.pt", weights_only=True)
        assert all(value.dtype in (torch.float32, torch.int64) for value in refiner.values())
        Alex_net_c1(14, (joint,)).load_state_dict(refiner)
    for name in ("1", *LSP.joints):
        facts = json.loads((workdir / f"model_{name}.json").read_text())
        assert {
            "network",
            "options",
            "skeleton",
            "seed",
            "settings",
            "initial_weights",
            "run",
            "epoch",
            "held_out",
        } <= set(facts)
        assert skeleton.from_description(facts["skeleton"]) == LSP
        if name != "1":
            assert {"joints", "crop_px", "crop_scale", "smallest_crop_px", "gain", "stage"} <= set(
                facts
            )
    assert {"frame", "margin", "input_size"} <= set(
        json.loads((workdir / "model_1.json").read_text())
    )


def test_stage_1_predictions_are_the_networks(finished):
    workdir, _ = finished
    network = Resnet_stage_1(14).eval()
    network.load_state_dict(torch.load(workdir / "model_1.pt", weights_only=True))
    images = torch.from_numpy(np.load(workdir / "test_images.npy")).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        output = network(images)
    expected = output.joints.flatten(1) * 227 + 113.5
    np.testing.assert_allclose(
        np.load(workdir / "test_output_1.npy"), expected, atol=0.01, rtol=1e-5
    )
    np.testing.assert_allclose(
        np.load(workdir / "test_confidence_1.npy"), output.confidence, atol=1e-3
    )


def test_gains_are_those_of_the_checkpoints(finished):
    workdir, _ = finished
    gains = json.loads((workdir / "metrics_stage_2.json").read_text())["gains"]
    assert list(gains) == list(LSP.joints)
    for name, gain in gains.items():
        facts = json.loads((workdir / f"model_{name}.json").read_text())
        weights = torch.load(workdir / f"model_{name}.pt", weights_only=True)
        assert [gain] == pytest.approx(weights["gain"].tolist()) and [gain] == pytest.approx(
            facts["gain"]
        )
        assert 0 <= gain <= 1


@pytest.mark.parametrize("stage", [1, 2])
def test_scores_agree_with_an_independent_loop(finished, stage):
    workdir, _ = finished
    torso = [LSP.index(name) for name in LSP.unit]
    true = np.load(workdir / "test_labels.npy").astype(float).reshape(-1, 14, 2)
    scores = json.loads((workdir / f"metrics_stage_{stage}.json").read_text())
    assert scores["images"] == len(true) and {
        "mean_pose",
        *(f"stage_{n + 1}" for n in range(stage)),
    } <= set(scores)
    predicted = np.load(workdir / f"test_output_{stage}.npy").astype(float).reshape(-1, 14, 2)
    score = scores[f"stage_{stage}"]
    for kind, strict in (("pcp_strict", True), ("pcp_relaxed", False)):
        per_stick = np.array(literal_pcp(predicted, true, LSP.sticks, 0.5, strict))
        for part in LSP.limbs:
            mean = per_stick[[owner == part for owner in LSP.stick_parts]].mean()
            assert score[kind][part] == pytest.approx(mean, abs=1e-6)
        assert score[kind]["mean_10"] == pytest.approx(per_stick.mean(), abs=1e-6)
    for threshold, pooled in score["pdj"].items():
        rates = literal_pdj(predicted, true, torso, float(threshold))
        assert pooled == pytest.approx(np.mean(rates), abs=1e-6)
    rates = literal_pdj(predicted, true, torso, 0.2)
    assert list(score["pdj_per_joint_0.2"].values()) == pytest.approx(rates, abs=1e-6)


def test_pictures_open_and_show_something(finished):
    workdir, _ = finished
    for name in (
        "pdj_stage_1",
        "poses_stage_1",
        "curves_stage_1",
        "pdj_stage_2",
        "poses_stage_2",
        "errors_stage_2",
        "learning_stage_2",
        "curves_stage_2",
    ):
        picture = np.asarray(Image.open(workdir / f"{name}.png").convert("RGB"))
        assert min(picture.shape[:2]) > 300 and picture.std() > 10
    assert (workdir / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>")


def test_what_the_person_at_the_shell_reads(finished):
    _, printed = finished
    assert "unlabelled" in printed[1] and "held out" in printed[1]
    for said in ("epoch   2/2", "PDJ@0.2", "strict PCP", "images/s", "left"):
        assert said in printed[2]
    assert "mean pose" in printed[3] and "stage 1" in printed[3]
    assert printed[5].count("gain") >= 28 and "drawn from the errors" in printed[5]
    assert "stage 2" in printed[6] and "gained" in printed[6]
    assert (
        max(len(line) for step in (3, 6) for line in printed[step].splitlines() if "/" not in line)
        <= 100
    )


def test_a_missing_joint_keeps_its_stage_1_estimate(finished):
    workdir, _ = finished
    (workdir / "model_head.pt").rename(workdir / "aside.pt")
    try:
        assert "no model_head.pt" in run("test_stage_2.py", workdir, *FP32)
    finally:
        (workdir / "aside.pt").rename(workdir / "model_head.pt")
    first, second = (
        np.load(workdir / f"test_output_{stage}.npy").reshape(-1, 14, 2) for stage in (1, 2)
    )
    np.testing.assert_array_equal(first[:, LSP.index("head")], second[:, LSP.index("head")])
    assert json.loads((workdir / "metrics_stage_2.json").read_text())["gains"]["head"] is None


def test_make_clean_knows_every_file_of_the_steps(finished, tmp_path):
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    link = tmp_path / "workdir"  # make takes no spaces
    link.symlink_to(finished[0])
    done = subprocess.run(
        ["make", "-n", "clean", f"WORKDIR={link}", f"PYTHON={sys.executable}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    left = {path.name for path in link.iterdir() if str(path) not in done.stdout.split()}
    assert left == {"deltas.npy", "deltas.json"}
