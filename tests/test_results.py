"""`python -m results`: a row's steps are run, recorded, and set as the README's tables; the README's are up to date."""
import json

import numpy as np
import pytest
from helpers import fails

from deeppose import deltas, metrics
from deeppose.shell import RunError
from deeppose.skeleton import LSP
from results import __main__ as results
from results import rows, run, table


def test_the_readmes_tables_are_those_of_the_recorded_runs():
    text = table.README.read_text(encoding="utf-8")
    assert text.count(table.MARKS[0]) == text.count(table.MARKS[1]) == 1
    assert table.markdown() in text


def test_every_row_has_flags_at_every_size_and_a_base_that_comes_before_it():
    names = list(rows.ROWS)
    for name, row in rows.ROWS.items():
        assert all(isinstance(flag, str) for size in rows.SIZES for flag in rows.stage_1_flags(name, size))
        assert row.against is None or names.index(row.against) < names.index(name)


def test_the_originals_row_has_the_originals_refiners_at_every_size():
    """Also where a size adds nothing to their flags."""
    for size in rows.SIZES:
        for flags in rows.refiner_commands("original", size, 2):
            assert flags[:2] == ("--recipe", "original")


def test_the_commands_of_a_stage_train_each_joint_once_after_what_it_starts_from():
    for name in ("best_part", "original"):
        for stage in (2, 3):
            trained = []
            for flags in rows.refiner_commands(name, "cpu", stage):
                given = dict(zip(flags[::2], flags[1::2]))
                joints, weights = given.get("--joints", ",".join(LSP.joints)).split(","), given.get("--weights")
                if weights == "opposite":
                    assert {LSP.joints[LSP.flip[LSP.index(joint)]] for joint in joints} <= set(trained)
                elif weights not in (None, "none", "former"):
                    assert weights.removeprefix("model_").removesuffix(".pt") in trained
                trained += joints
            assert sorted(trained) == sorted(LSP.joints)


def test_deltas_npy_is_drawn_from_the_recorded_errors():
    """The project's deltas.npy has the spread of the held-out errors that the run it came from recorded."""
    path = run.RECORDS / "deltas.json"
    if not path.exists():
        pytest.skip("the project's deltas.npy comes from a run that was not recorded")
    record = json.loads((run.RECORDS / json.loads(path.read_text())["record"]).read_text())
    drawn = np.load(deltas.OWN)
    for joint, name in enumerate(LSP.joints):
        known = record["held_out"]["stage_1"]["errors"][name]
        spread = np.sqrt(np.diag(known["covariance"]))
        assert (np.abs(drawn[joint].mean(0) - known["mean"]) < 4 * spread / np.sqrt(40)).all()
        assert (np.abs(np.log(drawn[joint].std(0, ddof=1) / spread)) < 0.5).all()


def test_a_row_is_run_recorded_and_set(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(table, "README", tmp_path / "README.md")
    monkeypatch.setattr(table, "CURVES", tmp_path / "curves.png")
    (tmp_path / "records").mkdir()
    (tmp_path / "README.md").write_text(f"before\n{table.MARKS[0]}\nold\n{table.MARKS[1]}\nafter\n")
    flags = ["--size", "tiny", "--source", str(photos), "--workdir", str(tmp_path / "work"), "--device", "cpu"]
    results.main([*flags, "best_random"])
    found = json.loads((tmp_path / "records" / "tiny_best_random.json").read_text())
    assert [step["command"].split()[1] for step in found["steps"]] == [
        "LSP_data.py", "Train_stage_1.py", "test_stage_1.py", "Generate_train_output.py", "Train_stage_2.py",
        "Train_stage_2.py", "Train_stage_2.py", "test_stage_2.py"]
    assert set(found["cascade"]["stage_2"]) == {"head", "neck"} and set(found["cascade"]["stage_3"]) == {"head"}
    assert str(tmp_path) not in json.dumps(found) and found["initial_weights"] == "random" and found["rows"] == 4
    assert set(found["held_out"]) == {"stage_1", "stage_2", "stage_3"} and "stage_3" in found["test"]
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    strict = found["test"]["stage_1"]["pcp_strict"]["lower_legs"]
    assert f"{strict:.3f}".lstrip("0") in text
    assert "**stage 2** over stage 1" in text and "**stage 3** over stage 2" in text
    capsys.readouterr()
    results.main([*flags, "best_random", "variants"])  # the one is there, the other lacks its weights
    said = capsys.readouterr().out
    assert "is there" in said and "variants: left out" in said


def test_a_variant_is_judged_against_its_base_image_by_image(tmp_path):
    rng = np.random.default_rng(0)
    true = rng.uniform(40, 180, (60, 14, 2))
    base, worse = true + rng.normal(0, 5, true.shape), true + rng.normal(0, 9, true.shape)
    path = tmp_path / "base.json"
    poses = [" ".join(map(str, pose.flat)) for pose in base]
    path.write_text(json.dumps({"held_out": {"stage_1": {"joints_px": poses}}}))
    found = run.compare(worse, true, LSP, path)
    gained = metrics.score(base, true, LSP)["pdj"]["0.20"] - metrics.score(worse, true, LSP)["pdj"]["0.20"]
    low, high = found["pdj_0.2"]["interval"]
    assert found["pdj_0.2"]["gain"] == pytest.approx(gained) and 0 < low < gained < high
    assert found["pcp_strict_mean_4"]["gain"] > 0


def test_a_variant_without_its_base_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "RECORDS", tmp_path)
    with pytest.raises(RunError, match="variants"):
        run.run_row("no_turn", "tiny", tmp_path / "work", tmp_path, tmp_path / "part.pth", 3, [])
    assert not (tmp_path / "work").exists()


def test_runs_of_two_sizes_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "RECORDS", tmp_path)
    variant = json.loads((run.ROOT / "results" / "cpu_variants.json").read_text())
    for size in ("cpu", "full"):
        (tmp_path / f"{size}_variants.json").write_text(json.dumps(variant | {"size": size}))
    both = table.variant_tables(table.found())
    assert len(both) == 2 and "(full)" in both[0] and "(cpu)" in both[1]


def test_a_row_that_is_not_there_is_refused(capsys):
    fails(results.main, ["best_guess"], capsys, "best_guess", "best_random")


def test_a_row_that_fails_is_said_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    """Without photographs step 1 fails, for each row, in one line at the end."""
    monkeypatch.setattr(run, "RECORDS", tmp_path)
    monkeypatch.setattr(table, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text(f"{table.MARKS[0]}\n{table.MARKS[1]}\n")
    flags = ["--size", "tiny", "--source", tmp_path, "--workdir", tmp_path / "work", "--device", "cpu"]
    fails(results.main, [*flags, "best_random", "best_imagenet"], capsys, "best_random: LSP_data.py ended",
          "best_imagenet", code=1)
