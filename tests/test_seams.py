"""The seams: another data set and another network go through the steps, and no other file knows of
them."""

import io
import json

import five_joints_data
import numpy as np
import pytest
import torch
from five_joints_data import COLOURS, DOLL
from helpers import FP32
from literal import literal_pck
from PIL import Image, ImageColor
from torch import nn

import Generate_train_output
import predict
import test_stage_1
import test_stage_2
import Train_stage_1
import Train_stage_2
from deeppose import geometry, heatmaps, networks
from deeppose.dataset import open_dataset
from deeppose.recipes import Recipe
from deeppose.refiners import load_refiner

STAGE_1 = [
    "--weights",
    "none",
    "--rows",
    "8",
    "--epochs",
    "1",
    "--batch-size",
    "4",
    "--input-px",
    "64",
    *FP32,
]
STAGE_2 = [
    "--rows",
    "4",
    "--epochs",
    "1",
    "--batch-size",
    "2",
    "--simulated",
    "3",
    "--crop-px",
    "67",
    *FP32,
]
BOX_PX = 128 / 1.25  # the unit: the larger side of the view


@pytest.fixture(scope="module")
def finished(dolls):
    """A working directory after all six steps."""
    own = ["--workdir", str(dolls)]
    Train_stage_1.main([*own, *STAGE_1])
    test_stage_1.main([*own, *FP32])
    Generate_train_output.main([*own, *FP32])
    Train_stage_2.main([*own, *STAGE_2])
    test_stage_2.main([*own, *FP32])
    return dolls


def true_joints(part):
    """Joints (N, J, 2) px of the pictures, of all rows of a part: drawn again, independently of
    step 1."""
    joints = []
    for number in five_joints_data.NUMBERS[part]:
        for person in drawn_again(number):
            mirrored = part == "train" and number % 4 != 1
            joints += [person] * (1 + mirrored)
    return np.array(joints)


def drawn_again(number):
    return five_joints_data.draw_picture(io.BytesIO(), np.random.default_rng((0, number)))


def test_every_label_lies_on_its_joints_disc(dolls):
    data = open_dataset(dolls)
    assert data.skeleton == DOLL and data.frame == (96, 128) and data.margin == 1.25
    assert data.train_images.shape == (42, 128, 96, 3) and data.test_images.shape == (8, 128, 96, 3)
    assert list(data.column("test", "person")) == 4 * [1, 2] and len(data.held_out) == 6
    assert data.column("train", "mirrored").sum() == 18
    colours = np.array([ImageColor.getrgb(colour) for colour in COLOURS])
    for part in ("train", "test"):
        images = getattr(data, f"{part}_images")
        labels = getattr(data, f"{part}_labels")
        mirrored = data.column(part, "mirrored").astype(bool)[:, None, None]
        # a left hand was a right one
        drawn = np.where(mirrored, colours[list(DOLL.flip)], colours).astype(float)
        places = np.floor(labels).astype(int)  # (N, J, 2)
        seen = images[np.arange(len(images))[:, None], places[..., 1], places[..., 0]]  # (N, J, 3)
        assert np.abs(seen - drawn).max() < 100  # never another's, nor the ground's
        shown = geometry.denormalise(np.array([[-0.5, -0.5], [0.5, 0.5]]), data.view_box)
        assert (labels >= shown[0]).all() and (labels <= shown[1]).all()


def test_labels_lead_back_to_the_photographs(dolls):
    data = open_dataset(dolls)
    for part, labels in (("train", data.train_labels), ("test", data.test_labels)):
        np.testing.assert_allclose(data.to_photographs(labels, part), true_joints(part), atol=1e-3)
        numbers = [int(name.removesuffix(".png")) for name in data.photographs(part)]
        assert numbers == data.column(part, "image").tolist()


def test_six_steps_leave_the_files_of_the_contract(finished):
    data = open_dataset(finished)
    facts = json.loads((finished / "model_1.json").read_text())
    assert (
        facts["input_size"] == [48, 64] and facts["frame"] == [96, 128] and facts["margin"] == 1.25
    )
    for name in ("train_output", "training_output"):
        assert np.load(finished / f"{name}.npy").shape == (42, 10)
    for stage in (1, 2):
        assert np.load(finished / f"test_output_{stage}.npy").shape == (8, 10)
        assert np.load(finished / f"test_confidence_{stage}.npy").shape == (8, 5)
    assert np.load(finished / "deltas.npy").shape == (5, 40, 2)
    for name in DOLL.joints:
        assert json.loads((finished / f"model_{name}.json").read_text())["joints"] == [name]
    scores = json.loads((finished / "metrics_stage_2.json").read_text())
    assert list(scores["gains"]) == list(DOLL.joints) and "pcp_strict" not in scores["stage_2"]
    true = data.test_labels.astype(float)
    for stage in (1, 2):
        predicted = np.load(finished / f"test_output_{stage}.npy").reshape(-1, 5, 2).astype(float)
        for threshold, rate in scores[f"stage_{stage}"]["pdj"].items():
            expected = literal_pck(predicted, true, [BOX_PX] * 8, range(5), float(threshold))
            assert rate == pytest.approx(expected, abs=1e-6)
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
        assert np.asarray(Image.open(finished / f"{name}.png").convert("L")).std() > 10
    assert "left_hand" in (finished / "report.html").read_text(encoding="utf-8")


def test_the_epochs_score_is_the_skeletons(finished):
    facts = json.loads((finished / "model_1.json").read_text())
    header = (finished / "curves_stage_1.csv").read_text().splitlines()[0].split(",")
    scores = ["pdj_0.2", "pdj_0.1", "pdj_0.5", "auc"]
    trained_on = [f"trained_on_{name}" for name in ("loss", *scores)]
    assert header == ["epoch", "step", "train_loss", "held_out_loss", *scores, *trained_on]
    assert "0.20" in facts["held_out"]["pdj"]


