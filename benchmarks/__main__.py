"""Measure each step's speed and memory, against the plain way and the bare network or disk.

Writes  a table, and the same as JSON with the hardware's name
Run     python -m benchmarks          make bench
        python -m benchmarks --predict (predict.py alone, on one core)
"""

import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import measure, predicting, steps
from deeppose import files, run_flags, runtime, shell, workdir

ROOT = Path(__file__).resolve().parent.parent
NAMES = {
    "1": ("LSP_data.py", "rows"),
    "2": ("Train_stage_1.py", "images"),
    "4": ("steps 3 and 4, stage 1", "images"),
    "5": ("Train_stage_2.py", "crops"),
    "6": ("test_stage_2.py, 3 joints", "images"),
}
IMAGES = 4000  # of each set, but LSP has 1,000 for training and 1,000 for testing


def measure_step(bench, number, seconds):
    """One row of the table, as a dict."""
    quiet = io.StringIO()  # what the steps print
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        rates, ratios = measure.compare(getattr(bench, f"step_{number}")(), seconds, bench.clear)
    return {
        "step": NAMES[number][0],
        "unit": f"{NAMES[number][1]}/s",
        "rates": rates,
        "against_plain": ratios["plain"],
        "against_limit": ratios["limit"],
    }


def memory_of(bench, number):
    """Peak anonymous memory (bytes) of the step as a command."""
    bench.write_models(number)
    return measure.peak_memory([sys.executable, *bench.commands()[number]], ROOT)


def measure_torchrun(bench, rows):
    """Stage 2's training time in one process of one thread, over that of two of one thread."""
    flags = [
        "--workdir",
        str(bench.workdir),
        "--joints",
        ",".join(steps.JOINTS[:2]),
        "--epochs",
        "1",
        "--rows",
        str(rows),
        "--device",
        "cpu",
    ]
    seconds = []
    for start in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]):
        measure.peak_memory(
            [sys.executable, *start, "Train_stage_2.py", *flags],
            ROOT,
            {**os.environ, "OMP_NUM_THREADS": "1"},
        )
        seconds.append(
            [
                files.load_json(bench.workdir / f"model_{name}.json", "")["seconds"]
                for name in steps.JOINTS[:2]
            ]
        )
    return {
        "seconds_one_process": seconds[0],
        "seconds_two_processes": seconds[1],
        "speed_up": sum(seconds[0]) / max(seconds[1]),
    }


def measure_scaling(photos, folder, run, sizes, seconds):
    """Rates and memory of steps 1, 2 and 4 at about so many rows (sizes): a list of dicts."""
    found = []
    for size in sizes:
        workdir = folder / str(size)
        with contextlib.redirect_stdout(io.StringIO()):
            bench = steps.Bench(photos, workdir, images_a_set(size), run)
        result = {"rows": len(bench.data.train_images)}
        for number in ("1", "2", "4"):
            ways = getattr(bench, f"step_{number}")()
            with contextlib.redirect_stdout(io.StringIO()):
                rates, _ = measure.compare({"ours": ways["ours"]}, seconds / 3, bench.clear)
            result[f"step_{number}"] = rates["ours"]
            result[f"step_{number}_bytes"] = memory_of(bench, number)
        found.append(result)
        print(
            f"{result['rows']:>6} rows  "
            + "  ".join(
                f"step {n}: {result[f'step_{n}']:.1f}/s {(result[f'step_{n}_bytes'] or 0) / 1e6:.0f} MB"
                for n in "124"
            ),
            flush=True,
        )
    return found


def images_a_set(rows):
    """How many images of each set give about that many rows: 2.25 an image, but LSP has only
    1,000."""
    images = rows / 2.25
    return round(max(images / 2, images - 1000))


def table_row(row):
    """A row of the table; its heading where None."""
    if row is None:
        return f"{'':<27}{'ours':>10}{'plain':>9}{'limit':>9}  {'':<9}{'/ plain':>8}{'/ limit':>8}{'memory':>10}"
    memory = f"{row['bytes'] / 1e6:.0f} MB" if row.get("bytes") else "-"
    return (
        f"{row['step']:<27}{row['rates']['ours']:>10.1f}{row['rates']['plain']:>9.1f}{row['rates']['limit']:>9.1f}"
        f"  {row['unit']:<9}{row['against_plain']:>8.2f}{row['against_limit']:>8.2f}{memory:>10}"
    )


def parse(argv):
    """The command line: see --help."""
    parser = run_flags.parser(__doc__, workdir=None, shown="of --predict: as predict.py's")
    parser.add_argument(
        "--photos",
        type=Path,
        help="folder as LSP_data.py's --source (default: the real ones, or "
        "rendered ones where those are not at hand)",
    )
    parser.add_argument(
        "--seconds", type=float, default=60, help="to measure each step for (default: 60)"
    )
    parser.add_argument("--steps", default="1,2,4,5,6", help="which (default: 1,2,4,5,6)")
    parser.add_argument(
        "--scaling",
        metavar="N,N,...",
        help="instead measure steps 1, 2 and 4 at about so many rows",
    )
    parser.add_argument(
        "--torchrun", action="store_true", help="measure two processes against one, on the CPU"
    )
    parser.add_argument(
        "--predict",
        action="store_true",
        help="instead measure predict.py with the model of --workdir, on one core",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks.json"), help="default: benchmarks.json"
    )
    return parser.parse_args(argv)


@shell.command
def main(argv=None):
    options = parse(argv)
    run = runtime.choose(options)
    with tempfile.TemporaryDirectory(prefix="deeppose-bench-") as folder:
        folder = Path(folder)
        if options.predict:
            print(f"{measure.hardware(run.device)}, one thread\n")
            found = predicting.measure_predict(
                options.workdir or workdir.with_model(), options, folder
            )
            files.save_json(
                options.output,
                {"hardware": measure.hardware(run.device), "run": run.facts(), "predict": found},
            )
            return print(f"\n{options.output}")
        photos, kind = (
            (options.photos, str(options.photos))
            if options.photos
            else steps.find_photos(folder / "photos")
        )
        result = {"hardware": measure.hardware(run.device), "run": run.facts(), "photos": kind}
        print(f"{result['hardware']}\n{run}\n{kind}\n", flush=True)
        if options.scaling:
            result["scaling"] = measure_scaling(
                photos, folder, run, map(int, options.scaling.split(",")), options.seconds
            )
        else:
            with contextlib.redirect_stdout(io.StringIO()):
                bench = steps.Bench(photos, folder / "arrays", IMAGES, run)
            print(table_row(None), flush=True)
            result["steps"] = []
            for number in options.steps.split(","):
                result["steps"].append(measure_step(bench, number, options.seconds))
                result["steps"][-1]["bytes"] = memory_of(bench, number)
                print(table_row(result["steps"][-1]), flush=True)
            if options.torchrun:
                result["torchrun"] = measure_torchrun(bench, rows=40)
                print(
                    f"torchrun, stage 2: two processes of one thread are {result['torchrun']['speed_up']:.2f} "
                    "times as fast as one"
                )
        files.save_json(options.output, result)
        print(f"\n{options.output}")


if __name__ == "__main__":
    sys.exit(main())
