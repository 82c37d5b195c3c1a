"""MPII's persons as rows: who is in which part, what a row shows, and what its labels are."""

import json
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from helpers import FP32, fails
from literal import literal_pck, literal_pcp
from mpii_sample import INCOMPLETE, TEST_IMAGE, WITHOUT_PEOPLE, write_mpii
from PIL import Image
from test_mpii import EMPTY, FULL, image, mat, rect, structs

import Generate_train_output
import LSP_data
import MPII_data
import test_stage_1
import test_stage_2
import Train_stage_1
import Train_stage_2
from deeppose import metrics, mpii, mpii_split, tables
from deeppose.dataset import open_dataset
from deeppose.published import own_row
from deeppose.skeletons import LSP, MPII

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


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A rendered set."""
    folder = tmp_path_factory.mktemp("mpii")
    write_mpii(folder)
    return folder


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    """A working directory after step 1 on the rendered set."""
    return prepare(source, tmp_path_factory.mktemp("prepared"))


def prepare(source, workdir, *flags):
    MPII_data.main(["--source", str(source), "--workdir", str(workdir), *flags])
    return workdir


def persons_by_scipy(path):
    """(image, rect), both from 1 -> what scipy reads of a person with joints, and the images that
    are for training.

    Joints (16, 2), NaN where there is none; head box, objpos and scale.
    """
    release = scipy.io.loadmat(path)["RELEASE"][0, 0]
    found = {}
    for number, entry in enumerate(release["annolist"][0], 1):
        rects = entry["annorect"]
        for k in range(rects.size):
            one = rects[0, k]
            if "annopoints" in (rects.dtype.names or ()) and one["annopoints"].size:
                joints = np.full((16, 2), np.nan)
                for point in one["annopoints"][0, 0]["point"].ravel():
                    if point["x"].size:
                        joints[int(point["id"].item())] = (
                            float(point["x"].item()),
                            float(point["y"].item()),
                        )
                place = one["objpos"][0, 0]
                found[number, k + 1] = {
                    "name": str(entry["image"][0, 0]["name"].item()),
                    "joints": joints,
                    "head": [float(one[side].item()) for side in ("x1", "y1", "x2", "y2")],
                    "objpos": [float(place[axis].item()) for axis in "xy"],
                    "scale": float(one["scale"].item()),
                }
    return found


def check_rows(workdir, source):
    """Every label is the similarity of the .mat's joints that its row names, and every frame its
    objpos and scale's."""
    people = persons_by_scipy(source / mpii.FILE_NAME)
    data = open_dataset(workdir)
    assert data.skeleton == MPII and data.frame == (227, 227) and data.margin == 1
    for part in ("train", "test"):
        labels = getattr(data, f"{part}_labels")
        names = data.photographs(part)
        for n, (which, number, person, *box, mirrored, head, area, score) in enumerate(
            getattr(data, f"{part}_rows")
        ):
            one = people[int(number), int(person)]
            side = 250 * one["scale"]
            corner = np.array(one["objpos"]) + [0, 15 * one["scale"]] - side / 2
            np.testing.assert_allclose(box, [*corner, side, side])
            np.testing.assert_allclose(labels[n], (one["joints"] - corner) * 227 / side, atol=1e-3)
            x1, y1, x2, y2 = one["head"]
            assert head == pytest.approx(0.6 * ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5)
            assert (
                (which, mirrored, score) == (3, 0, 1)
                and np.isnan(area)
                and names[n] == f"images/{one['name']}"
            )
    return data, people


def test_rows_are_similarities_of_the_mat_joints(prepared, source):
    data, people = check_rows(prepared, source)
    assert np.isnan(data.train_labels).any() and not np.isnan(data.test_labels).any()
    used = {
        tuple(row) for part in ("train", "test") for row in data.identities(part)[:, 1:].tolist()
    }
    assert used <= set(people) and not {WITHOUT_PEOPLE + 1, TEST_IMAGE + 1} & {
        number for number, _ in used
    }
    assert (INCOMPLETE[0] + 1, 1) in used  # trained on, masked


