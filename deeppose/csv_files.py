"""Tables as .csv files: a training's by epoch, and the ledgers of runs. No torch here."""

import csv

import numpy as np

from deeppose.files import replacing
from deeppose.locks import lock
from deeppose.shell import InputError

LARGEST_NUMBER = 1e15  # in a training's table: what is larger makes no picture


def save(path, rows):
    """Write a table of rows, dictionaries whose keys are the columns; what one lacks is nan."""
    # a dict, not a set, which would lose the columns' order
    columns = dict.fromkeys(column for row in rows for column in row)
    with (
        replacing(path) as temporary_path,
        open(temporary_path, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(columns), restval="nan", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def append(path, row):
    """Add one row, a dictionary with the table's columns, to a table: whole or not at all.

    One process at a time does so. Raises InputError where the table there has other columns.
    """
    with lock(path.parent, path.name, wait=True):
        former_rows = load_rows(path, list(row)) if path.exists() else []
        save(path, [*former_rows, row])


def load_rows(path, columns):
    """Rows of a table, dictionaries of text.

    Raises InputError where it is no table of just these columns.
    """
    advice = (
        f"take it from the project's history again, or mend its first line: {','.join(columns)}"
    )
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            # csv has None as the key of a row's surplus fields, and as the value of missing ones
            is_complete = all(None not in (*row, *row.values()) for row in rows)
            is_table = is_complete and reader.fieldnames == list(columns)
    except (csv.Error, ValueError):
        is_table = False
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {advice}") from None
    if not is_table:
        raise InputError(f"{path}: is no such table; {advice}")
    return rows


def load_numbers(path, columns):
    """A training's table by epoch, as `save` wrote it: each column an array (rows,) of numbers.

    columns  those that must be there, "epoch" among them
    Raises InputError where it is no such table.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        # every row has the first one's columns, each a number or nan
        table = {column: np.array([float(row[column]) for row in rows]) for column in rows[0]}
        # nan elsewhere is a score that the epoch lacks, but an epoch has a number
        is_too_large = any((np.abs(table[column]) > LARGEST_NUMBER).any() for column in columns)
        is_table = not is_too_large and not np.isnan(table["epoch"]).any()
    except (csv.Error, LookupError, TypeError, ValueError):
        is_table = False
    if not is_table:
        raise InputError(
            f"{path}: is no table of {', '.join(columns)}; delete it, the training makes it anew"
        )
    return table
