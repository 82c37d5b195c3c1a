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

    def _take(lock_file):
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except ImportError:  # Windows locks bytes, against reading too: so one far behind the text is taken
    import msvcrt

    def _take(lock_file):
        lock_file.seek(2**30)
        msvcrt.locking(lock_file.fileno(), msvcrt.LK_NBLCK, 1)


NO_LOCKS_HERE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # some network disks


@contextmanager
def lock(workdir, output, wait=False):
    """Keep other processes from making `output`, such as "model_1", while the block runs.

    workdir  the working directory
    wait     whether to wait for a process that holds the lock, instead of stopping
    Raises RunError, naming the process, where another one holds the lock, InputError where the
    folder cannot be written to.
    """
    path = workdir / f"{output}.lock"
    while not (lock_file := _try_lock(path, wait)):
        time.sleep(0.1)
    with lock_file:
        try:
            # name the holder, for whoever comes next
            lock_file.truncate(0)
            lock_file.seek(0)
            lock_file.write(
                f"{os.path.basename(sys.argv[0])}, process {os.getpid()} on {socket.gethostname()}, "
                f"since {time.strftime('%Y-%m-%d %H:%M:%S')}"
            )
            lock_file.flush()
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
        descriptor = os.open(path, flags, 0o666)
        lock_file = open(descriptor, "r+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot be written to ({error.strerror}); "
            "--workdir names another folder"
        ) from None
    # take the lock, or tell who has it
    try:
        _take(lock_file)
    except OSError as error:
        if error.errno in NO_LOCKS_HERE:
            return lock_file
        with lock_file:
            lock_file.seek(0)
            holder = lock_file.read(200) or "another process"
        if wait:
            return None
        raise RunError(
            f"{path}: {holder}, is making this; wait for it, or name another --workdir"
        ) from None
    # a lock on a file that was removed meanwhile keeps nobody out
    try:
        if os.path.samestat(os.fstat(lock_file.fileno()), os.stat(path)):
            return lock_file
    except FileNotFoundError:
        pass  # its holder has just finished and removed it
    lock_file.close()
    return None