def test_photographs_with_two_people_are_predicted_as_their_test_rows(finished):
    data = open_dataset(finished)
    numbers = list(five_joints_data.NUMBERS["test"])
    boxes = data.boxes("test").reshape(-1, 2, 4)
    people = np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], 2)  # x0, y0, x1, y1
    found = predict.predict(
        predict.load(finished, "cpu", "fp32"),
        [finished / "pictures" / f"{number}.png" for number in numbers],
        list(people),
    )
    for stage in (1, 2):
        joints = np.concatenate([picture[f"stage_{stage}"] for picture in found])
        expected = np.load(finished / f"test_output_{stage}.npy").reshape(-1, 5, 2)
        np.testing.assert_allclose(joints, data.to_photographs(expected, "test"), atol=0.05)


def test_one_refiner_serves_all_joints(finished, tmp_path):
    for path in finished.iterdir():
        if path.stem.removeprefix("model_") not in DOLL.joints:
            (tmp_path / path.name).symlink_to(path)
    own = ["--workdir", str(tmp_path)]
    Train_stage_2.main([*own, "--refiner", "shared", *STAGE_2])
    (tmp_path / "metrics_stage_2.json").unlink()
    test_stage_2.main([*own, *FP32])
    refiner = load_refiner(tmp_path, "shared", DOLL, predict.load(finished, "cpu", "fp32").run)
    gains = json.loads((tmp_path / "metrics_stage_2.json").read_text())["gains"]
    assert list(gains.values()) == pytest.approx([refiner.gain(joint) for joint in range(5)])


class Tiny(nn.Module):
    """A network of two layers."""

    imagenet = None
    joint_layers = ("joints",)
    unused_weights = ()

    def __init__(self, joint_count, width=8):
        super().__init__()
        self.joint_count = joint_count
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 7, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
        )
        self.joints = nn.Linear(16 * width, 2 * joint_count)

    def forward(self, images):
        joints = self.joints(self.features(images)).unflatten(1, (self.joint_count, 2))
        return heatmaps.Output(
            joints, None if self.training else heatmaps.unknown_confidence(joints)
        )


TINY = {"best": Recipe(options={"width": 8}, loss="l1", mirror=0.5)}


def prepared(dolls, folder):
    """Links to step 1's arrays in another folder; returns the flags that name it."""
    for part in ("train", "test"):
        for name in (
            f"{part}_images.npy",
            f"{part}_labels.npy",
            f"{part}_rows.npy",
            f"{part}_photographs.txt",
        ):
            (folder / name).symlink_to(dolls / name)
    return ["--workdir", str(folder)]


def test_another_network_trains_and_is_scored(dolls, tmp_path, monkeypatch):
    monkeypatch.setitem(networks.NETWORKS, "tiny", (Tiny, TINY))
    own = prepared(dolls, tmp_path)
    (tmp_path / "dataset.json").symlink_to(dolls / "dataset.json")
    Train_stage_1.main([*own, "--network", "tiny", "--vary", "width=4", "--epochs", "2", *STAGE_1])
    test_stage_1.main([*own, *FP32])
    facts = json.loads((tmp_path / "model_1.json").read_text())
    assert facts["network"] == "tiny" and facts["options"] == {"width": 4}
    weights = torch.load(tmp_path / "model_1.pt", weights_only=True)
    assert weights["joints.weight"].shape == (10, 64)
    assert (
        json.loads((tmp_path / "metrics_stage_1.json").read_text())["stage_1"]["pdj"]["0.20"] >= 0
    )
    assert (
        np.isnan(np.load(tmp_path / "test_confidence_1.npy")).all()
        and (tmp_path / "report.html").exists()
    )


@pytest.mark.parametrize(
    "entries, kinds",
    [
        ({"scores": ["oks"], "chosen_by": ["oks"]}, {"oks"}),
        (
            {
                "scores": ["pckh"],
                "unit": "head",
                "unit_name": "head sizes",
                "thresholds": [0.5],
                "chosen_by": ["pckh_0.5"],
            },
            {"pckh_0.5", "pckh_symmetric_0.5", "pckh_per_joint_0.5"},
        ),
        (
            {
                "scores": ["pcp", "pdj"],
                "limbs": {"arms": [[["left_hand"], ["right_hand"]]]},
                "unit": ["hat", "feet"],
                "unit_name": "heights",
                "crop_size_from": ["hat", "belt"],
            },
            {
                "pcp_strict",
                "pcp_relaxed",
                "pdj",
                "auc",
                *(f"pdj_per_joint_{t}" for t in (0.1, 0.2, 0.5)),
            },
        ),
    ],
)
def test_a_skeleton_is_judged_by_its_own_scores_alone(entries, kinds, dolls, tmp_path, monkeypatch):
    monkeypatch.setitem(networks.NETWORKS, "tiny", (Tiny, TINY))
    own = prepared(dolls, tmp_path)
    facts = json.loads((dolls / "dataset.json").read_text())
    facts["skeleton"] |= entries
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    Train_stage_1.main([*own, "--network", "tiny", *STAGE_1])
    test_stage_1.main([*own, *FP32])
    score = json.loads((tmp_path / "metrics_stage_1.json").read_text())["stage_1"]
    assert set(score) == kinds | {"never_labelled"}
    Generate_train_output.main([*own, *FP32])
    Train_stage_2.main([*own, "--joints", "hat", *STAGE_2])
    test_stage_2.main([*own, *FP32])
    assert set(json.loads((tmp_path / "metrics_stage_2.json").read_text())["stage_2"]) == set(score)
