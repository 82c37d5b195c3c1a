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
from results import check, run, table
from results.rows import PRESENT, ROWS, SIZES

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
    return parser.parse_args(argv)


@shell.command
def main(argv=None):
    options = parse(argv)
    if unknown := set(options.rows) - set(ROWS):
        raise InputError(f"there is no row {min(unknown)}; there are {', '.join(ROWS)}")
    if options.check:
        return check.report(options.workdir, options.source)
    more = [
        f"--{name}={value}"
        for name in ("device", "precision")
        if (value := getattr(options, name)) != "auto"
    ]
    more += ["--compile"] * options.compile
    runtime_here = runtime.choose(options)
    failed = []
    for name in [] if options.table else options.rows or PRESENT:
        if run.is_recorded(name, options.size) and not options.again:
            print(f"{options.size}_{name}: is there")
        elif ROWS[name].weights == "part" and not options.part:
            print(f"{name}: left out, --part names no weights")
        else:
            print(f"== {name}: {ROWS[name].title}", flush=True)
            try:
                workdir, steps = run.run_row(
                    name,
                    options.size,
                    options.workdir,
                    options.source,
                    options.part,
                    options.stages,
                    more,
                )
                print(
                    run.record(name, options.size, workdir, steps, options.stages, runtime_here),
                    flush=True,
                )
            except (RunError, InputError) as error:
                failed.append(f"{name}: {error}")
                print(failed[-1], flush=True)
    # set the tables and the picture from all that is recorded
    table.write()
    table.draw()
    print(f"{table.README}, {table.ACCURACY}: tables of {len(table.found())} rows")
    if failed:
        raise RunError("; ".join(failed))


if __name__ == "__main__":
    sys.exit(main())
