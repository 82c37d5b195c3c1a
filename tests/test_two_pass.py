"""A second look at the photograph: boxes around predicted poses, places that stay exact, and its
judge."""

import json

import numpy as np
import pytest
import torch
from helpers import FP32, fails, write_model
from PIL import Image, ImageDraw

import predict
import test_stage_1
from deeppose import geometry, networks, prediction, runtime, two_pass
from deeppose.heatmaps import Output
from deeppose.loader import Frames
from deeppose.skeletons import LSP
from deeppose.stage_1 import Stage_1
from results import two_pass as judge

RUN = runtime.Runtime(torch.device("cpu"), "fp32")


class Brightest(torch.nn.Module):
    """A stage 1 that finds where the picture is white: seven joints at its left edge, seven at its
    right.

    The finer it sees, the nearer it comes: it rounds to whole pixels of its input.
    """

    def forward(self, images):
        found = []
        for image in images:
            rows, columns = torch.nonzero(image.mean(0) > 0.5, as_tuple=True)
            size = image.shape[2]
            ends = [
                [x / size - 0.5, (rows.min() + rows.max() + 1) / 2 / size - 0.5]
                for x in (columns.min(), columns.max() + 1)
            ]
            found.append(torch.tensor(ends).repeat_interleave(7, 0))
        joints = torch.stack(found)
        return Output(joints, torch.ones(joints.shape[:2]))


