"""Records in memory that the processes of a host share. Found, put and dropped without the GIL."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from responder._native.der cimport Span
from responder._native.floors cimport Floors
from responder._native.hashing cimport KEY_WORDS
from responder._native.sets cimport MAX_RECORD

ctypedef struct TableHeader:
    uint64_t magic
    uint64_t[KEY_WORDS] key
    uint64_t sets

cdef enum Put:
    KEPT                 # what was offered is there now
    KEPT_OTHER           # something that outranks it is
    BELOW_FLOOR
    TOO_LONG
    BUSY                 # others kept the sets for too long; nothing was done

# Copy the record of a certificate to `record`, which has room for MAX_RECORD octets; its size, 0 for none.
cdef size_t find(const uint8_t* table, const uint8_t* tag, const Span* serial, uint8_t* record) noexcept nogil


cdef class Table:
    cdef uint8_t* start
    cdef uint64_t sets
    cdef object memory
    cdef Floors floors
    cdef uint32_t owner
    cdef Put put_span(
        self, const uint8_t* tag, const Span* serial, const Span* record, int64_t now, Span* other
    ) noexcept nogil
    cdef bint drop_below(self, const uint8_t* tag, const Span* serial) noexcept nogil
