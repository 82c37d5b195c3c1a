"""COCO_data.py: which rows there are, what they show, and what is refused."""

import json

import numpy as np
import pytest
from drawn_coco import COLOURS, HIDDEN, content, draw, write, write_set
from helpers import fails, prepare_coco, real

import COCO_data
from deeppose import coco, dependencies, geometry
from deeppose.coco_skeletons import COCO, POSETRACK

# the real sets, where they are at hand


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A drawn set in COCO's layout."""
    folder = tmp_path_factory.mktemp("coco")
    write_set(folder / "data" / "COCO")
    return folder


@pytest.fixture(scope="module")
def coco_file(source):
    """Content of its training and its test annotations."""
    folder = source / "data" / "COCO" / "annotations"
    return {
        part: json.loads((folder / f"person_keypoints_{name}2017.json").read_text())
        for part, name in (("train", "train"), ("test", "val"))
    }


@pytest.fixture(scope="module")
def made(source, tmp_path_factory):
    """The Dataset of it."""
    return prepare_coco(tmp_path_factory.mktemp("made"), "--source", source)


def counted(content):
    """The annotations that become rows, by id."""
    return {
        entry["id"]: entry
        for entry in content["annotations"]
        if entry["num_keypoints"] and not entry["iscrowd"]
    }


def literal_box(x0, y0, width, height):
    """A box grown to 3 : 4, then 1.25 times as large."""
    centre_x, centre_y = x0 + width / 2, y0 + height / 2
    if width > 0.75 * height:
        height = width / 0.75
    else:
        width = 0.75 * height
    return [centre_x - 0.625 * width, centre_y - 0.625 * height, 1.25 * width, 1.25 * height]


def test_a_row_is_a_person_with_labels_who_is_no_crowd(made, coco_file):
    for part in ("train", "test"):
        people = counted(coco_file[part])
        # ids, in the order of the images
        assert made.column(part, "person").tolist() == list(people)
        assert made.column(part, "image").tolist() == [
            entry["image_id"] for entry in people.values()
        ]
        assert made.column(part, "area_px").tolist() == [entry["area"] for entry in people.values()]
        assert not made.column(part, "mirrored").any() and (made.column(part, "score") == 1).all()
        expected = [literal_box(*entry["bbox"]) for entry in people.values()]
        np.testing.assert_allclose(made.boxes(part), expected)
        names = [f"{entry['image_id']:012}.png" for entry in people.values()]
        assert made.photographs(part) == names
    assert made.skeleton.name == "coco" and made.skeleton.chosen_by == ("oks",)
    assert made.skeleton.oks_sigmas.tolist() == list(COCO.sigmas) and made.skeleton.flip[5] == 6


def test_people_are_held_out_by_image(made):
    images = made.column("train", "image")
    assert sorted(set(images[made.held_out])) == [1, 6, 11] and len(made.held_out) == 2 + 1 + 2
    assert not set(images[made.held_out]) & set(images[made.trained_on])


def test_frames_have_a_margin_and_labels_lead_back(made, coco_file):
    assert made.train_images.shape[1:] == (320, 240, 3) and made.margin == 1.25
    assert made.view_box.tolist() == pytest.approx([24, 32, 192, 256])
    for part in ("train", "test"):
        labels = getattr(made, f"{part}_labels")
        true = np.array(
            [entry["keypoints"] for entry in counted(coco_file[part]).values()]
        ).reshape(-1, 17, 3)
        labelled = true[..., 2] > 0
        np.testing.assert_array_equal(~np.isnan(labels).any(2), labelled)
        assert not labelled[:, HIDDEN].all() and labelled.sum(1).min() == 16
        np.testing.assert_allclose(
            made.to_photographs(labels, part)[labelled], true[..., :2][labelled], atol=0.01
        )
        shown = geometry.denormalise(np.array([[-0.5, -0.5], [0.5, 0.5]]), made.view_box)
        assert ((labels >= shown[0]) & (labels <= shown[1]))[labelled].all()


def test_every_label_lies_on_its_joints_disc(made):
    columns, rows = np.floor(made.train_labels[..., 0]), np.floor(made.train_labels[..., 1])
    for row, joint in zip(*np.nonzero(~np.isnan(columns))):
        seen = made.train_images[row, int(rows[row, joint]), int(columns[row, joint])].astype(int)
        nearest = np.abs(COLOURS - seen).sum(1)
        if joint > 4:  # the face's discs lie over each other
            assert nearest.argmin() == joint


