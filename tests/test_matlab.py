"""MATLAB files: read as scipy reads them, and refused in one line where they are hostile."""

import io
import math
import struct
import time
import zlib

import numpy as np
import pytest
import scipy.io

from deeppose import matlab, matlab_arrays
from deeppose.downloads import read_mat
from deeppose.matlab_arrays import Items
from deeppose.shell import InputError

# classes and types of "MAT-File Format", chapter 1
CELL, STRUCT, OBJECT, CHAR, SPARSE, DOUBLE, UINT8, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 6, 9, 16, 17
INT8, UINT8_DATA, UINT16_DATA, INT32, UINT32, DOUBLE_DATA, MATRIX, COMPRESSED = (
    1,
    2,
    4,
    5,
    6,
    9,
    14,
    15,
)


def element(kind, data, order="<"):
    return struct.pack(order + "II", kind, len(data)) + data + bytes(-len(data) % 8)


def small_element(kind, data, order="<"):
    assert len(data) <= 4
    return struct.pack(order + "I", len(data) << 16 | kind) + data.ljust(4, b"\0")


def array(kind, shape, parts, name="", order="<", flags=0):
    head = element(UINT32, struct.pack(order + "II", kind | flags, 0), order)
    head += element(INT32, struct.pack(f"{order}{len(shape)}i", *shape), order)
    return element(MATRIX, head + element(INT8, name.encode(), order) + parts, order)


def number(value, name="", order="<"):
    return array(
        DOUBLE, (1, 1), element(DOUBLE_DATA, struct.pack(order + "d", value), order), name, order
    )


def struct_array(shape, fields, parts, name="", order="<", length=32):
    names = b"".join(field.encode().ljust(length, b"\0") for field in fields)
    head = small_element(INT32, struct.pack(order + "i", length), order) + element(
        INT8, names, order
    )
    return array(STRUCT, shape, head + parts, name, order)


def mat_file(*elements, order="<"):
    return (
        b"MATLAB 5.0 MAT-file".ljust(124)
        + {"<": b"\x00\x01IM", ">": b"\x01\x00MI"}[order]
        + b"".join(elements)
    )


def compressed(content):
    packed = zlib.compress(content, 1)
    return struct.pack("<II", COMPRESSED, len(packed)) + packed


def read(content, key="a"):
    return matlab.read("x.mat", lambda: io.BytesIO(content), key)


def saved(variables, **options):
    file = io.BytesIO()
    scipy.io.savemat(file, variables, **options)
    return file.getvalue()


def check_equal(ours, theirs):
    """Ours against what scipy.io.loadmat gives without squeezing."""
    if theirs.dtype.names:
        assert isinstance(ours, Items) and ours.shape == theirs.shape
        for mine, other in zip(ours, theirs.ravel("F"), strict=True):
            assert list(mine) == list(theirs.dtype.names)
            for field, value in mine.items():
                check_equal(value, other[field])
    elif theirs.dtype == object:
        assert isinstance(ours, Items) and ours.shape == theirs.shape
        for mine, other in zip(ours, theirs.ravel("F"), strict=True):
            check_equal(mine, other)
    elif theirs.dtype.kind == "U":
        text = ours if isinstance(ours, list) else [ours] if ours else []
        assert text == [str(line) for line in theirs]
    else:
        assert isinstance(ours, float) == (theirs.shape == (1, 1))
        values = np.array(ours, ndmin=2)
        assert values.dtype == float and values.shape == theirs.shape
        assert values.tolist() == theirs.tolist()


def struct_of(shape, **fields):
    """An array that savemat writes as a struct array; each field is a list of values in column
    order."""
    made = np.empty(shape, [(field, object) for field in fields])
    for field, values in fields.items():
        for place, value in zip(np.ndindex(*shape[::-1]), values, strict=True):
            made[field][place[::-1]] = value
    return made


def cell_of(*values):
    made = np.empty((1, len(values)), object)
    for k, value in enumerate(values):
        made[0, k] = value
    return made


VARIABLES = {
    "numbers": np.arange(24.0).reshape(2, 3, 4),
    "bytes": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "integers": np.array([[-5, 2**31 - 1]], np.int32),
    "large integers": np.array([[2**40, -(2**40)]], np.int64),
    "singles": np.array([[1.5], [-2.5]], np.float32),
    "truth": np.array([[True, False]]),
    "one number": 7.25,
    "nothing": np.empty((0, 0)),
    "no rows": np.empty((0, 5)),
    "text": "015601864.jpg",
    "no text": "",
    "foreign text": "h\u00fcpfen \u4eba \U0001f600",
    "rows of text": np.array(["left", "right"]),
    "a struct": {"x": 1.0, "name": "y", "none": np.empty((0, 0))},
    "nested structs": {
        "image": {"name": "a.jpg"},
        "annorect": {"objpos": {"x": 5, "y": 6}, "scale": 2.5},
    },
    "struct array": struct_of((2, 3), n=[1, 2, 3, 4, 5, 6], s=["a", "bc", "", "d", "e", "f"]),
    "struct array of one": struct_of((1, 1), n=[np.arange(3)]),
    "struct array of none": struct_of((0, 0), n=[]),
    "structs in structs": struct_of(
        (1, 2), point=[struct_of((1, 3), id=[0, 1, 2]), np.empty((0, 0))]
    ),
    "cells": cell_of(1.0, "two", np.arange(3), cell_of("deep", cell_of()), {"x": 1}),
    "no cells": np.empty((0, 0), object),
}


