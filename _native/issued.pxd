"""Which certificates were issued at all, as far as that can be told from memory."""

from libc.stdint cimport uint8_t, uint64_t

from responder._native.der cimport Span
from responder._native.hashing cimport KEY_WORDS

ctypedef struct IssuedHeader:
    uint64_t magic
    uint64_t blocks
    uint64_t[KEY_WORDS] key


cdef class Issued:
    cdef object memory
    cdef uint8_t* start
    cdef uint64_t blocks
    # False where a certificate was never added; a few that weren't are True as well.
    cdef bint may_have(self, const uint8_t* tag, const Span* serial) noexcept nogil
