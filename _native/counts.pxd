"""How many connections each client has: a sketch of fixed size that counts too many at times, never too few.

Two rows of counters, each found by half of a keyed hash; a client has at most the smaller one. Who shares both with a client
at its limit is refused with it: one of a million for each such client.
"""

from libc.stdint cimport uint16_t, uint64_t

from responder._native.clients cimport Address, is_ipv4
from responder._native.hashing cimport KEY_WORDS, Hash, hash_of

cdef enum:
    COLUMNS = 32768

ctypedef struct Counts:
    uint64_t[KEY_WORDS] key
    uint16_t[2][COLUMNS] rows


cdef inline Hash place_of(const Counts* counts, const Address* client) noexcept nogil:
    """Of an IPv4 address, or an IPv6 /64."""
    return hash_of(counts.key, b"connects", client.octets, 16 if is_ipv4(client) else 8)


cdef inline int count_of(const Counts* counts, const Address* client) noexcept nogil:
    cdef Hash place = place_of(counts, client)
    return min(counts.rows[0][place.low % COLUMNS], counts.rows[1][place.high % COLUMNS])


cdef inline void change_count(Counts* counts, const Address* client, int by) noexcept nogil:
    cdef Hash place = place_of(counts, client)
    counts.rows[0][place.low % COLUMNS] += by
    counts.rows[1][place.high % COLUMNS] += by
