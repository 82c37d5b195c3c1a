"""Test rows cut anew around their true joints: what the frames show, where photographs are found,
what is scored."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
from helpers import FP32, fails, write_model
from PIL import Image

import LSP_data
import test_stage_1
from deeppose import runtime, true_boxes
from deeppose.dataset import open_dataset
from deeppose.skeleton import Skeleton
from deeppose.skeletons import LSP
from deeppose.true_boxes import TrueBoxes
from Resnet_stage_1 import Resnet_stage_1

RUN = runtime.Runtime(torch.device("cpu"), "fp32")
PAIR = Skeleton("pair", ("head", "feet"), unit="head", scores=("pckh",), chosen_by=("pckh_0.5",))


def test_boxes_are_the_joints_times_the_factor():
    # w 40, h 80; one joint alone
    joints = np.array([[[10, 20], [50, 100]], [[30, 40], [np.nan, np.nan]]], float)
    boxes = TrueBoxes([], joints, {}, (100, 100), 1.25, PAIR)
    np.testing.assert_allclose(boxes.regions(1.0, True), [[5, 10, 50, 100], [17.5, 27.5, 25, 25]])
    np.testing.assert_allclose(
        boxes.regions(1.0, False), [[-20, 10, 100, 100], [17.5, 27.5, 25, 25]]
    )
    np.testing.assert_allclose(boxes.regions(2.0, False)[0], [-70, -40, 200, 200])
    tall = TrueBoxes([], joints, {}, (90, 120), 1.0, PAIR)
    np.testing.assert_allclose(tall.regions(1.0, False)[0], [0, 20, 60, 80])


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize("factor", [1.0, 1.7])
def test_a_white_pixel_lies_where_its_joint_does(stretch, factor, tmp_path):
    image = np.zeros((150, 200, 3), np.uint8)
    image[40, 60] = image[120, 90] = 255
    Image.fromarray(image).save(tmp_path / "a.png")
    joints = np.array([[[60.5, 40.5], [90.5, 120.5]]])
    boxes = TrueBoxes([true_boxes.find(tmp_path, "a.png")], joints, {}, (96, 128), 1.25, PAIR)
    region = boxes.regions(factor, stretch)
    frame = boxes.cut(region)[0].max(2)
    for joint in (joints[0] - region[0, :2]) * [96, 128] / region[0, 2:]:
        x, y = np.floor(joint).astype(int)
        around = np.zeros_like(frame)
        # a photograph's pixel is up to 2.6 wide
        around[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4] = 1
        assert (frame * around).max() > 40
        frame = frame * (1 - around)
    assert frame.max() < 40


class Offset:
    """In a Stage_1's place: the true joints in each frame, moved by a share of the frame's
    sides."""

    def __init__(self, boxes, stretch, share):
        self.boxes, self.stretch, self.share, self.asked = boxes, stretch, share, []

    def predict(self, frames, rows, run, what, flip):
        factor = float(what.split()[-1])
        self.asked.append((factor, flip, frames.images.shape))
        regions = self.boxes.regions(factor, self.stretch)
        joints = (
            (self.boxes.joints_px - regions[:, None, :2]) * self.boxes.frame / regions[:, None, 2:]
        )
        return (joints + self.share * np.array(self.boxes.frame)).astype(np.float32), None


def test_scores_are_of_pixels_of_the_photographs(dolls):
    """An error of .1 box sides along each axis is right within .1 x factor x the box's sides of the
    photograph."""
    data = open_dataset(dolls)
    boxes = true_boxes.open_photographs(data, dolls / "pictures")
    for stretch in (False, True):
        model = Offset(boxes, stretch, 0.1)
        scores, intervals = boxes.score(model, (1.0, 2.0), stretch, RUN, flip_test=True)
        assert model.asked == [(1.0, True, (8, 128, 96, 3)), (2.0, True, (8, 128, 96, 3))]
        unit = data.boxes("test")[:, 2:].max(1)
        for factor in (1.0, 2.0):
            moved = 0.1 * boxes.regions(factor, stretch)[:, 2:]
            right = np.hypot(*moved.T) <= 0.2 * unit
            assert scores[f"x {factor:g}"]["pdj"]["0.20"] == pytest.approx(right.mean())
            assert set(intervals[f"x {factor:g}"]) == set(scores[f"x {factor:g}"]) - {
                "never_labelled"
            }
    perfect, _ = boxes.score(Offset(boxes, False, 0.0), (1.3,), False, RUN)
    assert perfect["x 1.3"]["pdj"]["0.05"] == 1


@pytest.mark.parametrize("form", ["folder", "unpacked", "zipped"])
def test_photographs_are_found_where_step_1_found_them(form, photos, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for number, name in ((1, "lsp_dataset"), (2, "lspet_dataset")):
        labels = photos / f"joints_{number}.mat"
        images = photos / f"images_{number}"
        if form == "folder":
            shutil.copytree(images, source / images.name)
            shutil.copy(labels, source)
        elif form == "unpacked":
            shutil.copytree(images, source / name / "images")
            shutil.copy(labels, source / name / "joints.mat")
        else:
            with zipfile.ZipFile(source / f"{name}.zip", "w") as archive:
                archive.write(labels, f"{name}/joints.mat")
                for path in images.iterdir():
                    archive.write(path, f"{name}/images/{path.name}")
    LSP_data.main(["--source", str(source), "--workdir", str(tmp_path / "out"), "--limit", "5"])
    data = open_dataset(tmp_path / "out")
    boxes = true_boxes.open_photographs(data, source)
    assert len(boxes.photographs) == 5
    np.testing.assert_array_equal(boxes.cut(data.boxes("test")), data.test_images)


def test_step_3_scores_true_boxes(dolls, tmp_path, capsys):
    for path in dolls.iterdir():
        (tmp_path / path.name).symlink_to(path)
    data = open_dataset(dolls)
    write_model(
        tmp_path,
        five_network(),
        skeleton=data.skeleton,
        frame=data.frame,
        margin=data.margin,
        settings={"recipe": {"stretch": 1}},
    )
    test_stage_1.main(
        [
            "--workdir",
            str(tmp_path),
            *FP32,
            "--source",
            str(dolls / "pictures"),
            "--box-scale",
            "1.2,1",
        ]
    )
    said = capsys.readouterr().out
    assert (
        "Boxes of the true joints" in said
        and "true boxes: frames show" in said
        and "aspect lost" in said
    )
    scores = json.loads((tmp_path / "metrics_stage_1.json").read_text())
    assert scores["true_boxes"]["stretched"] is True and list(scores["true_boxes"])[2:4] == [
        "x 1",
        "x 1.2",
    ]
    low, high = scores["true_boxes"]["intervals"]["x 1"]["pdj"]["0.20"]
    assert low <= scores["true_boxes"]["x 1"]["pdj"]["0.20"] <= high
    assert np.asarray(Image.open(tmp_path / "box_scale_stage_1.png").convert("L")).std() > 10
    assert "Scores over the size of true boxes" in (tmp_path / "report.html").read_text(
        encoding="utf-8"
    )


def five_network():
    """A small network for five joints."""
    torch.manual_seed(0)
    return Resnet_stage_1(5, "direct")


def test_wrong_photographs_are_refused(dolls, tmp_path, capsys):
    data = open_dataset(dolls)
    write_model(
        tmp_path, five_network(), skeleton=data.skeleton, frame=data.frame, margin=data.margin
    )
    flags = ["--workdir", dolls, "--model", tmp_path, *FP32, "--box-scale", "1", "--source"]
    fails(test_stage_1.main, [*flags, tmp_path / "none"], capsys, "none: no 101.png here; --source")
    for folder in ("one", "two"):
        shutil.copytree(dolls / "pictures", tmp_path / "both" / folder)
    fails(
        test_stage_1.main,
        [*flags, tmp_path / "both"],
        capsys,
        "either may be the test photograph 101.png",
    )
    other = tmp_path / "both" / "one"
    Image.new("RGB", (240, 180), "white").save(other / "103.png")
    fails(
        test_stage_1.main,
        [*flags, other],
        capsys,
        "103.png: is not the photograph that test row 4 was cut from",
    )
    (other / "103.png").write_bytes(b"x")
    fails(test_stage_1.main, [*flags, other], capsys, "103.png: is no image that can be read")
    assert not (dolls / "metrics_stage_1.json").exists()


@pytest.mark.parametrize("text", ["", "1,", "0.1", "nan", "9", "one"])
def test_factors_that_are_none(text, capsys):
    fails(test_stage_1.main, ["--box-scale", text], capsys, "--box-scale")


def test_lsps_scores_need_no_head_in_its_rows(own_workdir, photos):
    data = open_dataset(own_workdir)
    boxes = true_boxes.open_photographs(data, photos)
    scores, _ = boxes.score(Offset(boxes, False, 0.0), (1.0,), False, RUN)
    assert (
        data.skeleton == LSP
        and scores["x 1"]["pckh_0.5"] == 1
        and scores["x 1"]["pcp_strict"]["mean_6"] == 1
    )
