"""COCO's scores of the test steps: result.json, mapped back to the photographs, and the six steps
on such data."""

import json
import sys

import numpy as np
import pytest
import torch
from drawn_coco import content, write, write_set
from helpers import FP32, fails, prepare_coco, real, write_model
from literal import literal_oks
from torch import nn

import Generate_train_output
import test_stage_1
import test_stage_2
import Train_stage_1
import Train_stage_2
from deeppose import coco_results, coco_scores, metrics, networks
from deeppose.coco_skeletons import COCO, POSETRACK
from deeppose.heatmaps import Output

# the real sets, where they are at hand
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
    "--refiner",
    "shared",
    "--rows",
    "4",
    "--epochs",
    "1",
    "--batch-size",
    "2",
    "--simulated",
    "2",
    "--crop-px",
    "67",
    *FP32,
]
SURE = "stage 1"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    write_set(folder)
    return folder


def scores_of(data, joints, confidence=None):
    """COCO's scores of joints (N, J, 2) px of the frames; result.json is written too."""
    confidence = np.ones(joints.shape[:2], np.float32) if confidence is None else confidence
    return coco_results.score(data, {SURE: joints}, {SURE: confidence}).get(SURE)


@pytest.fixture(scope="module")
def made(source, tmp_path_factory):
    return prepare_coco(tmp_path_factory.mktemp("made"), "--source", source)


def test_true_joints_as_predictions_score_one(made):
    scores = scores_of(made, np.nan_to_num(made.test_labels))
    assert (scores["AP"], scores["AR"]) == pytest.approx((1, 1))
    results = json.loads((made.folder / "result.json").read_text())
    value = json.loads((made.folder / "test_annotations.json").read_text())
    people = [
        entry for entry in value["annotations"] if entry["num_keypoints"] and not entry["iscrowd"]
    ]
    for result, entry in zip(results, people, strict=True):
        assert (result["image_id"], result["category_id"], result["score"]) == (
            entry["image_id"],
            1,
            1,
        )
        found, true = (np.reshape(each["keypoints"], (17, 3)) for each in (result, entry))
        labelled = true[:, 2] > 0
        assert np.abs(found - true)[labelled, :2].max() < 0.01 and (found[:, 2] == 1).all()


def test_pycocotools_loads_result_json(made):
    tools = pytest.importorskip("pycocotools.coco")
    scores_of(made, np.nan_to_num(made.test_labels))
    true = tools.COCO(str(made.folder / "test_annotations.json"))
    assert len(true.loadRes(str(made.folder / "result.json")).getAnnIds()) == len(made.test_rows)


def test_worse_poses_score_less_and_the_epochs_oks_is_the_literal_one(made):
    rng = np.random.default_rng(0)
    joints = np.nan_to_num(made.test_labels + rng.normal(0, 12, made.test_labels.shape))
    assert 0 < scores_of(made, joints)["AP"] < 0.9
    held_out = made.train_labels[made.held_out].astype(float)
    noisy = held_out + rng.normal(0, 12, held_out.shape)
    score = metrics.score(
        np.nan_to_num(noisy), held_out, made.skeleton, made.sizes("train", made.held_out)
    )
    scale = made.scale("train")[made.held_out]
    areas = made.column("train", "area_px")[made.held_out]
    expected = [
        literal_oks(p / s, t / s, COCO.sigmas, area)
        # in pixels of the photograph
        for p, t, s, area in zip(np.nan_to_num(noisy), held_out, scale, areas)
    ]
    assert metrics.chosen(score, made.skeleton) == score["oks"] == pytest.approx(np.mean(expected))
    assert metrics.chosen_name(made.skeleton) == "OKS"


def test_scores_are_those_of_the_surer_joints_times_the_boxes(made):
    confidence = np.full((len(made.test_rows), 17), 0.1, np.float32)  # of no account
    confidence[:, :4] = 0.6
    confidence[0] = 0.05
    confidence[1] = np.nan  # a head that does not tell
    scores_of(made, np.nan_to_num(made.test_labels), confidence)
    found = [result["score"] for result in json.loads((made.folder / "result.json").read_text())]
    assert found == pytest.approx([0, 1, *[0.6] * (len(found) - 2)], abs=1e-6)


def detected(source, folder, boxes):
    """The Dataset whose test rows are these detections."""
    return prepare_coco(
        folder, "--source", source, "--detections", write(folder / "found.json", boxes)
    )


@pytest.fixture(scope="module")
def boxes(source):
    """A detection for each person, the first one twice."""
    value = json.loads((source / "annotations" / "person_keypoints_val2017.json").read_text())
    found = [
        {"image_id": entry["image_id"], "category_id": 1, "bbox": entry["bbox"], "score": 0.8}
        for entry in value["annotations"]
        if entry["num_keypoints"]
    ]
    return [found[0] | {"score": 0.5}, *found]


