"""PoseTrack's annotations written in COCO's format, and read back."""
import json
import math
from pathlib import Path

import pytest
from helpers import fails

from deeppose import coco, to_coco
from deeppose.coco_joints import POSETRACK

REAL = Path(__file__).resolve().parent.parent.parent / "shared" / "posetrack"  # the real set, where it is at hand
KEYPOINTS = [number for j in range(17) for number in (100 + 10 * j, 50 + 5 * j, 1 if j not in (3, 4) else 0)]
CATEGORY = {"supercategory": "person", "id": 1, "name": "person", "keypoints": list(POSETRACK.joints),
            "skeleton": [[16, 14], [14, 12]]}


def frame(number, **changed):
    return {"id": number, "file_name": f"images/val/v/{number}.jpg", "frame_id": number, "is_labeled": True} | changed


def annotation(number, image, **changed):
    entry = {"id": number, "image_id": image, "category_id": 1, "track_id": 0, "scores": [], "iscrowd": False,
             "bbox": [90, 40, 200, 120.5], "bbox_head": [90, 40, 20, 20], "keypoints": KEYPOINTS}
    return {key: value for key, value in (entry | changed).items() if value is not ...}


def sequence(folder, name, images, annotations, **changed):
    content = {"categories": [CATEGORY], "images": images, "annotations": annotations} | changed
    (folder / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    """Two sequences; the second has an unlabelled frame, and persons without box or joints."""
    folder = tmp_path / "val"
    folder.mkdir()
    sequence(folder, "000001", [frame(10_000_010_000, width=640, height=480)],
             [annotation(1_000_001_000_000, 10_000_010_000)])
    sequence(folder, "000002", [frame(10_000_020_000), frame(10_000_020_001, is_labeled=False)],
             [annotation(1_000_002_000_000, 10_000_020_000, bbox=...),
              annotation(1_000_002_000_001, 10_000_020_000, bbox=..., keypoints=..., iscrowd=...)])
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
    assert first["area"] == pytest.approx(coco.BOX_FILL * 200 * 120.5)
    assert second["bbox"] == pytest.approx([100 - 16, 50 - 8, 1.2 * 160, 1.2 * 80])
    assert third["bbox"] == [0] * 4 and third["keypoints"] == [0] * 51 and third["iscrowd"] == 0


def test_what_was_written_is_read_back(folder, tmp_path):
    converted(folder, tmp_path)
    found = coco.read(tmp_path / "out.json")
    assert found.joints == POSETRACK.joints and found.complaints == ()
    assert found.images[10_000_010_000] == ("images/val/v/10000010000.jpg", 640, 480)
    assert found.keypoints[0].ravel().tolist() == [value * (KEYPOINTS[k - k % 3 + 2] > 0)
                                                   for k, value in enumerate(KEYPOINTS)]
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


@pytest.mark.parametrize("images, annotations, changed, said", [
    ([frame(10_000_010_000)], [], {}, "as another file"),
    ([frame(3)], [annotation(1_000_001_000_000, 3)], {}, "holds annotation 1000001000000 again"),
    ([frame(3)], [annotation(5, 4)], {}, "frame 4, which is not in the file"),
    ([frame(3)], [annotation("5", 3)], {}, "no whole numbers as its id"),
    ([frame(3)], [annotation(5, 3, keypoints=[1, 2, 3])], {}, "no 51 finite numbers"),
    ([frame(3)], [annotation(5, 3, keypoints="all")], {}, "no 51 finite numbers"),
    ([frame(3)], [annotation(5, 3, bbox=[1, 2])], {}, "no 4 finite numbers"),
    ([frame(3)], [annotation(5, 3, bbox=[math.nan] * 4)], {}, "no 4 finite numbers"),
    ([frame(None)], [], {}, "no whole number as its id"),
    ([frame(3, file_name="../a.jpg")], [], {}, "leads out of its folder"),
    ([5], [], {}, "no object"), ([frame(3)], [[]], {}, "no object"),
    ([frame(3)], [], {"categories": []}, "0 categories"),
    ([frame(3)], [], {"categories": [{"id": None}]}, "not one of persons"),
    ([frame(3)], [], {"categories": [CATEGORY | {"keypoints": ["tail"]}]}, "other joints"),
    ([frame(3)], [], {"categories": [CATEGORY | {"keypoints": ["../x"]}]}, "cannot name a file"),
])
def test_bad_sequences_are_named(folder, tmp_path, capsys, images, annotations, changed, said):
    sequence(folder, "000003", images, annotations, **changed)
    fails(to_coco.main, ["posetrack", folder, tmp_path / "out.json"], capsys, "000003.json: ", said)
    assert not (tmp_path / "out.json").exists()


def test_a_number_that_is_not_finite_is_not_written(folder, tmp_path, capsys):
    sequence(folder, "000003", [frame(3, width=math.inf)], [])
    fails(to_coco.main, ["posetrack", folder, tmp_path / "out.json"], capsys, "out.json: is not written", "finite")
    assert not list(tmp_path.glob("out*"))


def test_bad_usage_is_named(folder, tmp_path, capsys):
    out = tmp_path / "out.json"
    fails(to_coco.main, ["posetrack", tmp_path / "none", out], capsys, "none: no folder with .json files")
    (tmp_path / "empty").mkdir()
    fails(to_coco.main, ["posetrack", tmp_path / "empty", out], capsys, "empty: no folder with .json files")
    fails(to_coco.main, ["posetrack", folder, folder / "out.json"], capsys, "would lie among the sequences")
    fails(to_coco.main, ["posetrack", folder, tmp_path / "out.mat"], capsys, "let it end in .json")
    fails(to_coco.main, ["lsp", folder, out], capsys, "invalid choice")
    (folder / "000001.json").write_text("{")
    fails(to_coco.main, ["posetrack", folder, out], capsys, "000001.json: is not JSON")
