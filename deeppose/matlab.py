"""Reader of MATLAB files, versions 5 to 7: numbers, text, cells and structs. No torch here.

Source: MATLAB's "MAT-File Format", chapter 1. Not scipy.io.loadmat: a broken file can make that end
the whole process, with a segmentation fault.
"""

import math
import struct
import zlib

import numpy as np

from deeppose.shell import InputError

LARGEST_FILE = 100_000_000  # bytes, compressed: MPII's have 12 million, LSPe's 3.4 million
LARGEST_UNPACKED = 400_000_000  # bytes, all variables together: MPII's are about 150 million
LARGEST_RESULT = 1_200_000_000  # bytes of memory, roughly: MPII's annotations take half of that
DEEPEST = 32  # cells in structs in cells: MPII's are 6 deep
LONGEST_NAME = 256  # bytes of a field's name: MATLAB allows 63
MOST_AXES = 32
ARRAY_BYTES = 120  # memory of an array or a text, beside what it holds
ENTRY_BYTES = 32  # memory of an entry of a dict or a list

# types of elements
MATRIX = 14
COMPRESSED = 15
NUMBERS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
# classes of arrays
CELL = 1
STRUCT = 2
CHAR = 4
NUMERIC = range(6, 16)
UNREAD = {3: "an object", 5: "a sparse array", 16: "a function handle", 17: "an object"}
SHAPELESS = 17  # newer objects, which have a name where others have their shape
COMPLEX_FLAG = 0x800

EMPTY = np.empty((0, 0))  # one for all empty arrays that the file leaves out, so read-only
EMPTY.setflags(write=False)


class Broken(ValueError):
    """A file that is not as the format says; the message is the fault, without the file's name."""


class Unread(Exception):
    """A kind of array that is not read; the message names it."""


class Items(list):
    """Elements of a cell or struct array, in column order; `shape` is the array's."""

    __slots__ = ("shape",)

    def __init__(self, elements, shape):
        super().__init__(elements)
        self.shape = shape


def read(name, opener, key, largest=LARGEST_UNPACKED):
    """The variable `key` of the MATLAB file that opener() opens; errors call the file `name`.

    largest  bytes that the file may unpack to
    Numbers come as float64 of the array's shape, one number as a float; text as str, several rows
    as a list of str; a struct array, even of one element, as Items of dicts; a cell array as Items.
    Integers above 2^53 are rounded. Raises InputError where the file is broken, too large or holds
    what is not read, such as a sparse array.
    """
    content = _content(name, opener)
    if content.startswith(b"MATLAB 7.3"):
        raise InputError(
            f"{name}: is a MATLAB 7.3 file, which is not read here; save it in MATLAB with -v7"
        )
    if len(content) > LARGEST_FILE:
        raise InputError(f"{name}: is larger than labels can be; fetch the set again")
    fault = "a part of it is broken"
    try:
        return _variable(content, key, largest)
    except Unread as unread:
        raise InputError(
            f"{name}: `{key}` holds {unread}, which is not read here; save it without"
        ) from None
    except (OverflowError, MemoryError):
        raise InputError(f"{name}: unpacks to more than labels can be; do not trust it") from None
    except Broken as broken:
        fault = str(broken)
    except (ValueError, LookupError, struct.error, zlib.error):
        pass
    raise InputError(f"{name}: is no MATLAB file with `{key}` in it ({fault}); fetch the set again")


def _content(name, opener):
    """The file's bytes, one more than LARGEST_FILE at most: read() refuses so many."""
    try:
        with opener() as file:
            return file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from None


