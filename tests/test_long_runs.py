"""Files that long runs leave: epochs that were kept, for the steps that take them, and a log of what was
printed."""

import json
import re

import numpy as np
import pytest
import torch
from helpers import FP32, fails, same, weights, write_model, write_predictions, write_refiner
from test_resume import kill  # noqa: F401  a fixture

import Generate_train_output
import test_stage_1
import test_stage_2
import Train_stage_1
import Train_stage_2
from deeppose import arrays, networks, runtime, shell, workdir
from deeppose.stage_1 import Stage_1

RUN = runtime.Runtime(torch.device("cpu"), "fp32")
STAGE_1 = ["--weights", "none", "--rows", "4", "--batch-size", "2", "--input-px", "64", *FP32]
STAGE_2 = [
    "--joints",
    "head",
    "--rows",
    "2",
    "--batch-size",
    "2",
    "--simulated",
    "1",
    "--crop-px",
    "67",
    "--make-deltas",
    *FP32,
]


@pytest.fixture
def kept(own_workdir, monkeypatch):
    """A working directory with model_1.pt and its epoch 2, networks with other weights; no pictures
    are drawn."""
    for step in (test_stage_1, test_stage_2):
        monkeypatch.setattr(step, "draw", lambda *_: {})
    for seed, name in ((1, "model_1.epoch_2"), (2, "model_1")):  # write_model writes model_1
        torch.manual_seed(seed)
        write_model(own_workdir, input_size=(64, 64))
        for ending in (".pt", ".json"):
            (own_workdir / f"model_1{ending}").rename(own_workdir / f"{name}{ending}")
    return own_workdir


def test_step_2_keeps_every_kth_epoch_and_resuming_keeps_them(own_workdir, kill, capsys):  # noqa: F811
    own = ["--workdir", str(own_workdir), *STAGE_1, "--epochs", "4", "--keep-epochs", "2"]
    Train_stage_1.main(own)
    undisturbed = {epoch: weights(own_workdir, f"model_1.epoch_{epoch}") for epoch in (2, 4)}
    assert list(workdir.kept_epochs(own_workdir / "model_1.pt")) == [2, 4]
    best = json.loads((own_workdir / "model_1.json").read_text())
    for epoch in (2, 4):
        facts = json.loads((own_workdir / f"model_1.epoch_{epoch}.json").read_text())
        assert (
            facts["epoch"] == len(facts["history"]) == epoch
            and facts["held_out"].keys() == best["held_out"].keys()
        )
        for name in ("network", "skeleton", "trained_on", "settings", "initial_weights"):
            assert facts[name] == best[name]
        model, _ = networks.load_file(own_workdir / f"model_1.epoch_{epoch}.pt", RUN)
        assert same(model.network.state_dict(), undisturbed[epoch])
    if best["epoch"] in undisturbed:
        assert same(undisturbed[best["epoch"]], weights(own_workdir, "model_1"))
    (own_workdir / "model_1.pt").unlink()
    capsys.readouterr()
    # in the third epoch; what was kept before is gone
    kill(Train_stage_1.main, [*own, "--save-minutes", "0"], 7)
    assert "2 epochs that a former run kept are removed" in capsys.readouterr().out
    assert sorted(path.name for path in own_workdir.glob("model_1.epoch*")) == [
        "model_1.epoch_2.json",
        "model_1.epoch_2.pt",
    ]
    Train_stage_1.main([*own, "--resume"])
    for epoch in (2, 4):
        assert same(undisturbed[epoch], weights(own_workdir, f"model_1.epoch_{epoch}"))


def test_step_5_keeps_epochs_with_their_gains_and_step_6_takes_them(
    own_workdir, monkeypatch, capsys
):
    monkeypatch.setattr(test_stage_2, "draw", lambda *_: {})
    torch.manual_seed(0)
    write_model(own_workdir, input_size=(64, 64))
    write_predictions(own_workdir)
    own = ["--workdir", str(own_workdir)]
    Train_stage_2.main([*own, *STAGE_2, "--epochs", "2", "--keep-epochs", "1"])
    facts = [
        json.loads((own_workdir / f"model_head.epoch_{epoch}.json").read_text()) for epoch in (1, 2)
    ]
    assert [known["epoch"] for known in facts] == [1, 2]
    for epoch, known in enumerate(facts, 1):
        kept = weights(own_workdir, f"model_head.epoch_{epoch}")
        assert kept["gain"].tolist() == pytest.approx(known["gain"])
    capsys.readouterr()
    test_stage_2.main([*own, *FP32, "--refiner-epoch", "1"])
    said = capsys.readouterr().out
    assert "no model_neck.epoch_1.pt" in said and "learnt from" not in said
    scores = json.loads((own_workdir / "metrics_stage_2.json").read_text())
    assert scores["refiner_epoch"] == 1 and scores["gains"]["head"] == pytest.approx(
        facts[0]["gain"][0]
    )
    fails(
        test_stage_2.main,
        [*own, *FP32, "--refiner-epoch", "3"],
        capsys,
        "epoch_3.pt",
        "--keep-epochs",
    )