def test_frames_show_the_photographs(prepared, source):
    data = open_dataset(prepared)
    for part in ("train", "test"):
        names = data.photographs(part)
        for n in range(0, len(names), 3):
            photo = Image.open(source / names[n])
            padded = Image.new("RGB", (photo.width + 1000, photo.height + 1000))
            padded.paste(photo, (500, 500))
            x0, y0, width, height = data.boxes(part)[n]
            box = (x0 + 500, y0 + 500, x0 + width + 500, y0 + height + 500)
            expected = np.asarray(
                padded.resize((227, 227), Image.Resampling.BILINEAR, box=box)
            ).astype(int)
            assert np.abs(getattr(data, f"{part}_images")[n] - expected).mean() < 0.5


def split_by_hand(people):
    """The test persons in the order that they are drawn, and all complete ones, as (image,
    rect)."""
    complete = [place for place, one in people.items() if not np.isnan(one["joints"]).any()]
    order = np.random.RandomState(1701).permutation(len(complete))
    return [complete[k] for k in order[: int(0.1 * len(complete))]], complete


def places(workdir, part):
    return {tuple(row) for row in open_dataset(workdir).identities(part)[:, 1:].tolist()}


def test_no_training_person_is_on_an_image_of_a_test_person(source, prepared, tmp_path):
    people = persons_by_scipy(source / mpii.FILE_NAME)
    test, complete = split_by_hand(people)
    tested = {number for number, _ in test}
    assert places(prepared, "test") == set(test)
    assert places(prepared, "train") == {place for place in people if place[0] not in tested}
    theirs = prepare(source, tmp_path / "theirs", "--split", "deeppose_tf")
    assert places(theirs, "test") == set(test) and places(theirs, "train") == set(complete) - set(
        test
    )


def test_held_out_rows_are_every_tenth_image(prepared):
    data = open_dataset(prepared)
    numbers = data.column("train", "image")
    assert set(data.held_out) == set(np.flatnonzero((numbers - 1) % 10 == 0)) and len(data.held_out)


def test_persons_far_outside_are_none_of_deeppose_tfs(tmp_path):
    """A joint 4 px outside of an image 300 px high, or 7 and 6 px of one that they halve: 3.5 and 3
    px."""
    for name, height in (("low.jpg", 300), ("high.jpg", 800)):
        Image.new("RGB", (200, height)).save(tmp_path / name)

    def person(name, outside):
        joints = np.tile([200.0 + outside, 20], (16, 1))
        return mpii.Person(name, 0, True, 0, np.zeros(4), 1.0, np.zeros(2), joints, np.ones(16))

    expected = {
        ("low.jpg", 3): True,
        ("low.jpg", 4): False,
        ("high.jpg", 6): True,
        ("high.jpg", 7): False,
        ("missing.jpg", 99): True,
    }
    assert {place: mpii_split.is_inside(person(*place), tmp_path) for place in expected} == expected


@pytest.mark.parametrize("form", ["zip", "tar.gz", "folder"])
def test_annotations_as_they_are_downloaded(form, source, prepared, tmp_path):
    (tmp_path / "images").symlink_to(source / "images")
    inside = f"mpii_human_pose_v1_u12_1/{mpii.FILE_NAME}"
    if form == "zip":
        with zipfile.ZipFile(tmp_path / "mpii_human_pose_v1_u12_2.zip", "w") as archive:
            archive.write(source / mpii.FILE_NAME, inside)
    elif form == "tar.gz":
        with tarfile.open(tmp_path / "mpii_human_pose_v1_u12_1.tar.gz", "w:gz") as archive:
            archive.add(source / "images" / "000001000.jpg", "mpii_human_pose_v1_u12_1/README.md")
            archive.add(source / mpii.FILE_NAME, inside)
    else:
        (tmp_path / inside).parent.mkdir()
        (tmp_path / inside).symlink_to(source / mpii.FILE_NAME)
    out = prepare(tmp_path, tmp_path / "out")
    assert json.loads((out / "dataset.json").read_text()) == json.loads(
        (prepared / "dataset.json").read_text()
    )


