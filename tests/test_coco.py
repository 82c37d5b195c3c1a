"""Keypoint files in COCO's format, as they come from strangers: what is read, what is refused, what
is left out."""

import copy
import json
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeppose import coco, coco_joints, coco_skeletons, json_stream
from deeppose.coco_detections import read_detections
from deeppose.coco_entries import BOX_FILL
from deeppose.shell import InputError

# the real sets, where they are at hand
SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
NAMES = ["Nose", "left_hand", "right_hand"]


def person(number, image=7, **changed):
    """An annotation: a person whose last joint is not labelled, with junk for it."""
    entry = {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "bbox": [2, 3, 40, 60],
        "area": 1100.5,
        "iscrowd": 0,
        "keypoints": [10, 20, 2, 30.5, 40, 1, 5, 5, 0],
        "num_keypoints": 2,
        "segmentation": [[2, 3, 42, 3, 42, 63]],
    } | changed
    return {key: value for key, value in entry.items() if value is not ...}


def content(*people, **changed):
    """A file with one image and a made-up skeleton."""
    return {
        "info": {"year": 2017},
        "licenses": [{"id": 1}],
        "images": [{"id": 7, "file_name": "a/b.jpg", "width": 100, "height": 80}],
        "categories": [
            {"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}
        ],
        "annotations": list(people) or [person(1)],
    } | changed


def write(folder, value):
    path = folder / "own.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def refused(folder, value, *said):
    """read() refuses the file in one line that names it and says all of `said`."""
    with pytest.raises(InputError) as error:
        coco.read(write(folder, value))
    line = str(error.value)
    assert "own.json: " in line and len(line.splitlines()) == 1 and len(line) < 600
    for words in said:
        assert words in line


def test_what_is_read(tmp_path):
    people = [person(5), person(9, iscrowd=True, segmentation={"counts": "3d7", "size": [80, 100]})]
    found = coco.read(write(tmp_path, content(*people)))
    assert found.joints == ("nose", "left_hand", "right_hand")
    assert found.bones == (("nose", "left_hand"), ("nose", "right_hand"))
    assert found.images == {7: ("a/b.jpg", 100, 80)}
    assert found.ids.tolist() == [5, 9] and found.image_ids.tolist() == [7, 7]
    assert found.keypoints[0].tolist() == [[10, 20, 2], [30.5, 40, 1], [0, 0, 0]]  # no junk
    assert found.boxes[0].tolist() == [2, 3, 40, 60] and found.areas[0] == 1100.5
    assert found.crowd.tolist() == [False, True] and found.keypoint_counts.tolist() == [2, 2]
    assert found.complaints == ()


def test_the_lists_may_come_in_any_order(tmp_path):
    value = content(person(5))
    turned = dict(reversed(value.items()))
    first = coco.read(write(tmp_path, value))
    second = coco.read(write(tmp_path, turned))
    np.testing.assert_array_equal(first.keypoints, second.keypoints)
    assert first.joints == second.joints and first.images == second.images


def test_what_a_file_lacks_is_computed(tmp_path):
    bare = person(1, area=..., num_keypoints=..., iscrowd=..., segmentation=...)
    no_box = person(2, bbox=..., area=0)
    no_joints = person(3, keypoints=..., bbox=[0, 0, 0, 0], area=...)  # num_keypoints stays 2
    found = coco.read(write(tmp_path, content(bare, no_box, no_joints)))
    assert found.areas[0] == pytest.approx(BOX_FILL * 40 * 60)
    assert found.keypoint_counts.tolist() == [2, 2, 0] and not found.crowd.any()
    np.testing.assert_allclose(found.boxes[1], [10 - 2.05, 20 - 2, 1.2 * 20.5, 1.2 * 20])
    assert found.areas[1] == pytest.approx(BOX_FILL * 1.2 * 20.5 * 1.2 * 20)
    assert not found.keypoints[2].any() and found.complaints == ()


def test_images_alone_serve_with_detections(tmp_path):
    value = content(categories=[{"id": 1, "name": "person"}])
    del value["annotations"]
    found = coco.read(write(tmp_path, value), annotated=False)
    assert found.joints == () and found.keypoints.shape == (0, 0, 3) and 7 in found.images
    refused(tmp_path, value, "no category has keypoints")


def test_things_without_joints_are_passed_over(tmp_path):
    value = content(person(1), person(2, category_id=3, keypoints=...))
    value["categories"].append({"id": 3, "name": "kite"})
    found = coco.read(write(tmp_path, value))
    assert found.ids.tolist() == [1] and found.complaints == ()


@pytest.mark.parametrize(
    "change, said",
    [
        ({"keypoints": [1, 2, 2]}, "keypoints of 3 numbers, not 9"),
        ({"keypoints": [0] * 12}, "keypoints of 12 numbers, not 9"),
        ({"keypoints": "many"}, "keypoints that is no list"),
        ({"keypoints": [math.nan] * 9}, "no list of finite numbers"),
        ({"keypoints": [[1, 2, 2]] * 3}, "no list of finite numbers"),
        ({"keypoints": [[1], 2] + [1] * 7}, "no list of finite numbers"),
        ({"keypoints": [None, None, 0] * 3}, "no list of finite numbers"),
        ({"keypoints": ["1"] * 9}, "no list of finite numbers"),
        ({"keypoints": [1, 1, 7] * 3}, "v is not 0, 1 or 2"),
        ({"keypoints": [1e7, 1, 2] * 3}, "reaches to 1e+07 pixels"),
        ({"keypoints": [10**30, 1, 2] * 3}, "no list of finite numbers"),
        ({"bbox": [2, 3, 0, 60]}, "a box of 0 x 60 pixels"),
        ({"bbox": [2, 3, 40, -60]}, "a box of 40 x -60 pixels"),
        ({"bbox": [2, 3, math.nan, 60]}, "bbox that is no list"),
        ({"bbox": [2, 3, 40]}, "a bbox of 3 numbers"),
        ({"bbox": {"x": 3}}, "bbox that is no list"),
        ({"bbox": ..., "keypoints": [5, 5, 2, 0, 0, 0, 0, 0, 0]}, "a box of 0 x 0 pixels"),
        ({"image_id": 8}, "image 8, which is not in the file"),
        ({"image_id": "7"}, "no whole number as its image_id"),
        ({"image_id": 7.5}, "no whole number as its image_id"),
        ({"image_id": [7]}, "no whole number as its image_id"),
        ({"category_id": 4}, "category 4, which is not in the file"),
        ({"category_id": None}, "no whole number as its category_id"),
        ({"id": ...}, "no whole number as its id"),
        ({"id": True}, "no whole number as its id"),
        ({"id": 10**20}, "no whole number as its id"),
        ({"area": -5}, "as its area"),
        ({"area": math.nan}, "as its area"),
        ({"area": "big"}, "as its area"),
        ({"num_keypoints": -1}, "num_keypoints"),
        ({"num_keypoints": "two"}, "num_keypoints"),
        ({"iscrowd": "yes"}, "iscrowd"),
        ({"iscrowd": 2}, "iscrowd"),
    ],
)
def test_a_bad_annotation_is_left_out_and_named(tmp_path, change, said):
    found = coco.read(write(tmp_path, content(person(1), person(22, **change), person(3))))
    assert found.ids.tolist() == [1, 3]
    (complaint,) = found.complaints
    assert said in complaint and "own.json: an" in complaint and len(complaint.splitlines()) == 1
    refused(tmp_path, content(person(22, **change)), "none of the annotations can be used", said)


@pytest.mark.parametrize(
    "value, said",
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ('{"images": [', "is not JSON"),
        ('{"images": [{]}', "is not JSON"),
        ('{"images": [1,]}', "no object"),
        ('{"a": 1} x', "is not JSON"),
        ("{1: 2}", "is not JSON"),
        ('"text"', "is not JSON"),
        ('{"images": [{"id": 1' + "0" * 5000 + "}]}", "is not JSON"),
        ("[" * 200_000, "is not JSON"),
        ('{"x": ' + '{"a":' * 200_000, "is not JSON"),
        ('{"annotations": [' + "[" * 200_000, "is not JSON"),
        ("[1, 2]", "no images"),
        ("{}", "no images"),
        ('{"images": {}}', "no images"),
        ('{"images": []}', "no images"),
        (content(categories=[]), "no categories"),
        (content(categories=[{"id": 1}]), "no category has keypoints"),
        (content(categories=["person"]), "no object"),
        (content(annotations=[[1]]), "no object"),
        (content(annotations=[]), "no annotations"),
        (content(images=[5]), "no object"),
        (content(person(1), person(1)), "two annotations have the id 1"),
        (content(images=[{"id": 7, "file_name": "a.jpg"}] * 2), "two images have the id 7"),
        (content(categories=content()["categories"] * 2), "two categories have the id 1"),
        (content(categories=[{"keypoints": NAMES}]), "no whole number"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, value, said):
    refused(tmp_path, value, said)


@pytest.mark.parametrize(
    "name",
    [
        "../a.jpg",
        "a/../../b.jpg",
        "/etc/passwd",
        "..\\a.jpg",
        "\\\\host\\a.jpg",
        "C:\\a.jpg",
        "c:a.jpg",
        "",
        None,
        5,
        "a\0.jpg",
        "folder/",
        "\ud800.jpg",
        "x" * 5000,
        [],
        "..",
    ],
)
def test_an_image_that_leads_elsewhere_is_refused(tmp_path, name):
    refused(tmp_path, content(images=[{"id": 7, "file_name": name}]), "image 7")


@pytest.mark.parametrize(
    "name", ["a.jpg", "images/val/a.jpg", "Bild\u202f7 (1).jpg", "a..b.jpg", "folder\\a.jpg"]
)
def test_an_image_may_be_named(tmp_path, name):
    found = coco.read(write(tmp_path, content(images=[{"id": 7, "file_name": name}])))
    assert found.images[7] == (name.replace("\\", "/"), None, None)


@pytest.mark.parametrize("side", [0, -3, "100", 1e9, 10**9, [5], True])
def test_an_image_of_impossible_size_is_refused(tmp_path, side):
    refused(
        tmp_path,
        content(images=[{"id": 7, "file_name": "a.jpg", "width": side, "height": 10}]),
        "image 7",
    )


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "con",
        "COM1",
        "nul",
        "a b",
        "",
        "3_head",
        "1",
        "_x",
        "a.b",
        "x/y",
        "größe",
        "shared",
        "train",
        "test",
        "output",
        "stage_1",
        "x" * 65,
        "a\n",
    ],
)
def test_a_joint_that_can_be_no_file_is_refused(tmp_path, name):
    refused(tmp_path, content(categories=[{"id": 1, "keypoints": ["nose", name, "tail"]}]), "joint")


