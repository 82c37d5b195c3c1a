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
    # warm up
    for work in ways.values():
        before()
        work()
    # measure in turns
    rates = {way: [] for way in ways}
    end = time.monotonic() + seconds
    while len(next(iter(rates.values()))) < ROUNDS or time.monotonic() < end:
        for way, work in ways.items():
            before()
            began = time.perf_counter()
            row_count = work()
            rates[way].append(row_count / (time.perf_counter() - began))
    # ratios of neighbouring rounds, which met the same disturbances
    first, *others = ways
    ratios = {}
    for other in others:
        pairs = zip(rates[first], rates[other])
        ratios[other] = statistics.median(first_rate / rate for first_rate, rate in pairs)
    medians = {way: statistics.median(way_rates) for way, way_rates in rates.items()}
    return medians, ratios


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
    ) as process:
        # read its errors meanwhile, so that a full pipe does not stop it
        errors = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reader.start()
        peak_bytes = 0
        while process.poll() is None:
            family_bytes = sum(map(anonymous_bytes, family(process.pid)))
            peak_bytes = max(peak_bytes, family_bytes)
            time.sleep(0.05)
        reader.join()
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))}: failed\n{errors[0]}")
    return peak_bytes or None


def anonymous_bytes(pid):
    """Anonymous resident memory of a process, bytes; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def family(pid):
    """Numbers of a process and of all below it."""
    pids = [pid]
    for children_file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = children_file.read_text().split()
        except OSError:
            continue  # it has just ended
        for child in children:
            pids += family(int(child))
    return pids


def hardware(device):
    """Name of the machine that figures are measured on."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    # units that make bf16 fast
    units = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
    model = models[0] if models else "CPU"
    return ", ".join([model, f"{os.cpu_count()} cores", *units])
