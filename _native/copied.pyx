"""Rows as PostgreSQL's COPY … TO STDOUT (FORMAT binary) writes them, read into tuples of integers and octets: no datetime
is made of a time that is merely compared or signed.

Source: PostgreSQL's documentation, COPY, "Binary Format".
"""

from libc.stdint cimport int16_t, int32_t, int64_t
from libc.string cimport memcmp

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM

from responder._native.der cimport Bytes, Span, span

cdef enum:
    SIGNATURE = 11
    HEADER = 19          # signature, flags, length of the header's extension
    MAX_COLUMNS = 32

cdef const unsigned char* _SIGNATURE = b"PGCOPY\n\xff\r\n\x00"

# Microseconds from 1970 to 2000, where PostgreSQL counts from.
cdef int64_t _TO_1970 = 946_684_800_000_000


def copied_rows(bytes copied not None, str kinds not None, /):
    """The rows as tuples, None for NULL; see the stub."""
    cdef Span octets = span(copied)
    cdef Bytes position = octets.data
    cdef Bytes end = octets.data + octets.size
    cdef bytes letters = kinds.encode("ascii")
    cdef const char* kind = letters
    cdef int columns = len(letters)
    cdef int column
    cdef int64_t extension, size
    cdef list rows = []
    cdef tuple row
    cdef object value
    if not 1 <= columns <= MAX_COLUMNS:
        raise ValueError(f"{columns} columns; 1 to {MAX_COLUMNS} are possible")
    if octets.size < HEADER or memcmp(position, _SIGNATURE, SIGNATURE) != 0:
        raise ValueError("not what COPY writes in its binary format")
    extension = number(position + HEADER - 4, 4)
    position += HEADER
    if not 0 <= extension <= end - position:
        raise ValueError("a header that ends early")
    position += extension
    while True:
        if end - position < 2:
            raise ValueError("rows that end early")
        if number(position, 2) == -1:
            if end - position != 2:
                raise ValueError("octets after the last row")
            return rows
        if number(position, 2) != columns:
            raise ValueError(f"a row of {number(position, 2)} columns instead of {columns}")
        position += 2
        row = PyTuple_New(columns)
        for column in range(columns):
            if end - position < 4:
                raise ValueError("a row that ends early")
            size = number(position, 4)
            position += 4
            if size == -1:
                value = None
                size = 0
            elif not 0 <= size <= end - position:
                raise ValueError("a row that ends early")
            else:
                value = field(kind[column], position, size)
            Py_INCREF(value)
            PyTuple_SET_ITEM(row, column, value)
            position += size
        rows.append(row)


cdef object field(char kind, Bytes position, int64_t size):
    if kind == b"b":
        return PyBytes_FromStringAndSize(<char*> position, size)
    if kind == b"i" and size in (2, 4, 8):
        return number(position, size)
    if kind == b"t" and size == 8:
        return number(position, 8) + _TO_1970
    raise ValueError(f"a column of {size} octets isn't of the kind {chr(kind)!r}")


cdef inline int64_t number(Bytes position, int64_t size) noexcept nogil:
    """A big-endian signed integer of 2, 4 or 8 octets."""
    cdef int64_t value = 0
    cdef int index
    for index in range(<int> size):
        value = (value << 8) | position[index]
    if size == 2:
        return <int16_t> value
    if size == 4:
        return <int32_t> value
    return value
