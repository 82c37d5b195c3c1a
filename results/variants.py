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
    *(f"gain_{score}{end}" for score in SCORES for end in ("", "_low", "_high")),
    "commit",
    "flags",
)
COUNTS = ("seed", "epochs", "rows", "input_px", "images")


def entry(facts, scores, gains):
    """A line of the table.

    facts   its columns up to images, "commit" and "flags"
    scores  metrics.score's of the held-out images
    gains   of the base over this row, as results.recording.compare gives them; {} for a base
    """
    line = dict(facts)
    for score, (kind, key) in SCORES.items():
        line[score] = round(scores[kind][key], 6)
    # what the base has over it; a base has empty cells
    line["against"] = gains.get("row", "")
    for score in SCORES:
        cells = ("", "", "")
        if gains:
            low, high = gains[score]["interval"]
            cells = [round(value, 6) for value in (gains[score]["gain"], low, high)]
        line |= zip((f"gain_{score}", f"gain_{score}_low", f"gain_{score}_high"), cells)
    return {column: line[column] for column in COLUMNS}


def save(line):
    """Put a line into the table, in place of what it had of that row and size, in the order of
    ROWS."""
    # several rows may be run at a time
    with lock(paths.RECORDS, paths.variants().name, wait=True):
        key = (line["size"], line["row"])
        others = [other for other in _load_text() if (other["size"], other["row"]) != key]
        row_order = list(ROWS)
        lines = sorted(
            [*others, line], key=lambda each: (each["size"], row_order.index(each["row"]))
        )
        csv_files.save(paths.variants(), lines)


def load_all():
    """All lines as dictionaries, numbers as numbers, None where a cell is empty."""
    return [_typed(line) for line in _load_text()]


def has(row_name, size):
    """Whether a row is in the table."""
    return any((line["size"], line["row"]) == (size, row_name) for line in _load_text())


def _load_text():
    """All lines as dictionaries of texts; none where nothing was recorded yet."""
    return csv_files.load_rows(paths.variants(), COLUMNS) if paths.variants().exists() else []


def _typed(line):
    """A line of texts, its numbers as numbers."""
    typed = dict(line)
    for column in COLUMNS:
        if column in COUNTS:
            typed[column] = int(line[column])
        elif column in SCORES or column.startswith("gain_"):
            typed[column] = float(line[column]) if line[column] else None
    return typed
