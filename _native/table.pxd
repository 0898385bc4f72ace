"""Records in memory that the processes of a host share. Found, put and dropped without the GIL."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from responder._native.der cimport Span
from responder._native.floors cimport Floors
from responder._native.hashing cimport KEY_WORDS

cdef enum:
    SET = 4096
    UNIT = 16            # what room is counted in
    UNITS = SET // UNIT
    FIRST_UNIT = 9       # after the head
    WAYS = 24
    MAX_TABLE_SERIAL = 64
    MAX_RECORD = SET - FIRST_UNIT * UNIT - 12 - 1

ctypedef struct TableHeader:
    uint64_t magic
    uint64_t[KEY_WORDS] key
    uint64_t sets

# Who writes in a set owns it: a lock for each entry wouldn't do, since a put that passed the floors and hasn't chosen its
# place yet could bring back what a drop has just looked for in vain.
ctypedef struct Set:
    uint64_t sequence            # odd while it is written
    uint32_t owner               # whose it is, 0 for nobody's
    uint8_t count                # of entries
    uint8_t hand                 # where the search for an entry to give up goes on
    uint16_t end                 # the first unit that is free: entries stand without gaps
    uint16_t[WAYS] prints        # of each entry's hash, 0 where a way is empty
    uint8_t[WAYS] first          # unit
    uint8_t[WAYS] units
    uint8_t[WAYS] used           # since the hand came by

ctypedef struct Entry:
    uint8_t[8] tag
    uint16_t size                # of the record
    uint8_t serial_size
    uint8_t unused
    # serial and record follow

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
    cdef object memory
    cdef Floors floors
    cdef uint32_t owner
    cdef Put put_span(
        self, const uint8_t* tag, const Span* serial, const Span* record, int64_t now, Span* other
    ) noexcept nogil
    cdef bint drop_below(self, const uint8_t* tag, const Span* serial) noexcept nogil
