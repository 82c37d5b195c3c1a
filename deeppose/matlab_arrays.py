"""Arrays in a MATLAB file's bytes: numbers, text, cells and structs. No torch here.

A file is a row of elements: a tag of 8 bytes, which tells the data's type and length, and the data.
An array is an element whose data are elements again: its class and flags, its shape, its name, and
what it holds.
"""

import math
import struct

import numpy as np

LARGEST_RESULT = 1_200_000_000  # bytes of memory, roughly: MPII's annotations take half of that
DEEPEST = 32  # cells in structs in cells: MPII's are 6 deep
LONGEST_NAME = 256  # bytes of a field's name: MATLAB allows 63
MOST_AXES = 32
ARRAY_BYTES = 120  # memory of an array or a text, beside what it holds
ENTRY_BYTES = 32  # memory of an entry of a dict or a list

# types of elements
MATRIX = 14
COMPRESSED = 15
NUMBER_TYPES = {
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
ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
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


class Arrays:
    """The arrays in a block of bytes.

    content       memoryview of the block
    byte_order    "<" or ">"
    memory_taken  bytes of all that was read from it, roughly
    """

    def __init__(self, content, byte_order):
        self.content = content
        self.byte_order = byte_order
        self.two_words = struct.Struct(byte_order + "II")
        self.two_lengths = struct.Struct(byte_order + "ii")
        self.number_types = {
            element_type: np.dtype(byte_order + code) for element_type, code in NUMBER_TYPES.items()
        }
        self.encodings = {}
        for element_type, encoding in ENCODINGS.items():
            # without an order Python would want a mark at the beginning
            if encoding in ("utf-16", "utf-32"):
                encoding += {"<": "-le", ">": "-be"}[byte_order]
            self.encodings[element_type] = encoding
        self.memory_taken = 0

    def value(self, offset, end, depth=0):
        """The array whose elements lie from `offset` to `end`, in the form that matlab.read returns.

        depth  of cells and structs that it lies in
        """
        self._take_memory(ARRAY_BYTES)
        if offset == end:  # the file leaves out what is empty
            return EMPTY
        if depth > DEEPEST:
            raise Broken(f"its arrays are nested more than {DEEPEST} deep")
        array_class, flags, shape, offset = self._header(offset, end)
        _, _, _, offset = self.element(offset, end)  # past the name
        # what it holds
        if array_class in NUMERIC:
            if flags & COMPLEX_FLAG:
                raise Unread("a complex array")
            return self._numbers(offset, end, shape)
        if array_class == CHAR:
            return self._text(offset, end, shape)
        if array_class == CELL:
            return self._cells(offset, end, shape, depth)
        if array_class == STRUCT:
            return self._structs(offset, end, shape, depth)
        raise Broken(f"an array in it is of the unknown class {array_class}")

    def name(self, offset, end):
        """Name of the array at `offset`."""
        # its flags, its shape where it has one, its name
        _, start, _, offset = self.element(offset, end)
        flags, _ = self.two_words.unpack_from(self.content, start)
        if flags & 0xFF != SHAPELESS:
            _, _, _, offset = self.element(offset, end)
        _, start, stop, _ = self.element(offset, end)
        return str(self.content[start:stop], "latin-1")

    def element(self, offset, end):
        """Type of the element at `offset`, start and stop of its data, and the next one's offset."""
        if offset + 8 > end:
            raise Broken("it is cut short")
        element_type, size = self.two_words.unpack_from(self.content, offset)
        if element_type > 0xFFFF:  # up to 4 bytes of data, in the second half of the tag
            size = element_type >> 16
            if size > 4:
                raise Broken("a length in it is wrong")
            return element_type & 0xFFFF, offset + 4, offset + 4 + size, offset + 8
        start = offset + 8
        stop = start + size
        if stop > end:
            raise Broken("it is cut short")
        return element_type, start, stop, stop + -size % 8  # filled up to a multiple of 8 bytes

    def _header(self, offset, end):
        """Class, flags and shape of the array at `offset`, and the offset of its name."""
        # its class and flags
        _, start, stop, offset = self.element(offset, end)
        if stop - start != 8:
            raise Broken("an array in it has no class")
        flags, _ = self.two_words.unpack_from(self.content, start)
        array_class = flags & 0xFF
        if array_class in UNREAD:
            raise Unread(UNREAD[array_class])
        # its shape: nearly always two lengths, for which a compiled Struct is faster
        _, start, stop, offset = self.element(offset, end)
        if stop - start == 8:
            shape = self.two_lengths.unpack_from(self.content, start)
        else:
            axis_count = (stop - start) // 4
            if not 2 <= axis_count <= MOST_AXES:
                raise Broken("an array in it has no shape")
            shape = struct.unpack_from(f"{self.byte_order}{axis_count}i", self.content, start)
        if min(shape) < 0:
            raise Broken("an array in it has a negative length")
        return array_class, flags, shape, offset

    def _numbers(self, offset, end, shape):
        """A numeric array as float64, or a float."""
        element_type, start, stop, _ = self.element(offset, end)
        if element_type not in self.number_types:
            raise Broken(f"numbers in it are of the unknown type {element_type}")
        stored = np.frombuffer(self.content[start:stop], self.number_types[element_type])
        if stored.size != math.prod(shape):
            raise Broken("an array in it has another number of values than its shape says")
        self._take_memory(8 * stored.size)
        if stored.size == 1:
            return float(stored[0])
        return stored.astype(float).reshape(shape, order="F")

    def _text(self, offset, end, shape):
        """A character array as str, or, of several rows, as a list of str."""
        element_type, start, stop, _ = self.element(offset, end)
        if element_type not in self.encodings:
            raise Broken(f"text in it is of the unknown type {element_type}")
        self._take_memory(4 * (stop - start))
        try:
            letters = str(self.content[start:stop], self.encodings[element_type])
        except UnicodeDecodeError:
            raise Broken("text in it is in no known encoding") from None
        # MATLAB counts letters above U+FFFF as two
        letter_count = math.prod(shape)
        if not len(letters) <= letter_count <= 2 * len(letters):
            raise Broken("text in it has another number of letters than its shape says")
        row_count = shape[0]
        if row_count == 1 or not letters:
            return letters
        if len(letters) != letter_count or len(shape) != 2:
            raise Broken("text of several rows in it is broken")
        self._take_memory(ARRAY_BYTES * row_count)
        # letters are stored column by column
        return [letters[row::row_count] for row in range(row_count)]

    def _cells(self, offset, end, shape, depth):
        """A cell array as Items."""
        cells = []
        for _ in range(math.prod(shape)):
            cell, offset = self._inner_array(offset, end, depth)
            cells.append(cell)
        return Items(cells, shape)

    def _structs(self, offset, end, shape, depth):
        """A struct array as Items of dicts, field -> value."""
        # values follow struct after struct, in the order of the fields
        fields, offset = self._fields(offset, end)
        struct_count = math.prod(shape)
        self._take_memory((ARRAY_BYTES + ENTRY_BYTES * len(fields)) * struct_count)
        structs = []
        for _ in range(struct_count):
            values = {}
            for field in fields:
                values[field], offset = self._inner_array(offset, end, depth)
            structs.append(values)
        return Items(structs, shape)

    def _fields(self, offset, end):
        """Names of a struct array's fields, and the offset of its values."""
        # bytes that each name takes, filled up with NUL
        _, start, stop, offset = self.element(offset, end)
        if stop - start != 4:
            raise Broken("names of fields in it have no length")
        (name_bytes,) = struct.unpack_from(self.byte_order + "i", self.content, start)
        # the names, one after the other
        _, start, stop, offset = self.element(offset, end)
        if start == stop:
            return [], offset
        if not 1 <= name_bytes <= LONGEST_NAME or (stop - start) % name_bytes:
            raise Broken("names of fields in it are broken")
        self._take_memory(ARRAY_BYTES * ((stop - start) // name_bytes))
        fields = []
        for name_start in range(start, stop, name_bytes):
            padded_name = str(self.content[name_start : name_start + name_bytes], "latin-1")
            fields.append(padded_name.split("\0")[0])
        if len(set(fields)) != len(fields) or "" in fields:
            raise Broken("names of fields in it are broken")
        return fields, offset

    def _inner_array(self, offset, end, depth):
        """The array at `offset` of a cell or struct array, and the offset of the next one."""
        element_type, start, stop, offset = self.element(offset, end)
        if element_type != MATRIX:
            raise Broken(
                f"an element of the unknown type {element_type} lies where an array should"
            )
        return self.value(start, stop, depth + 1), offset

    def _take_memory(self, size):
        """Count `size` bytes; OverflowError where all arrays together take too much."""
        self.memory_taken += size
        if self.memory_taken > LARGEST_RESULT:
            raise OverflowError
