"""Rates of several ways to do one thing, measured in turns; and the memory of whole commands."""

import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

ROUNDS = 3  # at least


def compare(ways, seconds, before=lambda: None):
    """Rows per second of each way: {name: median}, and for each but the first the median of first /
    other.

    ways     {name: function that does some rows and returns how many}; each runs once to warm up
    seconds  to spend in all; the ways take turns, so that they meet the same disturbances
    before   called before each, not timed
    """
    for work in ways.values():
        before()
        work()
    rates = {name: [] for name in ways}
    end = time.monotonic() + seconds
    while len(next(iter(rates.values()))) < ROUNDS or time.monotonic() < end:
        for name, work in ways.items():
            before()
            began = time.perf_counter()
            rates[name].append(work() / (time.perf_counter() - began))
    first, *others = ways
    ratios = {
        other: statistics.median(a / b for a, b in zip(rates[first], rates[other]))
        for other in others
    }
    return {name: statistics.median(found) for name, found in rates.items()}, ratios


def peak_memory(command, cwd, env=None):
    """Peak of the anonymous memory (bytes) of a command and all it starts, sampled.

    None where there is no /proc.
    """
    with subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        errors = []
        reader = threading.Thread(target=lambda: errors.append(running.stderr.read()))
        reader.start()
        peak = 0
        while running.poll() is None:
            peak = max(peak, sum(map(anonymous, family(running.pid))))
            time.sleep(0.05)
        reader.join()
    if running.returncode:
        sys.exit(f"{' '.join(map(str, command))}: failed\n{errors[0]}")
    return peak or None


def anonymous(pid):
    """Anonymous resident memory of a process, bytes; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def family(pid):
    """A process and all below it."""
    found = [pid]
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [
                relative for child in thread.read_text().split() for relative in family(int(child))
            ]
        except OSError:
            pass  # it has just ended
    return found


def hardware(device):
    """What the figures were measured on."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    units = [name for name in ("avx512_bf16", "amx_bf16") if name in flags]
    return f"{names[0] if names else 'CPU'}, {os.cpu_count()} cores{''.join(', ' + unit for unit in units)}"
