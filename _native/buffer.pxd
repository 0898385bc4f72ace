"""Octets that grow as they are added to, without the GIL."""

from libc.stddef cimport size_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy

ctypedef struct Buffer:
    unsigned char* data
    size_t size
    size_t capacity


cdef inline bint append(Buffer* buffer, const void* data, size_t size) noexcept nogil:
    """False for want of memory; whoever has the buffer frees `data`."""
    cdef size_t capacity = buffer.capacity or 4096
    cdef unsigned char* grown
    while capacity < buffer.size + size:
        capacity += capacity // 2
    if capacity != buffer.capacity:
        grown = <unsigned char*> realloc(buffer.data, capacity)
        if grown == NULL:
            return False
        buffer.data = grown
        buffer.capacity = capacity
    memcpy(buffer.data + buffer.size, data, size)
    buffer.size += size
    return True
