"""Connections whose turn comes later, in their order; bounded."""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t


cdef class Queue:
    cdef uint64_t* tokens
    cdef size_t room
    cdef size_t first
    cdef size_t count
    # False where there is no room.
    cdef bint put(self, uint64_t token) noexcept nogil
    # False where nobody waits.
    cdef bint take(self, uint64_t* token) noexcept nogil