def test_the_true_annotations_are_those_of_the_file(made, coco_file):
    written = json.loads((made.folder / "test_annotations.json").read_text())
    assert [image["id"] for image in written["images"]] == [101, 102, 103, 104, 105]
    for mine, entry in zip(written["annotations"], coco_file["test"]["annotations"], strict=True):
        # crowds as well
        assert mine == {key: value for key, value in entry.items() if key != "segmentation"}
    found = coco.read(made.folder / "test_annotations.json")
    assert found.joints == COCO.joints and not found.complaints


def test_a_larger_frame(source, tmp_path):
    data = prepare_coco(
        tmp_path, "--source", source / "data" / "COCO", "--frame", "288x384", "--limit", 3
    )
    assert data.frame == (360, 480) and data.view_box[2:].tolist() == pytest.approx([288, 384])
    assert sorted(set(data.column("train", "image"))) == [1, 2, 3]
    assert len(json.loads((tmp_path / "test_annotations.json").read_text())["images"]) == 3


def test_one_file_is_split_by_image(source, tmp_path):
    folder = source / "data" / "COCO"
    data = prepare_coco(
        tmp_path,
        "--train",
        folder / "annotations" / "person_keypoints_train2017.json",
        "--images",
        folder / "images" / "train2017",
    )
    assert sorted(set(data.column("test", "image"))) == [2, 7, 12]
    assert not set(data.column("train", "image")) & {2, 7, 12} and len(data.held_out) == 2 + 2
    assert data.seen_in_training == 0


def detections(*changed):
    return [
        {"image_id": 101, "category_id": 1, "bbox": [10, 20, 50, 100], "score": 0.9} | each
        for each in changed
    ]


def test_detections_have_boxes_and_scores_and_no_labels(source, tmp_path):
    found = detections(
        {},
        {"image_id": 103, "score": 0.3},
        {"category_id": 2},
        {"score": 0.05},
        {"bbox": [-9.5, 1, 30, 20], "score": 0.5},
        {"image_id": 9},
    )
    data = prepare_coco(
        tmp_path,
        "--source",
        source,
        "--detections",
        write(tmp_path / "found.json", found),
        "--score-above",
        "0.05",
    )
    assert data.detected and np.isnan(data.test_labels).all() and len(data.train_rows) > 10
    assert data.column("test", "image").tolist() == [101, 101, 103]
    assert data.column("test", "person").tolist() == [1, 2, 1]
    assert data.column("test", "score").tolist() == [0.9, 0.5, 0.3]
    expected = [
        literal_box(10, 20, 50, 100),
        literal_box(-9.5, 1, 30, 20),
        literal_box(10, 20, 50, 100),
    ]
    np.testing.assert_allclose(data.boxes("test"), expected)
    assert np.isnan(data.column("test", "area_px")).all()


def test_a_list_of_images_serves_with_detections(source, coco_file, tmp_path, capsys):
    """As image_info_test-dev2017.json: its categories tell no joints, and it has no annotations."""
    info = {"images": coco_file["test"]["images"], "categories": [{"id": 1, "name": "person"}]}
    flags = [
        "--train",
        source / "data/COCO/annotations/person_keypoints_train2017.json",
        "--images",
        source / "data/COCO/images",
        "--test",
        write(tmp_path / "image_info_test-dev2017.json", info),
    ]
    fails(
        COCO_data.main,
        ["--workdir", tmp_path, *flags],
        capsys,
        "image_info_test-dev2017.json",
        "no category has",
    )
    data = prepare_coco(
        tmp_path, *flags, "--detections", write(tmp_path / "found.json", detections({}))
    )
    assert data.detected and len(data.test_rows) == 1
    written = json.loads((tmp_path / "test_annotations.json").read_text())
    assert len(written["images"]) == 5 and written["annotations"] == []
    assert written["categories"][0]["keypoints"] == list(COCO.joints)