@pytest.mark.parametrize(
    "keypoints, said",
    [
        (["nose", "NOSE"], "twice"),
        ("nose", "no list of names"),
        ([1, 2], "no list of names"),
        ({"a": 1}, "no list of names"),
        ([f"j{n}" for n in range(501)], "501 joints"),
    ],
)
def test_bad_lists_of_joints_are_refused(tmp_path, keypoints, said):
    refused(tmp_path, content(categories=[{"id": 1, "keypoints": keypoints}]), said)


@pytest.mark.parametrize(
    "skeleton, said",
    [
        ([[1, 4]], "joins the joints 1 and 4"),
        ([[0, 1]], "numbered from 1 to 3"),
        ([[1]], "no pair"),
        ([["nose", "tail"]], "no pair"),
        ("12", "no list"),
        ({"a": 1}, "no list"),
        ([1, 2], "no pair"),
        ([[1.0, 2]], "no pair"),
    ],
)
def test_bones_of_unknown_joints_are_refused(tmp_path, skeleton, said):
    refused(
        tmp_path, content(categories=[{"id": 1, "keypoints": NAMES, "skeleton": skeleton}]), said
    )


def test_several_categories_must_have_the_same_joints(tmp_path):
    first = content()["categories"][0]
    value = content(person(1), person(2, category_id=2), categories=[first, first | {"id": 2}])
    found = coco.read(write(tmp_path, value))
    assert found.category_ids.tolist() == [1, 2]
    other = {"id": 2, "keypoints": ["tail"]}
    refused(tmp_path, content(categories=[first, other]), "different joints")