def test_limit_and_skip_broken_leave_the_split_as_it_is(source, prepared, tmp_path, capsys):
    few = prepare(source, tmp_path / "few", "--limit", "8")
    assert places(few, "train") < places(prepared, "train") and places(few, "test") == places(
        prepared, "test"
    )
    missing, torn = sorted({number for number, _ in places(prepared, "train") if number % 10 != 1})[
        :2
    ]
    broken = tmp_path / "broken"
    (broken / "images").mkdir(parents=True)
    for path in (source / "images").iterdir():
        (broken / "images" / path.name).symlink_to(path)
    (broken / mpii.FILE_NAME).symlink_to(source / mpii.FILE_NAME)
    for number in (missing, torn):
        (broken / "images" / f"{999 + number:09d}.jpg").unlink()
    (broken / "images" / f"{999 + torn:09d}.jpg").write_bytes(b"no image")
    fails(
        MPII_data.main,
        ["--source", broken, "--workdir", tmp_path / "out"],
        capsys,
        f"{999 + missing:09d}.jpg: is missing",
    )
    less = prepare(broken, tmp_path / "out", "--skip-broken")
    gone = {place for place in places(prepared, "train") if place[0] in (missing, torn)}
    assert places(less, "train") == places(prepared, "train") - gone
    assert places(less, "test") == places(prepared, "test")
    assert json.loads((less / "dataset.json").read_text())["skipped_images"] == [
        [3, missing],
        [3, torn],
    ]


def with_rect(**changes):
    """A set's file with 20 sound persons on 20 images, and one whose annorect is changed."""
    sound = [image(f"{number:02d}.jpg", structs(rect(FULL))) for number in range(20)]
    return mat([*sound, image("20.jpg", structs(rect(FULL, **changes)))], [1] * 21)


FRAMELESS = {
    "no objpos": with_rect(objpos=EMPTY),
    "no scale": with_rect(scale=EMPTY),
    "scale 0": with_rect(scale=0.0),
    "scale below 0": with_rect(scale=-3.0),
    "objpos far away": with_rect(objpos=structs({"x": 9e4, "y": 0.0})),
    "scale too small": with_rect(scale=0.1),
}


@pytest.mark.parametrize("name", FRAMELESS)
def test_persons_without_a_frame_are_left_out_and_named(name, tmp_path, capsys):
    write_set(tmp_path, FRAMELESS[name])
    prepare(tmp_path, tmp_path / "out")
    assert (
        "1 persons are left out" in (said := capsys.readouterr().out)
        and "annolist(21), annorect(1)" in said
    )
    assert len(places(tmp_path / "out", "train")) + len(places(tmp_path / "out", "test")) == 20


def write_set(folder, content):
    (folder / mpii.FILE_NAME).write_bytes(content)
    (folder / "images").mkdir()
    for number in range(21):
        Image.new("RGB", (120, 90)).save(folder / "images" / f"{number:02d}.jpg")


def huge_mat():
    """A file whose variable claims to be 2 GB long."""
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    return header + (14).to_bytes(4, "little") + (2 * 10**9).to_bytes(4, "little") + bytes(200)