@pytest.mark.parametrize("do_compression", [False, True])
@pytest.mark.parametrize("name", VARIABLES)
def test_everything_is_read_as_scipy_reads_it(name, do_compression):
    content = saved(
        {"before": np.arange(5), "a": VARIABLES[name], "after": "x"}, do_compression=do_compression
    )
    check_equal(read(content), scipy.io.loadmat(io.BytesIO(content))["a"])


@pytest.mark.parametrize("order, utf_16", [("<", "utf-16-le"), (">", "utf-16-be")])
def test_both_byte_orders_small_elements_and_doubles_packed_as_bytes(order, utf_16):
    packed = array(
        DOUBLE, (2, 2), small_element(UINT8_DATA, bytes([1, 2, 3, 255]), order), order=order
    )
    letters = array(
        CHAR, (1, 2), small_element(UINT16_DATA, "h\u00fc".encode(utf_16), order), order=order
    )
    axes = array(
        DOUBLE,
        (1, 2, 1, 2),
        element(DOUBLE_DATA, struct.pack(order + "4d", 4, 5, 6, 7), order),
        order=order,
    )
    left_out = element(MATRIX, b"", order)
    fields = packed + letters + number(-1.5, order=order) + axes + left_out
    content = mat_file(struct_array((1, 1), "pqrst", fields, "a", order), order=order)
    (value,) = read(content)
    assert value["p"].dtype == float and value["p"].tolist() == [[1, 3], [2, 255]]
    assert value["q"] == "h\u00fc" and value["r"] == -1.5 and value["t"].shape == (0, 0)
    assert value["s"].tolist() == [[[[4, 6]], [[5, 7]]]]
    # the file is as the format says
    theirs = scipy.io.loadmat(io.BytesIO(content), uint16_codec=utf_16)["a"][0, 0]
    for field in "prs":
        check_equal(value[field], theirs[field])
    assert theirs["q"].tolist() == ["h\u00fc"]


def test_real_annotations_are_read_as_scipy_reads_them(real_mpii):
    path = real_mpii / "mpii_human_pose_v1_u12_1.mat"
    began = time.process_time()
    release = matlab.read(path, lambda: open(path, "rb"), "RELEASE")
    assert time.process_time() - began < 5  # the whole file is 18 times as long
    check_equal(release, scipy.io.loadmat(path)["RELEASE"])


def deep_file(depth, kind):
    """An array in an array, `depth` deep."""
    inner = number(1.0)
    for _ in range(depth):
        inner = struct_array((1, 1), ["f"], inner) if kind == STRUCT else array(CELL, (1, 1), inner)
    return mat_file(struct_array((1, 1), ["f"], inner, "a"))


def fake(kind, shape, parts=b"", flags=0):
    return mat_file(array(kind, shape, parts, "a", flags=flags))


