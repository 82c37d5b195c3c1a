"""Kinect2 Human Pose Dataset's annotation files: one line an image, with its name and joints.

No torch here.
"""

import re

import numpy as np

from deeppose.shell import InputError

JOINT_COUNT = 19
LONGEST_LINE = 1000  # bytes, NUL bytes included: the set's own lines have about 160
MOST_LINES = 500_000  # the set has 95,675
LARGEST_COORDINATE_PX = 1e5
IMAGE_NAME = re.compile(r"\d{1,15}\.png", re.IGNORECASE | re.ASCII)
WHOLE_NUMBER = re.compile(r"[+-]?\d{1,18}", re.ASCII)


class Odd(ValueError):
    """A line that cannot be right; the message is the fault."""


def read_annotations(path):
    """Image names and joints (N, 19, 2) px, float64, of a text file, in the file's order.

    A line is `NNNNNNNN.png x,y,x,y,...` in whole numbers; NUL bytes before the name and blank lines
    are left out, joints outside the frame are kept. Raises InputError, which names the file and the
    line.
    """
    file_names = []
    joints = []
    line_number = 0
    try:
        with open(path, "rb") as file:
            # a longer line comes cut, and _parse_line refuses it: a gigabyte is never read
            while line := file.readline(LONGEST_LINE + 1):
                line_number += 1
                if line_number > MOST_LINES:
                    raise Odd("is one more than annotations can have")
                if line.isspace():
                    continue
                file_name, joints_px = _parse_line(line)
                file_names.append(file_name)
                joints.append(joints_px)
    except Odd as odd:
        raise InputError(f"{path}: line {line_number}: {odd}; fetch the set again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not file_names:
        raise InputError(f"{path}: holds no annotations; fetch the set again")
    return file_names, np.array(joints, float)


def _parse_line(line):
    """Image name and joints (19, 2) px, int32, of one line; Odd where it is broken."""
    if len(line) > LONGEST_LINE:
        raise Odd(f"is longer than {LONGEST_LINE} bytes")
    # the name; some lines of the set begin with NUL bytes
    words = line.lstrip(b"\0").decode("ascii", "replace").split()
    if len(words) != 2:
        raise Odd("is not a name, a blank, and numbers with commas between")
    file_name, coordinate_list = words
    if not IMAGE_NAME.fullmatch(file_name):
        raise Odd(f"{file_name!r:.40} is not the name of a file like 00000003.png")
    # the coordinates; int() alone would take underscores and other scripts' digits too
    coordinates = coordinate_list.split(",")
    if len(coordinates) != 2 * JOINT_COUNT:
        raise Odd(f"has {len(coordinates)} numbers, not {2 * JOINT_COUNT}")
    for coordinate in coordinates:
        if not WHOLE_NUMBER.fullmatch(coordinate):
            raise Odd(f"{coordinate!r:.40} is no whole number")
        if abs(int(coordinate)) > LARGEST_COORDINATE_PX:
            raise Odd(f"a joint lies at {int(coordinate)} pixels")
    return file_name, np.array(coordinates, np.int32).reshape(JOINT_COUNT, 2)