def test_poses_of_detections_that_are_alike_are_one(source, boxes, tmp_path):
    data = detected(source, tmp_path, boxes)
    value = json.loads((tmp_path / "test_annotations.json").read_text())
    people = [
        np.reshape(entry["keypoints"], (17, 3))
        for entry in value["annotations"]
        if entry["num_keypoints"]
    ]
    joints = np.stack(
        [
            (true[:, :2] - region[:2]) * np.array(data.frame) / region[2:]
            for true, region in zip([people[0], *people], regions_of(data))
        ]
    )
    scores = scores_of(data, joints)
    assert scores["AP"] == pytest.approx(1)
    results = json.loads((tmp_path / "result.json").read_text())
    assert len(results) == len(boxes) - 1 and {result["score"] for result in results} == {0.8}


def regions_of(data):
    """Regions of the photographs that the frames show, (N, 4) px: a quarter more than the boxes."""
    x0, y0, width, height = data.boxes("test").T
    return np.stack([x0 - width / 8, y0 - height / 8, 1.25 * width, 1.25 * height], 1)


class Fixed(nn.Module):
    """A network that says of each joint that it lies in the middle."""

    imagenet = None
    joint_layers = ()
    unused_weights = ()
    head = "fixed"

    def __init__(self, joint_count, head="fixed"):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(joint_count, 2))

    def forward(self, images):
        joints = self.place.expand(len(images), -1, -1)
        return Output(joints, joints[..., 0] + 0.5)


@pytest.fixture
def with_model(monkeypatch):
    """Function of a Dataset: writes a stage-1 model beside it that knows nothing."""
    monkeypatch.setitem(networks.NETWORKS, "resnet", (Fixed, {}))

    def write_fixed(data):
        write_model(
            data.folder,
            Fixed(data.skeleton.joint_count),
            skeleton=data.skeleton,
            frame=data.frame,
            margin=data.margin,
        )
        return ["--workdir", str(data.folder), *FP32]

    return write_fixed


def test_of_detections_cocos_scores_alone_are_printed(source, boxes, tmp_path, with_model, capsys):
    data = detected(source, tmp_path, boxes)
    test_stage_1.main(with_model(data))
    said = capsys.readouterr().out
    assert (
        "COCO's scores, detections" in said
        and "PDJ" not in said
        and "±" not in said
        and "mean pose" not in said
    )
    facts = json.loads((tmp_path / "metrics_stage_1.json").read_text())
    assert list(facts["coco"]["stage_1"]) == list(coco_scores.NAMES) and "stage_1" not in facts
    assert np.load(tmp_path / "test_output_1.npy").shape == (len(boxes), 34)


def test_a_sample_has_no_cocos_scores_which_are_of_all_people(source, tmp_path, with_model, capsys):
    data = prepare_coco(tmp_path, "--source", source)
    test_stage_1.main([*with_model(data), "--sample", "2"])
    said = capsys.readouterr().out
    assert "COCO's scores are of all test rows" in said and "PDJ@0.2" in said
    assert not (tmp_path / "result.json").exists()
    assert "coco" not in json.loads((tmp_path / "metrics_stage_1.json").read_text())


def test_detections_are_not_sampled(source, boxes, tmp_path, with_model, capsys):
    flags = with_model(detected(source, tmp_path, boxes))
    fails(test_stage_1.main, [*flags, "--sample", "2"], capsys, "--sample: detections")


def test_images_without_annotations_give_a_result_for_the_server(
    source, boxes, tmp_path, with_model, capsys
):
    value = json.loads((source / "annotations" / "person_keypoints_val2017.json").read_text())
    info = write(
        tmp_path / "info.json",
        {"images": value["images"], "categories": [{"id": 1, "name": "person"}]},
    )
    data = prepare_coco(
        tmp_path,
        "--train",
        source / "annotations" / "person_keypoints_train2017.json",
        "--test",
        info,
        "--images",
        source / "images",
        "--detections",
        write(tmp_path / "found.json", boxes),
    )
    test_stage_1.main(with_model(data))
    assert "COCO's server takes result.json" in capsys.readouterr().out
    assert 0 < len(json.loads((tmp_path / "result.json").read_text())) <= len(boxes)


def test_without_pycocotools_everything_else_works(
    source, tmp_path, with_model, monkeypatch, capsys
):
    data = prepare_coco(tmp_path, "--source", source)
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    test_stage_1.main(with_model(data))
    said = capsys.readouterr().out
    assert (
        said.count("pycocotools is not installed") == 1
        and "OKS, mean" in said
        and "COCO's scores" not in said
    )
    facts = json.loads((tmp_path / "metrics_stage_1.json").read_text())
    assert "coco" not in facts and "oks" in facts["stage_1"]
    assert len(json.loads((tmp_path / "result.json").read_text())) == len(data.test_rows)


