"""Run the rows of the tables of results, record them, and make the tables.

Reads   the photographs in --source, as LSP_data.py does
Writes  of a row that is scored on the test images a line in results/ledger.csv,
        results/<size>_<row>.json, and results/predictions/<size>_<row>_stage_<S>.npz
        of a variant, which is not, a line in results/variants.csv
        the tables in README.md and docs/accuracy.md
Run     python -m results            make results
        python -m results --check    recompute every recorded score and interval from the recorded
                                     predictions

Rows that are there already are left alone; a run that was stopped goes on where it was.
"""

import sys
from pathlib import Path

from deeppose import run_flags, runtime, shell
from deeppose.shell import InputError, RunError
from results import check, recording, records, run, table
from results.rows import PRESENT, ROWS
from results.sizes import SIZES

PART = "part of ImageNet's"


def parse(argv):
    """The command line: see --help."""
    parser = run_flags.parser(__doc__)
    parser.add_argument(
        "rows",
        nargs="*",
        metavar="ROW",
        help=f"of {', '.join(ROWS)} (default: all but those of the former recipe)",
    )
    parser.add_argument(
        "--size", choices=SIZES, default="full", help="how long each runs (default: full)"
    )
    parser.add_argument(
        "--source", type=Path, default=Path("."), help="folder of the photographs (default: .)"
    )
    parser.add_argument(
        "--part",
        type=Path,
        metavar="FILE",
        help=f"ResNet-34 weights in torchvision's format for the rows from {PART} weights; "
        "those rows are left out without it",
    )
    parser.add_argument(
        "--stages",
        type=int,
        choices=(1, 2, 3),
        default=3,
        help="no more than so many stages, for small machines (default: 3)",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="record rows again that are recorded already; steps that are finished in "
        "WORKDIR/<size>_<row> stay as they are: remove it to train anew",
    )
    parser.add_argument(
        "--table", action="store_true", help="only make the tables from what is recorded"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="recompute every score and interval of the records from the recorded predictions, and "
        "what each row's last stage has over another's; runs step 1 where WORKDIR has no "
        "arrays, and nothing else",
    )
    parser.set_defaults(workdir=Path("results_work"))
    options = parser.parse_args(argv)
    if options.rows and (options.table or options.check):
        parser.error("--table and --check are of all that is recorded; leave the rows out")
    return options


def run_and_record(row_name, options, machine_flags, runtime_here):
    """Run a row and record it; prints where."""
    workdir, steps = run.run_row(
        row_name,
        options.size,
        options.workdir,
        options.source,
        options.part,
        options.stages,
        machine_flags,
    )
    path = recording.record(row_name, options.size, workdir, steps, options.stages, runtime_here)
    print(path, flush=True)


@shell.command
def main(argv=None):
    options = parse(argv)
    if unknown := set(options.rows) - set(ROWS):
        raise InputError(f"there is no row {min(unknown)}; there are {', '.join(ROWS)}")
    if options.check:
        return check.report(options.workdir, options.source)
    # what the steps are to know of this machine
    machine_flags = []
    for option_name in ("device", "precision"):
        value = getattr(options, option_name)
        if value != "auto":
            machine_flags.append(f"--{option_name}={value}")
    machine_flags += ["--compile"] * options.compile
    runtime_here = runtime.choose(options)

    # run and record the rows; one that fails does not keep the others from it
    failed = []
    # in their order: a row comes after those that it starts from or is compared with
    row_names = [row_name for row_name in ROWS if row_name in (options.rows or PRESENT)]
    for row_name in [] if options.table else row_names:
        if recording.is_recorded(row_name, options.size) and not options.again:
            print(f"{options.size}_{row_name}: is there")
        elif ROWS[row_name].weights == "part" and not options.part:
            print(f"{row_name}: left out, --part names no weights")
        else:
            print(f"== {row_name}: {ROWS[row_name].title}", flush=True)
            try:
                run_and_record(row_name, options, machine_flags, runtime_here)
            except (RunError, InputError) as error:
                failed.append(f"{row_name}: {error}")
                print(failed[-1], flush=True)

    # set the tables and the picture from all that is recorded
    table.write()
    table.draw()
    print(f"{table.README}, {table.ACCURACY}: tables of {len(records.load_all())} rows")
    if failed:
        raise RunError("; ".join(failed))


if __name__ == "__main__":
    sys.exit(main())
