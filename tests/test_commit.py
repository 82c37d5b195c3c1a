"""Which code trained a model: the project's git commit and the digest of its code, in the model's
.json."""

import json
import re
import shutil
import subprocess
import time

import pytest
import torch
from helpers import SMALL, write_predictions

import Train_stage_1
import Train_stage_2
from deeppose import code_version, runtime
from deeppose.dataset import open_dataset
from results import recording

RUN = runtime.Runtime(torch.device("cpu"), "fp32")
FEW = ["--rows", "2", "--epochs", "1", *SMALL]


def git(folder, *words):
    settings = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *settings, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a script and a text, in place of the project's; commit looks there, each time
    anew."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "a.py").write_text("1\n")
    (folder / "README.md").write_text("1\n")
    monkeypatch.setattr(code_version, "PROJECT", folder)
    monkeypatch.setattr(code_version, "commit", code_version.commit.__wrapped__)
    return folder


def test_a_commit_is_named_and_marked_where_a_tracked_script_differs(project):
    git(project, "init", "--quiet")
    assert code_version.commit() is None  # nothing is committed yet
    git(project, "add", ".")
    git(project, "commit", "--quiet", "-m", "first")
    expected = git(project, "rev-parse", "HEAD")[:12]
    assert code_version.commit() == expected
    (project / "new.py").write_text("untracked\n")
    (project / "README.md").write_text("no script\n")
    assert code_version.commit() == expected
    (project / "a.py").write_text("2\n")
    assert code_version.commit() == f"{expected}+"
    git(project, "add", ".")
    assert code_version.commit() == f"{expected}+"


def test_without_a_checkout_of_its_own_or_without_git_there_is_no_commit(project, monkeypatch):
    git(project.parent, "init", "--quiet")
    git(project.parent, "add", ".")
    git(project.parent, "commit", "--quiet", "-m", "of something around the project")
    assert code_version.commit() is None
    (project / ".git").write_text("gitdir: nowhere\n")
    assert code_version.commit() is None
    monkeypatch.setenv("PATH", str(project))
    assert code_version.commit() is None


def test_a_git_that_hangs_is_not_waited_for(project, monkeypatch):
    (project / ".git").mkdir()
    (project / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (project / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{project}:/usr/bin:/bin")
    monkeypatch.setattr(code_version, "GIT_SECONDS", 0.1)
    assert code_version.commit() is None


def test_it_costs_less_than_50_ms():
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        code_version.commit.__wrapped__()
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.05


def test_every_model_names_the_code_that_trained_it(own_workdir, monkeypatch):
    monkeypatch.setattr(code_version, "commit", lambda: "0123456789ab+")
    Train_stage_1.main(
        ["--workdir", str(own_workdir), "--weights", "none", "--input-px", "64", *FEW]
    )
    write_predictions(own_workdir)
    Train_stage_2.main(["--workdir", str(own_workdir), "--joints", "head", "--crop-px", "67", *FEW])
    for name in ("model_1", "model_head"):
        facts = json.loads((own_workdir / f"{name}.json").read_text())["run"]
        assert facts["commit"] == "0123456789ab+" and re.fullmatch("[0-9a-f]{64}", facts["code"])


@pytest.mark.parametrize(
    "before, now, same_code, expected",
    [
        ("a", "b", True, "a"),
        ("a", "b", False, "a, b"),
        ("a, b", "b", False, "a, b"),
        ("a", None, False, "a"),
        (None, "b", True, "b"),
        (None, None, False, None),
    ],
)
def test_a_resumed_run_names_the_commits_of_both_codes(before, now, same_code, expected):
    assert code_version.joined_commits(before, now, same_code) == expected


def test_another_commit_of_the_same_code_is_no_warning_on_resume(own_workdir, monkeypatch, capsys):
    flags = [
        "--workdir",
        str(own_workdir),
        "--weights",
        "none",
        "--input-px",
        "64",
        "--save-minutes",
        "0",
        *FEW,
    ]
    monkeypatch.setattr(code_version, "commit", lambda: "first")
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(Train_stage_1, "record_epoch", lambda *_: 1 / 0)
        Train_stage_1.main(flags)
    monkeypatch.setattr(code_version, "commit", lambda: "second")
    Train_stage_1.main([*flags, "--resume"])
    said = capsys.readouterr().out
    assert "going on in epoch" in said and "warning" not in said
    assert json.loads((own_workdir / "model_1.json").read_text())["run"]["commit"] == "first"


def known(run):
    return {
        "seed": 0,
        "epoch": 1,
        "history": [],
        "initial_weights": "random",
        "run": run,
        "settings": {"rows": 4, "epochs": 1, "input_px": 0, "recipe": {}},
    }


@pytest.mark.parametrize(
    "run, expected", [({"commit": "0123456789ab"}, "0123456789ab"), ({}, "unknown")]
)
def test_a_rows_commit_is_the_one_that_trained_it(run, expected, workdir):
    facts = recording.run_facts("best_random", "tiny", known(run), open_dataset(workdir))
    assert facts["commit"] == expected and facts["rows"] == 4
