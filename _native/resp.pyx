"""Commands as Redis and Valkey read them (RESP2): an array of bulk strings.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from libc.stddef cimport size_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

cdef enum:
    HEADER = 24   # a letter, a length of at most 20 digits, two octets for the line's end, a zero


def packed_command(list arguments not None, /):
    """The octets of one command; every argument is bytes."""
    cdef Py_ssize_t count = len(arguments)
    cdef Py_ssize_t size = HEADER
    cdef bytes packed
    cdef char* position
    for argument in arguments:
        if not PyBytes_CheckExact(argument):
            raise TypeError(f"an argument of a command is bytes, not {type(argument).__name__}")
        size += HEADER + 2 + PyBytes_GET_SIZE(argument)
    packed = PyBytes_FromStringAndSize(NULL, size)
    position = PyBytes_AS_STRING(packed)
    position += snprintf(position, HEADER, b"*%zd\r\n", count)
    for argument in arguments:
        size = PyBytes_GET_SIZE(argument)
        position += snprintf(position, HEADER, b"$%zd\r\n", size)
        memcpy(position, PyBytes_AS_STRING(argument), <size_t> size)
        position += size
        memcpy(position, b"\r\n", 2)
        position += 2
    return packed[: position - PyBytes_AS_STRING(packed)]