class Peaks(torch.nn.Module):
    """A stage 1 whose heatmaps are the picture: all joints are where it is brightest."""

    def forward(self, images):
        return self.decode(self.predict_heatmaps(images), (images.shape[3], images.shape[2]))

    def predict_heatmaps(self, images):
        return images.mean(1, keepdim=True).expand(-1, 14, -1, -1)

    def decode(self, maps, size):
        peaks, places = maps.flatten(2).max(2)
        cells = torch.stack([places % size[0], places // size[0]], 2)  # (N, 14, 2)
        return Output((cells + 0.5) / torch.tensor(size) - 0.5, peaks)


def scene(width=900, height=600, at=(520, 300), extent=60):
    """A wide dark picture with a white bar of that extent, 40 high; and the middles of its ends (2,
    2) px."""
    image = Image.new("RGB", (width, height), (20, 20, 20))
    x, y = at
    ImageDraw.Draw(image).rectangle([x, y - 20, x + extent - 1, y + 19], "white")
    return image, np.array([[x, y], [x + extent, y]], float)


def looking(frame=(227, 227), margin=1.0, input_size=(65, 65), twice=True):
    stage_1 = Stage_1(Brightest(), "resnet", LSP, frame, margin, input_size)
    return prediction.Model(stage_1, {}, RUN, {}, twice)


def test_boxes_are_of_the_poses_extent_and_of_the_proportions_seen():
    poses = np.array(
        [[[100, 50], [160, 90]], [[10, 10], [10, 10]], [[0, 0], [1000, 0]], [[np.nan, 0], [1, 1]]]
    )
    seen = np.array([[0, 0, 300, 400]] * 4, float)
    boxes = two_pass.boxes_around(poses, seen, scale=1.5)
    # 60 wide: its shorter side is 90
    np.testing.assert_allclose(boxes[0], [130 - 45, 70 - 60, 90, 120])
    np.testing.assert_allclose(boxes[1, 2:], [30, 40])  # never less than a tenth
    # never more than 1.5 times as large
    np.testing.assert_allclose(boxes[2], [500 - 225, -300, 450, 600])
    np.testing.assert_allclose(boxes[3], seen[3])  # of nothing found, the same again
    np.testing.assert_allclose(
        two_pass.boxes_around(poses[:1], seen[:1], 1.25, 1.5)[0, 2:], [112.5, 150]
    )


@pytest.mark.parametrize(
    "frame, margin, input_size", [((227, 227), 1.0, (65, 65)), ((240, 320), 1.25, (65, 65))]
)
def test_the_second_look_sees_more_finely_and_its_places_are_exact(frame, margin, input_size):
    image, ends = scene()
    errors = {}
    for twice in (False, True):
        (found,) = predict.predict(looking(frame, margin, input_size, twice), [image])
        errors[twice] = np.abs(found["stage_1"][0][[0, 13]] - ends).max()
    box = found["boxes"][0]
    # px of the photograph; a pixel of the first look is 14 of them
    assert errors[True] < 4 < errors[False]
    assert (box[2] - box[0]) / margin == pytest.approx(two_pass.SCALE * 60, rel=0.3)


def test_only_who_would_be_seen_otherwise_is_looked_at_again():
    """One who fills the view is left; one who jumps is followed, but no more than MOST_LOOKS."""
    boxes = np.array([[0, 0, 100, 100], [0, 0, 100, 100], [0, 0, 100, 100.0]])
    at = {  # person -> left, width of the pose at each look
        0: [(10, 80)],
        1: [(70, 20), (72, 20)],
        2: [(10, 10), (40, 5), (80, 2), (90, 2)],
    }
    looks = dict.fromkeys(at, 0)

    def look(people, boxes_px):
        poses = []
        for person in people:
            left, width = at[person][min(looks[person], len(at[person]) - 1)]
            looks[person] += 1
            poses.append([[left, 50], [left + width, 50]])
        return np.array(poses, float), np.array([[float(looks[person])] * 2 for person in people])

    first = look(np.arange(3), boxes)
    joints, sure, seen = two_pass.look_until_settled(look, *first, boxes)
    assert looks == {0: 1, 1: 2, 2: two_pass.MOST_LOOKS}
    np.testing.assert_array_equal(sure[:, 0], list(looks.values()))
    np.testing.assert_array_equal(joints[1, 0], [72, 50])
    np.testing.assert_array_equal(seen[0], boxes[0])
    # the last look's box is around what the one before found
    np.testing.assert_allclose(seen[1], two_pass.boxes_around(first[0], boxes)[1])
    assert not np.shares_memory(joints, first[0]) and first[1][1, 0] == 1  # nothing edited in place


def test_shares_of_boxes():
    one = np.array([0, 0, 4, 2.0])
    others = np.array([[0, 0, 4, 2], [2, 0, 4, 2], [4, 0, 1, 1], [1, 0, 2, 1], [-9, -9, 1, 1.0]])
    found = geometry.intersection_over_union(one, others)
    np.testing.assert_allclose(found, [1, 4 / 12, 0, 2 / 8, 0])


def test_several_people_and_photographs_are_looked_at_anew_each_by_itself():
    first, ends = scene()
    second, other = scene(at=(100, 500), extent=100)
    box = [400, 200, 700, 500]
    found = predict.predict(looking(), [first, second], [[box, [0, 0, 900, 600]], None])
    for pose, true in (
        (found[0]["stage_1"][0], ends),
        (found[0]["stage_1"][1], ends),
        (found[1]["stage_1"][0], other),
    ):
        np.testing.assert_allclose(pose[[0, 13]], true, atol=5)


def test_the_test_scripts_second_look_is_cut_from_the_stored_frames():
    """To the same places as of the whole frame, mirrored as well."""
    image, ends = scene(227, 227, (150, 80), 40)
    frames = Frames(np.asarray(image)[None], RUN.device)
    rows = np.arange(1)
    model = looking().stage_1
    for flip in (False, True):
        once, _ = model.predict(frames, rows, RUN, flip_test=flip)
        twice, sure = model.predict(frames, rows, RUN, flip_test=flip, two_pass=True)
        # left and right change places, and all joints are their mean
        wanted = ends if not flip else ends.mean(0)
        assert np.abs(twice[0][[0, 13]] - wanted).max() < 1.2
        assert once.shape == twice.shape == (1, 14, 2) and (sure == 1).all()
    small = geometry.scale_box(model.view_box, 3)[None]
    wide, _ = model.predict(frames, rows, RUN, two_pass=True, boxes=small)
    np.testing.assert_allclose(wide[0][[0, 13]], ends, atol=1.5)


def test_the_flip_test_of_heatmaps_looks_twice_too():
    """At the same box of the image and of its mirror image."""
    y, x = np.mgrid[:227, :227] + 0.5
    light = 255 * np.exp(-((x - 150.5) ** 2 + (y - 80.5) ** 2) / (2 * 12**2))
    frames = Frames(light.astype(np.uint8)[None, ..., None].repeat(3, 3), RUN.device)
    model = Stage_1(Peaks(), "resnet", LSP, (227, 227), 1.0, (65, 65))
    for twice, within in ((False, 2), (True, 1)):  # px; a pixel of the first look is 3.5 of them
        found, _ = model.predict(frames, np.arange(1), RUN, flip_test=True, two_pass=twice)
        np.testing.assert_allclose(found[0], [[150.5, 80.5]] * 14, atol=within)


def test_step_3_and_the_judge_look_twice(own_workdir, photos, capsys):
    torch.manual_seed(0)
    network = write_model(own_workdir, input_size=(65, 65))
    network.heatmaps.joints.weight.data *= 100
    torch.save(network.state_dict(), own_workdir / "model_1.pt")
    own = ["--workdir", str(own_workdir), *FP32]
    said = {}
    for flags in ((), ("--two-pass",)):
        test_stage_1.main([*own, *flags])
        said[flags] = np.load(own_workdir / "test_output_1.npy")
        (own_workdir / "test_output_1.npy").unlink()
    assert np.abs(said[()] - said["--two-pass",]).max() > 0.5
    capsys.readouterr()
    judge.FEWEST, fewest = 2, judge.FEWEST
    try:
        judge.main([*own, "--source", str(photos), "--count", "8"])
    finally:
        judge.FEWEST = fewest
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert lines[0].count("PDJ@0.2") == lines[0].count("strict PCP") == 1
    held_out = [line for line in lines if "held out" in line]
    whole = [line.split(" | ") for line in lines if "whole photographs" in line]
    assert len(held_out) == len(judge.WIDER) and len({line.count("|") for line in lines}) == 1
    assert 4 <= sum(int(cells[1]) for cells in whole) <= 8
    with pytest.raises(SystemExit) as stop:
        judge.main([*own, "--source", str(own_workdir)])
    assert stop.value.code == 2 and "--source" in capsys.readouterr().err


def test_predicts_flip_test_is_that_of_the_test_scripts(tmp_path, own_workdir, data, capsys):
    """The same joints of the same frame; a skeleton without sides has none."""
    torch.manual_seed(0)
    network = write_model(own_workdir, input_size=(65, 65))
    network.heatmaps.joints.weight.data *= 100
    torch.save(network.state_dict(), own_workdir / "model_1.pt")
    test_stage_1.main(["--workdir", str(own_workdir), "--flip-test", *FP32])
    wanted = np.load(own_workdir / "test_output_1.npy")[0].reshape(-1, 2)
    photo = tmp_path / "frame.png"
    Image.fromarray(data.test_images[0]).save(photo)
    said = {}
    for flags in ((), ("--flip-test",)):
        predict.main([str(photo), "--workdir", str(own_workdir), *flags, *FP32])
        pose = json.loads((tmp_path / "frame_pose.json").read_text())
        assert pose["model"]["flip_test"] == bool(flags)
        said[flags] = np.array([*pose["people"][0]["stage_1"].values()])
    assert ("flip test" in capsys.readouterr().out) and np.abs(said[()] - wanted).max() > 0.5
    np.testing.assert_allclose(said["--flip-test",], wanted, atol=0.01)
    facts = json.loads((own_workdir / "model_1.json").read_text())
    facts["skeleton"] |= {"pairs": []}
    (own_workdir / "model_1.json").write_text(json.dumps(facts))
    flags = [str(photo), "--workdir", str(own_workdir), "--flip-test", *FP32]
    fails(predict.main, flags, capsys, "--flip-test", "opposite")


def test_the_model_says_whether_predict_looks_twice(tmp_path):
    write_model(tmp_path, input_size=(65, 65), two_pass=True)
    assert predict.load(tmp_path, "cpu", "fp32").two_pass
    assert not predict.load(tmp_path, "cpu", "fp32", two_pass=False).two_pass
    assert (
        predict.parse(["a.jpg", "--no-two-pass"]).two_pass is False
        and predict.parse(["a.jpg"]).two_pass is None
    )
    write_model(tmp_path, input_size=(65, 65))
    assert not predict.load(tmp_path, "cpu", "fp32").two_pass
    assert networks.load(tmp_path, RUN)[1].get("two_pass") is None
