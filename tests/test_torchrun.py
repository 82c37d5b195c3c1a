"""Several processes under torchrun: one gradient, the same refiners, one writer, and a stop that
can be resumed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import (
    FP32,
    SMALL_CROPS,
    reseal,
    same,
    weights,
    write_model,
    write_predictions,
    write_refiner,
)

import Generate_train_output
import test_stage_1
import test_stage_2
from Cascade_1_net import Alex_net_c1
from deeppose import files, runtime
from deeppose.batch_inference import infer
from deeppose.loader import Frames

ROOT = Path(__file__).resolve().parent.parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def run(*command, code=0):
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, env=ONE_THREAD, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def test_a_step_of_two_processes_has_the_gradient_of_one(workdir, tmp_path):
    script = ROOT / "tests" / "one_gradient.py"
    run(sys.executable, script, workdir, tmp_path / "alone.pt")
    run(*TORCHRUN, script, workdir, tmp_path / "together.pt")
    for alone, together in zip(
        *(torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("alone", "together"))
    ):
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-6)
        for name, gradient in alone["gradients"].items():
            assert (together["gradients"][name] - gradient).norm() <= 1e-5 * gradient.norm(), name


def test_refiners_of_two_processes_are_those_of_one(own_workdir):
    write_predictions(own_workdir)
    flags = [
        "--workdir",
        own_workdir,
        "--rows",
        2,
        "--joints",
        "neck,head,right_ankle",
        "--epochs",
        1,
        *SMALL_CROPS,
    ]
    run(sys.executable, "Train_stage_2.py", "--make-deltas", *flags)
    alone = {
        name: weights(own_workdir, name)
        for name in ("model_neck", "model_head", "model_right_ankle")
    }
    for name in alone:
        (own_workdir / f"{name}.pt").unlink()
    printed = run(*TORCHRUN, "Train_stage_2.py", *flags)
    assert all(same(alone[name], weights(own_workdir, name)) for name in alone)
    assert printed.count("2 processes") == printed.count("next: test_stage_2.py") == 1


def test_stage_1_in_two_processes_stops_and_resumes(own_workdir):
    """SIGTERM to torchrun ends both processes after the same step; going on gives the undisturbed
    run's weights."""
    flags = [
        "--workdir",
        own_workdir,
        "--weights",
        "none",
        *FP32,
        "--input-px",
        65,
        "--batch-size",
        4,
        "--rows",
        8,
        "--epochs",
        3,
    ]
    command = [str(word) for word in (*TORCHRUN, "Train_stage_1.py", *flags)]
    printed = run(*command)
    assert printed.count("epoch   1/3") == 1
    undisturbed = weights(own_workdir, "model_1")
    (own_workdir / "model_1.pt").unlink()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=ONE_THREAD,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as running:
        while "epoch   1/3" not in running.stdout.readline():
            assert running.poll() is None
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) != 0
    state = own_workdir / "model_1.resume.pt"
    assert state.exists() and not (own_workdir / "model_1.pt").exists()
    assert "going on in epoch" in run(*command, "--resume")
    assert same(undisturbed, weights(own_workdir, "model_1"))


def test_two_processes_train_what_is_frozen_at_first_and_one_scores(own_workdir, tmp_path_factory):
    """The backbone of a loaded model learns from the second epoch on; scores come at every step all
    the same."""
    folder = tmp_path_factory.mktemp("initial")
    write_model(folder)
    printed = run(
        *TORCHRUN,
        "Train_stage_1.py",
        "--workdir",
        own_workdir,
        *FP32,
        "--weights",
        folder,
        "--vary",
        "frozen=0.5",
        "--rows",
        8,
        "--epochs",
        2,
        "--batch-size",
        4,
        "--input-px",
        64,
        "--score-every",
        1,
    )
    assert printed.count("epoch   2/2") == 1 and "model_1.pt weights" in printed
    lines = (own_workdir / "curves_stage_1.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["0.5", "1"],
        ["1", "2"],
        ["1.5", "3"],
        ["2", "4"],
    ]


