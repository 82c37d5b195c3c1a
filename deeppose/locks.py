"""One run at a time: locks on what a step writes into a working directory. No torch here.

The lock is the operating system's, on a small file that says who holds it, so it ends with the
process however that ends, and nothing has to be tidied up after a killed run.
"""

import errno
import os
import socket
import sys
import time
from contextlib import contextmanager

from deeppose.shell import InputError, RunError

try:
    import fcntl

    def _take(file):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except ImportError:  # Windows locks bytes, against reading too: so one far behind the text is taken
    import msvcrt

    def _take(file):
        file.seek(2**30)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)


NO_LOCKS_HERE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # some network disks


@contextmanager
def lock(workdir, output, wait=False):
    """Keep other processes from making `output`, such as "model_1", in the working directory.

    That holds while the block runs.

    wait  for a process that holds it, instead of stopping
    Raises RunError, naming it, where another process holds it, InputError where the folder cannot
    be written to.
    """
    path = workdir / f"{output}.lock"
    while not (file := _try_lock(path, wait)):
        time.sleep(0.1)
    with file:
        try:
            # name the holder, for whoever comes next
            file.truncate(0)
            file.seek(0)
            file.write(
                f"{os.path.basename(sys.argv[0])}, process {os.getpid()} on {socket.gethostname()}, "
                f"since {time.strftime('%Y-%m-%d %H:%M:%S')}"
            )
            file.flush()
            yield
        finally:
            try:
                path.unlink(missing_ok=True)
            except OSError:
                pass  # Windows removes no open file; the name does no harm


def _try_lock(path, wait):
    """The lock's open file; None where it is worth another try."""
    # open the file; no link is followed, since it would lead out of the folder
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        file = open(os.open(path, flags, 0o666), "r+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot be written to ({error.strerror}); "
            "--workdir names another folder"
        ) from None
    # take the lock, or tell who has it
    try:
        _take(file)
    except OSError as error:
        if error.errno in NO_LOCKS_HERE:
            return file
        with file:
            file.seek(0)
            holder = file.read(200) or "another process"
        if wait:
            return None
        raise RunError(
            f"{path}: {holder}, is making this; wait for it, or name another --workdir"
        ) from None
    # a lock on a file that was removed meanwhile keeps nobody out
    try:
        if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return file
    except FileNotFoundError:
        pass  # its holder has just finished and removed it
    file.close()
    return None
