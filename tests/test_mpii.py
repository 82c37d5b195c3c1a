"""MPII's annotation file: every oddity of the original, and what its real persons are."""

import csv
import io
import time

import numpy as np
import pytest
import scipy.io
from test_matlab import cell_of, struct_of

from deeppose import mpii
from deeppose.shell import InputError

EMPTY = np.empty((0, 0))
RECT_FIELDS = ("x1", "y1", "x2", "y2", "annopoints", "scale", "objpos")


def structs(*elements):
    """A 1 x K struct array of dicts with the same fields."""
    fields = {field: [element[field] for element in elements] for field in elements[0]}
    return struct_of((1, len(elements)), **fields)


def point(joint, x, y, visible):
    return {"x": x, "y": y, "id": joint, "is_visible": visible}


def rect(points, **changes):
    """An annorect element with the given points, None for no annopoints."""
    made = {
        "x1": np.uint8(250),
        "y1": np.int16(-4),
        "x2": np.uint16(300),
        "y2": np.uint8(40),
        "annopoints": EMPTY if points is None else structs({"point": structs(*points)}),
        "scale": 2.5,
        "objpos": structs({"x": np.uint16(275), "y": np.uint8(90)}),
    }
    return made | changes


EMPTY_RECT = dict.fromkeys(RECT_FIELDS, EMPTY)
ORDER = (6, 7, 8, 9, *range(6), *range(10, 16))
FULL = [point(joint, np.uint8(joint + 1), 2.5 * joint, np.uint8(1)) for joint in ORDER]
ODD = [
    point(15, np.uint16(700), np.int16(-3), "0"),
    point(0, 5.25, np.uint8(6), "1"),
    point(8, 7.0, 8.0, EMPTY),
    point(3, np.uint8(1), np.uint8(2), np.uint8(0)),
    point(9, EMPTY, EMPTY, EMPTY),
]


def image(name, annorect):
    return {
        "image": structs({"name": name}),
        "annorect": annorect,
        "frame_sec": EMPTY,
        "vididx": EMPTY,
    }


IMAGES = [
    image("000.jpg", structs(rect(FULL))),  # structs of one element
    image("001.jpg", EMPTY),  # without annorect
    image("002.jpg", structs(rect(ODD), EMPTY_RECT, rect(None), rect(FULL))),
    # as on test images
    image("003.jpg", structs({"scale": 1.5, "objpos": structs({"x": 3, "y": 4})})),
    image("004.jpg", structs({"part_occ1": 1, "head_r1": EMPTY} | rect(ODD[::-1]))),
    image("005.jpg", struct_of((1, 0), x1=[])),
]


def mat(images=IMAGES, training=(1, 1, 1, 0, 1, 1), **options):
    file = io.BytesIO()
    release = {
        "annolist": structs(*images),
        "img_train": np.array([training], np.uint8),
        "version": "12",
        "single_person": cell_of(EMPTY, 1),
        "act": struct_of((2, 1), act_id=[-1, 3]),
    }
    scipy.io.savemat(file, {"RELEASE": release}, **options)
    return file.getvalue()


def read(content):
    return mpii.read_annotations("mpii.mat", lambda: io.BytesIO(content))


@pytest.mark.parametrize("do_compression", [False, True])
def test_persons_of_a_file_with_every_oddity(do_compression):
    people = read(mat(do_compression=do_compression))
    assert [
        (person.file_name, person.image_index, person.training, person.rect) for person in people
    ] == [
        ("000.jpg", 0, True, 0),
        ("002.jpg", 2, True, 0),
        ("002.jpg", 2, True, 1),
        ("002.jpg", 2, True, 2),
        ("002.jpg", 2, True, 3),
        ("003.jpg", 3, False, 0),
        ("004.jpg", 4, True, 0),
    ]
    first, odd, empty, pointless, last, tested, reversed_odd = people
    np.testing.assert_array_equal(
        first.joints, np.stack([np.arange(16) + 1, 2.5 * np.arange(16)], 1)
    )
    np.testing.assert_array_equal(first.visible, np.ones(16))
    np.testing.assert_array_equal(last.joints, first.joints)
    expected = np.full((16, 2), np.nan)
    expected[[0, 3, 8, 15]] = (5.25, 6), (1, 2), (7, 8), (700, -3)
    visible = np.full(16, np.nan)
    visible[[0, 3, 15]] = 1, 0, 0
    for person in (odd, reversed_odd):
        np.testing.assert_array_equal(person.joints, expected)
        np.testing.assert_array_equal(person.visible, visible)
    for person in (first, odd, pointless):
        assert person.head_box.tolist() == [250, -4, 300, 40] and person.scale == 2.5
        assert person.objpos.tolist() == [275, 90]
    assert (
        tested.scale == 1.5 and tested.objpos.tolist() == [3, 4] and np.isnan(tested.head_box).all()
    )
    for person in (empty, pointless, tested):
        assert np.isnan(person.joints).all() and np.isnan(person.visible).all()
    assert np.isnan(empty.head_box).all() and np.isnan(empty.scale) and np.isnan(empty.objpos).all()


def test_one_image_and_one_test_image():
    (person,) = read(mat(IMAGES[:1], (0,)))
    assert person.file_name == "000.jpg" and not person.training


def changed(**changes):
    return mat([image("000.jpg", structs(rect(FULL), rect(FULL, **changes)))], (1,))


def with_point(**changes):
    return changed(annopoints=structs({"point": structs(FULL[0], FULL[1] | changes)}))