@pytest.mark.parametrize(
    "names, pairs, said",
    [
        (
            ["nose", "l_eye", "r_eye"],
            (("l_eye", "r_eye"),),
            "mirror images exchange l_eye and r_eye",
        ),
        (
            ["earLeft", "earRight", "tail"],
            None,
            "no joint's name tells left from right, so no image will be mirrored",
        ),
        (
            ["ear_left", "ear_right", "tail"],
            (("ear_left", "ear_right"),),
            "exchange ear_left and ear_right",
        ),
        (
            ["leftEar", "rightEar", "tail"],
            (("leftear", "rightear"),),
            "exchange leftear and rightear",
        ),
        (
            ["nose", "left_eye", "tail"],
            None,
            "left_eye: without a joint of the other side, so no image will be mirrored",
        ),
    ],
)
def test_flips_are_printed_as_they_were_understood(names, pairs, said, tmp_path, capsys):
    path = write(tmp_path / "own.json", content(tmp_path, range(1, 6), names))
    data = prepare_coco(tmp_path, "--train", path)
    assert said in capsys.readouterr().out
    assert data.skeleton.joints == tuple(name.lower() for name in names)
    assert data.skeleton.pairs == (pairs or ()) and data.skeleton.has_sides == bool(pairs)
    first, second = (data.skeleton.joints[j] for j in (0, 1))
    assert data.skeleton.bones == ((first, second),) and set(data.skeleton.oks_sigmas) == {0.05}
    if pairs:
        ((left, right),) = pairs
        flip = data.skeleton.flip
        assert flip[data.skeleton.index(left)] == data.skeleton.index(right) and sorted(flip) == [
            0,
            1,
            2,
        ]


def test_two_files_that_both_number_from_one(tmp_path, capsys):
    """Images of the same number are other photographs, so nothing was seen in training."""
    train = write(tmp_path / "train.json", content(tmp_path / "a", range(1, 6)))
    other = content(tmp_path / "b", range(1, 4), first=501)
    for image in other["images"]:
        draw(tmp_path / f"b{image['file_name']}", [])
        image["file_name"] = f"b{image['file_name']}"
    for image in range(1, 6):
        (tmp_path / "a" / f"{image:012}.png").rename(tmp_path / f"{image:012}.png")
    data = prepare_coco(tmp_path, "--train", train, "--test", write(tmp_path / "test.json", other))
    assert data.seen_in_training == 0 and set(data.column("test", "set")) == {2}
    same = prepare_coco(tmp_path, "--train", train, "--test", train)
    assert (
        same.seen_in_training == len(same.test_rows)
        and "seen in training" in capsys.readouterr().out
    )
    other["images"][0]["file_name"] = f"{5:012}.png"  # which is number 5 in the other file
    fails(
        COCO_data.main,
        ["--workdir", tmp_path, "--train", train, "--test", write(tmp_path / "test.json", other)],
        capsys,
        "is image 5 of the training file and 1 of the test file",
    )


def test_joints_that_nobody_labelled_are_named(tmp_path, capsys):
    """As PoseTrack's ears: they have no refiner, and make asks for none."""
    value = content(tmp_path, range(1, 9), POSETRACK.joints)
    for entry in value["annotations"]:
        entry["keypoints"][9:15] = [0] * 6
    data = prepare_coco(tmp_path, "--train", write(tmp_path / "track.json", value))
    assert data.skeleton.name == "posetrack" and data.skeleton.side("left_ear") == "left"
    assert "no training image has a label for left_ear, right_ear" in capsys.readouterr().out
    assert data.not_refined == ("left_ear", "right_ear") and np.isfinite(data.mean_pose).all()
    assert dependencies.joints(tmp_path) == [name for name in POSETRACK.joints if "ear" not in name]


def broken(change):
    """The training annotations with a change."""

    def write_broken(folder, source):
        path = source / "data" / "COCO" / "annotations" / "person_keypoints_train2017.json"
        value = json.loads(path.read_text())
        change(value)
        return [
            "--train",
            write(folder / "own.json", value),
            "--images",
            path.parent.parent / "images",
        ]

    return write_broken


def found(*changed):
    """COCO's layout with bad detections."""

    def write_found(folder, source):
        return [
            "--source",
            source,
            "--detections",
            write(folder / "own.json", detections(*changed)),
        ]

    return write_found


