"""Markdown that the tables of results are set in."""

import re
import textwrap

from deeppose import text_tables

LINE = 120  # columns of prose


def grid(heads, rows):
    """A table: heads and rows of strings."""
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def cell(score, interval=None, sign=""):
    """.453 ± .015, as fractions without their zero."""
    text = text_tables.score_cell(score, interval, sign)
    return re.sub(r"(?<![\d])0\.", ".", text.replace(" ±", " ± "))


def prose(text):
    """Text in lines of at most LINE columns."""
    return textwrap.fill(text, LINE, break_long_words=False, break_on_hyphens=False)
