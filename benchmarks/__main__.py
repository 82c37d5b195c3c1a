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
from benchmarks.bench import JOINTS, Bench, find_photos
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
        if options.predict:
            result = bench_predict(options, run, Path(folder))
        else:
            result = bench_steps(options, run, Path(folder))
        files.save_json(options.output, result)
        print(f"\n{options.output}")


def bench_predict(options, run, folder):
    """Measure predict.py; returns what is written as JSON."""
    hardware = measure.hardware(run.device)
    print(f"{hardware}, one thread\n")
    models = options.workdir or workdir.with_model()
    figures = predicting.measure_predict(models, options, folder)
    return {"hardware": hardware, "run": run.facts(), "predict": figures}


def bench_steps(options, run, folder):
    """Measure the steps, or how they scale; returns what is written as JSON."""
    # the photographs
    if options.photos:
        photos = options.photos
        kind = str(photos)
    else:
        photos, kind = find_photos(folder / "photos")
    hardware = measure.hardware(run.device)
    result = {"hardware": hardware, "run": run.facts(), "photos": kind}
    print(f"{hardware}\n{run}\n{kind}\n", flush=True)
    if options.scaling:
        sizes = map(int, options.scaling.split(","))
        result["scaling"] = measure_scaling(photos, folder, run, sizes, options.seconds)
        return result
    # each step
    with contextlib.redirect_stdout(io.StringIO()):
        bench = Bench(photos, folder / "arrays", IMAGES, run)
    print(table_head(), flush=True)
    result["steps"] = []
    for number in options.steps.split(","):
        row = measure_step(bench, number, options.seconds)
        row["bytes"] = memory_of(bench, number)
        result["steps"].append(row)
        print(table_row(row), flush=True)
    # two processes
    if options.torchrun:
        result["torchrun"] = measure_torchrun(bench, row_count=40)
        print(
            f"torchrun, stage 2: two processes of one thread are {result['torchrun']['speed_up']:.2f} "
            "times as fast as one"
        )
    return result


def measure_step(bench, number, seconds):
    """One row of the table, as a dict."""
    printed = io.StringIO()  # by the steps
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        ways = getattr(steps, f"step_{number}")(bench)
        rates, ratios = measure.compare(ways, seconds, bench.clear)
    step_name, unit = NAMES[number]
    return {
        "step": step_name,
        "unit": f"{unit}/s",
        "rates": rates,
        "against_plain": ratios["plain"],
        "against_limit": ratios["limit"],
    }


def memory_of(bench, number):
    """Peak anonymous memory (bytes) of the step as a command."""
    bench.write_models(number)
    return measure.peak_memory([sys.executable, *bench.commands()[number]], ROOT)


def measure_torchrun(bench, row_count):
    """Stage 2's training time in one process of one thread, over that of two of one thread."""
    joint_names = JOINTS[:2]
    flags = [
        "--workdir",
        str(bench.workdir),
        "--joints",
        ",".join(joint_names),
        "--epochs",
        "1",
        "--rows",
        str(row_count),
        "--device",
        "cpu",
    ]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    seconds = []
    for launcher in ([], torchrun):
        command = [sys.executable, *launcher, "Train_stage_2.py", *flags]
        measure.peak_memory(command, ROOT, one_thread)  # for its run alone
        provenances = [
            files.load_json(bench.workdir / f"model_{joint_name}.json", "")
            for joint_name in joint_names
        ]
        seconds.append([provenance["seconds"] for provenance in provenances])
    return {
        "seconds_one_process": seconds[0],
        "seconds_two_processes": seconds[1],
        "speed_up": sum(seconds[0]) / max(seconds[1]),
    }


def measure_scaling(photos, folder, run, sizes, seconds):
    """Rates and memory of steps 1, 2 and 4 at about so many rows (sizes): a list of dicts."""
    results = []
    for size in sizes:
        workdir = folder / str(size)
        with contextlib.redirect_stdout(io.StringIO()):
            bench = Bench(photos, workdir, images_a_set(size), run)
        result = {"rows": len(bench.dataset.train_images)}
        for number in ("1", "2", "4"):
            ways = getattr(steps, f"step_{number}")(bench)
            with contextlib.redirect_stdout(io.StringIO()):
                rates, _ = measure.compare({"ours": ways["ours"]}, seconds / 3, bench.clear)
            result[f"step_{number}"] = rates["ours"]
            result[f"step_{number}_bytes"] = memory_of(bench, number)
        results.append(result)
        print(scaling_line(result), flush=True)
    return results


def scaling_line(result):
    """Rates and memory at one number of rows, in a line."""
    texts = [f"{result['rows']:>6} rows"]
    for number in ("1", "2", "4"):
        megabytes = (result[f"step_{number}_bytes"] or 0) / 1e6
        texts.append(f"step {number}: {result[f'step_{number}']:.1f}/s {megabytes:.0f} MB")
    return "  ".join(texts)


def images_a_set(rows):
    """Number of images of each set that give about so many rows: 2.25 an image, but LSP has only
    1,000."""
    image_count = rows / 2.25
    return round(max(image_count / 2, image_count - 1000))


def table_head():
    """The table's first line."""
    return f"{'':<27}{'ours':>10}{'plain':>9}{'limit':>9}  {'':<9}{'/ plain':>8}{'/ limit':>8}{'memory':>10}"


def table_row(row):
    """A row of the table."""
    rates = row["rates"]
    memory = f"{row['bytes'] / 1e6:.0f} MB" if row.get("bytes") else "-"
    return (
        f"{row['step']:<27}{rates['ours']:>10.1f}{rates['plain']:>9.1f}{rates['limit']:>9.1f}"
        f"  {row['unit']:<9}{row['against_plain']:>8.2f}{row['against_limit']:>8.2f}{memory:>10}"
    )


if __name__ == "__main__":
    sys.exit(main())
