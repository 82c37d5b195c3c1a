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
    dotted_names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            dotted_names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # "from package import name" does not tell whether the name is a module
            dotted_names.add(node.module)
            dotted_names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return dotted_names


@functools.cache
def used_files(path):
    """Files of the project that a module imports, or, in the package, names in a string.

    A set of paths from the project.
    """
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        # a broken file is a prerequisite too, and the step itself will say what is wrong with it
        return set()
    # imports, of which those of other packages lead to no file
    candidates = {name.replace(".", "/") + ".py" for name in imported_names(tree)}
    project_files = {candidate for candidate in candidates if Path(candidate).is_file()}
    # files that are read and not imported, such as a page's .html
    if path.startswith(f"{PACKAGE}/"):
        constants = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        file_names = {file.name for file in Path(PACKAGE).iterdir()}
        project_files |= {f"{PACKAGE}/{file_name}" for file_name in file_names & constants}
    return project_files


def prerequisites(script):
    """The script and all of the project's files that it uses, directly or not.

    A sorted list of paths from the project.
    """
    visited = set()
    to_visit = [script]
    while to_visit:
        path = to_visit.pop()
        if path not in visited:
            visited.add(path)
            to_visit += used_files(path)
    return sorted(visited)


def joints(workdir):
    """Names of the joints of a working directory's data set that have a refiner, a list.

    There are none where dataset.json is missing or wrong.
    """
    try:
        dataset_json = json.loads((Path(workdir) / "dataset.json").read_text(encoding="utf-8"))
        not_refined = dataset_json.get("not_refined", ())
        joint_names = [
            joint_name
            for joint_name in dataset_json["skeleton"]["joints"]
            if joint_name not in not_refined
        ]
        # make and the shell would take any other name apart
        are_plain = all(JOINT.fullmatch(joint_name) for joint_name in joint_names)
        return joint_names if are_plain else []
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
    for joint_name in joints(options.workdir):
        print(f"joint:{joint_name}")


if __name__ == "__main__":
    main()