def _variable(content, key, largest):
    """The value of the variable `key`; raises what read() turns into an InputError."""
    # the header's last two bytes are "MI" in the order of the machine that wrote them
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise Broken("it does not begin as one")
    file = _Arrays(memoryview(content), order)
    place = 128  # past the header
    # the variables, one after the other, compressed or not
    while place + 8 <= len(content):
        kind, start, stop, place = file.element(place, len(content))
        arrays = file
        if kind == COMPRESSED:
            place = stop  # these alone are not filled up to a multiple of 8 bytes
            unpacked = _inflate(file.content[start:stop], largest)
            largest -= len(unpacked)  # the limit is of all variables together
            arrays = _Arrays(memoryview(unpacked), order)
            kind, start, stop, _ = arrays.element(0, len(unpacked))
        if kind == MATRIX and arrays.name(start, stop) == key:
            return arrays.value(start, stop)
    raise Broken("it has no such variable")


def _inflate(packed, largest):
    """The bytes that zlib packed; OverflowError where they are more than `largest`."""
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(packed, max(largest, 1))  # 0 would mean any number
    if unpacker.unconsumed_tail:
        raise OverflowError
    if not unpacker.eof:
        raise Broken("it is cut short")
    return unpacked


class _Arrays:
    """The arrays in a block of bytes: content, a memoryview; order, "<" or ">"."""

    def __init__(self, content, order):
        self.content = content
        self.order = order
        self.two_words = struct.Struct(order + "II")
        self.two_lengths = struct.Struct(order + "ii")
        self.number_types = {kind: np.dtype(order + code) for kind, code in NUMBERS.items()}
        self.encodings = {}
        for kind, encoding in TEXTS.items():
            # without an order Python would want a mark at the beginning
            if encoding in ("utf-16", "utf-32"):
                encoding += {"<": "-le", ">": "-be"}[order]
            self.encodings[kind] = encoding
        self.memory = 0

    def take(self, size):
        """Count `size` bytes of memory; OverflowError where all arrays together take too much."""
        self.memory += size
        if self.memory > LARGEST_RESULT:
            raise OverflowError

    def element(self, place, end):
        """Type of the element at `place`, start and stop of its data, and place of the next one."""
        if place + 8 > end:
            raise Broken("it is cut short")
        kind, size = self.two_words.unpack_from(self.content, place)
        if kind > 0xFFFF:  # up to 4 bytes of data, in the second half of the tag
            size = kind >> 16
            if size > 4:
                raise Broken("a length in it is wrong")
            return kind & 0xFFFF, place + 4, place + 4 + size, place + 8
        start = place + 8
        stop = start + size
        if stop > end:
            raise Broken("it is cut short")
        return kind, start, stop, stop + -size % 8  # filled up to a multiple of 8 bytes

    def header(self, place, end):
        """Class, flags and shape of the array at `place`, and the place of its name."""
        # its class and flags
        _, start, stop, place = self.element(place, end)
        if stop - start != 8:
            raise Broken("an array in it has no class")
        flags, _ = self.two_words.unpack_from(self.content, start)
        kind = flags & 0xFF
        if kind in UNREAD:
            raise Unread(UNREAD[kind])
        # its shape
        _, start, stop, place = self.element(place, end)
        if stop - start == 8:
            shape = self.two_lengths.unpack_from(self.content, start)
        else:
            axes = (stop - start) // 4
            if not 2 <= axes <= MOST_AXES:
                raise Broken("an array in it has no shape")
            shape = struct.unpack_from(f"{self.order}{axes}i", self.content, start)
        if min(shape) < 0:
            raise Broken("an array in it has a negative length")
        return kind, flags, shape, place

    def name(self, place, end):
        """Name of the array at `place`."""
        _, start, _, place = self.element(place, end)
        flags, _ = self.two_words.unpack_from(self.content, start)
        if flags & 0xFF != SHAPELESS:
            place = self.element(place, end)[3]
        _, start, stop, _ = self.element(place, end)
        return str(self.content[start:stop], "latin-1")

    def value(self, place, end, depth=0):
        """Array whose parts lie from `place` to `end`, in the form that read() returns."""
        self.take(ARRAY_BYTES)
        if place == end:  # the file leaves out what is empty
            return EMPTY
        if depth > DEEPEST:
            raise Broken(f"its arrays are nested more than {DEEPEST} deep")
        kind, flags, shape, place = self.header(place, end)
        place = self.element(place, end)[3]  # past the name
        if kind in NUMERIC:
            if flags & COMPLEX_FLAG:
                raise Unread("a complex array")
            return self.numbers(place, end, shape)
        if kind == CHAR:
            return self.text(place, end, shape)
        if kind == CELL:
            return self.cells(place, end, shape, depth)
        if kind == STRUCT:
            return self.structs(place, end, shape, depth)
        raise Broken(f"an array in it is of the unknown class {kind}")

    def numbers(self, place, end, shape):
        """A numeric array as float64, or a float."""
        kind, start, stop, _ = self.element(place, end)
        if kind not in self.number_types:
            raise Broken(f"numbers in it are of the unknown type {kind}")
        stored = np.frombuffer(self.content[start:stop], self.number_types[kind])
        if stored.size != math.prod(shape):
            raise Broken("an array in it has another number of values than its shape says")
        self.take(8 * stored.size)
        if stored.size == 1:
            return float(stored[0])
        return stored.astype(float).reshape(shape, order="F")

    def text(self, place, end, shape):
        """A character array as str, or, of several rows, as a list of str."""
        kind, start, stop, _ = self.element(place, end)
        if kind not in self.encodings:
            raise Broken(f"text in it is of the unknown type {kind}")
        self.take(4 * (stop - start))
        try:
            letters = str(self.content[start:stop], self.encodings[kind])
        except UnicodeDecodeError:
            raise Broken("text in it is in no known encoding") from None
        # MATLAB counts letters above U+FFFF as two
        count = math.prod(shape)
        if not len(letters) <= count <= 2 * len(letters):
            raise Broken("text in it has another number of letters than its shape says")
        if shape[0] == 1 or not letters:
            return letters
        if len(letters) != count or len(shape) != 2:
            raise Broken("text of several rows in it is broken")
        self.take(ARRAY_BYTES * shape[0])
        # letters are stored column by column
        return [letters[row :: shape[0]] for row in range(shape[0])]

    def cells(self, place, end, shape, depth):
        """A cell array as Items."""
        count = math.prod(shape)
        elements = []
        for _ in range(count):
            element, place = self.inner(place, end, depth)
            elements.append(element)
        return Items(elements, shape)

    def structs(self, place, end, shape, depth):
        """A struct array as Items of dicts, field -> value."""
        fields, place = self.fields(place, end)
        count = math.prod(shape)
        self.take((ARRAY_BYTES + ENTRY_BYTES * len(fields)) * count)
        elements = []
        for _ in range(count):
            element = {}
            for field in fields:
                element[field], place = self.inner(place, end, depth)
            elements.append(element)
        return Items(elements, shape)

    def fields(self, place, end):
        """Names of a struct array's fields, and the place of its values."""
        # bytes that each name takes, filled up with NUL
        _, start, stop, place = self.element(place, end)
        if stop - start != 4:
            raise Broken("names of fields in it have no length")
        (length,) = struct.unpack_from(self.order + "i", self.content, start)
        # the names, one after the other
        _, start, stop, place = self.element(place, end)
        if start == stop:
            return [], place
        if not 1 <= length <= LONGEST_NAME or (stop - start) % length:
            raise Broken("names of fields in it are broken")
        self.take(ARRAY_BYTES * ((stop - start) // length))
        fields = []
        for name_start in range(start, stop, length):
            name = str(self.content[name_start : name_start + length], "latin-1")
            fields.append(name.split("\0")[0])
        if len(set(fields)) != len(fields) or "" in fields:
            raise Broken("names of fields in it are broken")
        return fields, place

    def inner(self, place, end, depth):
        """Element at `place` of a cell or struct array, an array, and the place of the next one."""
        kind, start, stop, place = self.element(place, end)
        if kind != MATRIX:
            raise Broken(f"an element of the unknown type {kind} lies where an array should")
        return self.value(start, stop, depth + 1), place