def test_annotations_of_another_run_are_refused(source, tmp_path, with_model, capsys):
    data = prepare_coco(tmp_path, "--source", source)
    flags = with_model(data)
    path = tmp_path / "test_annotations.json"
    path.write_text(path.read_text() + "\n")
    fails(
        test_stage_1.main,
        flags,
        capsys,
        "test_annotations.json: is not the file that dataset.json belongs to",
    )
    path.unlink()
    fails(test_stage_1.main, flags, capsys, "test_annotations.json: not found")


def six_steps(folder):
    own = ["--workdir", str(folder)]
    Train_stage_1.main([*own, *STAGE_1])
    test_stage_1.main([*own, *FP32])
    Generate_train_output.main([*own, *FP32])
    Train_stage_2.main([*own, *STAGE_2])
    test_stage_2.main([*own, *FP32])


def test_six_steps_on_coco(source, tmp_path, capsys):
    prepare_coco(tmp_path, "--source", source)
    six_steps(tmp_path)
    said = capsys.readouterr().out
    assert "held-out OKS" in said and said.count("COCO's scores, true boxes") == 2
    assert json.loads((tmp_path / "model_1.json").read_text())["input_size"] == [48, 64]
    header = (tmp_path / "curves_stage_1.csv").read_text().splitlines()[0]
    assert header.startswith("epoch,step,train_loss,held_out_loss,oks,pdj_0.05,")
    facts = json.loads((tmp_path / "metrics_stage_2.json").read_text())
    content = json.loads((tmp_path / "test_annotations.json").read_text())
    results = json.loads((tmp_path / "result.json").read_text())
    scores = {
        name: np.nan if value is None else value for name, value in facts["coco"]["stage_2"].items()
    }
    assert scores == pytest.approx(coco_scores.compute(content, results, COCO.sigmas), nan_ok=True)
    assert list(facts["coco"]) == ["stage_1", "stage_2"] and "oks" in facts["stage_2"]


def test_six_steps_where_some_joints_are_never_labelled_and_nothing_is_mirrored(tmp_path, capsys):
    """As PoseTrack's ears; and a skeleton whose joints tell no sides."""
    names = ["nose", "crown", "chin", "brow", "hat"]
    value = content(tmp_path, range(1, 9), names)
    for entry in value["annotations"]:
        entry["keypoints"][12:] = [0, 0, 0]
    prepare_coco(tmp_path, "--train", write(tmp_path / "own.json", value))
    six_steps(tmp_path)
    said = capsys.readouterr().out
    assert said.count("no joint has an opposite one, so no image is mirrored") == 2
    assert (
        "hat: too few labels to learn from" in said
        and "never labelled, and in no mean: hat" in said
    )
    assert json.loads((tmp_path / "model_1.json").read_text())["settings"]["recipe"]["mirror"] == 0
    assert json.loads((tmp_path / "model_shared.json").read_text())["joints"] == names[:-1]
    fails(
        test_stage_1.main,
        ["--workdir", tmp_path, "--flip-test", *FP32],
        capsys,
        "--flip-test: no joint",
    )


def test_the_real_coco_scores_as_pycocotools_does_on_its_own_file(tmp_path):
    """The reference cases against test_annotations.json, and true joints in true boxes."""
    folder = real("coco")
    data = prepare_coco(tmp_path, "--source", folder)
    expected = json.loads((folder / "oks" / "expected.json").read_text())
    for case in ("case1", "case2", "case3"):
        results = json.loads((folder / "oks" / f"{case}_results.json").read_text())
        scores = coco_scores.compute(tmp_path / "test_annotations.json", results, COCO.sigmas)
        assert scores == pytest.approx(
            {name: expected[case][name] for name in coco_scores.NAMES}, abs=1e-6
        )
    assert scores_of(data, np.nan_to_num(data.test_labels))["AP"] == pytest.approx(1)


def test_the_real_posetrack(tmp_path):
    """Three frames: one to train on, one held out, one to test on."""
    folder = real("posetrack")
    data = prepare_coco(
        tmp_path,
        "--train",
        folder / "annotations" / "posetrack18_val_coco.json",
        "--images",
        folder,
    )
    assert data.skeleton.joints == POSETRACK.joints and {"left_ear", "right_ear"} <= set(
        data.not_refined
    )
    assert len(data.train_rows) + len(data.test_rows) == 14
    assert scores_of(data, np.nan_to_num(data.test_labels))["AP"] == pytest.approx(1)
