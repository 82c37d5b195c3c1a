"""predict.py: the same joints as the test scripts, exact places in the photograph, and any kind of
file."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import FP32, fails, write_model, write_refiner
from PIL import Image, ImageDraw

import predict as script
import test_stage_2
from Cascade_1_net import Alex_net_c1
from deeppose import boxes, photos, pose_files
from deeppose.heatmaps import Output
from deeppose.shell import InputError
from deeppose.skeletons import LSP
from Resnet_stage_1 import Resnet_stage_1


@pytest.fixture(scope="module")
def trained(workdir, tmp_path_factory):
    """A working directory with random networks whose predictions differ from image to image: stage
    1, two joints."""
    folder = tmp_path_factory.mktemp("trained")
    for path in workdir.iterdir():
        (folder / path.name).symlink_to(path)
    torch.manual_seed(0)
    network = Resnet_stage_1(14)
    network.heatmaps.joints.weight.data *= 100
    write_model(folder, network, epoch=7, secret=1)
    for name in ("left_wrist", "head"):
        refiner = Alex_net_c1(14, (LSP.index(name),))
        # they begin as zeros, and all offsets with them
        torch.nn.init.normal_(refiner.heatmaps.joints.weight)
        write_refiner(folder, name, refiner, epoch=7, secret=1)
    yield folder
    for path in folder.glob("*.pt"):
        path.unlink()  # 0.6 GB


@pytest.fixture(scope="module")
def model(trained):
    return script.load(trained, "cpu", "fp32")


@pytest.fixture
def scene(photos):
    """A rendered photograph as a Pillow image."""
    return Image.open(photos / "images_1" / "im0012.jpg").convert("RGB")


def command(*flags):
    script.main([*map(str, flags), *FP32])


def joints(path, stage="stage_1", person=0):
    content = json.loads(path.read_text())["people"][person][stage]
    assert list(content) == list(LSP.joints)
    return np.array(list(content.values()))


def test_test_images_get_the_joints_of_the_test_scripts(trained, photos, tmp_path):
    """Mapped back from the frame to 0.01 px, both stages; and everything that the two files should
    hold."""
    test_stage_2.main(["--workdir", str(trained), *FP32])
    first = np.load(trained / "test_output_2.npy").reshape(-1, 14, 2).astype(float)
    sure = np.load(trained / "test_confidence_2.npy")
    rows = np.load(trained / "test_rows.npy")
    paths = [photos / "images_1" / f"im{int(number):04d}.jpg" for number in rows[:, 1]]
    command(*paths, "--workdir", trained, "--output", tmp_path / "new" / "folder")
    for path, row, expected, confidence in zip(paths, rows, first, sure):
        x0, y0, w, h = row[3:7]
        expected = expected * [w / 227, h / 227] + [x0, y0]
        out = tmp_path / "new" / "folder" / f"{path.stem}_pose.json"
        np.testing.assert_allclose(joints(out, "stage_2"), expected, atol=0.01)
        (person,) = json.loads(out.read_text())["people"]
        assert list(person["confidence"]) == list(LSP.joints)
        np.testing.assert_allclose(list(person["confidence"].values()), confidence, atol=2e-3)
        np.testing.assert_allclose(person["box"], [x0, y0, x0 + w, y0 + h])
        assert np.ptp(joints(out, "stage_1") - joints(out, "stage_2"), axis=0).max() > 0
    facts = json.loads(out.read_text())
    assert facts["model"]["model_1.pt"] == facts["model"]["model_head.pt"] == {"epoch": 7}
    assert (facts["width"], facts["height"]) == Image.open(path).size and facts["skeleton"] == "lsp"
    assert Image.open(out.with_suffix(".png")).size[0] >= 100
    assert facts["model"]["run"]["precision"] == "fp32"


SURE = np.linspace(0, 1, 14)


class Corners(torch.nn.Module):
    """A stage 1 that always says joints at known places of its view, in widths and heights from its
    centre."""

    def __init__(self, confidence):
        super().__init__()
        self.said = torch.linspace(-0.5, 0.5, 28).view(1, 14, 2)
        self.confidence = torch.tensor(confidence, dtype=torch.float32)

    def forward(self, images):
        return Output(self.said.expand(len(images), 14, 2), self.confidence.expand(len(images), 14))


def with_corners(model, confidence=SURE, **facts):
    """The Model with Corners for its stage 1, whose frames may be others, and without refiners."""
    return replace(
        model, stage_1=replace(model.stage_1, network=Corners(confidence), **facts), refiners={}
    )


@pytest.mark.parametrize("size", [(200, 300), (5000, 3001)])
@pytest.mark.parametrize(
    "box", [(0.2, 0.1, 0.6, 0.9), (-0.5, -0.25, 0.4, 0.3), (0.7, 0.5, 3.9, 1.2)]
)
def test_places_are_exact_even_for_boxes_that_leave_the_photograph(
    size, box, model, scene, tmp_path
):
    path = tmp_path / "photo.jpg"
    scene.resize(size).save(path)
    x0, y0, x1, y1 = box = np.array(box) * [*size, *size]
    (found,) = script.predict(with_corners(model), [path], [[box]])
    side = max(x1 - x0, y1 - y0)
    expected = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + side * np.linspace(-0.5, 0.5, 28).reshape(
        14, 2
    )
    np.testing.assert_allclose(found["stage_1"][0], expected, atol=0.01)
    assert found["stage_2"] is None


@pytest.mark.parametrize(
    "frame, margin, input_size",
    [((192, 256), 1.0, (192, 256)), ((240, 320), 1.25, (96, 128)), ((320, 180), 1.5, (227, 227))],
)
def test_places_are_exact_in_frames_of_any_proportions(
    frame, margin, input_size, model, scene, tmp_path
):
    """The box grown to the frame's proportions is what the network's joints are places of, whatever
    the margin."""
    fake = with_corners(model, frame=frame, margin=margin, input_size=input_size)
    scene.resize((300, 200)).save(tmp_path / "photo.png")
    people = [[20, 30, 120, 190], [100, 50, 280, 90]]
    (found,) = script.predict(fake, [tmp_path / "photo.png"], [people])
    aspect = frame[0] / frame[1]
    for n, (x0, y0, x1, y1) in enumerate(people):
        width, height = max(x1 - x0, aspect * (y1 - y0)), max(y1 - y0, (x1 - x0) / aspect)
        centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        expected = centre + np.linspace(-0.5, 0.5, 28).reshape(14, 2) * [width, height]
        np.testing.assert_allclose(found["stage_1"][n], expected, atol=0.01)
        half = margin * np.array([width, height]) / 2
        np.testing.assert_allclose(found["boxes"][n], [*(centre - half), *(centre + half)])
    np.testing.assert_allclose(found["confidence"]["stage_1"], [SURE] * 2, atol=1e-6)


def test_unsure_joints_are_told_and_drawn_faint(model, tmp_path):
    """Where the confidence is low, photo_pose.json says so and photo_pose.png lets the photograph
    through."""
    Image.new("RGB", (480, 480), (90, 90, 90)).save(tmp_path / "grey.png")
    differences = {}
    for name, sure in (("faint", 0.125), ("opaque", 0.875), ("untold", np.nan)):
        fake = with_corners(model, np.full(14, sure))
        script.run_all(fake, [tmp_path / "grey.png"], [None], [tmp_path / f"{name}_pose.png"])
        confidence = json.loads((tmp_path / f"{name}_pose.json").read_text())["people"][0][
            "confidence"
        ]
        assert confidence == dict.fromkeys(LSP.joints, None if name == "untold" else sure)
        picture = np.asarray(Image.open(tmp_path / f"{name}_pose.png").convert("RGB")).astype(int)
        differences[name] = np.abs(picture - 90).max(2)
    assert (differences["opaque"] > 85).sum() > 200
    assert (differences["faint"] > 20).sum() > 200 and np.percentile(
        differences["faint"], 99.9
    ) < 70
    np.testing.assert_array_equal(differences["untold"], differences["opaque"])


@pytest.mark.parametrize("factor", [1, 30])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_the_frame_shows_what_the_box_holds(ending, factor, tmp_path):
    """A white square in a photograph of any size is where it should be in the frame; outside is
    black."""
    image = Image.new("RGB", (100 * factor, 150 * factor), (90, 90, 90))
    ImageDraw.Draw(image).rectangle(
        [40 * factor, 60 * factor, 50 * factor - 1, 70 * factor - 1], "white"
    )
    image.save(tmp_path / f"photo.{ending}")
    box = np.array([-50, 0, 100, 150]) * factor
    photo, seen, frames = photos.read_people(tmp_path / f"photo.{ending}", [box], (227, 227), 1.0)
    np.testing.assert_allclose(seen, [[-50 * factor, 0, 150 * factor, 150 * factor]])
    rows, columns = np.nonzero(frames[0, ..., 0] > 170)
    scale = 227 / 150
    assert (columns.min(), columns.max() + 1) == pytest.approx((90 * scale, 100 * scale), abs=1)
    assert (rows.min(), rows.max() + 1) == pytest.approx((60 * scale, 70 * scale), abs=1)
    assert (frames[0, :, : int(50 * scale)] == 0).all() and (
        frames[0, :, int(50 * scale) + 2 :] > 60
    ).all()
    assert max(photo.image.size) <= 2000 and photo.size == image.size


@pytest.mark.parametrize("factor", [1, 30])
def test_an_upright_frame_shows_what_the_box_holds_and_a_margin(factor, tmp_path):
    image = Image.new("RGB", (100 * factor, 150 * factor), (90, 90, 90))
    ImageDraw.Draw(image).rectangle(
        [40 * factor, 60 * factor, 50 * factor - 1, 70 * factor - 1], "white"
    )
    image.save(tmp_path / "photo.png")
    # 40 x 80: grown to 60 x 80, then to 75 x 100 about (40, 70)
    box = np.array([20, 30, 60, 110]) * factor
    _, seen, frames = photos.read_people(tmp_path / "photo.png", [box], (192, 256), 1.25)
    np.testing.assert_allclose(seen, [np.array([2.5, 20, 75, 100]) * factor])
    assert frames.shape == (1, 256, 192, 3)
    rows, columns = np.nonzero(frames[0, ..., 0] > 170)
    assert (columns.min(), columns.max() + 1) == pytest.approx((37.5 * 2.56, 47.5 * 2.56), abs=1)
    assert (rows.min(), rows.max() + 1) == pytest.approx((40 * 2.56, 50 * 2.56), abs=1)


KINDS = {
    "grey": lambda image: image.convert("L"),
    "palette": lambda image: image.quantize(256),
    "transparent": lambda image: image.convert("RGBA"),
    "grey and transparent": lambda image: image.convert("LA"),
    "1 bit": lambda image: image.convert("1"),
    "16 bit": lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257),
    "32 bit": lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.int32) * 257),
    "float": lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255),
    "CMYK": lambda image: image.convert("CMYK"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_becomes_what_it_shows(kind, scene, tmp_path):
    made = KINDS[kind](scene)
    path = tmp_path / ("photo.tif" if kind in ("32 bit", "float", "CMYK") else "photo.png")
    made.save(path)
    shown = np.asarray(photos.read(path).image).astype(float)
    grey = np.asarray(
        scene.convert("L") if kind not in ("transparent", "palette", "CMYK") else scene
    ).astype(float)
    grey = grey[..., None] if grey.ndim == 2 else grey
    assert shown.shape == (*scene.size[::-1], 3)
    # 1 bit is dithered
    difference = abs((shown - grey).mean()) if kind == "1 bit" else abs(shown - grey).mean()
    assert difference < (10 if kind == "palette" else 3)


def test_what_is_transparent_is_black(scene):
    scene.putalpha(0)
    assert not np.asarray(photos.read(scene).image).any()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(orientation, scene, tmp_path):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[photos.ORIENTATION] = orientation
    stored = scene.transpose(undo[orientation]) if orientation in undo else scene
    stored.save(tmp_path / "photo.png", exif=exif)
    photo = photos.read(tmp_path / "photo.png")
    assert photo.size == photo.image.size == scene.size
    np.testing.assert_array_equal(np.asarray(photo.image), np.asarray(scene))


def test_a_large_jpeg_is_reduced_while_it_is_decoded(tmp_path):
    Image.new("RGB", (9001, 6001), "white").save(tmp_path / "photo.jpg")
    photo = photos.read(tmp_path / "photo.jpg")
    assert photo.size == (9001, 6001) and photo.factor == 8 and photo.image.size == (1126, 751)
    assert photos.read(tmp_path / "photo.jpg", 500).factor == 1  # a small box needs all there is


def test_a_folder_with_broken_photographs_is_done_but_for_those(trained, scene, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    scene.save(folder / "good.JPG")
    scene.resize((1, 1)).save(folder / "tiny.png")
    scene.save(folder / "good.png")
    # a photograph; what predict.py wrote has a .json that says so
    scene.save(folder / "yoga_pose.jpg")
    scene.save(folder / "old_pose.png")
    (folder / "old_pose.json").write_text('{"photograph": "old.jpg"}')
    Image.new("1", (20000, 20000)).save(folder / "bomb.png")
    (folder / "text.jpg").write_text("hello")
    (folder / "short.jpg").write_bytes((folder / "good.JPG").read_bytes()[:800])
    (folder / "notes.txt").write_text("no image")
    with pytest.raises(SystemExit) as stop:
        command(folder, "--workdir", trained)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "3 of 7 photographs" in said
    for name, why in (
        ("bomb.png", "too large"),
        ("text.jpg", "no image"),
        ("short.jpg", "no image"),
    ):
        (line,) = (line for line in said.splitlines() if name in line)
        assert why in line
    assert {path.name for path in folder.glob("*_pose.json")} == {
        # neither of the two overwrites the other
        "good_pose.json",
        "good_2_pose.json",
        "tiny_pose.json",
        "yoga_pose_pose.json",
        "old_pose.json",
    }
    assert json.loads((folder / "good_2_pose.json").read_text())["photograph"].endswith("good.png")


def test_a_folders_photographs_are_those_that_pillow_itself_decodes(scene, tmp_path):
    for name in ("a.jpg", "b.PNG", "c.webp", "d.tif", "e.bmp", "f.gif", "g.ppm", "h.jp2"):
        scene.save(tmp_path / name)
    for name in ("a.pdf", "b.eps", "c.ps", "d.wmf", "e.mpg", "f.h5", "g.fits", "h.txt"):
        (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")
    found = pose_files.find([tmp_path])
    assert [path.name for path in found] == [
        "a.jpg",
        "b.PNG",
        "c.webp",
        "d.tif",
        "e.bmp",
        "f.gif",
        "g.ppm",
        "h.jp2",
    ]
    for path in found:
        assert photos.read(path).size == scene.size


@pytest.mark.parametrize("ending", ["eps", "jpg"])
def test_no_file_reaches_a_program(ending, scene, tmp_path, monkeypatch):
    def run(*rest, **options):
        raise AssertionError("a program was run")

    for name in ("Popen", "run", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, run)
    path = tmp_path / f"photo.{ending}"
    scene.save(path, "EPS")
    with pytest.raises(
        InputError, match=f"photo.{ending}: is no image that can be read; of JPEG, .* it is none"
    ):
        photos.read(path)


@pytest.mark.parametrize(
    "beside", [None, "{", "[]", "[" * 100_000, '{"photograph": null}', '{"people": []}']
)
def test_a_photograph_is_neither_passed_over_nor_overwritten_for_its_name(beside, scene, tmp_path):
    scene.save(tmp_path / "yoga_pose.png")
    scene.save(tmp_path / "yoga.png")
    if beside is not None:
        (tmp_path / "yoga_pose.json").write_text(beside)
    found = pose_files.find([tmp_path])
    assert [path.name for path in found] == ["yoga.png", "yoga_pose.png"]
    assert [path.name for path in pose_files.outputs(found)] == [
        "yoga_2_pose.png",
        "yoga_pose_pose.png",
    ]
    (tmp_path / "yoga_pose.json").write_text('{"photograph": "yoga.png"}')
    found = pose_files.find([tmp_path])
    assert [path.name for path in found] == ["yoga.png"]
    assert [path.name for path in pose_files.outputs(found)] == ["yoga_pose.png"]


def test_no_output_is_written_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [Path("a.jpg"), tmp_path / "a.png", Path("b/A.jpg"), Path("a_2.jpg"), Path("c.jpg")]
    for folder in (None, Path("out")):
        chosen = [path.resolve() for path in pose_files.outputs(paths, folder)]
        assert len(set(chosen)) == len(paths) and chosen[-1].name == "c_pose.png"
    assert [path.name for path in chosen] == [
        "a_pose.png",
        "a_2_pose.png",
        "A_3_pose.png",
        "a_2_2_pose.png",
        "c_pose.png",
    ]


def test_several_people(trained, scene, tmp_path, model):
    scene.save(tmp_path / "a.jpg", quality=95)
    scene.save(tmp_path / "b.jpg", quality=95)
    width, height = scene.size
    people = [[0, 0, width, height], [-10, 5.5, width / 2, height]]
    command(
        tmp_path / "a.jpg",
        "--workdir",
        trained,
        "--box",
        f"0,0,{width},{height}",
        "--box",
        f"-10,5.5,{width / 2},{height}",
    )
    one = [joints(tmp_path / "a_pose.json", person=k) for k in (0, 1)]
    (tmp_path / "boxes.json").write_text(json.dumps({"b.jpg": people}))
    command(
        tmp_path / "a.jpg",
        tmp_path / "b.jpg",
        "--workdir",
        trained,
        "--boxes",
        tmp_path / "boxes.json",
    )
    np.testing.assert_allclose(
        [joints(tmp_path / "b_pose.json", person=k) for k in (0, 1)], one, atol=0.01
    )
    # whole: the first box's square
    np.testing.assert_allclose(joints(tmp_path / "a_pose.json"), one[0], atol=0.01)
    found = script.predict(
        model, [np.asarray(Image.open(tmp_path / "b.jpg")), tmp_path / "a.jpg"], [people, None]
    )
    np.testing.assert_allclose(found[0]["stage_1"], one, atol=0.01)
    assert found[1]["stage_2"].shape == (1, 14, 2)


@pytest.mark.parametrize(
    "box, said",
    [
        ("10,10,5,20", "empty"),
        ("1,2,3", "x0,y0,x1,y1"),
        ("900,0,950,9", "outside"),
        ("-1e5,0,1e5,9", "times as large"),
        ("nan,0,1,1", "x0, y0, x1, y1"),
        ("-1e308,0,1e308,1", "x0, y0, x1, y1"),
    ],
)
def test_boxes_that_make_no_sense(box, said, trained, scene, tmp_path, capsys):
    scene.save(tmp_path / "a.jpg")
    fails(
        script.main, [tmp_path / "a.jpg", "--workdir", trained, "--box", box, *FP32], capsys, said
    )
    assert not (tmp_path / "a_pose.png").exists()


@pytest.mark.parametrize(
    "content, said",
    [
        ("{", "JSON"),
        ("3", "names"),
        ('{"c.jpg": []}', "c.jpg"),
        ("[" * 100_000, "JSON"),
        ("\xff", "JSON"),
        ('{"a.jpg": ' + "[" * 60 + "]" * 60 + "}", "deep"),
    ],
)
def test_files_of_boxes_that_make_no_sense(content, said, tmp_path):
    (tmp_path / "boxes.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=said):
        boxes.read(tmp_path / "boxes.json", [Path("a.jpg"), Path("b.jpg")])


@pytest.mark.parametrize(
    "box", [[1, 2, 3, "x"], [0, 0, 1, 10**400], [0, 0, 1, 1e300], [0, 0, 1], {}, [[[]]], None]
)
def test_boxes_that_are_none(box):
    with pytest.raises(InputError, match=r"a.jpg: its boxes must be a list of .x0, y0, x1, y1"):
        boxes.as_array([box], "a.jpg")


def test_boxes_in_a_folder_or_nowhere(tmp_path):
    for path, said in ((tmp_path, "cannot be read"), (tmp_path / "boxes.json", "not found")):
        with pytest.raises(InputError, match=said):
            boxes.read(path, [Path("a.jpg")])


def changed(**entries):
    """Damage: model_1.json with other entries."""

    def damage(folder):
        facts = json.loads((folder / "model_1.json").read_text())
        (folder / "model_1.json").write_text(json.dumps(facts | entries))

    return damage


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda folder: (folder / "model_1.json").unlink(), ("model_1.json", "step 2")),
        (
            lambda folder: (folder / "model_1.json").write_text("{}"),
            ("model_1.json", "network", "step 2"),
        ),
        (
            lambda folder: (folder / "model_1.json").write_text('{"skeleton": []}'),
            ("model_1.json", "network", "step 2"),
        ),
        (
            lambda folder: (folder / "model_1.json").write_text(
                '{"skeleton": {}, "epoch": ' + "[" * 600 + "]" * 600 + "}"
            ),
            ("model_1.json", "deep", "step 2"),
        ),
        (changed(skeleton=[]), ("model_1.json", "network", "step 2")),
        (changed(skeleton="lsp"), ("model_1.json", "network", "step 2")),
        (changed(network="lenet"), ("model_1.json", "network", "step 2")),
        (changed(network="alexnet"), ("model_1.pt", "step 2")),
        (changed(network=[]), ("model_1.json", "network", "step 2")),
        (changed(frame=[227]), ("model_1.json", "network", "step 2")),
        (changed(frame=[1e400, 227]), ("model_1.json", "network", "step 2")),
        (changed(margin=0.5), ("model_1.json", "network", "step 2")),
        (changed(input_size=[0, 227]), ("model_1.json", "network", "step 2")),
        (changed(options={"head": "best"}), ("model_1.json", "network", "step 2")),
        (changed(options={"head": "direct"}), ("model_1.pt", "step 2")),
        (lambda folder: (folder / "model_1.pt").unlink(), ("model_1.pt", "step 2")),
    ],
)
def test_a_model_that_is_not_there(damage, said, trained, tmp_path):
    (tmp_path / "model_1.pt").symlink_to(trained / "model_1.pt")
    (tmp_path / "model_1.json").write_text((trained / "model_1.json").read_text())
    damage(tmp_path)
    with pytest.raises(InputError) as error:
        script.load(tmp_path, "cpu", "fp32")
    assert all(words in str(error.value) for words in said)


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"joints": ["tail"]}', '{"skeleton": "lsp", "joints": ["head"]}']
)
def test_a_refiner_of_which_nothing_is_told(content, trained, tmp_path):
    for path in trained.glob("model_*"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "model_head.json").unlink()
    with pytest.raises(InputError, match="model_head.json.*step 5"):
        script.load(tmp_path, "cpu", "fp32")
    (tmp_path / "model_head.json").write_text(content)
    with pytest.raises(InputError, match="model_head.json.*step 5"):
        script.load(tmp_path, "cpu", "fp32")


def test_nothing_but_the_models_is_needed(trained, scene, tmp_path):
    """No dataset.json, no arrays; without a refiner stage 2 is null. From the shell, with what it
    prints."""
    for name in ("model_1.pt", "model_1.json"):
        (tmp_path / name).symlink_to(trained / name)
    scene.save(tmp_path / "a photo.png")
    command = [sys.executable, script.__file__, "a photo.png", "--workdir", ".", *FP32]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no stage 2" in done.stdout and "a photo_pose.png" in done.stdout and not done.stderr
    assert json.loads((tmp_path / "a photo_pose.json").read_text())["people"][0]["stage_2"] is None
    done = subprocess.run(
        [*command[:2], "missing.jpg", *command[3:]], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.strip().splitlines() == [
        "predict.py: error: missing.jpg: not found"
    ]