BROKEN = {
    "coordinate at 1e9": (with_point(x=1e9), ("annolist(1)", "annorect(2)", "1e+09")),
    "coordinate at infinity": (with_point(y=-np.inf), ("annorect(2)", "inf")),
    "two coordinates": (with_point(x=np.ones(2)), ("annorect(2)", "x is", "(1, 2)")),
    "coordinate in words": (with_point(x="left"), ("annorect(2)", "left")),
    "joint 16": (with_point(id=16), ("annorect(2)", "16")),
    "joint 1.5": (with_point(id=1.5), ("annorect(2)", "1.5")),
    "joint -1": (with_point(id=-1), ("annorect(2)", "-1")),
    "no joint": (with_point(id=EMPTY), ("annorect(2)", "nan")),
    "half visible": (with_point(is_visible=0.5), ("annorect(2)", "is_visible")),
    "visible in words": (with_point(is_visible="yes"), ("annorect(2)", "is_visible")),
    "points that are numbers": (
        changed(annopoints=structs({"point": 3.0})),
        ("annorect(2)", "point is 3.0"),
    ),
    "two annopoints": (
        changed(annopoints=structs({"point": EMPTY}, {"point": EMPTY})),
        ("annorect(2)", "2 elements"),
    ),
    "scale at 1e6": (changed(scale=1e6), ("annorect(2)", "scale")),
    "head box far away": (changed(x1=-1e7), ("annorect(2)", "x1")),
    "objpos far away": (changed(objpos=structs({"x": 1, "y": 1e6})), ("annorect(2)", "objpos.y")),
    "objpos a number": (changed(objpos=5.0), ("annorect(2)", "objpos")),
    "annorect a number": (mat([image("000.jpg", 1.0)], (1,)), ("annolist(1)", "annorect")),
    "annorect a cell": (mat([image("000.jpg", cell_of(1, 2))], (1,)), ("annolist(1)", "annorect")),
    "name leads out": (mat([image("../000.jpg", EMPTY)], (1,)), ("annolist(1)", "image.name")),
    "name with a slash": (mat([image("a/000.jpg", EMPTY)], (1,)), ("annolist(1)", "image.name")),
    "name with two dots": (mat([image("a..jpg", EMPTY)], (1,)), ("annolist(1)", "image.name")),
    "name a number": (mat([image(7.0, EMPTY)], (1,)), ("annolist(1)", "image.name")),
    "no name": (mat([image(EMPTY, EMPTY)], (1,)), ("annolist(1)", "image.name")),
    "other count of img_train": (mat(training=(1, 1)), ("img_train",)),
    "img_train 2": (mat(training=(1, 1, 1, 2, 1, 1)), ("img_train",)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_right_is_refused_in_one_line(name):
    content, said = BROKEN[name]
    with pytest.raises(InputError) as error:
        read(content)
    line = str(error.value)
    assert line.startswith("mpii.mat: ") and len(line.splitlines()) == 1
    for words in said:
        assert words in line, line


@pytest.mark.parametrize(
    "release",
    [
        1.0,
        "text",
        EMPTY,
        {"x": 1},
        {"annolist": 2, "img_train": 2},
        {"annolist": EMPTY, "img_train": "no"},
        struct_of((1, 2), annolist=[1, 2]),
    ],
)
def test_a_file_of_another_kind_is_refused(release):
    file = io.BytesIO()
    scipy.io.savemat(file, {"RELEASE": release})
    with pytest.raises(InputError, match="^mpii.mat: .*; fetch the set again"):
        read(file.getvalue())


def test_the_real_persons(real_mpii):
    """Counts as the set's own README gives them."""
    path = real_mpii / "mpii_human_pose_v1_u12_1.mat"
    began = time.process_time()
    people = mpii.read_annotations(path, lambda: open(path, "rb"))
    assert time.process_time() - began < 5
    labelled = np.array([~np.isnan(person.joints).any(1) for person in people])  # (persons, 16)
    with_joints = [person for person, joints in zip(people, labelled) if joints.any()]
    assert len(with_joints) == 1642 and labelled.all(1).sum() == 1349
    assert len({person.file_name for person in with_joints}) == 1532
    assert all(person.training for person in with_joints)
    fields = [
        np.concatenate([person.head_box, person.objpos, [person.scale], person.visible])
        for person in people
    ]
    blank = [
        person
        for person, values, joints in zip(people, fields, labelled)
        if np.isnan(values).all() and not joints.any()
    ]
    assert len(blank) == 868 and len({person.file_name for person in blank}) == 519
    assert all(np.isnan(person.visible[[8, 9]]).all() for person in with_joints)
    heads = np.array([person.head_box for person in with_joints])
    # differences do not wrap round
    assert np.nanmin(heads) < 0 and np.nanmin(heads[:, 2] - heads[:, 0]) > 0


def test_the_real_persons_are_those_of_the_list_of_sources(real_mpii):
    """sources.csv was written from the sources alone: image, rect and number of joints of every
    rect."""
    path = real_mpii / "mpii_human_pose_v1_u12_1.mat"
    people = mpii.read_annotations(path, lambda: open(path, "rb"))
    found = {
        (person.file_name, person.rect + 1): int((~np.isnan(person.joints[:, 0])).sum())
        for person in people
    }
    with open(real_mpii / "sources.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    listed = {
        (row["image"], int(row["rect"])): int(row["joints"]) for row in rows if int(row["rect"])
    }
    assert {place: joints for place, joints in found.items() if joints} == {
        place: joints for place, joints in listed.items() if joints
    }
    training = {row["image"] for row in rows if row["img_train"] == "1"}
    assert len(training - {person.file_name for person in people}) == 49  # without annorect
