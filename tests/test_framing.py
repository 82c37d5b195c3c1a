"""framing.prepare with made-up Jobs: which images are left, held out and numbered, and in which
order files are written."""

import io
import json
from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from five_joints_data import DOLL
from helpers import fails
from PIL import Image

from deeppose import files, framing, shell
from deeppose.dataset import open_dataset
from deeppose.people import Job, Row, row_numbers

LAYOUT = framing.Layout(DOLL, frame=(32, 32), margin=1.0, set_names={1: "made up"})
JOINTS = np.array([[8, 4], [12, 10], [4, 10], [8, 12], [8, 28]], float)
BOX = np.array([0.0, 0.0, 32.0, 32.0])


def picture():
    file = io.BytesIO()
    Image.new("RGB", (32, 32), "gray").save(file, "PNG")
    return file.getvalue()


SOUND = picture()
BROKEN = SOUND[:40]


def job(part, number, content=SOUND, people=1, held_out=False, name=None):
    name = name or f"{number}.png"
    rows = tuple(Row(JOINTS, BOX, person) for person in range(people))
    return Job(part, 1, number, name, name, partial(io.BytesIO, content), rows, held_out)


def command(folder, jobs, skip=True, limit=None, **further):
    """A data set's script, as a function of no flags."""
    options = Namespace(workdir=Path(folder), seed=0, skip_broken=skip, limit=limit)

    @shell.command
    def main(argv=None):
        framing.prepare(options, jobs, LAYOUT, {}, {}, "a folder", **further)

    return main


def prepare(folder, jobs, **further):
    """The Dataset of the Jobs."""
    command(folder, jobs, **further)([])
    return open_dataset(folder)


def is_first(index, count):
    return index == 0


def test_rows_are_numbered_part_by_part_in_the_order_of_the_jobs():
    jobs = [job("train", 1, people=2), job("test", 2), job("train", 3, people=3), job("test", 4)]
    assert row_numbers(jobs) == [range(0, 2), range(0, 1), range(2, 5), range(1, 2)]


def test_the_images_that_are_left_are_held_out_by_their_place_among_them(tmp_path):
    jobs = [job("train", number, BROKEN if number == 1 else SOUND) for number in range(1, 5)]
    jobs += [job("test", 9)]
    data = prepare(tmp_path, jobs, is_held_out=is_first)
    assert data.column("train", "image").tolist() == [2, 3, 4]
    # as if it were not there at all
    assert data.column("train", "image")[data.held_out].tolist() == [2]
    assert data.facts["skipped_images"] == [[1, 1]]


def test_a_photograph_that_is_listed_twice_is_held_out_twice(tmp_path):
    jobs = [job("train", number, name=f"{number % 3}.png") for number in range(1, 6)]
    data = prepare(tmp_path, [*jobs, job("test", 9)], is_held_out=is_first)
    assert data.column("train", "image")[data.held_out].tolist() == [1, 4]


@pytest.mark.parametrize(
    ("purpose", "jobs"),
    [
        ("train on", [job("train", 1, held_out=True), job("test", 2)]),
        ("hold out", [job("train", 1), job("test", 2)]),
        ("test on", [job("train", 1), job("train", 2, held_out=True)]),
        ("test on", [job("train", 1), job("train", 2, held_out=True), job("test", 3, BROKEN)]),
    ],
)
@pytest.mark.parametrize(("limit", "advice"), [(3, "raise --limit"), (None, "fetch or label more")])
def test_where_nothing_is_left_it_is_said_for_what(tmp_path, purpose, jobs, limit, advice, capsys):
    said = f"none is left to {purpose}; {advice}"
    fails(command(tmp_path, jobs, limit=limit), [], capsys, "a folder: of", said)


def test_a_run_that_fails_leaves_what_lies_beside_the_arrays(tmp_path, capsys):
    path = tmp_path / "beside.json"

    def write_beside(faults):
        files.save_json(path, sorted(image for _, image in faults))
        return {"beside": True}

    jobs = [job("train", 1), job("train", 2, held_out=True), job("test", 3), job("test", 4, BROKEN)]
    data = prepare(tmp_path, jobs, write_beside=write_beside)
    assert data.facts["beside"] and json.loads(path.read_text()) == [4]
    before = (tmp_path / "dataset.json").read_bytes()
    again = command(tmp_path, [job("train", 5), *jobs], skip=False, write_beside=write_beside)
    fails(again, [], capsys, "4.png")
    assert json.loads(path.read_text()) == [4]
    assert (tmp_path / "dataset.json").read_bytes() == before
