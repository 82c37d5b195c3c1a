"""The benchmarks measure what they say, and run."""

import json
import sys
import time

import pytest
import torch
from helpers import FP32, write_model

import Train_stage_1
import Train_stage_2
from benchmarks import __main__ as bench
from benchmarks import measure, predicting
from benchmarks.bench import Bench, refiner
from deeppose.runtime import Runtime


def test_ways_take_turns_and_ratios_are_of_the_first_to_the_others():
    turns = []

    def way(name, rows):
        def work():
            turns.append(name)
            time.sleep(0.02)
            return rows

        return work

    rates, ratios = measure.compare({"ours": way("ours", 30), "plain": way("plain", 10)}, 0)
    assert turns == ["ours", "plain"] * 4  # one to warm up
    assert ratios == {"plain": pytest.approx(3, rel=0.2)} and 500 < rates["ours"] <= 1500


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_is_that_of_a_command_and_what_it_starts(tmp_path):
    child = "import time; a = b'x' * 60_000_000; time.sleep(0.5)"
    parent = f"import subprocess, sys; a = b'x' * 40_000_000; subprocess.run([sys.executable, '-c', {child!r}])"
    assert 95e6 < measure.peak_memory([sys.executable, "-c", parent], tmp_path) < 160e6


def test_a_bench_of_step_1(photos, tmp_path, capsys):
    bench.main(
        [
            "--photos",
            str(photos),
            "--steps",
            "1",
            "--seconds",
            "0",
            "--output",
            str(tmp_path / "bench.json"),
        ]
    )
    found = json.loads((tmp_path / "bench.json").read_text())
    assert (
        found["hardware"]
        and found["steps"][0]["against_plain"] > 0
        and "LSP_data.py" in capsys.readouterr().out
    )


def test_step_6_can_read_what_the_commands_of_steps_2_and_5_leave(photos, tmp_path):
    bench_of_photos = Bench(photos, tmp_path, 10, Runtime(torch.device("cpu"), "fp32"))
    commands = bench_of_photos.commands()
    trained_refiner = Train_stage_2.parse(list(map(str, commands["5"][1:]))).recipe.options
    assert trained_refiner["head"] == refiner().head
    trained_stage_1 = Train_stage_1.parse(list(map(str, commands["2"][1:]))).recipe.options
    assert trained_stage_1["head"] == bench_of_photos.stage_1().head


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_bench_of_predict(tmp_path, monkeypatch, capsys):
    """Rates of one and of several at a time, on one thread; loading beyond torch; memory of the
    whole command."""
    monkeypatch.setattr(predicting, "TOGETHER", 3)
    monkeypatch.setattr(predicting, "LOADS", 1)
    write_model(tmp_path, input_size=(65, 65))
    bench.main(
        [
            "--predict",
            "--workdir",
            str(tmp_path),
            "--seconds",
            "0",
            "--output",
            str(tmp_path / "b.json"),
            *FP32,
        ]
    )
    found = json.loads((tmp_path / "b.json").read_text())["predict"]
    assert (
        set(found["rates"])
        == {f"stage 1, {way}" for way in ("1 at a time", "3 at a time", "one look", "flip test")}
        and min(found["rates"].values()) > 0
    )
    assert found["load_seconds"][0] > 0 and 1e8 < found["bytes"] < 1e9
    assert "photographs/s" in capsys.readouterr().out
