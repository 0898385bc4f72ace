"""What each client may still cost, for all processes of a host."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint64_t

from responder._native.clients cimport Address
from responder._native.hashing cimport KEY_WORDS

ctypedef struct LimiterHeader:
    uint64_t magic
    uint64_t sets
    uint64_t[KEY_WORDS] key


cdef class Limiter:
    cdef object memory
    cdef LimiterHeader* header
    cdef int64_t per_minute
    # Take this from what the client may cost: 0, or how many nanoseconds it is too early for that.
    cdef int64_t charge(self, const Address* client, int price, int64_t now) noexcept nogil
    cdef int64_t charge_bucket(
        self, const uint8_t* kind, const uint8_t* prefix, size_t size, int price, int64_t per_minute, int64_t now
    ) noexcept nogil
