"""The Makefile as a dependency graph: what an edit makes stale, and nothing else."""
import ast
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STEPS = ("LSP_data.py", "Train_stage_1.py", "test_stage_1.py", "Generate_train_output.py", "Train_stage_2.py",
         "test_stage_2.py")


@pytest.fixture
def project(tmp_path):
    """The project's files, and a working directory in which all steps were run: empty files, newer than the scripts."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    for path in [*ROOT.glob("*.py"), *(ROOT / "deeppose").glob("*.*"), ROOT / "Makefile", ROOT / "deltas.npy"]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)
        os.utime(copy, (1000, 1000))
    return tmp_path


def planned(project, *settings):
    """The step's scripts that make would run, in order, each once."""
    done = subprocess.run(["make", "-n", "PYTHON=python3", *settings], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    scripts = [word for line in done.stdout.splitlines() for word in line.split() if word in STEPS]
    return list(dict.fromkeys(scripts))


def finish(project):
    joints = [line for line in (project / "Makefile").read_text().replace("\\\n", " ").splitlines()
              if line.startswith("JOINTS :=")][0].split()[2:]
    assert len(joints) == 14
    order = ["dataset.json", "model_1.pt", "metrics_stage_1.json", "train_output.npy",
             *(f"model_{name}.pt" for name in joints), "metrics_stage_2.json"]
    for moment, name in enumerate(order):
        (project / name).write_text("")
        os.utime(project / name, (2000 + moment, 2000 + moment))


def imported(script):
    """A script and the project's modules that it imports, directly or not."""
    found, waiting = set(), [script]
    while waiting:
        found.add(path := waiting.pop())
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module, *(f"{node.module}.{name}" for name in names)]
            paths = {name.replace(".", "/") + ".py" for name in names}
            waiting += [path for path in paths - found if (ROOT / path).is_file()]
    return found


@pytest.mark.parametrize("script, made", list(zip(STEPS, (
    "dataset.json", "model_1.pt", "metrics_stage_1.json", "train_output.npy", "model_head.pt",
    "metrics_stage_2.json"))))
def test_a_step_depends_on_just_the_modules_that_it_imports(script, made, project):
    rules = subprocess.run(["make", "-np", "PYTHON=python3"], cwd=project, capture_output=True, text=True).stdout
    rule, = (line for line in rules.splitlines() if line.startswith(f"{made}:"))
    assert {word for word in rule.split("|")[0].split() if word.endswith(".py")} == imported(script)


def test_a_fresh_folder_runs_all_six_steps_in_order(project):
    assert planned(project) == list(STEPS)


def test_nothing_is_stale_after_all_steps(project):
    finish(project)
    assert planned(project) == []


@pytest.mark.parametrize("edited, stale", [
    ("LSP_data.py", STEPS),
    ("Train_stage_1.py", STEPS[1:]),
    ("test_stage_1.py", ("test_stage_1.py",)),
    ("Generate_train_output.py", STEPS[3:]),
    ("Train_stage_2.py", STEPS[4:]),
    ("Cascade_1_net.py", STEPS[4:]),
    ("deeppose/lrn.py", STEPS[4:]),
    ("test_stage_2.py", ("test_stage_2.py",)),
    ("deeppose/plots.py", ("test_stage_1.py", "test_stage_2.py")),
    ("deeppose/report_page.html", ("test_stage_2.py",)),
    ("deeppose/sample.py", ()),
])
def test_an_edit_makes_just_its_step_and_what_follows_stale(project, edited, stale):
    finish(project)
    os.utime(project / edited)
    assert planned(project) == list(stale)


def test_a_missing_joint_is_trained_alone(project):
    finish(project)
    (project / "model_head.pt").unlink()
    done = subprocess.run(["make", "-n", "PYTHON=python3"], cwd=project, capture_output=True, text=True).stdout
    assert done.count("Train_stage_2.py") == 1 and "--joints head" in done and "test_stage_2.py" in done


def test_settings_reach_the_scripts(project):
    settings = ["WORKDIR=out", "SOURCE=photos", "STEP_2=--epochs 3", "RESUME=1"]
    done = subprocess.run(["make", "-n", "PYTHON=python3", *settings], cwd=project, capture_output=True, text=True)
    said = " ".join(done.stdout.split())
    assert "LSP_data.py --workdir out --source photos" in said
    assert "Train_stage_1.py --workdir out --resume --epochs 3" in said
