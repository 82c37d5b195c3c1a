"""The ledger of the test set's use, results/ledger.csv: a line each time a row is scored on it.

The first lines were read off the project's history: one for each record, or README, that first held
such scores.
"""

import time

from deeppose import csv_files
from results import paths

COLUMNS = ("date", "row", "stages", "commit", "what")


def scored(digest, looks=()):
    """A line's words for the stage-1 model that was scored, by the digest of its file, and the flags
    by which it looked."""
    return " ".join([f"stage 1 {digest[:12]}", *looks])


def append(row, stages, commit, what):
    """Add a line: row as <size>_<name>, stages a sequence of numbers, the commit that trained stage
    1."""
    line = {
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "row": row,
        "stages": " ".join(map(str, stages)),
        "commit": commit,
        "what": what,
    }
    csv_files.append(paths.ledger(), line)


def entries():
    """Lines as dictionaries, oldest first; none where nothing was scored yet."""
    return csv_files.load_rows(paths.ledger(), COLUMNS) if paths.ledger().exists() else []


def sentence():
    """The README's sentence on how often the test images were scored."""
    lines = entries()
    if not lines:
        return "No scoring of the test images is on record."
    row_count = len({line["row"] for line in lines})
    first_day = lines[0]["date"][:10]
    last_day = lines[-1]["date"][:10]
    return (
        f"The test images were scored {len(lines)} times on record (`results/ledger.csv`), of {row_count} rows, from "
        f"{first_day} to {last_day}; earlier scorings during development that left no record cannot be excluded."
    )
