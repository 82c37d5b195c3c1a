"""K2HPD's annotation files: read line by line, and refused with the line's number where they are
broken."""

import time

import numpy as np
import pytest

from deeppose import k2hpd
from deeppose.shell import InputError

JOINTS = np.random.default_rng(0).integers(-20, 300, (4, 19, 2))


def line(number, joints=None, count=38, name=None):
    numbers = (JOINTS[0] if joints is None else joints).ravel()[:count]
    return f"{name or f'{number:08d}.png'} {','.join(map(str, numbers))}\n".encode()


def write(path, *lines):
    path.write_bytes(b"".join(lines))
    return path


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b" \n"])
def test_lines_are_names_and_joints(tmp_path, end):
    lines = [
        b"\0" * nuls + line(n, JOINTS[n]).replace(b"\n", end) for n, nuls in enumerate((0, 1, 3, 0))
    ]
    for path in (
        write(tmp_path / "a.txt", *lines),
        write(tmp_path / "b.txt", b"\n", *lines, b" \n\n"),
        write(tmp_path / "c.txt", *lines[:3], lines[3].rstrip()),
    ):
        names, joints = k2hpd.read_annotations(path)
        assert names == ["00000000.png", "00000001.png", "00000002.png", "00000003.png"]
        assert joints.dtype == float
        np.testing.assert_array_equal(joints, JOINTS)  # those outside the frame as well


GOOD = line(0)
BAD = {
    "too few numbers": (line(1, count=36), "36 numbers"),
    "too many numbers": (line(1).rstrip() + b",5\n", "39 numbers"),
    "no numbers": (b"00000001.png\n", "blank"),
    "numbers with blanks between": (line(1).replace(b",", b" "), "blank"),
    "numbers alone": (line(1).split()[1] + b"\n", "blank"),
    "a word": (b"00000001.png one" + b",1" * 37 + b"\n", "'one'"),
    "a fraction": (b"00000001.png 1.5" + b",1" * 37 + b"\n", "'1.5'"),
    "a gap": (b"00000001.png " + b",1" * 37 + b"\n", "''"),
    "an underscore in a number": (b"00000001.png 1_0" + b",1" * 37 + b"\n", "'1_0'"),
    "not a number": (b"00000001.png nan" + b",1" * 37 + b"\n", "'nan'"),
    "a thousand million": (b"00000001.png 1000000000" + b",1" * 37 + b"\n", "1000000000 pixels"),
    "300 digits": (b"00000001.png " + b"9" * 300 + b",1" * 37 + b"\n", "whole number"),
    "name with two dots": (line(1, name="a..png"), "name of a file"),
    "name that leads out": (line(1, name="../../a.png"), "name of a file"),
    "name with a slash": (line(1, name="a/b.png"), "name of a file"),
    "name with a backslash": (line(1, name="a\\b.png"), "name of a file"),
    "absolute name": (line(1, name="/a.png"), "name of a file"),
    "hidden name": (line(1, name=".png"), "name of a file"),
    "long name": (line(1, name="a" * 300), "name of a file"),
    "NUL in the name": (line(1, name="a\0.png"), "name of a file"),
    "letters of no encoding": (b"\xff\xfe" + line(1), "name of a file"),
    "a million NULs": (bytes(1_000_000), "longer than"),
    "some NULs": (b"\0\0\0\n", "blank"),
    "no end of the line": (b"0" * 50_000_000, "longer than"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named(name, tmp_path):
    bad, fault = BAD[name]
    path = write(tmp_path / "train_annos.txt", GOOD, b"\n", GOOD, bad, GOOD)
    began = time.process_time()
    with pytest.raises(InputError) as error:
        k2hpd.read_annotations(path)
    said = str(error.value)
    assert said.startswith(f"{path}: line 4: ") and fault in said and len(said.splitlines()) == 1
    assert len(said) - len(str(path)) < 200 and time.process_time() - began < 1


@pytest.mark.parametrize("content", [b"", b"\n\n", b" "])
def test_a_file_without_annotations_is_refused(content, tmp_path):
    path = write(tmp_path / "train_annos.txt", content)
    with pytest.raises(InputError, match="train_annos.txt: holds no annotations"):
        k2hpd.read_annotations(path)


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "none.txt"):
        with pytest.raises(InputError, match=f"^{path}: cannot be read"):
            k2hpd.read_annotations(path)


def test_a_line_of_a_gigabyte_is_refused_unread(tmp_path):
    path = write(tmp_path / "train_annos.txt", GOOD)
    with open(path, "r+b") as file:
        file.truncate(1_000_000_000)  # a hole of NULs, which takes no disk
    began = time.process_time()
    with pytest.raises(InputError, match="line 2: is longer than"):
        k2hpd.read_annotations(path)
    assert time.process_time() - began < 0.5


def test_lines_are_counted(tmp_path, monkeypatch):
    path = write(tmp_path / "train_annos.txt", GOOD * 5)
    monkeypatch.setattr(k2hpd, "MOST_LINES", 4)
    with pytest.raises(InputError, match="line 5: is one more"):
        k2hpd.read_annotations(path)


@pytest.mark.parametrize(
    "part, count, outside, nuls", [("train", 3000, 6, 50), ("test", 1000, 0, 16)]
)
def test_the_real_annotations(part, count, outside, nuls, real_k2hpd):
    """Counts as the set's own README gives them."""
    path = real_k2hpd / f"{part}_annos.txt"
    names, joints = k2hpd.read_annotations(path)
    lines = path.read_bytes().splitlines()
    assert len(names) == len(set(names)) == len(lines) == count and joints.shape == (count, 19, 2)
    assert sum(line.startswith(b"\0") for line in lines) == nuls
    beyond = (joints < 0) | (joints >= (256, 212))
    assert beyond.any((1, 2)).sum() == outside
    for line, name, joints_px in zip(lines, names, joints):
        assert (
            line.lstrip(b"\0").decode()
            == f"{name} {','.join(f'{value:.0f}' for value in joints_px.ravel())}"
        )