def test_prediction_does_not_take_torchrun(workdir, tmp_path):
    done = subprocess.run(
        [*TORCHRUN, "predict.py", "--workdir", str(workdir), str(tmp_path / "photo.jpg")],
        cwd=ROOT,
        env=ONE_THREAD,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "run this with python" in done.stderr


def repeated(source, folder, times):
    """Step 1's arrays in another folder, the rows of both parts so many times one after the
    other."""
    facts = json.loads((source / "dataset.json").read_text())
    for part in ("train", "test"):
        facts["rows"][part] *= times
        for name in ("images", "labels", "rows"):
            array = np.load(source / f"{part}_{name}.npy")
            np.save(folder / f"{part}_{name}.npy", np.concatenate([array] * times))
        names = (source / f"{part}_photographs.txt").read_text()
        (folder / f"{part}_photographs.txt").write_text(names * times)
    files.save_json(folder / "dataset.json", facts)
    reseal(folder)


@pytest.fixture
def one_thread():
    """This process computes as those of ONE_THREAD do: bits may depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_steps_3_4_and_6_of_two_processes_write_what_one_does(
    one_thread, workdir, tmp_path, monkeypatch
):
    """Of 70 test rows, and more training rows, each process has a batch."""
    repeated(workdir, tmp_path, 7)
    for step in (test_stage_1, test_stage_2):
        monkeypatch.setattr(step, "draw", lambda *_: {})
    torch.manual_seed(0)
    write_model(tmp_path, input_size=(64, 64))
    write_refiner(tmp_path, "head", Alex_net_c1(14, (13,), crop_px=67))
    outputs = (
        "test_output_1.npy",
        "test_confidence_1.npy",
        "train_output.npy",
        "training_output.npy",
        "test_output_2.npy",
        "test_confidence_2.npy",
    )
    found = []
    for together in (False, True):
        for step in (test_stage_1, Generate_train_output, test_stage_2):
            if together:
                printed = run(*TORCHRUN, f"{step.__name__}.py", "--workdir", tmp_path, *FP32)
                assert printed.count("2 processes") == 1
                assert printed.count("test rows, one a person; all scores") == (
                    step is not Generate_train_output
                )
            else:
                step.main(["--workdir", str(tmp_path), *FP32])
        found.append([(tmp_path / name).read_bytes() for name in outputs])
        scores = json.loads((tmp_path / "metrics_stage_2.json").read_text())
        found[-1].append({key: scores[key] for key in ("stage_1", "stage_2", "gains", "intervals")})
        for name in outputs:
            (tmp_path / name).unlink()
    assert found[0] == found[1]
    assert not list(tmp_path.glob("*.lock")) and not list(tmp_path.glob("*.tmp"))


class Part(runtime.Runtime):
    """A process that keeps to itself what it would add to the others'."""

    def sum(self, values):
        return values.clone()


# of 4 a batch: of few rows some of three processes have none
@pytest.mark.parametrize("count", [11, 9, 4, 1])
def test_predicted_rows_are_dealt_by_the_batch(count):
    frames = Frames(
        np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3), np.uint8), torch.device("cpu")
    )
    rows = np.arange(12)[::-1][:count]

    def compute(images, piece):
        sums = images.sum((1, 2, 3))
        return torch.stack([sums, torch.from_numpy(rows[piece].astype(np.float32))], 1), sums

    alone = infer(compute, frames, rows, Part(torch.device("cpu"), "fp32"), 4)
    parts = [
        infer(compute, frames, rows, Part(torch.device("cpu"), "fp32", rank=rank, world=3), 4)
        for rank in range(3)
    ]
    for expected, *found in zip(alone, *parts):
        assert np.array_equal(sum(found), expected)