BAD = {
    "nothing there": (
        lambda s: (s / mpii.FILE_NAME).unlink(),
        ("no mpii_human_pose", "human-pose.mpi-inf"),
    ),
    "no images": (lambda s: (s / "images").rename(s / "pictures"), ("images: not found", "unpack")),
    "truncated": (
        lambda s: (s / mpii.FILE_NAME).write_bytes(with_rect()[:5000]),
        (mpii.FILE_NAME, "cut short"),
    ),
    "empty": (lambda s: (s / mpii.FILE_NAME).write_bytes(b""), (mpii.FILE_NAME, "begin as one")),
    "2 GB claimed": (
        lambda s: (s / mpii.FILE_NAME).write_bytes(huge_mat()),
        (mpii.FILE_NAME, "cut short"),
    ),
    "other struct": (
        lambda s: scipy.io.savemat(s / mpii.FILE_NAME, {"RELEASE": {"x": 1}}),
        ("annolist",),
    ),
    "LSP's labels": (
        lambda s: scipy.io.savemat(s / mpii.FILE_NAME, {"joints": np.ones(3)}),
        ("RELEASE",),
    ),
    "joints in words": (
        lambda s: (s / mpii.FILE_NAME).write_bytes(with_rect(annopoints="left")),
        ("annorect(1)",),
    ),
    "few persons": (
        lambda s: (s / mpii.FILE_NAME).write_bytes(
            mat([image("00.jpg", structs(rect(FULL)))], [1])
        ),
        ("none is left to",),
    ),
    "all images missing": (
        lambda s: [path.unlink() for path in (s / "images").iterdir()],
        ("images: none of the 21 images is here, such as 00.jpg", MPII_data.PAGE),
    ),
    "image missing": (lambda s: (s / "images" / "03.jpg").unlink(), ("03.jpg: is missing",)),
    "image cut short": (
        lambda s: (s / "images" / "03.jpg").write_bytes(
            (s / "images" / "03.jpg").read_bytes()[:200]
        ),
        ("03.jpg: is no image",),
    ),
    "joints of another image": (
        lambda s: Image.new("RGB", (9, 9)).save(s / "images" / "03.jpg"),
        ("03.jpg: has a joint far outside",),
    ),
    "a box too large": (
        lambda s: (s / mpii.FILE_NAME).write_bytes(with_rect(scale=5000.0)),
        ("20.jpg: has a box far larger than the image, 1250000 x",),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named(name, tmp_path, capsys):
    source = tmp_path / "source"
    source.mkdir()
    write_set(source, with_rect())
    change, said = BAD[name]
    change(source)
    fails(MPII_data.main, ["--source", source, "--workdir", tmp_path / "out"], capsys, *said)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_bad_archives_are_named(source, tmp_path, capsys):
    def refused(*said):
        fails(MPII_data.main, ["--source", tmp_path, "--workdir", tmp_path / "out"], capsys, *said)

    (tmp_path / "images").mkdir()
    path = tmp_path / "mpii_human_pose_v1_u12_1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(source / "images" / "000001000.jpg", "README.md")
    refused("tar.gz: holds no mpii_human_pose_v1_u12_1.mat")
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo(mpii.FILE_NAME)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    refused("tar.gz: holds no mpii_human_pose_v1_u12_1.mat")
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(mpii.FILE_NAME)
        entry.size = 150_000_000
        archive.addfile(entry, open(os.devnull if os.name == "nt" else "/dev/zero", "rb"))
    refused("tar.gz: holds more than labels can be")
    path.write_bytes(path.read_bytes()[:9000])
    refused("tar.gz: is no complete .tar.gz file")
    path.unlink()
    with zipfile.ZipFile(tmp_path / "mpii_human_pose_v1_u12_1.zip", "w") as archive:
        archive.writestr("README.md", "x")
    refused("zip: holds no mpii_human_pose_v1_u12_1.mat")


def test_the_six_steps(source, prepared, tmp_path, capsys):
    for path in prepared.iterdir():
        (tmp_path / path.name).symlink_to(path)
    own = ["--workdir", str(tmp_path)]
    Train_stage_1.main([*own, *STAGE_1])
    assert "held-out PCKh@0.5" in capsys.readouterr().out
    test_stage_1.main([*own, *FP32, "--source", str(source), "--box-scale", "1.0,1.5"])
    said = capsys.readouterr().out
    assert "deeppose_tf, ImageNet" in said and "PCKh by joint" in said and "true boxes" in said
    assert (
        max(map(len, said.split("all scores as fractions")[1].split("pictures:")[0].splitlines()))
        <= 100
    )
    Generate_train_output.main([*own, *FP32])
    Train_stage_2.main([*own, "--refiner", "shared", *STAGE_2])
    Train_stage_2.main([*own, "--joints", "head_top", *STAGE_2])
    test_stage_2.main([*own, *FP32])
    assert np.load(tmp_path / "test_output_2.npy").shape == (len(places(prepared, "test")), 32)
    scores = json.loads((tmp_path / "metrics_stage_2.json").read_text())
    assert {"pckh_0.1", "pckh_0.5", "pckh_symmetric_0.5", "pcp_relaxed"} <= set(scores["stage_2"])
    for name in (
        "box_scale_stage_1",
        "pdj_stage_1",
        "poses_stage_1",
        "errors_stage_2",
        "learning_stage_2",
    ):
        assert np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")).std() > 10
    check_scores(tmp_path, scores["stage_1"])


def check_scores(workdir, scores):
    """Scores of stage 1 against literal loops."""
    data = open_dataset(workdir)
    predicted = np.load(workdir / "test_output_1.npy").reshape(-1, 16, 2).astype(float)
    true = data.test_labels.astype(float)
    head = data.column("test", "head_px") * 227 / data.boxes("test")[:, 2]
    for threshold in (0.1, 0.5):
        assert scores[f"pckh_{threshold}"] == pytest.approx(
            literal_pck(predicted, true, head, range(16), threshold)
        )


def test_scores_equal_literal_loops():
    """PCKh and PCP over ten sticks, with unlabelled joints and heads."""
    rng = np.random.default_rng(5)
    true = rng.uniform(0, 227, (60, 16, 2))
    predicted = true + rng.normal(0, 12, true.shape)
    true[rng.random((60, 16)) < 0.2] = np.nan
    head = np.where(rng.random(60) < 0.1, np.nan, rng.uniform(15, 40, 60))
    scores = metrics.score(predicted, true, MPII, {"head": head})
    for threshold in (0.1, 0.5):
        expected = literal_pck(predicted, true, head, range(16), threshold)
        assert scores[f"pckh_{threshold}"] == pytest.approx(expected, abs=1e-9)
        for joint, name in enumerate(MPII.joints):
            expected = literal_pck(predicted, true, head, [joint], threshold)
            assert scores[f"pckh_per_joint_{threshold}"][name] == pytest.approx(expected, abs=1e-9)
        for group in ("ankle", "wrist", "pelvis"):
            both = [joint for joint, name in enumerate(MPII.joints) if name.split("_")[-1] == group]
            expected = literal_pck(predicted, true, head, both, threshold)
            assert scores[f"pckh_symmetric_{threshold}"][group] == pytest.approx(expected, abs=1e-9)
    sticks = [
        ((9,), (8,)),
        ((13, 12), (3, 2)),
        ((12,), (11,)),
        ((13,), (14,)),
        ((11,), (10,)),
        ((14,), (15,)),
        ((2,), (1,)),
        ((3,), (4,)),
        ((1,), (0,)),
        ((4,), (5,)),
    ]  # by the file's ids
    for strict in (True, False):
        expected = literal_pcp(predicted, true, sticks, 0.5, strict)
        found = scores["pcp_strict" if strict else "pcp_relaxed"]
        assert found["mean_10"] == pytest.approx(np.mean(expected), abs=1e-9)
        parts = [expected[0], expected[1], *(np.mean(expected[k : k + 2]) for k in (2, 4, 6, 8))]
        assert found["mean_6"] == pytest.approx(np.mean(parts), abs=1e-9)
        assert found["mean_4"] == pytest.approx(np.mean(parts[2:]), abs=1e-9)


def test_published_scores_stand_beside_the_same_of_ours():
    published = tables.PUBLISHED["mpii"]
    rng = np.random.default_rng(1)
    true = rng.uniform(0, 227, (80, 16, 2))
    predicted = true + rng.normal(0, 9, true.shape)
    head = rng.uniform(15, 40, 80)
    row = own_row(metrics.score(predicted, true, MPII, {"head": head}), published)

    def rate(*joints):
        return literal_pck(predicted, true, head, joints, 0.5)

    groups = [(9,), (12, 13), (11, 14), (10, 15), (2, 3), (1, 4), (0, 5)]  # by the file's ids
    np.testing.assert_allclose(row[:7], [rate(*group) for group in groups])
    assert row[7] == pytest.approx(np.mean([rate(*group) for group in [*groups, (8,), (7,), (6,)]]))
    assert row[8] == pytest.approx(rate(*(joint for joint in range(16) if joint not in (6, 7))))


def test_the_real_persons_split(real_mpii, tmp_path):
    """Counts and names of the set at hand, by deeppose_tf's rule."""
    person_set = MPII_data.open_set(real_mpii)
    train, test = mpii_split.split(person_set.people, person_set.photo_folder, "deeppose_tf")
    assert (len(train), len(test)) == (1215, 134)
    assert [(person.file_name, person.rect) for person in test[:3]] == [
        ("081943808.jpg", 0),
        ("018029013.jpg", 0),
        ("045247005.jpg", 1),
    ]
    by_hand, complete = split_by_hand(persons_by_scipy(real_mpii / mpii.FILE_NAME))
    assert len(complete) == 1349
    assert [(person.image_index + 1, person.rect + 1) for person in test] == by_hand
    more, same = mpii_split.split(person_set.people, person_set.photo_folder)
    assert same == test and len(more) == 1493
    assert not {person.file_name for person in more} & {person.file_name for person in test}


def test_the_real_rows(real_mpii, tmp_path):
    check_rows(prepare(real_mpii, tmp_path / "out", "--limit", "60"), real_mpii)


def test_the_floor_of_the_real_persons(real_mpii):
    """PCKh@0.5 of the mean training pose in the test persons' frames, by hand from the .mat's
    joints."""
    people = persons_by_scipy(real_mpii / mpii.FILE_NAME)
    test, _ = split_by_hand(people)
    tested = {number for number, _ in test}
    framed = {
        place: (one["joints"] - one["objpos"] - [0, 15 * one["scale"]]) / (250 * one["scale"])
        for place, one in people.items()
    }
    mean = np.nanmean([pose for place, pose in framed.items() if place[0] not in tested], 0)
    true = np.array([framed[place] for place in test])
    boxes = np.array([people[place]["head"] for place in test])
    head = 0.6 * np.hypot(*(boxes[:, 2:] - boxes[:, :2]).T)
    head /= [250 * people[place]["scale"] for place in test]
    floor = literal_pck(np.tile(mean, (134, 1, 1)), true, head, range(16), 0.5)
    assert floor == pytest.approx(0.2309, abs=5e-4)


@pytest.fixture(scope="module")
def together(photos, source, tmp_path_factory):
    """A working directory of LSP, LSPe and MPII."""
    folder = tmp_path_factory.mktemp("together")
    LSP_data.main(["--source", str(photos), "--mpii", str(source), "--workdir", str(folder)])
    return folder


def test_lsp_with_mpii_adds_rows_and_changes_none(together, workdir):
    facts = [json.loads((folder / "dataset.json").read_text()) for folder in (together, workdir)]
    data, plain = open_dataset(together), open_dataset(workdir)
    count = len(plain.train_rows)
    for kind in ("images", "labels", "rows"):
        np.testing.assert_array_equal(
            getattr(data, f"train_{kind}")[:count], getattr(plain, f"train_{kind}")
        )
        assert facts[0]["digests"][f"test_{kind}.npy"] == facts[1]["digests"][f"test_{kind}.npy"]
    assert facts[0]["sets"] == {"1": "LSP", "2": "LSPe", "3": "MPII"} and facts[1]["sets"] == {
        "1": "LSP",
        "2": "LSPe",
    }
    assert (
        facts[0]["options"] == {"limit": None, "copies": True, "mpii": True}
        and "mpii" not in facts[1]["options"]
    )
    for key in ("held_out_rows", "mean_pose_px", "skeleton", "frame"):
        assert facts[0][key] == facts[1][key]
    assert (data.column("train", "set")[count:] == 3).all() and len(data.train_rows) > count


def test_lsp_with_mpii_has_its_joints_by_name(together, source, prepared):
    people = persons_by_scipy(source / mpii.FILE_NAME)
    data = open_dataset(together)
    rows = np.flatnonzero(data.column("train", "set") == 3)
    found = data.to_photographs(data.train_labels.astype(float), "train")[rows]
    identities = data.identities("train")[rows]
    ids = {
        "right_ankle": 0,
        "right_knee": 1,
        "right_hip": 2,
        "left_hip": 3,
        "left_knee": 4,
        "left_ankle": 5,
        "right_wrist": 10,
        "right_elbow": 11,
        "right_shoulder": 12,
        "left_shoulder": 13,
        "left_elbow": 14,
        "left_wrist": 15,
        "neck": 8,
        "head": 9,
    }
    for joints, (_, number, person) in zip(found, identities):
        expected = people[number, person]["joints"][[ids[name] for name in LSP.joints]]
        np.testing.assert_allclose(joints, expected, atol=1e-2)
    assert {tuple(row[1:]) for row in identities.tolist()} == places(prepared, "train")
    assert Path(data.photographs("train")[rows[0]]).parent.name == "images"


def test_lsp_with_an_mpii_that_is_none(photos, tmp_path, capsys):
    fails(
        LSP_data.main,
        ["--source", photos, "--mpii", tmp_path, "--workdir", tmp_path / "out"],
        capsys,
        "no mpii_human_pose_v1_u12_1.mat here",
    )
