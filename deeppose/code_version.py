"""The code that trains a model, as its provenance names it: the git commit and a digest."""

import functools
import hashlib
import subprocess
import sys
from pathlib import Path

from deeppose.arrays import PROJECT

COMMIT_DIGITS = 12
GIT_SECONDS = 5  # it takes 0.01; on a disk that hangs, training goes on without a commit


def code_digest():
    """sha256 of the project's own imported files: a resumed run warns where they have changed."""
    module_files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    paths = {Path(file).resolve() for file in module_files if file and file.endswith(".py")}
    project_folders = (PROJECT, PROJECT / "deeppose")
    project_paths = sorted(
        path for path in paths if path.parent in project_folders and path.is_file()
    )
    return hashlib.sha256(b"".join(path.read_bytes() for path in project_paths)).hexdigest()


@functools.cache  # as the code was imported, whatever is edited while it runs
def commit():
    """The project's git commit, 12 digits, with "+" where a tracked script differs from it.

    None where the project is no git checkout of its own, or git is missing or fails.
    """
    # the commits of a repository around the project are of something else
    if not (PROJECT / ".git").exists():
        return None
    # one call tells the commit and the edited scripts; it takes no lock, so that a git command
    # running at the same time does not fail
    status = "git --no-optional-locks status --porcelain=v2 --branch --untracked-files=no"
    command = [*status.split(), "--", "*.py"]
    try:
        completed = subprocess.run(command, cwd=PROJECT, capture_output=True, timeout=GIT_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    # header lines begin with "#"; the others name an edited file each
    lines = completed.stdout.decode(errors="replace").splitlines()
    commit_ids = [line.split()[-1] for line in lines if line.startswith("# branch.oid ")]
    if completed.returncode or not commit_ids or commit_ids == ["(initial)"]:
        return None
    is_edited = any(not line.startswith("#") for line in lines)
    return commit_ids[0][:COMMIT_DIGITS] + ("+" if is_edited else "")


def joined_commits(commits_before, commit_now, same_code):
    """Commits that trained a resumed run, in order, as "first, second".

    Of commits with the same code the first is enough.
    """
    if not commits_before or not commit_now:
        return commits_before or commit_now
    if same_code or commit_now in commits_before.split(", "):
        return commits_before
    return f"{commits_before}, {commit_now}"
