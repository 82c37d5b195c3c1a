"""Files written under a temporary name, flushed, and renamed when complete: JSON and tables.

No torch here.
"""

import csv
import json
import os
import shutil
from contextlib import contextmanager

import numpy as np

from deeppose.locks import lock
from deeppose.shell import InputError, RunError

# levels of JSON: the project writes 6, and hundreds would exhaust the stack of what reads them
DEEPEST = 50
LARGEST_NUMBER = 1e15  # in a table: what is larger makes no picture


@contextmanager
def replacing(path):
    """A temporary path beside `path`: what is written there replaces `path` when the block ends.

    It is flushed to disk and renamed. On an error the temporary is removed and `path` stays as it
    was. One that a killed run left is replaced.
    """
    temporary = temporary_of(path)
    try:
        # removed, never written through, since it might be a link to somewhere else
        temporary.unlink(missing_ok=True)
        yield temporary
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_names(path.parent)
    except OSError as error:
        error.filename = error.filename or str(path)  # a failed write names no file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def temporary_of(path):
    """The name of `path` while it is being written."""
    return path.with_name(path.name + ".tmp")


def _flush_names(folder):
    """Make the renames in a folder outlast a power failure, where the system can.

    Windows cannot: it opens no folder.
    """
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def need_space(folder, needed_bytes, replaced=()):
    """RunError where the disk that holds `folder` has less than needed_bytes free.

    replaced  paths that will be written: what a killed run left of them is removed first
    """
    for path in replaced:
        temporary_of(path).unlink(missing_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise RunError(
            f"{folder}: the disk has {free / 1e9:.1f} GB free, {needed_bytes / 1e9:.1f} GB are needed"
        )


def make_folder(path, advice):
    """Make a folder, and those above it, if it is missing.

    Raises InputError, which ends in the advice, where it is a file.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{path}: is not a folder; {advice}") from None


def present(path, made_by):
    """The path.

    Raises InputError where there is no file that may be read, naming the step that makes it.
    """
    if not path.exists():
        raise InputError(f"{path}: not found; {made_by} makes it")
    if not path.is_file():
        raise InputError(f"{path}: is not a file; {made_by} makes it")
    try:
        open(path, "rb").close()
    except PermissionError:
        raise InputError(f"{path}: may not be read by you; change its permissions") from None
    return path


def save_json(path, content, indent=1):
    """Write `content` as readable JSON, a level indented by so much.

    Numbers that are not finite become null.
    """
    with replacing(path) as temporary:
        temporary.write_text(json_text(content, indent) + "\n", encoding="utf-8")


def json_text(content, indent=None):
    """`content` as JSON, on one line or a level indented by so much.

    Numbers that are not finite become null.
    """
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def _finite(content):
    """The content of a JSON file with null for each number that is not finite."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not np.isfinite(content) else content


def load_json(path, made_by):
    """The object in a JSON file, a dictionary; InputError where it is missing or anything else."""
    content = parse_json(present(path, made_by), f"run {made_by} again")
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; run {made_by} again")
    return content


def parse_json(path, advice):
    """Content of a JSON file.

    Raises InputError, which ends in the advice, where it cannot be read or is nested too deep.
    """
    # read it
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise InputError(f"{path}: is not JSON; {advice}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {advice}") from None
    # go down level by level, without recursion, which deep nesting would exhaust
    level = [content]
    for _ in range(DEEPEST):
        level = [child for parent in level for child in _children(parent)]
    if level:
        raise InputError(f"{path}: is nested more than {DEEPEST} deep; {advice}")
    return content


def _children(content):
    """The values of a JSON object or list, one level down."""
    if isinstance(content, dict):
        return content.values()
    return content if isinstance(content, list) else ()


def save_csv(path, rows):
    """Write a table of rows, dictionaries whose keys are the columns; what one lacks is nan."""
    columns = dict.fromkeys(key for row in rows for key in row)
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(columns), restval="nan", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def append_csv(path, row):
    """Add one row, a dictionary with the table's columns, to a table: whole or not at all.

    One process at a time does so. Raises InputError where the table there has other columns.
    """
    with lock(path.parent, path.name, wait=True):
        rows = load_rows(path, list(row)) if path.exists() else []
        save_csv(path, [*rows, row])


def load_rows(path, columns):
    """Rows of a table as dictionaries of text.

    Raises InputError where it is no table of just these columns.
    """
    advice = (
        f"take it from the project's history again, or mend its first line: {','.join(columns)}"
    )
    try:
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            rows = list(table)
            # csv has None as the key of what a row has too much, and as the value of what it lacks
            complete = all(None not in (*row, *row.values()) for row in rows)
            is_table = complete and table.fieldnames == list(columns)
    except (csv.Error, ValueError):
        is_table = False
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {advice}") from None
    if not is_table:
        raise InputError(f"{path}: is no such table; {advice}")
    return rows


def load_csv(path, columns):
    """A training's table by epoch, as save_csv wrote it: each column an array (rows,) of numbers.

    columns  those that must be there, "epoch" among them
    Raises InputError where it is no such table.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        table = {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}
        too_large = any((np.abs(table[key]) > LARGEST_NUMBER).any() for key in columns)
        is_table = not too_large and not np.isnan(table["epoch"]).any()
    except (csv.Error, LookupError, TypeError, ValueError):
        is_table = False
    if not is_table:
        raise InputError(
            f"{path}: is no table of {', '.join(columns)}; delete it, the training makes it anew"
        )
    return table
