"""Kill each of the six steps at random moments; nothing under a final name is ever broken, and
going on gives the same.

    python -m tests.torture --kills 10

Every step runs once undisturbed. Then, kill after kill: it starts in a folder with its inputs, half
of the time over the outputs of a former run, and is killed (SIGKILL) after a random part of the
time that the undisturbed run took from its first line on. All final names must then hold something
complete. After `--chain` kills it runs to its end (training with --resume), and every array and all
weights must be the undisturbed run's, byte for byte.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from deeppose import arrays, files, sample
from deeppose.dataset import open_dataset
from deeppose.shell import InputError

ROOT = Path(__file__).resolve().parent.parent
FP32 = ("--device", "cpu", "--precision", "fp32")
STEPS = {  # script, its flags, what it writes that must be the same again
    1: (
        "LSP_data.py",
        ("--source", "{photos}"),
        [
            f"{part}_{kind}"
            for part in ("train", "test")
            for kind in ("images.npy", "labels.npy", "rows.npy", "photographs.txt")
        ],
    ),
    2: (
        "Train_stage_1.py",
        (
            "--weights",
            "none",
            "--rows",
            "6",
            "--epochs",
            "2",
            "--batch-size",
            "2",
            "--input-px",
            "65",
            "--save-minutes",
            "0",
            *FP32,
        ),
        ["model_1.pt"],
    ),
    3: ("test_stage_1.py", FP32, ["test_output_1.npy", "test_confidence_1.npy"]),
    4: ("Generate_train_output.py", FP32, ["train_output.npy", "training_output.npy"]),
    5: (
        "Train_stage_2.py",
        (
            "--joints",
            "head",
            "--rows",
            "3",
            "--epochs",
            "2",
            "--batch-size",
            "1",
            "--make-deltas",
            "--crop-px",
            "67",
            "--save-minutes",
            "0",
            *FP32,
        ),
        ["model_head.pt", "deltas.npy", "deltas.json"],
    ),
    6: ("test_stage_2.py", FP32, ["test_output_2.npy", "test_confidence_2.npy"]),
}
TRAINING = (2, 5)


class Torture:
    """The undisturbed run of the steps up to `last`, and what killing them showed."""

    def __init__(self, folder, seed=None, last=6):
        self.folder, self.random, self.kills, self.whole = Path(folder), random.Random(seed), 0, 0
        self.photos = self.folder / "photos"
        sample.write_sample(self.photos, lsp=20, lspet=6, seed=3)
        self.done, self.seconds = {0: self.folder / "done_0"}, {}
        self.done[0].mkdir()
        for step in range(1, last + 1):
            self.done[step] = self.folder / f"done_{step}"
            link_all(self.done[step - 1], self.done[step])
            process = self.start(step, self.done[step])
            began = time.monotonic()
            process.communicate()
            assert process.returncode == 0, f"step {step}, undisturbed"
            self.seconds[step] = time.monotonic() - began

    def start(self, step, workdir, *more):
        """The step as a process that has printed its first line: Python and the libraries are
        loaded."""
        script, flags, _ = STEPS[step]
        flags = [flag.format(photos=self.photos) for flag in flags]
        process = subprocess.Popen(
            [sys.executable, "-u", ROOT / script, "--workdir", workdir, *flags, *more],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        process.stdout.readline()
        return process

    def kill_once(self, step, workdir, *more):
        """Start the step and kill it at a random moment; then look at all that lies under a final
        name."""
        process = self.start(step, workdir, *more)
        time.sleep(self.random.uniform(0, 1.05 * self.seconds[step]))
        process.kill()
        process.communicate()
        self.kills += process.returncode != 0
        self.whole += process.returncode == 0  # it was already through
        check_final_names(workdir)

    def chain(self, step, kills, over_former_run):
        """Kill the step `kills` times in one folder, then let it end, and compare."""
        workdir = self.folder / f"at_{step}"
        link_all(self.done[step if over_former_run else step - 1], workdir)
        resume = ["--resume"] if step in TRAINING else []
        for n in range(kills):
            self.kill_once(step, workdir, *(resume if n or not over_former_run else []))
        process = self.start(step, workdir, *resume)
        process.communicate()
        assert process.returncode == 0, f"step {step}, going on"
        check_final_names(workdir)
        for name in STEPS[step][2]:
            assert same_bytes(workdir / name, self.done[step] / name), (
                f"step {step}: {name} differs"
            )
        left = [*workdir.glob("*.tmp"), *workdir.glob("*.resume.pt"), *workdir.glob("*.lock")]
        assert not left, f"step {step}: {left}"
        shutil.rmtree(workdir)


def link_all(source, target):
    """A copy of a working directory; what is written anew replaces a name, never what it stands
    for."""
    target.mkdir()
    for path in source.iterdir():
        os.link(path, target / path.name)


def same_bytes(first, second):
    return arrays.digest(first) == arrays.digest(second)


def check_final_names(workdir):
    """Every file under a final name can be read, and is complete."""
    for path in workdir.iterdir():
        match path.suffix:
            case ".npy":
                array = np.load(path)
                assert array.size and path.stat().st_size == array.nbytes + 128, path
            case ".pt":
                assert torch.load(path, map_location="cpu", weights_only=True), path
            case ".json":
                files.load_json(path, "the step")
            case ".png":
                assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), path
            case ".html":
                assert path.read_text(encoding="utf-8").rstrip().endswith("</html>"), path
            case ".txt":
                assert path.read_text(encoding="utf-8").endswith("\n"), path
            case suffix:
                assert suffix in (".tmp", ".lock", ".csv"), path
    if (workdir / "dataset.json").exists():
        open_dataset(workdir)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10, help="of each step (default: 10)")
    parser.add_argument(
        "--chain", type=int, default=2, help="kills before a run is let to its end (default: 2)"
    )
    parser.add_argument("--steps", default="123456", help="such as 13 (default: 123456)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        torture = Torture(folder, options.seed, int(max(options.steps)))
        print(
            "undisturbed, from the first line on: "
            + "  ".join(
                f"step {step} {seconds:.1f} s" for step, seconds in torture.seconds.items()
            ),
            flush=True,
        )
        for step in map(int, options.steps):
            before = torture.kills, torture.whole
            chains = 0
            while torture.kills - before[0] < options.kills:
                torture.chain(step, options.chain, over_former_run=chains % 2 == 1)
                chains += 1
            print(
                f"step {step}: {torture.kills - before[0]} kills, {torture.whole - before[1]} more came too late; "
                f"{chains} runs to the end, all the same bytes",
                flush=True,
            )
    print(f"{torture.kills} kills in all")


if __name__ == "__main__":
    try:
        main()
    except (AssertionError, InputError) as error:
        sys.exit(f"torture: {error}")