def test_sizes_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "LARGEST_FILE", 200)
    refused(tmp_path, content(), "GB")
    monkeypatch.undo()
    monkeypatch.setattr(json_stream, "LARGEST_ENTRY", 2000)
    monkeypatch.setattr(json_stream, "PIECE", 500)
    refused(tmp_path, content(person(1, segmentation=[[0] * 3000])), "entry of more than")
    monkeypatch.undo()
    for name in ("MOST_IMAGES", "MOST_ANNOTATIONS", "MOST_CATEGORIES", "MOST_NUMBERS"):
        monkeypatch.setattr(coco, name, 0)
        refused(tmp_path, content(), "more than 0")
        monkeypatch.undo()


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match="none.json: not found"):
        coco.read(tmp_path / "none.json")
    with pytest.raises(InputError, match="is not a file"):
        coco.read(tmp_path)
    (tmp_path / "own.json").write_bytes(b'{"images": "\xff\xfe"}')
    with pytest.raises(InputError, match="is not JSON"):
        coco.read(tmp_path / "own.json")


@settings(max_examples=30, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        ),
    ),
    st.integers(1, 40),
)
def test_pieces_of_any_length_give_what_json_gives(tmp_path_factory, value, piece):
    path = tmp_path_factory.mktemp("json") / "any.json"
    text = json.dumps(
        {"info": {"any": value}, "list": [value, value], "other": [], "number": 12345}
    )
    path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "PIECE", piece)
        found = list(json_stream.entries(path))
    whole = json.loads(text)["list"]
    assert json.dumps(found) == json.dumps([["list", whole[0]], ["list", whole[1]]])


