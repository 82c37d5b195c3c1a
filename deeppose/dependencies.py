"""Facts for the Makefile: the files that each script is made of, and the data set's joints.

    python -m deeppose.dependencies WORKDIR SCRIPT ...

prints a line SCRIPT:FILE for the script and each file that its imports lead to, and, once step 1
has written WORKDIR/dataset.json, a line joint:NAME for each joint that has a refiner. Only Python's
own library is needed: make asks before the packages are there.
"""

import argparse
import ast
import functools
import json
import re
from pathlib import Path

PACKAGE = "deeppose"
JOINT = re.compile(r"[A-Za-z0-9_]+")  # a name that make and the shell take as it is


def imported_names(tree):
    """Dotted names that a module's code may import, of modules and of what is in them."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@functools.cache
def used_files(path):
    """Files of the project that one module uses itself: those it imports, and those of the package
    that it names."""
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        # a broken file is a prerequisite too, and the step itself will say what is wrong with it
        return set()
    files = {name.replace(".", "/") + ".py" for name in imported_names(tree)}
    files = {file for file in files if Path(file).is_file()}
    if path.startswith(f"{PACKAGE}/"):
        strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        files |= {
            f"{PACKAGE}/{file.name}" for file in Path(PACKAGE).iterdir() if file.name in strings
        }
    return files


def prerequisites(script):
    """The script and all of the project's files that it uses, directly or not, as sorted paths from
    the project."""
    found = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += used_files(path)
    return sorted(found)


def joints(workdir):
    """The joints of a working directory's data set that have a refiner.

    There are none where dataset.json is missing or wrong.
    """
    try:
        facts = json.loads((Path(workdir) / "dataset.json").read_text(encoding="utf-8"))
        names = [
            name for name in facts["skeleton"]["joints"] if name not in facts.get("not_refined", ())
        ]
        return names if all(JOINT.fullmatch(name) for name in names) else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []  # the steps that read it will say what is wrong with it


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "workdir", metavar="WORKDIR", help="folder of dataset.json, which may be missing"
    )
    parser.add_argument(
        "scripts", nargs="*", metavar="SCRIPT", help="in the project's folder, such as LSP_data.py"
    )
    options = parser.parse_args()
    for script in options.scripts:
        for path in prerequisites(script):
            print(f"{script}:{path}")
    for name in joints(options.workdir):
        print(f"joint:{name}")


if __name__ == "__main__":
    main()
