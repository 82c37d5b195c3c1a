"""JSON files from strangers, read one entry at a time. No torch here.

Memory holds one entry of the file's lists, not the file: the 240 MB of COCO's annotations, most of
them outlines, pass through in some megabytes. Everything that is wrong is an InputError that names
the file.
"""

import json
import re

from deeppose.shell import InputError

LARGEST_FILE = 1_000_000_000  # bytes: COCO's largest has 0.24 billion
LARGEST_ENTRY = 16_000_000  # characters: COCO's largest annotation has some 100,000
PIECE = 1_000_000  # characters that are read at once
AFTER_A_VALUE = tuple(",:]} \t\n\r")  # a number is complete where one of these follows
WHITESPACE = re.compile(r"[ \t\n\r]*")


def entries(path):
    """Yield (key, entry) of each list in the file's object, in the file's order.

    A file that is one list gives (None, entry). Whatever else lies in the object is skipped.
    Raises InputError where the file is missing, too large or not JSON, perhaps only after much of
    it was handed out.
    """
    check_file(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            reader = _ValueReader(path, file)
            if reader.peek() == "[":
                yield from ((None, entry) for entry in reader.list_entries())
            else:
                yield from _object_entries(reader)
            if reader.peek():
                raise ValueError("more than one value")
    except PermissionError:
        raise InputError(f"{path}: may not be read by you; change its permissions") from None
    except (ValueError, RecursionError):
        raise InputError(
            f"{path}: is not JSON; it may be incomplete, so fetch or export it again"
        ) from None


def check_file(path):
    """Raise InputError where there is no file, or one larger than annotations can be."""
    if not path.exists():
        raise InputError(f"{path}: not found")
    if not path.is_file():
        raise InputError(f"{path}: is not a file")
    file_bytes = path.stat().st_size
    if file_bytes > LARGEST_FILE:
        raise InputError(
            f"{path}: has {file_bytes / 1e9:.1f} GB, more than {LARGEST_FILE / 1e9:.0f} GB of "
            "annotations are not read; leave out the outlines (segmentation)"
        )


def _object_entries(reader):
    """Yield (key, entry) of each list in the object that comes next."""
    reader.take("{")
    separator = "," if reader.peek() != "}" else ""
    while separator == ",":
        key = reader.value()
        if not isinstance(key, str):
            raise ValueError("a key that is no string")
        reader.take(":")
        if reader.peek() == "[":
            yield from ((key, entry) for entry in reader.list_entries())
        else:
            reader.value()  # no list: skipped
        separator = reader.peek()
        if separator == ",":
            reader.take(",")
    reader.take("}")


class _ValueReader:
    """An open file's text, from which one value after the other is taken."""

    def __init__(self, path, file):
        self.path = path
        self.file = file
        self.text = ""  # what was read and not dropped yet
        self.position = 0  # in the text, of what comes next
        self.has_ended = False
        self.decoder = json.JSONDecoder()

    def read_on(self):
        """Drop what was taken, and read as much again as is left.

        The text doubles each time, so that even a long entry is tried only a few times.
        """
        rest = self.text[self.position :]
        piece = self.file.read(max(PIECE, len(rest)))
        self.text = rest + piece
        self.position = 0
        self.has_ended = not piece

    def peek(self):
        """Next character that is no white space, not yet taken; "" at the end of the file."""
        while True:
            self.position = WHITESPACE.match(self.text, self.position).end()
            if self.position < len(self.text):
                return self.text[self.position]
            if self.has_ended:
                return ""
            self.read_on()

    def take(self, character):
        """Take the next character; ValueError where it is another."""
        if self.peek() != character:
            raise ValueError(f"{character} expected")
        self.position += 1

    def value(self):
        """Take the next value, whatever it is; ValueError where it is none."""
        self.peek()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.position)
            except ValueError:
                # before the end of the file the rest of the value may only not be read yet
                if self.has_ended:
                    raise
            else:
                # without what follows, "0" may be a value or the beginning of 0.5
                is_complete = self.text[end : end + 1] in AFTER_A_VALUE
                if is_complete or self.has_ended:
                    self.position = end
                    return value
            if len(self.text) - self.position > LARGEST_ENTRY:
                raise InputError(
                    f"{self.path}: is not JSON, or holds an entry of more than "
                    f"{LARGEST_ENTRY // 1_000_000} MB; do not trust it"
                )
            self.read_on()

    def list_entries(self):
        """Take a list; yields its entries one at a time."""
        self.take("[")
        separator = "," if self.peek() != "]" else ""
        while separator == ",":
            yield self.value()
            separator = self.peek()
            if separator == ",":
                self.take(",")
        self.take("]")