def test_a_line_break_in_a_bone_does_not_break_the_line(tmp_path):
    value = content(person(1))
    value["categories"][0]["skeleton"] = ["\x1e"]
    with pytest.raises(InputError, match="holds") as caught:
        coco.read(write(tmp_path, value))
    assert len(str(caught.value).splitlines()) == 1


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_value_anywhere_is_read_or_refused(tmp_path_factory, data):
    """No value, wherever it stands, leads to anything but a CocoFile or an InputError of one
    line."""
    value = copy.deepcopy(content(person(1), person(2)))
    place = data.draw(st.sampled_from(["images", "categories", "annotations"]))
    key = data.draw(st.sampled_from(sorted(value[place][0]) + [None]))
    junk = data.draw(
        st.none()
        | st.booleans()
        | st.floats()
        | st.integers()
        | st.text(max_size=5)
        | st.lists(st.integers() | st.floats() | st.text(max_size=2) | st.lists(st.integers()))
    )
    if key is None:
        value[place][0] = junk
    else:
        value[place][0][key] = junk
    path = write(tmp_path_factory.mktemp("junk"), value)
    try:
        found = coco.read(path)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert (
            np.isfinite(found.keypoints).all()
            and np.isfinite(found.boxes).all()
            and (found.areas >= 0).all()
        )


def test_memory_does_not_grow_with_the_outlines(tmp_path, monkeypatch):
    outline = [[float(k) + 0.25 for k in range(2000)]]
    path = write(tmp_path, content(*(person(n, segmentation=outline) for n in range(250))))
    assert path.stat().st_size > 4e6
    monkeypatch.setattr(json_stream, "PIECE", 50_000)
    tracemalloc.start()
    coco.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


@pytest.mark.parametrize(
    "names, pairs",
    [
        (
            coco_skeletons.COCO.joints,
            [
                (f"left_{name}", f"right_{name}")
                for name in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
            ],
        ),
        (["eye_left", "eye_right", "nose"], [("eye_left", "eye_right")]),
        (["R_Paw", "L_Paw"], [("l_paw", "r_paw")]),
        (["paw_r", "paw_l"], [("paw_l", "paw_r")]),
        (["leftEye", "rightEye"], [("lefteye", "righteye")]),
        (["RightEye", "LeftEye"], [("lefteye", "righteye")]),
        (["front_left_paw", "front_right_paw"], [("front_left_paw", "front_right_paw")]),
        (["left_l", "right_l"], [("left_l", "right_l")]),
        (["nose", "tail", "leg", "reg"], []),
        (["left_eye", "nose"], []),
    ],
)
def test_flips_by_name(names, pairs):
    # a file's names are lower-cased as they are read
    names = [name.lower() for name in names]
    assert coco_joints.flip_pairs(names) == tuple(pairs)