BAD = {
    "no categories": (broken(lambda value: value.pop("categories")), "no categories"),
    "a joint that is no file": (
        broken(lambda value: value["categories"][0]["keypoints"].append("../x")),
        "../x",
    ),
    "a joint named con": (
        broken(lambda value: value["categories"][0]["keypoints"].append("con")),
        "con",
    ),
    "an image that leads out": (
        broken(lambda value: value["images"][0].update(file_name="../a.jpg")),
        "leads out",
    ),
    "an image of two lines": (
        broken(lambda value: value["images"][0].update(file_name="a\nb.jpg")),
        "no file can be",
    ),
    "duplicate ids": (
        broken(lambda value: value["annotations"][1].update(id=1)),
        "two annotations have the id 1",
    ),
    "an id below 0": (
        broken(lambda value: value["annotations"][1].update(id=-1)),
        "the id -1; number them from 0",
    ),
    "one image": (
        broken(lambda value: value.update(images=value["images"][:1])),
        "none is left to train on",
    ),
    "no photograph": (
        broken(
            lambda value: [
                image.update(file_name="gone/" + image["file_name"]) for image in value["images"]
            ]
        ),
        "none of the 9 photographs is here",
    ),
    "a photograph less": (
        broken(lambda value: value["images"][0].update(file_name="gone.jpg")),
        "gone.jpg: image 1 is neither there nor in train2017",
    ),
    "a photograph of another size": (
        broken(lambda value: value["images"][0].update(width=96, height=72)),
        "pixels, not 96 x 72, for which its joints are",
    ),
    "a box far too large": (
        broken(lambda value: value["annotations"][0].update(bbox=[0, 0, 9e4, 9e4])),
        "has a box far larger than the image",
    ),
    "no such file": (
        lambda folder, source: ["--train", folder / "none.json"],
        "none.json: not found",
    ),
    "a test file alone": (lambda folder, source: ["--test", folder / "none.json"], "--test"),
    "no layout": (
        lambda folder, source: ["--source", folder],
        "no annotations/person_keypoints_train2017.json here",
    ),
    "detections that are none": (found({"bbox": [1, 2, 3]}), "detection 1 has no box of 4 numbers"),
    "detections of other images": (
        found({"image_id": 7}),
        "has no person in the test images with a score above",
    ),
    "a score without detections": (
        lambda folder, source: ["--source", source, "--score-above", "0.5"],
        "--score-above: is of --detections",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name, source, tmp_path, capsys):
    flags, said = BAD[name]
    fails(COCO_data.main, ["--workdir", tmp_path / "out", *flags(tmp_path, source)], capsys, said)
    assert not (tmp_path / "out" / "dataset.json").exists()


@pytest.mark.parametrize(
    "frame", ["192", "192x", "0x0", "190x256", "192x256x3", "4000x4000", "-4x8", "widexhigh"]
)
def test_a_frame_that_is_none(frame, capsys):
    fails(COCO_data.main, [f"--frame={frame}"], capsys, "WIDTHxHEIGHT")


def test_bad_annotations_and_missing_photographs_are_named_and_left_out(source, tmp_path, capsys):
    def change(value):
        value["annotations"][0]["keypoints"] = [1, 2, 2]
        value["annotations"][2]["bbox"] = [0, 0, 0, 5]
        value["images"][3]["file_name"] = "gone.jpg"

    flags = broken(change)(tmp_path, source)
    data = prepare_coco(tmp_path, *flags, "--skip-broken")
    said = capsys.readouterr().out
    assert "annotation 1 has keypoints of 3 numbers, not 51 (left out)" in said
    assert "annotation 3 has a box of 0 x 5 pixels (left out)" in said and "gone.jpg" in said
    people = set(data.column("train", "person")) | set(data.column("test", "person"))
    assert not {1, 3} & people and data.facts["skipped_images"] == [[1, 4]]
    assert 4 not in data.column("train", "image")


def test_boxes_of_next_to_nothing(source, tmp_path, capsys):
    """A person whose joints lie far outside of the box is left out; a detection still makes a
    frame."""
    flags = broken(lambda value: value["annotations"][0].update(bbox=[50, 50, 1e-9, 1e-9]))(
        tmp_path, source
    )
    data = prepare_coco(tmp_path, *flags)
    assert "annotation 1 has a joint far outside of its box (left out)" in capsys.readouterr().out
    assert 1 not in data.column("train", "person")
    boxes = write(tmp_path / "found.json", detections({"bbox": [50, 50, 1e-9, 1e-9]}))
    assert prepare_coco(tmp_path, "--source", source, "--detections", boxes).boxes("test")[0][
        2:
    ].min() == pytest.approx(4)


def test_the_real_coco(tmp_path):
    """True labels as predictions lead back to the annotations, far within half a pixel of the
    photograph."""
    folder = real("coco")
    data = prepare_coco(tmp_path, "--source", folder)
    assert (len(data.train_rows), len(data.test_rows)) == (86, 80) and data.seen_in_training == 0
    for part, name in (("train", "train"), ("test", "val")):
        value = json.loads(
            (folder / "annotations" / f"person_keypoints_{name}2017.json").read_text()
        )
        true = np.array(
            [counted(value)[person]["keypoints"] for person in data.column(part, "person")]
        )
        true = true.reshape(-1, 17, 3)
        back = data.to_photographs(getattr(data, f"{part}_labels").astype(float), part)
        assert np.abs(back - true[..., :2])[true[..., 2] > 0].max() < 0.01
