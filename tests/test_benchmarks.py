"""The benchmarks measure what they say, and run."""
import json
import sys
import time

import pytest

from benchmarks import __main__ as bench
from benchmarks import measure


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
    bench.main(["--photos", str(photos), "--steps", "1", "--seconds", "0", "--output", str(tmp_path / "bench.json")])
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["hardware"] and found["steps"][0]["against_plain"] > 0 and "LSP_data.py" in capsys.readouterr().out
