"""Reader of MATLAB files, versions 5 to 7: one variable of a file. No torch here.

Source: MATLAB's "MAT-File Format", chapter 1. Not scipy.io.loadmat: a broken file can make that end
the whole process, with a segmentation fault.
"""

import struct
import zlib

from deeppose.matlab_arrays import COMPRESSED, MATRIX, Arrays, Broken, Unread
from deeppose.shell import InputError

LARGEST_FILE = 100_000_000  # bytes, compressed: MPII's have 12 million, LSPe's 3.4 million
LARGEST_UNPACKED = 400_000_000  # bytes, all variables together: MPII's are about 150 million
HEADER_BYTES = 128


def read(path, opener, variable, largest=LARGEST_UNPACKED):
    """A variable of the MATLAB file that opener() opens; errors call the file `path`.

    variable  its name
    largest   bytes that the file may unpack to
    Numbers come as float64 of the array's shape, one number as a float; text as str, several rows
    as a list of str; a struct array, even of one element, as Items of dicts; a cell array as Items.
    Integers above 2^53 are rounded. Raises InputError where the file is broken, too large or holds
    what is not read, such as a sparse array.
    """
    # the file as a whole
    content = _content(path, opener)
    if content.startswith(b"MATLAB 7.3"):
        raise InputError(
            f"{path}: is a MATLAB 7.3 file, which is not read here; save it in MATLAB with -v7"
        )
    if len(content) > LARGEST_FILE:
        raise InputError(f"{path}: is larger than labels can be; fetch the set again")
    # the variable; whatever goes wrong becomes one line
    fault = "a part of it is broken"
    try:
        return _value(content, variable, largest)
    except Unread as unread:
        raise InputError(
            f"{path}: `{variable}` holds {unread}, which is not read here; save it without"
        ) from None
    except (OverflowError, MemoryError):
        raise InputError(f"{path}: unpacks to more than labels can be; do not trust it") from None
    except Broken as broken:
        fault = str(broken)
    except (ValueError, LookupError, struct.error, zlib.error):
        pass  # what NumPy and struct raise where a number leads them astray
    raise InputError(
        f"{path}: is no MATLAB file with `{variable}` in it ({fault}); fetch the set again"
    )


def _content(path, opener):
    """The file's bytes, one more than LARGEST_FILE at most: read() refuses so many."""
    try:
        with opener() as file:
            return file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _value(content, variable, largest):
    """The value of a variable; raises what read() turns into an InputError."""
    # the header's last two bytes are "MI" in the order of the machine that wrote them
    byte_order = {b"IM": "<", b"MI": ">"}.get(content[HEADER_BYTES - 2 : HEADER_BYTES])
    if byte_order is None:
        raise Broken("it does not begin as one")
    file_arrays = Arrays(memoryview(content), byte_order)
    offset = HEADER_BYTES
    # the variables, one after the other, compressed or not
    while offset + 8 <= len(content):
        element_type, start, stop, offset = file_arrays.element(offset, len(content))
        arrays = file_arrays
        if element_type == COMPRESSED:
            offset = stop  # these alone are not filled up to a multiple of 8 bytes
            unpacked = _inflate(file_arrays.content[start:stop], largest)
            largest -= len(unpacked)  # the limit is of all variables together
            arrays = Arrays(memoryview(unpacked), byte_order)
            element_type, start, stop, _ = arrays.element(0, len(unpacked))
        if element_type == MATRIX and arrays.name(start, stop) == variable:
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
