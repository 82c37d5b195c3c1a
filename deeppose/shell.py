"""The scripts at the shell: their arguments, and errors as one line and an exit code."""

import argparse
import errno
import functools
import math
import re
import signal
import sys
import threading
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path

_until_end = ExitStack()  # locks and the like, given back when the command ends
OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory", re.IGNORECASE)


class InputError(Exception):
    """Bad input or usage: one line that names the file, says what is wrong and what to do.

    Exit code 2.
    """


class RunError(Exception):
    """The machine's or the run's trouble, such as a full disk: one line. Exit code 1."""


def command(main):
    """Decorate a script's main(argv=None), so that errors become one line on stderr.

    SystemExit has the code 1 or 2, 130 after Ctrl-C, 143 after SIGTERM.
    """

    @functools.wraps(main)
    def wrapped(argv=None):
        script_name = name_of(sys.modules[main.__module__].__file__)
        # only the main thread may handle signals
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _stop)
        # a file's name may be in no encoding at all, and is printed nevertheless
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            with _until_end:
                return main(argv)
        except InputError as error:
            message = _one_line(error)
            exit_code = 2
        except RunError as error:
            message = _one_line(error)
            exit_code = 1
        except (MemoryError, RuntimeError) as error:
            # torch has a class of its own for each device; the words are the same
            if not isinstance(error, MemoryError) and not OUT_OF_MEMORY.search(str(error)):
                raise
            message = "out of memory; use a smaller --batch-size, or another --device"
            exit_code = 1
        except KeyboardInterrupt:
            message = "stopped"
            exit_code = 130
        except OSError as error:
            fault = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
            message = _one_line(f"{error.filename}: {fault}" if error.filename else fault)
            exit_code = 1
        print(f"{script_name}: error: {message}", file=sys.stderr)
        raise SystemExit(exit_code)

    return wrapped


def name_of(script_path):
    """A script's name as one calls it: python -m results for results/__main__.py."""
    path = Path(script_path)
    return f"python -m {path.parent.name}" if path.name == "__main__.py" else path.name


def _stop(signal_number, stack_frame):
    """End the command on a signal, unwinding, so that temporary files are removed."""
    raise SystemExit(128 + signal_number)


def _one_line(error):
    """An error's message in one line."""
    return " ".join(str(error).split())


def until_end(context):
    """Enter a context manager, such as a lock's, to be left when the command ends.

    Returns what its `with` statement would give.
    """
    return _until_end.enter_context(context)


class _CopiedOutput:
    """An output stream that copies what is written to it into a file."""

    def __init__(self, stream, file):
        self.stream = stream
        self.file = file

    def __getattr__(self, attribute_name):
        # whatever else a stream can do, such as telling whether it is a terminal
        return getattr(self.stream, attribute_name)

    def write(self, text):
        self.file.write(text)
        return self.stream.write(text)


@contextmanager
def log(path, append):
    """Write what is printed to `path` too while the block runs, and the error that ends it.

    append  whether to keep what is there; else it is replaced
    Raises InputError where it cannot be written.
    """
    mode = "a" if append else "w"
    try:
        # flushed line by line, so that it can be followed
        file = open(path, mode, encoding="utf-8", errors="backslashreplace", buffering=1)
    except OSError as error:
        raise InputError(
            f"--log {path}: cannot be written ({error.strerror}); name another file"
        ) from None
    with file, redirect_stdout(_CopiedOutput(sys.stdout, file)):
        try:
            yield
        except (InputError, RunError) as error:
            file.write(f"error: {_one_line(error)}\n")
            raise


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors take one line, and that takes no flag cut short: --epoch is
    another flag than --epochs."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message):
        """Exit with code 2 and the message, without the usage that argparse prints before it."""
        self.exit(2, f"{self.prog}: error: {_one_line(message)}; see --help\n")


def parser(description, workdir=Path("."), shown="%(default)s"):
    """ArgumentParser of a script's docstring with --workdir, whose default is shown as `shown`."""
    arguments = Parser(
        prog=name_of(sys.argv[0]),
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument(
        "--workdir",
        type=Path,
        default=workdir,
        help=f"folder of the arrays and models (default: {shown})",
    )
    return arguments


def add_source_arguments(arguments, limited):
    """Add step 1's --source, --limit, --skip-broken and --seed.

    limited  what --limit leaves, the beginning of its help
    """
    arguments.add_argument(
        "--source",
        type=Path,
        default=Path("."),
        help="folder with the downloaded sets (default: .)",
    )
    arguments.add_argument(
        "--limit", type=at_least(1), metavar="N", help=f"only {limited} (default: all)"
    )
    arguments.add_argument(
        "--skip-broken",
        action="store_true",
        help="name images that cannot be used, and go on without them (default: name them and stop)",
    )
    arguments.add_argument(
        "--seed",
        type=at_least(0),
        default=0,
        help="of everything that is drawn at random (default: 0)",
    )


def at_least(lowest, number_type=int, most=math.inf):
    """argparse type: a number from `lowest` to `most`, whole unless number_type is float."""

    # argparse calls a text that is no number by this name: "invalid number value"
    def number(text):
        value = number_type(text)
        if not value >= lowest:  # so that NaN is refused too
            raise argparse.ArgumentTypeError(f"{value} is less than {lowest}")
        if value > most:
            raise argparse.ArgumentTypeError(f"{value} is more than {most}")
        return value

    return number
