"""`python -m results`: rows are run, recorded, checked, set as tables; those of README.md and docs
are up to date."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import fails

import Train_stage_1
from deeppose import csv_files, deltas, files, metrics, tables, text_tables
from deeppose.shell import InputError, RunError
from deeppose.skeletons import LSP
from results import __main__ as results
from results import (
    check,
    ledger,
    markdown,
    paths,
    predictions,
    recording,
    reliability,
    rows,
    run,
    sizes,
    table,
    variant_tables,
    variants,
)
from results.records import load_all, stage_title, stages_of

MOST_BYTES = 1_200_000  # of results/, which every clone carries; a row takes about 0.1 MB


def empty_records(folder, monkeypatch):
    """An empty folder of records in `folder`, with a README and an account of accuracy that have a
    place for tables."""
    monkeypatch.setattr(paths, "RECORDS", folder / "records")
    monkeypatch.setattr(table, "CURVES", folder / "curves.png")
    for name in ("README", "ACCURACY"):
        monkeypatch.setattr(table, name, folder / f"{name}.md")
        (folder / f"{name}.md").write_text(
            f"before\n{table.MARKS[0]}\nold\n{table.MARKS[1]}\nafter\n"
        )
    paths.RECORDS.mkdir()
    return paths.RECORDS


@pytest.fixture
def records(tmp_path, monkeypatch):
    """The folder of empty_records in tmp_path."""
    return empty_records(tmp_path, monkeypatch)


def flags_of(folder, photos):
    """Flags of python -m results for tiny rows in a folder's work/."""
    work = str(folder / "work")
    return ["--size", "tiny", "--source", str(photos), "--workdir", work, "--device", "cpu"]