def test_steps_3_4_and_6_take_an_epoch_of_stage_1(kept, data):
    own = ["--workdir", str(kept), *FP32]
    write_refiner(kept, "head")
    found = {}
    for epoch in (None, 2):
        flags = [*own, *(["--epoch", "2"] if epoch else [])]
        test_stage_1.main(flags)
        found[epoch, 3] = np.load(kept / "test_output_1.npy")
        assert json.loads((kept / "metrics_stage_1.json").read_text())["epoch"] == epoch
        Generate_train_output.main(flags)
        found[epoch, 4] = np.load(kept / "train_output.npy")
        test_stage_2.main(flags)
        found[epoch, 6] = np.load(kept / "test_output_2.npy")
    for step in (3, 4, 6):
        assert np.abs(found[None, step] - found[2, step]).max() > 0.1, step
    head = data.skeleton.index("head")
    others = np.delete(found[2, 6].reshape(-1, 14, 2), head, 1)
    np.testing.assert_array_equal(others, np.delete(found[2, 3].reshape(-1, 14, 2), head, 1))


def test_step_5_knows_which_epoch_made_the_predictions(kept, capsys):
    own = ["--workdir", str(kept)]
    Generate_train_output.main([*own, *FP32, "--epoch", "2"])
    made_from = json.loads((kept / "train_output.json").read_text())["made_from"]
    assert made_from["model_1.pt"] == arrays.digest(kept / "model_1.epoch_2.pt")
    fails(
        Train_stage_2.main,
        [*own, *STAGE_2, "--epochs", "1"],
        capsys,
        "train_output.npy",
        "model_1.pt",
        "step 4",
    )
    Train_stage_2.main([*own, *STAGE_2, "--epochs", "1", "--epoch", "2"])
    capsys.readouterr()
    test_stage_2.main([*own, *FP32, "--epoch", "2"])
    assert "learnt from what an earlier stage 1" not in capsys.readouterr().out
    test_stage_2.main([*own, *FP32])
    assert (
        "warning: stage 2's refiners of head learnt from what an earlier stage 1"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("step", [test_stage_1, Generate_train_output, Train_stage_2])
def test_an_epoch_that_was_not_kept_is_one_line(step, kept, capsys):
    write_predictions(kept)
    fails(
        step.main,
        ["--workdir", kept, "--epoch", "3"],
        capsys,
        "model_1.epoch_3.pt",
        "epochs kept: 2",
        "--keep-epochs",
    )


def test_an_epoch_that_was_trained_on_what_is_tested_here_is_refused(kept, capsys):
    path = kept / "model_1.epoch_2.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"trained_on": {"1": "13"}}))
    fails(
        test_stage_1.main,
        ["--workdir", kept, "--epoch", "2", *FP32],
        capsys,
        "model_1.epoch_2.pt",
        "image 13",
    )
    test_stage_1.main(["--workdir", str(kept), *FP32])


# -- the log


def test_the_log_is_what_was_printed_and_goes_on_with_the_run(own_workdir, kill, capsys):  # noqa: F811
    log = own_workdir / "run.log"
    log.write_text("of a run before\n")
    own = ["--workdir", str(own_workdir), *STAGE_1, "--epochs", "2", "--log", str(log)]
    kill(Train_stage_1.main, [*own, "--save-minutes", "0"], 4)  # in the second epoch
    first = capsys.readouterr().out
    assert log.read_text() == first and "epoch   1/2" in first
    Train_stage_1.main([*own, "--resume"])
    assert log.read_text() == first + capsys.readouterr().out and "epoch   2/2" in log.read_text()
    fails(Train_stage_1.main, [*own, "--resume", "--epochs", "9"], capsys, "epochs was 2, is 9")
    last = log.read_text().splitlines()[-1]
    assert last.startswith("error: ") and "epochs was 2, is 9" in last
    print("after it")
    assert "after it" not in log.read_text()


def test_a_test_has_a_log_too_and_one_that_cannot_be_written_is_one_line(kept, monkeypatch, capsys):
    monkeypatch.setattr(
        Stage_1,
        "predict",
        lambda model, frames, rows, *_, **__: (
            np.zeros((len(rows), 14, 2), np.float32),
            np.ones((len(rows), 14), np.float32),
        ),
    )
    own = ["--workdir", str(kept), *FP32]
    capsys.readouterr()
    test_stage_1.main([*own, "--log", str(kept / "test.log")])
    printed = capsys.readouterr().out
    assert (kept / "test.log").read_text() == printed and re.search(r"PDJ@0\.2", printed)
    Generate_train_output.main([*own, "--log", str(kept / "output.log")])
    assert (kept / "output.log").read_text() == capsys.readouterr().out
    for wrong in (kept, kept / "missing" / "test.log"):
        fails(
            test_stage_1.main, [*own, "--log", wrong], capsys, "--log", wrong, "cannot be written"
        )


def test_names_in_no_encoding_reach_the_log(tmp_path):
    with shell.log(tmp_path / "run.log", False):
        print("caf\udce9")
    assert (tmp_path / "run.log").read_text() == "caf\\udce9\n"


def test_wrong_initial_weights_leave_what_a_former_run_left(own_workdir, tmp_path, capsys):
    flags = ["--workdir", str(own_workdir), *STAGE_1, "--epochs", "1", "--keep-epochs", "1"]
    Train_stage_1.main(flags)
    # as a run leaves it that was stopped
    unfinished = own_workdir / "model_1.resume.pt"
    unfinished.write_bytes(b"a state")
    before = {path.name: path.read_bytes() for path in own_workdir.glob("model_1*")}
    missing = tmp_path / "missing.pth"
    fails(Train_stage_1.main, [*flags, "--weights", missing], capsys, missing)
    assert {path.name: path.read_bytes() for path in own_workdir.glob("model_1*")} == before


def test_a_flag_cut_short_is_not_taken_for_another(own_workdir, capsys):
    flags = ["--workdir", str(own_workdir), *STAGE_1]
    fails(Train_stage_1.main, [*flags, "--epoch", "1"], capsys, "unrecognized arguments: --epoch 1")
