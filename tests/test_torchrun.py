"""Several processes under torchrun: one gradient, the same refiners, one writer, and a stop that can be resumed."""
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import FP32, SMALL, same, weights, write_model, write_predictions

ROOT = Path(__file__).resolve().parent.parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def run(*command, code=0):
    done = subprocess.run([str(word) for word in command], cwd=ROOT, env=ONE_THREAD, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout


def test_a_step_of_two_processes_has_the_gradient_of_one(workdir, tmp_path):
    script = ROOT / "tests" / "one_gradient.py"
    run(sys.executable, script, workdir, tmp_path / "alone.pt")
    run(*TORCHRUN, script, workdir, tmp_path / "together.pt")
    for alone, together in zip(*(torch.load(tmp_path / f"{name}.pt", weights_only=True)
                                 for name in ("alone", "together"))):
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-6)
        for name, gradient in alone["gradients"].items():
            assert (together["gradients"][name] - gradient).norm() <= 1e-5 * gradient.norm(), name


def test_refiners_of_two_processes_are_those_of_one(own_workdir):
    write_predictions(own_workdir)
    flags = ["--workdir", own_workdir, "--rows", 2, "--joints", "neck,head,right_ankle", "--epochs", 1, *SMALL]
    run(sys.executable, "Train_stage_2.py", "--make-deltas", *flags)
    alone = {name: weights(own_workdir, name) for name in ("model_neck", "model_head", "model_right_ankle")}
    for name in alone:
        (own_workdir / f"{name}.pt").unlink()
    printed = run(*TORCHRUN, "Train_stage_2.py", *flags)
    assert all(same(alone[name], weights(own_workdir, name)) for name in alone)
    assert printed.count("2 processes") == printed.count("next: test_stage_2.py") == 1


def test_stage_1_in_two_processes_stops_and_resumes(own_workdir):
    """SIGTERM to torchrun ends both processes after the same step; going on gives the undisturbed run's weights."""
    flags = ["--workdir", own_workdir, "--weights", "none", *FP32, "--batch-size", 4, "--rows", 8, "--epochs", 3]
    command = [str(word) for word in (*TORCHRUN, "Train_stage_1.py", *flags)]
    printed = run(*command)
    assert printed.count("epoch   1/3") == 1
    undisturbed = weights(own_workdir, "model_1")
    (own_workdir / "model_1.pt").unlink()
    with subprocess.Popen(command, cwd=ROOT, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True) as running:
        while "epoch   1/3" not in running.stdout.readline():
            assert running.poll() is None
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) != 0
    state = own_workdir / "model_1.resume.pt"
    assert state.exists() and not (own_workdir / "model_1.pt").exists()
    assert "going on in epoch" in run(*command, "--resume")
    assert same(undisturbed, weights(own_workdir, "model_1"))


def test_two_processes_train_what_is_frozen_at_first_and_one_scores(own_workdir, tmp_path_factory):
    """The backbone of a loaded model learns from the second epoch on; scores come at every step all the same."""
    folder = tmp_path_factory.mktemp("initial")
    write_model(folder)
    printed = run(*TORCHRUN, "Train_stage_1.py", "--workdir", own_workdir, *FP32, "--weights", folder, "--vary",
                  "frozen=0.5", "--rows", 8, "--epochs", 2, "--batch-size", 4, "--input-px", 64, "--score-every", 1)
    assert printed.count("epoch   2/2") == 1 and "model_1.pt weights" in printed
    lines = (own_workdir / "curves_stage_1.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [["0.5", "1"], ["1", "2"], ["1.5", "3"], ["2", "4"]]


def test_other_steps_do_not_take_torchrun(workdir, tmp_path):
    done = subprocess.run([*TORCHRUN, "test_stage_1.py", "--workdir", str(workdir)], cwd=ROOT, env=ONE_THREAD,
                          capture_output=True, text=True)
    assert done.returncode != 0 and "run this step with python" in done.stderr
