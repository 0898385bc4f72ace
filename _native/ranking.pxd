"""Which of two records of a certificate is the later one, as they are stored: see `record_format.pyx`."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp

cdef enum:
    VERSION = 1          # where epoch and number stand, big-endian: memcmp is their order
    CHANGE_OCTETS = 12
    AS_OF = 13
    COUNT = 23
    THIS_UPDATE = 48
    NEXT_UPDATE = 53
    MAX_AHEAD = 60000000 # microseconds


cdef inline int64_t stored(const uint8_t* data, int octets) noexcept nogil:
    cdef uint64_t value = 0
    cdef int index
    for index in range(octets):
        value = (value << 8) | data[index]
    return <int64_t> value


cdef inline bint outranks(const uint8_t* held, const uint8_t* offered, int64_t now) noexcept nogil:
    """Whether `held` stays where `offered` is put; `now` in microseconds since 1970. The same rule as the script's of
    `storage/redis_scripts.py`."""
    cdef int order = memcmp(held + VERSION, offered + VERSION, CHANGE_OCTETS)
    cdef bint is_tombstone = held[COUNT] == 0
    cdef int64_t held_as_of = stored(held + AS_OF, 8)
    cdef int64_t offered_as_of = stored(offered + AS_OF, 8)
    if order:
        return order > 0
    # Of one change, records are later than a tombstone, whatever the clocks said when each was read.
    if is_tombstone != (offered[COUNT] == 0):
        return not is_tombstone
    # An as_of in the future counts as lowest: its clock was wrong.
    if held_as_of - now > MAX_AHEAD:
        held_as_of = 0
    return held_as_of > offered_as_of or (held_as_of == offered_as_of and not is_tombstone)


cdef inline int64_t next_update_of(const uint8_t* record) noexcept nogil:
    """Seconds since 1970."""
    return stored(record + THIS_UPDATE, 5) + stored(record + NEXT_UPDATE, 4)