ONE = number(1.0)
DOUBLES = element(DOUBLE_DATA, bytes(16))
HUGE = 2**31 - 1
HOSTILE = {
    "nested deeply": (deep_file(2000, CELL), "nested"),
    "structs nested deeply": (deep_file(2000, STRUCT), "nested"),
    "unknown class": (fake(99, (1, 1), DOUBLES), "unknown class"),
    "unknown type of numbers": (fake(DOUBLE, (1, 2), element(77, bytes(16))), "unknown type"),
    "text of an unknown type": (fake(CHAR, (1, 2), DOUBLES), "unknown type"),
    "too few numbers": (fake(DOUBLE, (1, 3), DOUBLES), "shape"),
    "too many numbers": (fake(DOUBLE, (1, 1), DOUBLES), "shape"),
    "numbers of half a length": (fake(DOUBLE, (1, 1), element(DOUBLE_DATA, bytes(7))), "broken"),
    "claims many numbers": (fake(DOUBLE, (HUGE, HUGE), DOUBLES), "shape"),
    "claims many empty axes": (
        fake(DOUBLE, (0, HUGE, HUGE, HUGE), element(DOUBLE_DATA, b"")),
        "broken",
    ),
    "negative length": (fake(DOUBLE, (-1, -2), DOUBLES), "negative"),
    "33 axes": (fake(DOUBLE, (1,) * 33, DOUBLES), "shape"),
    "one axis": (fake(DOUBLE, (2,), DOUBLES), "shape"),
    "claims many cells": (fake(CELL, (HUGE, HUGE), ONE), "cut short"),
    "cell of numbers alone": (fake(CELL, (1, 1), DOUBLES), "should"),
    "claims many structs": (mat_file(struct_array((HUGE, 1), ["f"], ONE, "a")), "unpacks to more"),
    "claims many structs without fields": (
        mat_file(struct_array((HUGE, 1), [], b"", "a")),
        "unpacks to more",
    ),
    "long names of fields": (
        mat_file(struct_array((1, 1), ["f"], ONE, "a", length=100_000)),
        "names of fields",
    ),
    "names of fields that are cut": (
        fake(STRUCT, (1, 1), small_element(INT32, b"\x05\0\0\0") + element(INT8, b"abcd") + ONE),
        "names of fields",
    ),
    "a field twice": (
        mat_file(struct_array((1, 1), ["f", "f"], ONE + ONE, "a")),
        "names of fields",
    ),
    "a field without a name": (mat_file(struct_array((1, 1), [""], ONE, "a")), "names of fields"),
    "no length of names": (
        fake(STRUCT, (1, 1), element(INT32, b"") + element(INT8, b"f") + ONE),
        "no length",
    ),
    "half a letter": (fake(CHAR, (1, 1), element(UINT16_DATA, b"abc")), "encoding"),
    "other count of letters": (fake(CHAR, (1, HUGE), element(UINT16_DATA, b"ab")), "letters"),
    "cut short": (mat_file(number(1.0, "a"))[:-3], "cut short"),
    "compressed and cut short": (mat_file(compressed(number(1.0, "a"))[:-9]), ""),
    "compressed in a wrong way": (mat_file(element(COMPRESSED, b"x" * 80)), ""),
    "no class": (mat_file(element(MATRIX, bytes(4))), "cut short"),
    "not there": (mat_file(number(1.0, "b")), "no such variable"),
    "empty": (b"", "begin"),
    "header alone": (mat_file(), "no such variable"),
    "MATLAB 7.3": (b"MATLAB 7.3 MAT-file".ljust(600), "-v7"),
    "sparse": (fake(SPARSE, (2, 2), DOUBLES), "a sparse array"),
    "object": (fake(OBJECT, (1, 1), DOUBLES), "an object"),
    "function handle": (fake(FUNCTION, (1, 1), ONE), "a function handle"),
    "complex": (fake(DOUBLE, (1, 2), DOUBLES + DOUBLES, flags=0x800), "a complex array"),
    "an object of newer versions": (
        mat_file(
            element(
                MATRIX, element(UINT32, struct.pack("<II", OPAQUE, 0)) + element(INT8, b"a") + ONE
            )
        ),
        "an object",
    ),
    "a function handle in a struct": (
        mat_file(struct_array((1, 1), ["f"], array(FUNCTION, (1, 1), ONE), "a")),
        "a function handle",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(name):
    content, fault = HOSTILE[name]
    began = time.process_time()
    with pytest.raises(InputError) as error:
        read(content)
    line = str(error.value)
    assert line.startswith("x.mat: ") and fault in line and len(line.splitlines()) == 1, line
    assert time.process_time() - began < 5


def test_what_is_not_asked_for_may_be_of_any_kind():
    others = [
        array(SPARSE, (2, 2), DOUBLES, "s"),
        array(FUNCTION, (1, 1), ONE, "f"),
        element(MATRIX, element(UINT32, struct.pack("<II", OPAQUE, 0)) + element(INT8, b"o") + ONE),
    ]
    assert read(mat_file(*others, number(2.5, "a"))) == 2.5


@pytest.mark.parametrize(
    "module, limit, value",
    [(matlab_arrays, "LARGEST_RESULT", 10_000), (matlab, "LARGEST_FILE", 300)],
)
def test_limits_of_file_and_result(module, limit, value, monkeypatch):
    content = saved({"a": cell_of(*range(200))})
    assert len(read(content)) == 200
    monkeypatch.setattr(module, limit, value)
    with pytest.raises(InputError, match="x.mat: .* more than|x.mat: is larger"):
        read(content)


def test_all_variables_together_unpack_to_a_limit():
    """Three variables of 40 kB pass a limit of 100 kB each, but not together."""
    content = saved({name: np.zeros(5000) for name in "xya"}, do_compression=True)
    assert read(content).size == 5000
    with pytest.raises(InputError, match="unpacks to more"):
        matlab.read("x.mat", lambda: io.BytesIO(content), "a", largest=100_000)


def test_numbers_of_bytes_count_with_what_they_take_in_memory(monkeypatch):
    content = mat_file(
        compressed(array(UINT8, (1, 100_000), element(UINT8_DATA, bytes(100_000)), "a"))
    )
    assert math.prod(read(content).shape) == 100_000
    monkeypatch.setattr(matlab_arrays, "LARGEST_RESULT", 500_000)
    with pytest.raises(InputError, match="unpacks to more"):
        read(content)


def test_labels_must_be_numbers():
    for value in ("text", {"x": 1}, cell_of(1)):
        content = saved({"joints": value})
        with pytest.raises(InputError, match="`joints`"):
            read_mat("x.mat", lambda content=content: io.BytesIO(content), "joints")
    content = saved({"joints": 3})
    assert read_mat("x.mat", lambda: io.BytesIO(content), "joints").shape == (1, 1)