@pytest.fixture(scope="module")
def finished_row(photos, tmp_path_factory):
    """A folder with the tiny row best_random run, recorded, and set in the tables."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as monkeypatch:
        empty_records(folder, monkeypatch)
        results.main([*flags_of(folder, photos), "best_random"])
    return folder


@pytest.fixture
def again(finished_row, photos, tmp_path, records):
    """The finished row once more, in tmp_path: the flags to go on with, and its record."""
    shutil.copytree(finished_row, tmp_path, dirs_exist_ok=True, copy_function=link)
    record = json.loads((records / "tiny_best_random.json").read_text())
    return flags_of(tmp_path, photos), record


def link(source, target):
    """Hard link in place of a copy, since every file is written anew and renamed."""
    Path(target).unlink(missing_ok=True)
    os.link(source, target)


def test_the_tables_of_readme_and_docs_are_those_of_the_records():
    for path, content in (
        (table.README, table.readme_markdown()),
        (table.ACCURACY, table.markdown()),
    ):
        text = path.read_text(encoding="utf-8")
        assert text.count(table.MARKS[0]) == text.count(table.MARKS[1]) == 1
        assert f"{table.MARKS[0]}\n\n{content}\n\n{table.MARKS[1]}" in text


def test_each_row_can_be_run():
    names = list(rows.ROWS)
    for name, row in rows.ROWS.items():
        # true boxes are looked at once
        assert not (row.boxes and row.two_pass)
        assert row.weights in ("none", "imagenet", "part", *names[: names.index(name)])


def test_rows_are_for_runs_alone(capsys):
    for flag in ("--check", "--table"):
        fails(results.main, [flag, "shipped"], capsys, "leave the rows out")


def test_the_readme_has_the_first_and_the_last_stage_of_the_rows_that_are_shown_there():
    recorded = load_all()
    lines = table.short_table(recorded).splitlines()
    for result in recorded:
        *_, last = stages = stages_of(result["test"])
        for stage in stages:
            title = stage_title(result, stage)
            wanted = rows.ROWS[result["row"]].shown and stage in ("stage_1", last)
            assert any(line.startswith(f"| {title} |") for line in lines) == wanted
            assert f"| {title} |" in table.markdown()


def test_no_interval_in_the_account_is_typed_by_hand():
    before, _, rest = table.ACCURACY.read_text(encoding="utf-8").partition(table.MARKS[0])
    prose = before + rest.partition(table.MARKS[1])[2]
    assert not re.search(r"\d ± ?\.?\d", prose)


def test_the_recorded_results_stay_small():
    tracked = subprocess.run(
        ["git", "ls-files", "results"], cwd=paths.ROOT, capture_output=True, text=True
    ).stdout
    if not tracked:
        pytest.skip("this is no git checkout")
    there = [path for name in tracked.split() if (path := paths.ROOT / name).exists()]
    assert sum(path.stat().st_size for path in there) < MOST_BYTES


def test_the_ledger_has_a_line_of_every_record():
    lines = {(line["row"], line["commit"], line["stages"]) for line in ledger.entries()}
    for result in load_all():
        stages = " ".join(map(str, check.stage_numbers(result["test"])))
        assert (f"{result['size']}_{result['row']}", result["commit"], stages) in lines
    assert f"scored {len(ledger.entries())} times" in table.readme_markdown()


def test_lines_appended_at_once_are_all_there(tmp_path):
    command = (
        "import sys; from pathlib import Path; from deeppose import csv_files; "
        "[csv_files.append(Path(sys.argv[1]), {'who': sys.argv[2], 'n': n}) for n in range(10)]"
    )
    path = tmp_path / "table.csv"
    started = [
        subprocess.Popen([sys.executable, "-c", command, path, str(who)], cwd=paths.ROOT)
        for who in range(3)
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    found = csv_files.load_rows(path, ("who", "n"))
    assert sorted((row["who"], int(row["n"])) for row in found) == [
        (str(w), n) for w in range(3) for n in range(10)
    ]
    assert [name.name for name in tmp_path.iterdir()] == ["table.csv"]
    for columns in ({"who": 1}, {"n": 1, "who": 2}):
        with pytest.raises(InputError, match="no such table"):
            csv_files.append(path, columns)


def test_predictions_are_recorded_to_a_64th_of_a_pixel(tmp_path):
    joints = np.random.default_rng(0).normal(113, 60, (20, 14, 2))
    joints[0, 0] = (9000, -9000)
    path = tmp_path / "deep" / "row_stage_1.npz"
    predictions.save(path, joints)
    found = predictions.load(path, joints.shape)
    assert np.abs(found - joints)[1:].max() <= 1 / 128 and list(found[0, 0]) == [32767 / 64, -512]
    with np.load(path) as content:
        assert content["joints"].dtype == np.int16
    with pytest.raises(InputError, match="int16"):
        predictions.load(path, (21, 14, 2))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="holds no recorded predictions"):
        predictions.load(path, joints.shape)
    with pytest.raises(InputError, match="not finite"):
        predictions.save(path, np.full((1, 14, 2), np.nan))


def test_scores_that_are_not_those_of_the_predictions_are_told(data):
    rng = np.random.default_rng(0)
    stages = {
        f"stage {n}": data.test_labels + rng.normal(0, 9 - n, data.test_labels.shape)
        for n in (1, 2)
    }
    scores, intervals = predictions.scores_of(data, stages)
    test = json.loads(
        json.dumps(files._finite(recording.rounded(scores | {"intervals": intervals})))
    )
    assert check.differences(test, scores, intervals) == []
    test["stage_2"]["pdj"]["0.20"] += 0.001
    test["intervals"]["gained"]["pcp_strict"]["mean_4"][0] -= 0.001
    found = check.differences(test, scores, intervals)
    assert (
        len(found) == 2
        and "stage_2 pdj 0.20" in found[0]
        and "gained pcp_strict mean_4" in found[1]
    )


def test_the_originals_equal_row_has_the_images_and_the_length_of_the_best_recipes():
    equal, best = (sizes.stage_1_flags(name, "cpu") for name in ("original_equal", "best_random"))
    assert equal == ("--recipe", "original", *best)
    assert not rows.ROWS["original_equal"].copies and rows.ROWS["original_equal"].weights == "none"


def test_help_says_where_a_resumed_run_is_the_same_bit_for_bit(capsys):
    with pytest.raises(SystemExit):
        Train_stage_1.main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "on the CPU with --precision fp32, and there alone, to the same weights, bit for bit"
        in said
    )


def test_the_published_tables_say_that_deeppose_tf_clips_its_predictions():
    shown = text_tables.text(tables.published_table({}, LSP, 1000))
    assert (
        "clips predictions to the person's true box" in shown
        and max(map(len, shown.splitlines())) <= 100
    )
    assert "clips predictions to the person's true box" in " ".join(table.published_table().split())
    assert all("†" in line for line in shown.splitlines() if line.strip().startswith("deeppose_tf"))


def test_every_row_has_flags_at_every_size_and_a_base_that_comes_before_it():
    names = list(rows.ROWS)
    for name, row in rows.ROWS.items():
        assert all(
            isinstance(flag, str)
            for size in sizes.SIZES
            for flag in sizes.stage_1_flags(name, size)
        )
        assert row.against is None or names.index(row.against) < names.index(name)


def test_the_originals_row_has_the_originals_refiners_at_every_size():
    """Also where a size adds nothing to their flags."""
    for size in sizes.SIZES:
        for flags in sizes.refiner_commands("original", size, 2):
            assert flags[:2] == ("--recipe", "original")


def test_the_commands_of_a_stage_train_each_joint_once_after_what_it_starts_from():
    for name in ("best_part", "original", "original_equal"):
        for stage in (2, 3):
            trained = []
            for flags in sizes.refiner_commands(name, "cpu", stage):
                given = dict(zip(flags[::2], flags[1::2]))
                joints, weights = (
                    given.get("--joints", ",".join(LSP.joints)).split(","),
                    given.get("--weights"),
                )
                if weights == "opposite":
                    assert {LSP.joints[LSP.flip[LSP.index(joint)]] for joint in joints} <= set(
                        trained
                    )
                elif weights not in (None, "none", "former"):
                    assert weights.removeprefix("model_").removesuffix(".pt") in trained
                trained += joints
            assert sorted(trained) == sorted(LSP.joints)


def test_deltas_npy_is_drawn_from_the_recorded_errors():
    """The project's deltas.npy has the spread of the held-out errors that the run it came from
    recorded."""
    path = paths.RECORDS / "deltas.json"
    if not path.exists():
        pytest.skip("the project's deltas.npy comes from a run that was not recorded")
    record = json.loads((paths.RECORDS / json.loads(path.read_text())["record"]).read_text())
    drawn = np.load(deltas.OWN)
    for joint, name in enumerate(LSP.joints):
        known = record["held_out"]["stage_1"]["errors"][name]
        spread = np.sqrt(np.diag(known["covariance"]))
        assert (np.abs(drawn[joint].mean(0) - known["mean"]) < 4 * spread / np.sqrt(40)).all()
        assert (np.abs(np.log(drawn[joint].std(0, ddof=1) / spread)) < 0.5).all()


def test_a_row_is_run_and_recorded(again, finished_row):
    _, record = again
    assert [step["command"].split()[1] for step in record["steps"]] == [
        "LSP_data.py",
        "Train_stage_1.py",
        "test_stage_1.py",
        "Generate_train_output.py",
        "Train_stage_2.py",
        "Train_stage_2.py",
        "Train_stage_2.py",
        "test_stage_2.py",
    ]
    assert set(record["cascade"]["stage_2"]) == {"head", "neck"}
    assert set(record["cascade"]["stage_3"]) == {"head"}
    assert record["initial_weights"] == "random" and record["rows"] == 4
    assert set(record["held_out"]) == {"stage_1", "stage_2", "stage_3"}
    assert "stage_3" in record["test"]
    # the commands name no folder of this machine
    assert str(finished_row) not in json.dumps(record)
    (line,) = ledger.entries()
    assert (line["row"], line["stages"]) == ("tiny_best_random", "1 2 3")
    assert line["commit"] == record["commit"]


def test_a_recorded_row_is_set_in_the_tables(again, tmp_path):
    _, record = again
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    for name, part in (("README.md", "mean_4"), ("ACCURACY.md", "lower_legs")):
        text = (tmp_path / name).read_text()
        assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
        assert markdown.cell(record["test"]["stage_1"]["pcp_strict"][part]) in text
    assert "over stage 1" in text and "over stage 2" in text
    assert "1 epochs at 65 px, random weights" in text


def test_check_recomputes_the_scores_from_the_recorded_predictions(again, records, capsys):
    flags, record = again
    results.main([*flags, "--check"])
    assert "tiny_best_random: 3 stages, no numbers differ" in capsys.readouterr().out
    # another number than the predictions' own
    record["test"]["stage_3"]["auc"] += 0.01
    files.save_json(records / "tiny_best_random.json", record)
    fails(results.main, [*flags, "--check"], capsys, "tiny_best_random", "auc", "--again", code=1)
    # no predictions
    (records / "predictions" / "tiny_best_random_stage_2.npz").unlink()
    results.main([*flags, "--check"])
    assert "tiny_best_random_stage_2.npz not recorded" in capsys.readouterr().out
    # to check is no further look: the predictions are those of then
    assert len(ledger.entries()) == 1


def test_a_trained_model_is_scored_as_it_is(again, records, tmp_path, capsys, monkeypatch):
    # not models/lsp, which has seen photographs of these numbers
    flags, record = again
    there = str(tmp_path / "work" / "tiny_best_random")
    monkeypatch.setitem(rows.ROWS, "shipped", replace(rows.ROWS["shipped"], model=there))
    results.main([*flags, "shipped"])
    shipped = json.loads((records / "tiny_shipped.json").read_text())
    assert [step["command"].partition(" --")[0] for step in shipped["steps"]] == [
        "python LSP_data.py",
        "python test_stage_1.py",
        "python test_stage_2.py",
    ]
    assert shipped["test"]["stage_2"] == record["test"]["stage_2"]
    assert "the model in models/lsp: **stage 1**" in (tmp_path / "README.md").read_text()
    assert [line["row"] for line in ledger.entries()] == ["tiny_best_random", "tiny_shipped"]
    capsys.readouterr()
    results.main([*flags, "--check"])
    assert "tiny_shipped: 3 stages, no numbers differ" in capsys.readouterr().out
    # looked at otherwise, it is another row: on the test images and on those held out
    looking = replace(rows.ROWS["shipped_looks"], model=there)
    monkeypatch.setitem(rows.ROWS, "shipped_looks", looking)
    results.main([*flags, "shipped_looks"])
    looks = json.loads((records / "tiny_shipped_looks.json").read_text())
    assert looks["test"]["flip_test"] and looks["test"]["two_pass"]
    assert "--flip-test --two-pass" in looks["steps"][2]["command"]
    for key in ("test", "held_out"):
        assert looks[key]["stage_1"] != shipped[key]["stage_1"]


def test_a_row_may_start_from_another_rows_model(again, records, tmp_path, capsys, monkeypatch):
    flags, _ = again
    start = rows.Row("going on", weights="best_random")
    monkeypatch.setitem(rows.ROWS, "going_on", start)
    results.main([*flags, "going_on"])
    going_on = json.loads((records / "tiny_going_on.json").read_text())
    assert going_on["initial_weights"].startswith("model tiny_best_random/model_1.pt")
    assert "from the model of row best_random" in (tmp_path / "README.md").read_text()
    # not before that is trained
    monkeypatch.setitem(rows.ROWS, "going_on", replace(start, weights="best_part"))
    once_more = [*flags, "--again", "going_on"]
    fails(results.main, once_more, capsys, "best_part", "going_on starts from it", code=1)


def test_what_is_recorded_is_not_run_again_and_what_lacks_its_weights_left_out(again, capsys):
    flags, _ = again
    results.main([*flags, "best_random", "variants"])
    said = capsys.readouterr().out
    assert "is there" in said and "variants: left out" in said


def test_a_variant_is_judged_against_its_base_image_by_image():
    rng = np.random.default_rng(0)
    true = rng.uniform(40, 180, (60, 14, 2))
    base, worse = true + rng.normal(0, 5, true.shape), true + rng.normal(0, 9, true.shape)
    found = recording.compare(worse, true, LSP, base)
    gained = (
        metrics.score(base, true, LSP)["pdj"]["0.20"]
        - metrics.score(worse, true, LSP)["pdj"]["0.20"]
    )
    low, high = found["pdj_0.2"]["interval"]
    assert found["pdj_0.2"]["gain"] == pytest.approx(gained) and 0 < low < gained < high
    assert found["pcp_strict_mean_4"]["gain"] > 0


def test_a_variants_line_is_of_its_run_and_of_its_bases_working_directory(
    workdir, data, tmp_path, records, monkeypatch
):
    """The base's scores of the held-out images are those in the folder of its run, not a record's."""
    for name in ("tiny_variants", "tiny_no_turn"):
        (tmp_path / name).mkdir()
        for path in workdir.iterdir():
            (tmp_path / name / path.name).symlink_to(path)
        (tmp_path / name / "model_1.json").write_text(
            json.dumps(
                {
                    "seed": 0,
                    "run": {"commit": "0123456789ab"},
                    "settings": {"rows": 4, "epochs": 1, "input_px": 65},
                }
            )
        )
    true = data.train_labels[data.held_out].astype(float)
    poses = {"tiny_variants": true, "tiny_no_turn": true + 30}
    monkeypatch.setattr(
        recording, "held_out_poses", lambda folder, *_: {"stage_1": poses[folder.name]}
    )
    for name in ("no_turn", "variants", "no_turn"):  # again: its line is replaced
        assert (
            recording.record(name, "tiny", tmp_path / f"tiny_{name}", [], 3, None)
            == records / "variants.csv"
        )
    base, line = variants.load_all()
    assert (base["row"], base["pdj_0.2"], base["against"], base["gain_pdj_0.2"]) == (
        "variants",
        1.0,
        "",
        None,
    )
    assert line["against"] == "variants" and line["gain_pdj_0.2"] == pytest.approx(
        1 - line["pdj_0.2"], abs=1e-5
    )
    assert line["gain_pdj_0.2_low"] <= line["gain_pdj_0.2"] <= line["gain_pdj_0.2_high"]
    assert line["flags"].startswith("--vary turn_deg=0 ") and line["commit"] == "0123456789ab"
    assert recording.is_recorded("no_turn", "tiny") and not recording.is_recorded("no_turn", "cpu")
    facts = json.loads((workdir / "dataset.json").read_text())
    facts["digests"]["train_labels.npy"] = "another"
    (tmp_path / "tiny_variants" / "dataset.json").unlink()
    files.save_json(tmp_path / "tiny_variants" / "dataset.json", facts)
    with pytest.raises(RunError, match="other arrays"):
        recording.record("no_turn", "tiny", tmp_path / "tiny_no_turn", [], 3, None)


def test_a_variant_without_its_base_is_not_run(tmp_path, records):
    with pytest.raises(RunError, match="tiny_variants: holds no trained model_1.pt"):
        run.run_row("no_turn", "tiny", tmp_path / "work", tmp_path, tmp_path / "part.pth", 3, [])
    assert not (tmp_path / "work").exists()


def test_runs_of_two_sizes_are_told_apart(records):
    for size in ("cpu", "full"):
        line = {column: 1 for column in variants.COLUMNS} | {
            "size": size,
            "row": "variants",
            "against": "",
        }
        variants.save(line)
    both = variant_tables.variant_tables(variants.load_all())
    assert len(both) == 2 and "(cpu)" in both[0] and "(full)" in both[1]


def test_every_recorded_variant_has_the_flags_that_make_it_today():
    """Those of the former recipe too, whose entries are no longer the default."""
    for line in variants.load_all():
        flags = sizes.stage_1_flags(line["row"], line["size"])
        assert line["flags"] == " ".join([*flags, "--weights", "FILE"])
        assert (line["against"] or None) == rows.ROWS[line["row"]].against
        assert ("turn_deg=40" in flags) == line["row"].startswith("former")


def test_a_row_that_is_not_there_is_refused(capsys):
    fails(results.main, ["best_guess"], capsys, "best_guess", "best_random")


def test_a_row_that_fails_is_said_and_the_others_go_on(tmp_path, records, capsys):
    """Without photographs step 1 fails, for each row, in one line at the end."""
    flags = flags_of(tmp_path, tmp_path)
    fails(
        results.main,
        [*flags, "best_random", "best_imagenet"],
        capsys,
        "best_random: LSP_data.py ended",
        "best_imagenet",
        code=1,
    )


def test_a_text_without_a_place_for_tables_is_refused(records, capsys):
    Path(table.ACCURACY).write_text("no marks\n")
    fails(results.main, ["--table"], capsys, table.ACCURACY, "no place for the tables")
    assert Path(table.ACCURACY).read_text() == "no marks\n"


def test_reliability_counts_what_is_right_by_how_sure_it_was():
    confidence = np.array([0.05, 0.05, 0.3, 0.3, 0.3, 1.0, 0.6, np.nan])
    errors = np.array([0.9, 0.1, 0.2, 0.21, 0.1, 0.0, np.nan, 0.1])
    found = reliability.reliability(confidence, errors)
    assert [row[:3] for row in found] == [(0, 0.1, 2), (0.25, 0.4, 3), (0.85, 1, 1)]
    np.testing.assert_allclose([row[3:] for row in found], [(0.05, 0.5), (0.3, 2 / 3), (1, 1)])
