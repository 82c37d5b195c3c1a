"""Tables of strings, and their text for the shell, at most 100 columns wide.

deeppose.report sets the same Tables for the browser.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table to be printed, all strings.

    title   above it
    groups  (title, column heads) pairs
    rows    (name, cells) pairs
    note    below it
    """

    title: str
    groups: tuple
    rows: tuple
    note: str = ""

    @property
    def heads(self):
        """The heads of all columns, group after group."""
        return [head for _, heads in self.groups for head in heads]


def text(table):
    """A Table as lines of text, columns as wide as they need to be."""
    # the columns' widths in letters
    row_names = [f"  {row_name}" for row_name, _ in table.rows]
    name_width = max(len(row_name) for row_name in (table.title, *row_names))
    columns = zip(table.heads, *(cells for _, cells in table.rows))
    widths = [2 + max(len(cell) for cell in column) for column in columns]
    # the groups' titles, each over the middle of its columns
    lines = []
    group_line = ""
    start = 0
    for title, heads in table.groups:
        group_width = sum(widths[start : start + len(heads)])
        group_line += f"{title:^{group_width}}"
        start += len(heads)
    if group_line.strip():
        lines.append(" " * name_width + group_line)
    # the columns' heads, the rows and the note
    lines.append(f"{table.title:<{name_width}}" + _align_right(table.heads, widths))
    for row_name, (_, cells) in zip(row_names, table.rows):
        lines.append(f"{row_name:<{name_width}}" + _align_right(cells, widths))
    if table.note:
        lines += [f"  {line}" for line in table.note.splitlines()]
    return "\n".join(line.rstrip() for line in lines)


def _align_right(cells, widths):
    """Cells in one line, each at the right of its column."""
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths))


def score_cell(score, interval, sign=""):
    """A score and half the width of its interval."""
    if interval is None or math.isnan(interval[0]):
        return number_cell(score, sign)
    half_width = (interval[1] - interval[0]) / 2
    return f"{number_cell(score, sign)} ±{half_width:.3f}"


def number_cell(score, sign=""):
    """A score in three digits, "-" for None and NaN; sign "+" writes it out."""
    return "-" if score is None or math.isnan(score) else f"{score:{sign}.3f}"
