"""A run that was stopped and resumed makes the same weights, bit for bit, as one that was not."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from helpers import (
    SMALL_CROPS,
    SMALL_IMAGES,
    fails,
    same,
    weights,
    write_model,
    write_predictions,
)

import Train_stage_1
import Train_stage_2
from deeppose import checkpoint, code_version, losses
from deeppose.stage_1 import Stage_1
from deeppose.training_state import TrainingState

STAGE_1 = ["--weights", "none", "--rows", "4", "--epochs", "2", *SMALL_IMAGES]  # two steps an epoch
# two steps a joint
STAGE_2 = ["--joints", "neck,head", "--rows", "4", "--epochs", "1", *SMALL_CROPS]


class Killed(BaseException):
    """As abrupt as SIGKILL for the state on the disk: nothing catches it."""


@pytest.fixture
def kill(monkeypatch):
    """kill(main, flags, n): a run that is killed in its n-th tick, before that tick does
    anything."""
    tick = TrainingState.tick

    def run_and_kill(main, flags, count):
        ticks = iter(range(count - 1))

        def dying_tick(state):
            if next(ticks, None) is None:
                raise Killed
            tick(state)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(TrainingState, "tick", dying_tick)
            main(flags)

    return run_and_kill


def undisturbed(main, flags, folder, names):
    main(["--workdir", str(folder), *flags])
    found = [weights(folder, name) for name in names]
    for name in names:
        (folder / f"{name}.pt").unlink()
    return found


# in the first epoch, after it, in the last step
@pytest.mark.parametrize("killed_in_tick", [2, 3, 5])
def test_stage_1(killed_in_tick, own_workdir, kill, capsys):
    (expected,) = undisturbed(Train_stage_1.main, STAGE_1, own_workdir, ["model_1"])
    flags = ["--workdir", str(own_workdir), "--save-minutes", "0", *STAGE_1]
    kill(Train_stage_1.main, flags, killed_in_tick)
    assert not (own_workdir / "model_1.pt").exists() and not list(own_workdir.glob("*.tmp"))
    Train_stage_1.main([*flags, "--resume"])
    assert "going on in epoch" in capsys.readouterr().out
    assert same(expected, weights(own_workdir, "model_1"))
    facts = json.loads((own_workdir / "model_1.json").read_text())
    assert [entry["epoch"] for entry in facts["history"]] == [1, 2] and facts[
        "initial_weights"
    ] == "random"
    assert not (own_workdir / "model_1.resume.pt").exists()


def test_stage_2_goes_on_with_the_joint_it_was_at(own_workdir, kill, capsys):
    write_predictions(own_workdir)
    expected = undisturbed(
        Train_stage_2.main, ["--make-deltas", *STAGE_2], own_workdir, ["model_neck", "model_head"]
    )
    flags = ["--workdir", str(own_workdir), "--save-minutes", "0", *STAGE_2]
    kill(Train_stage_2.main, flags, 5)  # the second joint's second step
    capsys.readouterr()
    Train_stage_2.main([*flags, "--resume"])
    said = capsys.readouterr().out
    assert (
        "model_neck.pt: is finished" in said
        and "model_head.resume.pt: going on in epoch 1 after step 1" in said
    )
    assert all(
        same(*pair)
        for pair in zip(expected, [weights(own_workdir, n) for n in ("model_neck", "model_head")])
    )


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_state_and_ends_the_run(number, code, own_workdir):
    (expected,) = undisturbed(Train_stage_1.main, STAGE_1, own_workdir, ["model_1"])
    command = [sys.executable, Train_stage_1.__file__, "--workdir", str(own_workdir), *STAGE_1]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while "training rows" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(60) == code
        assert "--resume goes on" in process.stdout.read() and not process.stderr.read()
    assert not (own_workdir / "model_1.pt").exists() and not list(own_workdir.glob("*.tmp"))
    assert (own_workdir / "model_1.resume.pt").exists()
    assert subprocess.run([*command, "--resume"], capture_output=True).returncode == 0
    assert same(expected, weights(own_workdir, "model_1"))


def test_what_resume_refuses_and_replaces(own_workdir, kill, capsys):
    flags = ["--workdir", str(own_workdir), "--save-minutes", "0", *STAGE_1]
    kill(Train_stage_1.main, flags, 2)
    state = own_workdir / "model_1.resume.pt"
    fails(
        Train_stage_1.main,
        [*flags, "--resume", "--epochs", "9"],
        capsys,
        "model_1.resume.pt",
        "epochs was 2, is 9",
    )
    good = state.read_bytes()
    state.write_bytes(good[:5000])
    fails(Train_stage_1.main, [*flags, "--resume"], capsys, "model_1.resume.pt", "without --resume")
    torch.save({"epoch": 3}, state)
    fails(Train_stage_1.main, [*flags, "--resume"], capsys, "model_1.resume.pt", "without --resume")
    state.write_bytes(good)
    Train_stage_1.main(flags)
    assert "an unfinished run is being replaced" in capsys.readouterr().out and not state.exists()
    before = (own_workdir / "model_1.pt").read_bytes()
    # a run that was killed while it saved its first state left a part of it
    (own_workdir / "model_1.resume.pt.tmp").write_bytes(b"a part")
    Train_stage_1.main([*flags, "--resume"])
    assert not (own_workdir / "model_1.resume.pt.tmp").exists()
    assert (
        "model_1.pt: is finished" in capsys.readouterr().out
        and (own_workdir / "model_1.pt").read_bytes() == before
    )
    fails(
        Train_stage_1.main,
        [*flags, "--resume", "--seed", "5"],
        capsys,
        "model_1.pt",
        "seed was 0, is 5",
    )


def test_resume_with_nothing_to_resume_starts_afresh(own_workdir):
    Train_stage_1.main(["--workdir", str(own_workdir), "--resume", *STAGE_1])
    assert (own_workdir / "model_1.pt").exists()


@pytest.fixture
def signalled(own_workdir, monkeypatch):
    """signalled(module, function, number): a run gets a signal on entering there; its folder,
    undisturbed weights."""
    (expected,) = undisturbed(Train_stage_1.main, STAGE_1, own_workdir, ["model_1"])

    def arrange(module, name, number=signal.SIGTERM, times=1):
        former, sent = getattr(module, name), []

        def then_signal(*given, **named):
            for _ in range(times if not sent else 0):
                sent.append(time.monotonic())
                signal.raise_signal(number)
            return former(*given, **named)

        monkeypatch.setattr(module, name, then_signal)
        with pytest.raises(SystemExit) as stop:
            Train_stage_1.main(["--workdir", str(own_workdir), *STAGE_1])
        assert time.monotonic() - sent[0] < 10
        monkeypatch.setattr(module, name, former)
        assert stop.value.code == 128 + number and not list(own_workdir.glob("*.tmp"))
        return own_workdir, expected

    return arrange


def test_a_signal_while_evaluating_does_not_wait_for_its_end(signalled, capsys):
    folder, expected = signalled(Stage_1, "predict")
    assert "--resume goes on" in capsys.readouterr().out and not (folder / "model_1.pt").exists()
    Train_stage_1.main(["--workdir", str(folder), "--resume", *STAGE_1])
    assert "going on in epoch 1 after step 2" in capsys.readouterr().out
    assert same(expected, weights(folder, "model_1"))


def test_a_signal_while_finishing_lets_the_model_be_written(signalled):
    folder, expected = signalled(checkpoint, "save", signal.SIGINT)
    assert (
        same(expected, weights(folder, "model_1")) and not (folder / "model_1.resume.pt").exists()
    )


def test_a_second_signal_while_saving_ends_the_run_at_once(signalled):
    # the first one is the model's, in finish
    folder, expected = signalled(checkpoint, "write", times=2)
    assert not (folder / "model_1.pt").exists()
    Train_stage_1.main(["--workdir", str(folder), "--resume", *STAGE_1])
    assert same(expected, weights(folder, "model_1"))


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_step(
    own_workdir, monkeypatch, capsys
):
    """The saved state stays as it was, and from there a run without the fault gives the undisturbed
    weights."""
    (expected,) = undisturbed(Train_stage_1.main, STAGE_1, own_workdir, ["model_1"])
    former, calls = losses.masked_loss, []

    def faulty(*batch):
        calls.append(1)
        loss = former(*batch)
        # two steps and two evaluations of the first epoch, then the second's first step
        if len(calls) == 5:
            loss.register_hook(lambda gradient: gradient * float("nan"))
        return loss

    monkeypatch.setattr(losses, "masked_loss", faulty)
    flags = ["--workdir", str(own_workdir), "--save-minutes", "0", *STAGE_1]
    line = fails(
        Train_stage_1.main,
        flags,
        capsys,
        "epoch 2, step 0",
        "gradient's norm is nan",
        "epochs before: 0.",
        "rows of",
        code=1,
    )
    assert len(line.partition("in the batch: ")[2].partition(".")[0].split()) == 2
    monkeypatch.setattr(losses, "masked_loss", former)
    Train_stage_1.main([*flags, "--resume"])
    assert same(expected, weights(own_workdir, "model_1"))


def test_changed_code_is_one_warning(own_workdir, kill, capsys, monkeypatch):
    flags = ["--workdir", str(own_workdir), "--save-minutes", "0", *STAGE_1]
    kill(Train_stage_1.main, flags, 2)
    monkeypatch.setattr(code_version, "code_digest", lambda: "edited")
    capsys.readouterr()
    Train_stage_1.main([*flags, "--resume"])
    said = capsys.readouterr().out
    assert said.count("warning:") == 1 and "code changed" in said
    monkeypatch.setattr(code_version, "code_digest", lambda: "edited again")
    Train_stage_1.main([*flags, "--resume"])
    said = capsys.readouterr().out
    assert "is finished" in said and "the code has changed since" in said


CURVES = ["--rows", "8", "--input-px", "64", "--score-every", "2"]  # rows after steps 2, 4, 6 and 8


@pytest.mark.parametrize("killed_in_tick", [2, 5])  # at a step that is scored, at an epoch's end
def test_a_resumed_runs_curve_is_whole(killed_in_tick, own_workdir, kill):
    flags = ["--workdir", str(own_workdir), "--save-minutes", "0", *STAGE_1, *CURVES]
    (expected,) = undisturbed(Train_stage_1.main, [*STAGE_1, *CURVES], own_workdir, ["model_1"])
    curve = (own_workdir / "curves_stage_1.csv").read_text()
    kill(Train_stage_1.main, flags, killed_in_tick)
    Train_stage_1.main([*flags, "--resume"])
    assert (own_workdir / "curves_stage_1.csv").read_text() == curve and len(
        curve.splitlines()
    ) == 5
    assert same(expected, weights(own_workdir, "model_1"))


def test_a_signal_while_scoring_between_epochs_loses_no_row(own_workdir, monkeypatch):
    undisturbed(Train_stage_1.main, [*STAGE_1, *CURVES], own_workdir, ["model_1"])
    curve = (own_workdir / "curves_stage_1.csv").read_text()
    flags = ["--workdir", str(own_workdir), *STAGE_1, *CURVES]
    former, calls = Train_stage_1.evaluate, []

    def stopped(*given):
        calls.append(1)
        if len(calls) == 3:  # in the middle of the second epoch
            signal.raise_signal(signal.SIGTERM)
        return former(*given)

    monkeypatch.setattr(Train_stage_1, "evaluate", stopped)
    with pytest.raises(SystemExit) as stop:
        Train_stage_1.main(flags)
    assert stop.value.code == 143 and not (own_workdir / "model_1.pt").exists()
    assert len((own_workdir / "curves_stage_1.csv").read_text().splitlines()) == 3
    Train_stage_1.main([*flags, "--resume"])
    assert (own_workdir / "curves_stage_1.csv").read_text() == curve


def test_resume_refuses_what_began_from_another_model(own_workdir, tmp_path, capsys):
    """Though it lies where the former one lay."""
    base = tmp_path / "base"
    base.mkdir()
    write_model(base, input_size=(65, 65))
    flags = ["--workdir", str(own_workdir), *STAGE_1, "--weights", str(base)]
    Train_stage_1.main(flags)
    Train_stage_1.main([*flags, "--resume"])
    assert "is finished" in capsys.readouterr().out
    write_model(base, input_size=(65, 65))  # other random weights
    fails(Train_stage_1.main, [*flags, "--resume"], capsys, "other settings: weights")
