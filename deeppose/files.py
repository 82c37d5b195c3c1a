"""Files written under a temporary name, flushed, and renamed when complete; JSON files.

No torch here.
"""

import json
import os
import shutil
from contextlib import contextmanager

import numpy as np

from deeppose.shell import InputError, RunError

# levels of JSON: the project writes 6, and hundreds would exhaust the stack of what reads them
DEEPEST = 50


@contextmanager
def replacing(path):
    """A temporary path beside `path`: what is written there replaces `path` when the block ends.

    It is flushed to disk and renamed. On an error the temporary file is removed and `path` stays as
    it was. A temporary file that a killed run left is replaced.
    """
    temporary_path = temporary_path_of(path)
    try:
        # removed, never written through, since it might be a link to somewhere else
        temporary_path.unlink(missing_ok=True)
        yield temporary_path
        # flushed first, so that a power failure leaves no empty file under the final name
        with open(temporary_path, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary_path, path)
        _flush_renames(path.parent)
    except OSError as error:
        error.filename = error.filename or str(path)  # a failed write names no file
        raise
    finally:
        temporary_path.unlink(missing_ok=True)


def temporary_path_of(path):
    """The path that is written in place of `path` until it is complete."""
    return path.with_name(path.name + ".tmp")


def _flush_renames(folder):
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
    """Raise RunError where the disk that holds `folder` has less than needed_bytes free.

    replaced  paths that will be written: what a killed run left of them is removed first
    """
    remove_unfinished(replaced)
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise RunError(
            f"{folder}: the disk has {free_bytes / 1e9:.1f} GB free, "
            f"{needed_bytes / 1e9:.1f} GB are needed"
        )


def remove_unfinished(paths):
    """Remove what a killed run left of files that it was writing."""
    for path in paths:
        temporary_path_of(path).unlink(missing_ok=True)


def make_folder(path, advice):
    """Make a folder, and those above it, if it is missing.

    advice  what to do where it is a file, the end of the InputError
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{path}: is not a folder; {advice}") from None


def present(path, made_by):
    """The path, once it is known to be a file that may be read.

    made_by  the step that makes it, which InputError names where there is no such file
    """
    if not path.exists():
        raise InputError(f"{path}: not found; {made_by} makes it")
    if not path.is_file():
        raise InputError(f"{path}: is not a file; {made_by} makes it")
    # permissions are known for sure only by opening it
    try:
        open(path, "rb").close()
    except PermissionError:
        raise InputError(f"{path}: may not be read by you; change its permissions") from None
    return path


def save_json(path, content, indent=1):
    """Write `content` as readable JSON, each level indented by so many spaces.

    Numbers that are not finite become null.
    """
    with replacing(path) as temporary_path:
        temporary_path.write_text(json_text(content, indent) + "\n", encoding="utf-8")


def json_text(content, indent=None):
    """`content` as JSON, on one line or each level indented by so many spaces.

    Numbers that are not finite become null.
    """
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def _finite(content):
    """Content of a JSON file with None for each number that is not finite: JSON has no such."""
    if isinstance(content, dict):
        return {key: _finite(child) for key, child in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(child) for child in content]
    if isinstance(content, float) and not np.isfinite(content):
        return None
    return content


def load_json(path, made_by):
    """The object in a JSON file, a dictionary; InputError where it is missing or no object.

    made_by  the step that makes the file, named in the error
    """
    content = parse_json(present(path, made_by), f"run {made_by} again")
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; run {made_by} again")
    return content


def parse_json(path, advice):
    """Content of a JSON file.

    advice  what to do where it cannot be read or is nested too deep, the end of the InputError
    """
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
    """The entries of a JSON object or list, one level down."""
    if isinstance(content, dict):
        return content.values()
    return content if isinstance(content, list) else ()
