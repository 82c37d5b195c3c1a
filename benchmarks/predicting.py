"""Measure predict.py on one core: photographs a second, time to load, memory."""

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

import predict
from benchmarks import measure

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "docs" / "sample_photo.jpg"
TOGETHER = 32
LOADS = 3
ONE_CORE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
LOADING = """
import sys, time
import torch
began = time.perf_counter()
import predict
predict.load(*sys.argv[1:])
print(time.perf_counter() - began)
"""


def rates(folder, options, seconds):
    """Photographs a second: "<stages>, <n> at a time" -> median, on one thread.

    "<stages>, one look" is of a photograph decoded before and seen once, one at a time;
    "<stages>, flip test" as predict.py works with that flag.
    """
    # one core, as on a small server
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = predict.load(folder, options.device, options.precision, options.compile)
    # with refiners and without
    models = {"all stages": model} if model.refiners else {}
    models["stage 1"] = replace(model, refiners={})

    def way(model, photographs):
        return lambda: len(predict.predict(model, photographs))

    with Image.open(PHOTO) as photo:
        decoded = photo.convert("RGB")
    ways = {}
    for stages, stages_model in models.items():
        for count in (1, TOGETHER):
            ways[f"{stages}, {count} at a time"] = way(stages_model, [PHOTO] * count)
        ways[f"{stages}, one look"] = way(replace(stages_model, two_pass=False), [decoded])
        if model.skeleton.has_sides:
            ways[f"{stages}, flip test"] = way(replace(stages_model, flip_test=True), [PHOTO])
    try:
        return measure.compare(ways, seconds)[0]
    finally:
        torch.set_num_threads(threads)


def load_seconds(folder, options):
    """Seconds from an imported torch to a loaded model, each in a process of its own.

    The least of them was undisturbed.
    """
    command = [sys.executable, "-c", LOADING, str(folder), options.device, options.precision]
    env = os.environ | ONE_CORE | {"PYTHONPATH": str(ROOT)}
    return [
        float(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)
        for _ in range(LOADS)
    ]


def memory_bytes(folder, options, output):
    """Peak anonymous memory of predict.py on one photograph; None where there is no /proc."""
    command = [
        sys.executable,
        ROOT / "predict.py",
        PHOTO,
        "--workdir",
        folder.resolve(),
        "--output",
        output,
        "--device",
        options.device,
        "--precision",
        options.precision,
    ]
    return measure.peak_memory(command, ROOT, os.environ | ONE_CORE)


def measure_predict(folder, options, output):
    """Rates, seconds to load and memory as a dictionary; prints each as it comes."""
    result = {"model": str(folder)}
    with contextlib.redirect_stdout(io.StringIO()):
        result["rates"] = rates(folder, options, options.seconds)
    for way, rate in result["rates"].items():
        print(f"{way:<32}{rate:>8.1f} photographs/s", flush=True)
    result["load_seconds"] = load_seconds(folder, options)
    print(f"{'loading, beyond torch':<32}{min(result['load_seconds']):>8.1f} s")
    result["bytes"] = memory_bytes(folder, options, output)
    print(f"{'memory':<32}{(result['bytes'] or 0) / 1e6:>8.0f} MB")
    return result
