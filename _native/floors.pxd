"""The lowest versions that may still be answered, in shared memory: one writer, readers that never wait."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from responder._native.der cimport Span
from responder._native.hashing cimport KEY_WORDS

ctypedef struct FloorsHeader:
    uint64_t magic
    uint64_t[KEY_WORDS] key
    uint64_t places              # how many there are
    uint64_t taken               # how many have ever been used
    uint64_t issuers             # how many of them are of whole issuers
    uint64_t as_of               # microseconds since 1970: nothing that was read earlier may be answered

ctypedef struct Floor:
    uint64_t hash                # 0 where the place was never used, 1 where it is free again
    uint64_t number              # of a whole issuer: an as_of
    uint32_t epoch
    uint32_t sequence            # odd while it is written
    int64_t until                # seconds since 1970; what is older has ended by itself then

# Whether a record of this certificate is older than may be answered; when in doubt, it is.
cdef bint is_below(
    const uint8_t* floors, const uint8_t* tag, const Span* serial, uint32_t epoch, uint64_t number, int64_t as_of
) noexcept nogil


cdef class Floors:
    cdef uint8_t* start
    cdef object memory
    cdef bint write(
        self, const uint8_t* tag, const Span* serial, uint32_t epoch, uint64_t number, int64_t until, int64_t now
    ) noexcept nogil
    cdef void overwrite(
        self, Floor* floor, uint64_t hash_, uint32_t epoch, uint64_t number, int64_t until
    ) noexcept nogil