def test_a_side_without_its_counterpart_is_found():
    assert coco_joints.one_sided(["left_eye", "nose", "l_paw", "r_paw"]) == ("left_eye",)
    assert coco_joints.one_sided(coco_skeletons.COCO.joints) == ()


@pytest.mark.parametrize("known", [coco_skeletons.COCO, coco_skeletons.POSETRACK])
def test_the_known_sets_fit_together(known):
    assert len(known.joints) == len(set(known.joints)) == len(known.sigmas) == 17
    ends = {name for bone in known.bones for name in bone}
    ends |= {
        name for sticks in known.limbs.values() for stick in sticks for end in stick for name in end
    }
    assert ends <= set(known.joints)
    assert coco_joints.one_sided(known.joints) == ()
    for left, right in coco_joints.flip_pairs(known.joints):
        assert known.sigmas[known.joints.index(left)] == known.sigmas[known.joints.index(right)]
    assert coco_skeletons.joint_set(known.joints, ()) is known


def test_an_own_set_has_the_files_bones():
    own = coco_skeletons.joint_set(("nose", "tail"), (("nose", "tail"),))
    assert own.bones == (("nose", "tail"),) and own.sigmas == (0.05, 0.05) and not own.limbs


def test_cocos_sigmas_are_pycocotools():
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    np.testing.assert_allclose(
        coco_skeletons.COCO.sigmas, cocoeval.Params("keypoints").kpt_oks_sigmas
    )


@pytest.mark.parametrize(
    "part, images, persons, labelled, crowd", [("train", 42, 172, 86, 5), ("val", 49, 132, 80, 1)]
)
def test_the_real_files(part, images, persons, labelled, crowd):
    path = SHARED / "coco" / "annotations" / f"person_keypoints_{part}2017.json"
    if not path.is_file():
        pytest.skip("the real COCO images are not at hand")
    found = coco.read(path)
    assert found.joints == coco_skeletons.COCO.joints and not found.complaints
    assert set(map(frozenset, found.bones)) == set(map(frozenset, coco_skeletons.COCO.bones))
    assert (len(found.images), len(found.ids), found.crowd.sum()) == (images, persons, crowd)
    assert (found.keypoint_counts > 0).sum() == labelled
    for entry, keypoints, area in zip(
        json.loads(path.read_text())["annotations"], found.keypoints, found.areas
    ):
        assert entry["keypoints"] == keypoints.ravel().tolist() and entry["area"] == area


def detection(**changed):
    return {"image_id": 7, "category_id": 1, "bbox": [0, 0, 10, 20], "score": 0.5} | changed


def test_detections(tmp_path):
    value = [
        detection(),
        detection(score=0.05),
        detection(category_id=2, bbox=[]),
        detection(image_id=8),
        detection(bbox=[-3.5, 1, 5, 5], score=1),
    ]
    ids, boxes, scores = read_detections(write(tmp_path, value), {7: None}, score_above=0.05)
    assert ids.tolist() == [7, 7] and scores.tolist() == [0.5, 1]
    assert boxes.tolist() == [[0, 0, 10, 20], [-3.5, 1, 5, 5]]
    ids, boxes, scores = read_detections(write(tmp_path, []), {7: None})
    assert ids.shape == scores.shape == (0,) and boxes.shape == (0, 4)


@pytest.mark.parametrize(
    "value",
    [
        {"images": [{}]},
        [5],
        [detection(bbox=[0, 0, 0, 5])],
        [detection(bbox=None)],
        [detection(bbox=[1, 2, 3])],
        [detection(score=None)],
        [detection(score=math.nan)],
        [detection(score="high")],
        [detection(image_id=[7])],
        [detection(bbox=[math.inf, 0, 1, 1])],
        "[",
        "5",
    ],
)
def test_bad_detections_are_refused(tmp_path, value):
    with pytest.raises(InputError, match="own.json: "):
        read_detections(write(tmp_path, value), {7: None})


def test_the_real_detections():
    if not (SHARED / "coco" / "dets").is_dir():
        pytest.skip("the real COCO images are not at hand")
    found = coco.read(SHARED / "coco" / "annotations" / "person_keypoints_val2017.json")
    ids, _, _ = read_detections(SHARED / "coco" / "dets" / "human_detection.json", found.images)
    assert len(ids) == 433 - 82 and 174231 not in ids
