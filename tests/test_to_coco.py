"""PoseTrack's and MPII's annotations written in COCO's format, and read back."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from helpers import fails
from mpii_sample import COUNT, write_mpii
from test_mpii import EMPTY_RECT, IMAGES, image, mat, point, rect, structs

from deeppose import coco, mpii, to_coco
from deeppose.coco_entries import BOX_FILL
from deeppose.coco_skeletons import POSETRACK
from deeppose.skeletons import MPII

# the real set, where it is at hand
REAL = Path(__file__).resolve().parent.parent.parent / "shared" / "posetrack"
KEYPOINTS = [
    number for j in range(17) for number in (100 + 10 * j, 50 + 5 * j, 1 if j not in (3, 4) else 0)
]
CATEGORY = {
    "supercategory": "person",
    "id": 1,
    "name": "person",
    "keypoints": list(POSETRACK.joints),
    "skeleton": [[16, 14], [14, 12]],
}


def frame(number, **changed):
    return {
        "id": number,
        "file_name": f"images/val/v/{number}.jpg",
        "frame_id": number,
        "is_labeled": True,
    } | changed


def annotation(number, image, **changed):
    entry = {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "track_id": 0,
        "scores": [],
        "iscrowd": False,
        "bbox": [90, 40, 200, 120.5],
        "bbox_head": [90, 40, 20, 20],
        "keypoints": KEYPOINTS,
    }
    return {key: value for key, value in (entry | changed).items() if value is not ...}


def sequence(folder, name, images, annotations, **changed):
    content = {"categories": [CATEGORY], "images": images, "annotations": annotations} | changed
    (folder / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    """Two sequences; the second has an unlabelled frame, and persons without box or joints."""
    folder = tmp_path / "val"
    folder.mkdir()
    sequence(
        folder,
        "000001",
        [frame(10_000_010_000, width=640, height=480)],
        [annotation(1_000_001_000_000, 10_000_010_000)],
    )
    sequence(
        folder,
        "000002",
        [frame(10_000_020_000), frame(10_000_020_001, is_labeled=False)],
        [
            annotation(1_000_002_000_000, 10_000_020_000, bbox=...),
            annotation(1_000_002_000_001, 10_000_020_000, bbox=..., keypoints=..., iscrowd=...),
        ],
    )
    return folder


def converted(folder, tmp_path):
    to_coco.main(["posetrack", str(folder), str(tmp_path / "out.json")])
    return json.loads((tmp_path / "out.json").read_text())


def test_sequences_are_merged(folder, tmp_path, capsys):
    content = converted(folder, tmp_path)
    assert "2 images, 3 persons, 2 of them with joints" in capsys.readouterr().out
    assert content["categories"] == [CATEGORY]
    assert [image["id"] for image in content["images"]] == [10_000_010_000, 10_000_020_000]
    first, second, third = content["annotations"]
    assert annotation(1_000_001_000_000, 10_000_010_000).items() <= first.items()
    assert first["num_keypoints"] == second["num_keypoints"] == 15 and third["num_keypoints"] == 0
    assert first["area"] == pytest.approx(BOX_FILL * 200 * 120.5)
    assert second["bbox"] == pytest.approx([100 - 16, 50 - 8, 1.2 * 160, 1.2 * 80])
    assert third["bbox"] == [0] * 4 and third["keypoints"] == [0] * 51 and third["iscrowd"] == 0


def test_what_was_written_is_read_back(folder, tmp_path):
    converted(folder, tmp_path)
    found = coco.read(tmp_path / "out.json")
    assert found.joints == POSETRACK.joints and found.complaints == ()
    assert found.images[10_000_010_000] == ("images/val/v/10000010000.jpg", 640, 480)
    assert found.keypoints[0].ravel().tolist() == [
        value * (KEYPOINTS[k - k % 3 + 2] > 0) for k, value in enumerate(KEYPOINTS)
    ]
    assert found.keypoint_counts.tolist() == [15, 15, 0]


def test_the_real_sequences_give_the_merged_file(tmp_path):
    if not REAL.is_dir():
        pytest.skip("the real PoseTrack frames are not at hand")
    content = converted(REAL / "annotations" / "val", tmp_path)
    merged = json.loads((REAL / "annotations" / "posetrack18_val_coco.json").read_text())
    assert content["categories"] == merged["categories"]
    for key in ("images", "annotations"):
        ours = {entry["id"]: entry for entry in content[key]}
        theirs = {entry["id"]: entry for entry in merged[key]}
        assert ours.keys() == theirs.keys()
        assert all(theirs[number].items() <= ours[number].items() for number in theirs)


@pytest.mark.parametrize(
    "images, annotations, changed, said",
    [
        ([frame(10_000_010_000)], [], {}, "as another file"),
        (
            [frame(3)],
            [annotation(1_000_001_000_000, 3)],
            {},
            "holds annotation 1000001000000 again",
        ),
        ([frame(3)], [annotation(5, 4)], {}, "frame 4, which is not in the file"),
        ([frame(3)], [annotation("5", 3)], {}, "no whole numbers as its id"),
        ([frame(3)], [annotation(5, 3, keypoints=[1, 2, 3])], {}, "no 51 finite numbers"),
        ([frame(3)], [annotation(5, 3, keypoints="all")], {}, "no 51 finite numbers"),
        ([frame(3)], [annotation(5, 3, bbox=[1, 2])], {}, "no 4 finite numbers"),
        ([frame(3)], [annotation(5, 3, bbox=[math.nan] * 4)], {}, "no 4 finite numbers"),
        ([frame(None)], [], {}, "no whole number as its id"),
        ([frame(3, file_name="../a.jpg")], [], {}, "leads out of its folder"),
        ([5], [], {}, "no object"),
        ([frame(3)], [[]], {}, "no object"),
        ([frame(3)], [], {"categories": []}, "0 categories"),
        ([frame(3)], [], {"categories": [{"id": None}]}, "not one of persons"),
        ([frame(3)], [], {"categories": [CATEGORY | {"keypoints": ["tail"]}]}, "other joints"),
        (
            [frame(3)],
            [],
            {"categories": [CATEGORY | {"keypoints": ["../x"]}]},
            "cannot name a file",
        ),
    ],
)
def test_bad_sequences_are_named(folder, tmp_path, capsys, images, annotations, changed, said):
    sequence(folder, "000003", images, annotations, **changed)
    fails(to_coco.main, ["posetrack", folder, tmp_path / "out.json"], capsys, "000003.json: ", said)
    assert not (tmp_path / "out.json").exists()


def test_a_number_that_is_not_finite_is_not_written(folder, tmp_path, capsys):
    sequence(folder, "000003", [frame(3, width=math.inf)], [])
    fails(
        to_coco.main,
        ["posetrack", folder, tmp_path / "out.json"],
        capsys,
        "out.json: is not written",
        "finite",
    )
    assert not list(tmp_path.glob("out*"))


def test_bad_usage_is_named(folder, tmp_path, capsys):
    out = tmp_path / "out.json"
    fails(
        to_coco.main,
        ["posetrack", tmp_path / "none", out],
        capsys,
        "none: no folder with .json files",
    )
    (tmp_path / "empty").mkdir()
    fails(
        to_coco.main,
        ["posetrack", tmp_path / "empty", out],
        capsys,
        "empty: no folder with .json files",
    )
    fails(
        to_coco.main,
        ["posetrack", folder, folder / "out.json"],
        capsys,
        "would lie among the sequences",
    )
    fails(to_coco.main, ["posetrack", folder, tmp_path / "out.mat"], capsys, "let it end in .json")
    fails(to_coco.main, ["lsp", folder, out], capsys, "invalid choice")
    (folder / "000001.json").write_text("{")
    fails(to_coco.main, ["posetrack", folder, out], capsys, "000001.json: is not JSON")


def from_mpii(content, tmp_path):
    """The CocoFile of what is written from an MPII file with that content, and the same as JSON."""
    (tmp_path / mpii.FILE_NAME).write_bytes(content)
    to_coco.main(["mpii", str(tmp_path / mpii.FILE_NAME), str(tmp_path / "out.json")])
    return coco.read(tmp_path / "out.json"), json.loads((tmp_path / "out.json").read_text())


def test_mpiis_odd_persons_are_read_back(tmp_path, capsys):
    found, content = from_mpii(mat(IMAGES), tmp_path)
    assert found.joints == MPII.joints and found.bones == MPII.bones and found.complaints == ()
    assert {number: image.file_name for number, image in found.images.items()} == {
        1: "000.jpg",
        3: "002.jpg",
        5: "004.jpg",
    }  # those with joints, by their place in annolist
    assert found.image_ids.tolist() == [1, 3, 3, 5] and found.ids.tolist() == [1, 2, 3, 4]
    first, odd = found.keypoints[:2]
    np.testing.assert_array_equal(
        first, np.stack([np.arange(16) + 1, 2.5 * np.arange(16), np.full(16, 2)], 1)
    )
    assert found.keypoint_counts.tolist() == [16, 4, 16, 4]
    assert odd[[0, 3, 8, 15]].tolist() == [[5.25, 6, 2], [1, 2, 1], [7, 8, 2], [700, -3, 1]]
    assert not odd[[1, 2, 9]].any()
    assert content["annotations"][0]["bbox"] == pytest.approx([1 - 1.5, -3.75, 18, 45])
    assert content["annotations"][0]["area"] == pytest.approx(BOX_FILL * 18 * 45)
    assert "3 images, 4 persons, 4 of them with joints" in capsys.readouterr().out


def test_a_person_with_one_joint_gets_a_box(tmp_path):
    found, _ = from_mpii(
        mat([image("0.jpg", structs(rect([point(3, 40.0, 50.0, 1)])))], [1]), tmp_path
    )
    assert found.boxes.tolist() == [[39.5, 49.5, 1, 1]] and found.keypoint_counts.tolist() == [1]


def test_every_rendered_person_is_read_back(tmp_path):
    joints = write_mpii(tmp_path / "set")
    found, _ = from_mpii((tmp_path / "set" / mpii.FILE_NAME).read_bytes(), tmp_path)
    assert len(found.ids) == sum(map(len, joints.values())) - 2 and len(found.images) == COUNT - 2
    for number, image_read in found.images.items():
        own = found.keypoints[found.image_ids == number]
        labelled = own[..., 2] > 0
        np.testing.assert_array_equal(own[labelled][:, :2], joints[image_read.file_name][labelled])


def test_the_real_persons_of_mpii_are_read_back(real_mpii, tmp_path):
    to_coco.main(["mpii", str(real_mpii / mpii.FILE_NAME), str(tmp_path / "out.json")])
    found = coco.read(tmp_path / "out.json")
    assert (
        len(found.ids) == 1642
        and len(found.images) == 1532
        and (found.keypoint_counts == 16).sum() == 1349
    )
    people = [
        person
        for person in mpii.read_file(real_mpii / mpii.FILE_NAME)
        if not np.isnan(person.joints).all()
    ]
    labelled = found.keypoints[..., 2] > 0
    np.testing.assert_array_equal(
        found.keypoints[labelled][:, :2], np.stack([p.joints for p in people])[labelled]
    )
    assert found.complaints == ()


def test_bad_files_of_mpii_are_named(tmp_path, capsys):
    path, out = tmp_path / mpii.FILE_NAME, tmp_path / "out.json"
    fails(to_coco.main, ["mpii", path, out], capsys, f"{mpii.FILE_NAME}: cannot be read")
    path.write_bytes(mat([image("0.jpg", structs(EMPTY_RECT))], [1]))
    fails(
        to_coco.main, ["mpii", path, out], capsys, f"{mpii.FILE_NAME}: holds no person with joints"
    )
    path.write_bytes(path.read_bytes()[:300])
    fails(to_coco.main, ["mpii", path, out], capsys, f"{mpii.FILE_NAME}: is no MATLAB file")
    (tmp_path / "folder").mkdir()
    fails(to_coco.main, ["mpii", tmp_path / "folder", out], capsys, "folder: cannot be read")
    assert not out.exists()
