"""The Makefile as a dependency graph: what an edit or another flag makes stale, and nothing else;
and `make clean`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deeppose import dependencies

ROOT = Path(__file__).resolve().parent.parent
STEPS = (
    "LSP_data.py",
    "Train_stage_1.py",
    "test_stage_1.py",
    "Generate_train_output.py",
    "Train_stage_2.py",
    "test_stage_2.py",
)
JOINTS = ("neck", "head", "left_knee")  # of some data set
STAND_IN = '''#!{python}
"""In the place of Python: runs no step, but notes its command line and makes the file that make waits for."""
import json, os, sys
from pathlib import Path
script, *flags = sys.argv[1:]
if script.startswith("-"):
    os.execv({python!r}, [{python!r}, script, *flags])
with open("steps.txt", "a") as steps:
    print(" ".join([script, *flags]), file=steps)
if os.environ.get("BROKEN", "nothing") in flags:
    sys.exit(1)
made = {{"Train_stage_1.py": "model_1.pt", "test_stage_1.py": "metrics_stage_1.json",
        "Generate_train_output.py": "train_output.npy", "test_stage_2.py": "metrics_stage_2.json"}}
name = made.get(script, "dataset.json")
if script == "Train_stage_2.py":
    name = "model_" + "3_" * ("--stage" in flags) + flags[flags.index("--joints") + 1] + ".pt"
text = json.dumps({{"skeleton": {{"joints": {joints}}}}}) if name == "dataset.json" else ""
Path(flags[flags.index("--workdir") + 1], name).write_text(text)
'''


@pytest.fixture
def project(tmp_path):
    """The project's files, old, and a stand-in for Python."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    for path in [
        *ROOT.glob("*.py"),
        *(ROOT / "deeppose").glob("*.*"),
        *ROOT.glob("deltas.*"),
        ROOT / "Makefile",
    ]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)
        os.utime(copy, (1000, 1000))
    stand_in = tmp_path / "stand_in"
    stand_in.write_text(STAND_IN.format(python=sys.executable, joints=list(JOINTS)))
    stand_in.chmod(0o755)
    return tmp_path


