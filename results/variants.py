"""Scores of the rows that the held-out images alone judge: a line a row in results/variants.csv."""

from deeppose import csv_files
from deeppose.locks import lock
from results import paths
from results.rows import ROWS

# column -> keys of metrics.score
SCORES = {"pdj_0.2": ("pdj", "0.20"), "pcp_strict_mean_4": ("pcp_strict", "mean_4")}
COLUMNS = (
    "size",
    "row",
    "seed",
    "weights",
    "epochs",
    "rows",
    "input_px",
    "images",
    *SCORES,
    "against",
    *(f"gain_{name}{end}" for name in SCORES for end in ("", "_low", "_high")),
    "commit",
    "flags",
)
COUNTS = ("seed", "epochs", "rows", "input_px", "images")


def entry(facts, scores, gains):
    """A line of the table.

    facts   its columns up to images, "commit" and "flags"
    scores  metrics.score's of the held-out images
    gains   of the base over this row, as results.run.compare gives them; {} for a base
    """
    line = facts | {name: round(scores[kind][key], 6) for name, (kind, key) in SCORES.items()}
    line["against"] = gains.get("row", "")
    for name in SCORES:
        low, high = gains[name]["interval"] if gains else ("", "")
        values = {"": gains[name]["gain"] if gains else "", "_low": low, "_high": high}
        line |= {
            f"gain_{name}{end}": round(value, 6) if gains else "" for end, value in values.items()
        }
    return {column: line[column] for column in COLUMNS}


def save(line):
    """Put a line into the table, in place of what it had of that row and size, in the order of
    ROWS."""
    with lock(paths.RECORDS, paths.variants().name, wait=True):
        key = (line["size"], line["row"])
        lines = [other for other in _lines() if (other["size"], other["row"]) != key]
        order = list(ROWS)
        csv_files.save(
            paths.variants(),
            sorted([*lines, line], key=lambda one: (one["size"], order.index(one["row"]))),
        )


def _lines():
    return csv_files.load_rows(paths.variants(), COLUMNS) if paths.variants().exists() else []


def found():
    """All lines as dictionaries, numbers as numbers, None where a cell is empty."""
    return [_typed(line) for line in _lines()]


def _typed(line):
    typed = dict(line)
    for name in COLUMNS:
        if name in COUNTS:
            typed[name] = int(line[name])
        elif name in SCORES or name.startswith("gain_"):
            typed[name] = float(line[name]) if line[name] else None
    return typed


def has(name, size):
    """Whether a row is in the table."""
    return any((line["size"], line["row"]) == (size, name) for line in _lines())