def make(project, *arguments, code=0, **environment):
    """Run make; returns what it printed."""
    unset = ("DATA", "NETWORK", "SOURCE", "WORKDIR", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
    environment = {
        key: value for key, value in os.environ.items() if key not in unset
    } | environment
    done = subprocess.run(
        ["make", *arguments], cwd=project, capture_output=True, text=True, env=environment
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def planned(project, *arguments):
    """The step's scripts that make would run, in order, each once."""
    words = make(project, "-n", f"PYTHON={sys.executable}", *arguments).split()
    return list(dict.fromkeys(word for word in words if word in STEPS))


def steps_run(project, *arguments, **environment):
    """The command lines of the steps that make runs, by the stand-in."""
    (project / "steps.txt").write_text("")
    make(project, "PYTHON=./stand_in", *arguments, **environment)
    return (project / "steps.txt").read_text().splitlines()


def finish(project, third=()):
    """All steps were run by hand, with a third stage for some joints: empty files, each newer than
    the one before."""
    order = [
        "dataset.json",
        "model_1.pt",
        "metrics_stage_1.json",
        "train_output.npy",
        *(f"model_{name}.pt" for name in JOINTS),
        *(f"model_3_{name}.pt" for name in third),
        "metrics_stage_2.json",
    ]
    for moment, name in enumerate(order):
        (project / name).write_text(
            json.dumps({"skeleton": {"joints": JOINTS}}) if name == "dataset.json" else ""
        )
        os.utime(project / name, (2000 + moment, 2000 + moment))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_step_is_made_of_just_the_files_that_its_script_loads():
    code = """
import importlib, sys
from pathlib import Path
for script in sys.argv[1:]:
    for name in [name for name in sys.modules if name.startswith("deeppose") or name[0].isupper()]:
        del sys.modules[name]
    before = set(sys.modules)
    importlib.import_module(script.removesuffix(".py"))
    files = [getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before]
    paths = [Path(file) for file in files if file]
    print(*sorted(str(path.relative_to(Path.cwd())) for path in paths if path.parent in (Path.cwd(), Path("deeppose")
          .resolve()) and path.name != "__init__.py"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *STEPS], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for script, loaded in zip(STEPS, done.stdout.splitlines(), strict=True):
        made_of = [path for path in dependencies.prerequisites(script) if path.endswith(".py")]
        assert made_of == loaded.split(), script


def test_prerequisites_need_no_packages():
    # no site-packages
    command = [sys.executable, "-I", "-S", "-B", "deeppose/dependencies.py", "none", *STEPS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert (
        "test_stage_2.py:deeppose/report_page.html" in lines
        and "LSP_data.py:deeppose/arrays.py" in lines
    )
    assert not any(line.startswith("joint:") for line in lines)


def test_a_script_that_is_being_edited_is_stale_whatever_it_says(project):
    finish(project)
    (project / "test_stage_1.py").write_text("from deeppose import (")
    assert planned(project) == ["test_stage_1.py"]


@pytest.mark.parametrize(
    "dataset",
    [
        "",
        "[]",
        '{"skeleton": 3}',
        '{"skeleton": {"joints": 3}}',
        '{"skeleton": {"joints": ["head; echo"]}}',
        '{"skeleton": {"joints": [3]}}',
    ],
)
def test_joints_that_cannot_be_read_are_none(dataset, tmp_path):
    (tmp_path / "dataset.json").write_text(dataset)
    assert dependencies.joints(tmp_path) == []


def test_a_fresh_folder_runs_all_six_steps_in_order(project):
    assert planned(project) == list(STEPS)


def test_nothing_is_stale_after_all_steps(project):
    finish(project)
    assert planned(project) == []


@pytest.mark.parametrize(
    "edited, stale",
    [
        ("LSP_data.py", STEPS),
        ("Train_stage_1.py", STEPS[1:]),
        ("test_stage_1.py", ("test_stage_1.py",)),
        ("Generate_train_output.py", STEPS[3:]),
        ("Train_stage_2.py", STEPS[4:]),
        ("Resnet_stage_1.py", STEPS[1:]),
        ("Cascade_1_net.py", STEPS[4:]),
        ("deeppose/lrn.py", STEPS[1:]),  # of a stage 1 too
        ("test_stage_2.py", ("test_stage_2.py",)),
        ("deeppose/plots.py", ("test_stage_1.py", "test_stage_2.py")),
        (
            "deeppose/report_page.html",
            ("test_stage_1.py", "test_stage_2.py"),
        ),  # both write report.html
        ("deeppose/sample.py", ()),
    ],
)
def test_an_edit_makes_just_its_step_and_what_follows_stale(project, edited, stale):
    finish(project)
    os.utime(project / edited)
    assert planned(project) == list(stale)


def test_a_missing_joint_is_trained_alone(project):
    finish(project)
    (project / "model_head.pt").unlink()
    plan = make(project, "-n", f"PYTHON={sys.executable}")
    assert (
        plan.count("Train_stage_2.py") == 1
        and "--joints head" in plan
        and "test_stage_2.py" in plan
    )


def test_settings_reach_the_scripts(project):
    settings = ["WORKDIR=out", "SOURCE=photos", "NETWORK=alexnet", "STEP_2=--epochs 3", "RESUME=1"]
    said = " ".join(make(project, "-n", f"PYTHON={sys.executable}", *settings).split())
    assert "LSP_data.py --workdir out --source photos" in said
    assert "Train_stage_1.py --workdir out --resume --network alexnet --epochs 3" in said


def test_any_data_set_runs_through_though_its_joints_are_known_only_after_step_1(project):
    (project / "Other_data.py").write_text("from deeppose import arrays\n")
    (project / "out").mkdir()
    settings = ["DATA=Other_data.py", "NETWORK=alexnet", "SOURCE=photos", "WORKDIR=out"]
    assert steps_run(project, *settings) == [
        "Other_data.py --workdir out --source photos",
        "Train_stage_1.py --workdir out --network alexnet",
        "test_stage_1.py --workdir out",
        "Generate_train_output.py --workdir out",
        *(f"Train_stage_2.py --workdir out --joints {name}" for name in JOINTS),
        "test_stage_2.py --workdir out",
    ]
    assert steps_run(project, *settings) == []
    os.utime(project / "deeppose" / "arrays.py")
    assert len(steps_run(project, *settings)) == 8


@pytest.mark.parametrize(
    "flag, stale",
    [
        ("STEP_1=--limit 9", STEPS),
        ("DATA=Other_data.py", STEPS),
        ("STEP_2=--weights 'my file.pt'", STEPS[1:]),
        ("NETWORK=alexnet", STEPS[1:]),
        ("STEP_3=--flip-test", STEPS[2:3]),
        ("STEP_4=--device cpu", STEPS[3:]),
        ("STEP_5=--epochs 2", STEPS[4:]),
        ("STEP_6=--flip-test", STEPS[5:]),
    ],
)
def test_another_flag_makes_its_step_and_what_follows_stale(project, flag, stale):
    (project / "Other_data.py").write_text("")
    os.utime(project / "Other_data.py", (1000, 1000))
    scripts = [
        flag.removeprefix("DATA=") if flag.startswith("DATA=") and name == STEPS[0] else name
        for name in stale
    ]
    assert len(steps_run(project)) == 8
    before = contents(project)
    plan = make(project, "-n", "PYTHON=./stand_in", flag).split()
    assert (
        list(dict.fromkeys(word for word in plan if word in (*STEPS, "Other_data.py"))) == scripts
    )
    assert contents(project) == before  # make -n writes nothing
    run = [line.split()[0] for line in steps_run(project, flag)]
    assert list(dict.fromkeys(run)) == scripts
    assert steps_run(project, flag) == []
    # and back again
    assert make(project, "-n", "PYTHON=./stand_in").split().count(scripts[-1]) == 1


def test_flags_after_steps_that_were_run_by_hand(project):
    finish(project)
    assert planned(project, "STEP_2=--epochs 20") == list(STEPS[1:])


def test_a_run_that_was_stopped_goes_on_where_it_was(project):
    """Among the refiners, also where other flags made them stale."""
    steps_run(project)
    for flag in ("STEP_5=", "STEP_5=--epochs 2"):
        (project / "model_neck.pt").unlink()
        (project / "model_head.pt").unlink(missing_ok=True)
        make(project, "PYTHON=./stand_in", flag, code=2, BROKEN="head")
        assert [line.split()[4] for line in steps_run(project, flag) if "Train_stage_2" in line][
            0
        ] == "head"
        assert steps_run(project, flag) == []


def test_a_step_that_fails_takes_nothing_away(project):
    steps_run(project)
    before = contents(project)
    make(project, "PYTHON=./stand_in", "STEP_2=--broken", code=2, BROKEN="--broken")
    assert contents(project) == before | {"steps.txt": (project / "steps.txt").read_bytes()}


def test_a_third_stage_is_trained_and_scored_once(project):
    assert planned(project, "third") == list(STEPS)
    finish(project)
    assert planned(project, "third") == list(STEPS[4:])
    assert steps_run(project, "third", "STEP_5=") == [
        *(f"Train_stage_2.py --workdir . --stage 3 --joints {name}" for name in JOINTS),
        "test_stage_2.py --workdir .",
    ]
    assert steps_run(project, "third") == steps_run(project) == []
    (project / "model_3_head.pt").unlink()
    assert steps_run(project) == []  # without `third`, what is there of it counts
    assert len(steps_run(project, "third")) == 2


def test_a_new_refiner_of_stage_3_makes_the_scores_stale(project):
    finish(project, third=["head"])
    assert planned(project) == []
    os.utime(project / "model_3_head.pt")
    assert planned(project) == ["test_stage_2.py"]


def test_a_third_stage_has_its_own_flags(project):
    steps_run(project, "third", "STEP_5=--epochs 2")
    assert steps_run(project, "third", "STEP_5=--epochs 2") == []
    again = steps_run(project, "third", "STEP_5=--epochs 2", "STAGE_3=--weights former")
    assert again == [
        *(
            f"Train_stage_2.py --workdir . --stage 3 --joints {name} --weights former"
            for name in JOINTS
        ),
        "test_stage_2.py --workdir .",
    ]


def test_a_third_stage_follows_the_second(project):
    finish(project, third=["head"])
    os.utime(project / "model_neck.pt")
    plan = make(project, "-n", f"PYTHON={sys.executable}")
    assert (
        plan.count("Train_stage_2.py") == 1
        and "--stage 3 --joints head" in plan
        and "test_stage_2.py" in plan
    )


def test_clean_leaves_what_the_steps_did_not_make(project):
    own = [
        "poetry.lock",
        "my picture.png",
        "images_1.json",
        "model_mine.pt",
        "notes.tmp",
        "photo_pose.png",
        "data.npy",
        "photographs.txt",
        "model_1.epoch_best.pt",
        "model_mine.epoch_2.pt",
    ]
    before = contents(project)
    for name in own:
        (project / name).write_text("mine")
    finish(project, third=JOINTS)
    locks = (
        "dataset",
        "model_1",
        "model_head",
        "model_3_head",
        "train_output",
        "train_output_2",
        "deltas",
        "deltas_3",
        "test_output_1",
        "test_output_2",
        "curves_stage_1",
        "report",
        "model_shared",
        "model_3_shared",
    )
    for name in (
        *(f"{name}.lock" for name in locks),
        "train_images.npy",
        "model_1.resume.pt",
        "model_3_head.json",
        "curves_3_head.csv",
        "train_images.npy.tmp",
        "deltas.npy.tmp",
        "model_head.resume.pt.tmp",
        "model_head.pt.flags",
        "train_photographs.txt",
        "test_photographs.txt",
        "test_confidence_1.npy",
        "test_confidence_2.npy",
        "test_confidence_3.npy",
        "model_shared.pt",
        "model_shared.json",
        "model_shared.resume.pt",
        "model_3_shared.pt",
        "model_3_shared.json",
        "curves_shared.csv",
        "curves_3_shared.csv",
        "deltas_3.json",
        "result.json",
        "deltas.json.tmp",
        "model_1.epoch_5.pt",
        "model_1.epoch_10.json",
        "model_head.epoch_2.pt.tmp",
        "model_3_head.epoch_2.pt",
    ):
        (project / name).write_text("")
    make(project, "clean", f"PYTHON={sys.executable}")
    assert contents(project) == before | {name: b"mine" for name in own}


def test_make_test_runs_the_linter_first(project):
    plan = make(project, "-n", "test", f"PYTHON={sys.executable}")
    assert 0 < plan.index("-m ruff check .") < plan.index("-m pytest")


@pytest.mark.parametrize(
    "user, browser, installs", [(0, False, True), (0, True, False), (1000, False, False)]
)
def test_the_ci_script_installs_a_browser_where_it_may_and_runs_the_tests_anyway(
    user, browser, installs, tmp_path
):
    bash = shutil.which("bash")
    if not bash or not shutil.which("env"):
        pytest.skip("bash is not installed")
    for tool in ("bash", "dirname"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    stand_ins = {
        "id": f"echo {user}",
        "apt-get": f'echo "$@" >> {tmp_path}/apt.txt; exit 100',
        "make": 'echo "made $@"; exit 3',
    } | ({"chromium": "exit 0"} if browser else {})
    for name, line in stand_ins.items():
        (tmp_path / name).write_text(f"#!{bash}\n{line}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [bash, ROOT / ".ci" / "run"], capture_output=True, text=True, env={"PATH": str(tmp_path)}
    )
    assert done.returncode == 3 and "made test" in done.stdout and not done.stderr
    assert (tmp_path / "apt.txt").exists() == installs


def test_one_refiner_for_all_joints(project):
    """make REFINER=shared trains model_shared.pt alone, and scores it."""
    (project / "dataset.json").write_text('{"skeleton": {"joints": ["head", "neck"]}}')
    done = subprocess.run(
        ["make", "-n", "PYTHON=python3", "REFINER=shared"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    trained = {line.strip() for line in done.stdout.splitlines() if "Train_stage_2.py" in line}
    assert (
        len(trained) == 1 and "--refiner shared" in min(trained) and "--joints" not in min(trained)
    )
    assert "test_stage_2.py" in done.stdout
