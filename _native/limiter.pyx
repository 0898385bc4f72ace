"""Limits by cost: a bucket a client, which holds a minute's allowance and fills as fast as it may be spent (GCRA).

A bucket is one word, changed by compare-and-swap: a mark of whose it is, and the moment when it will be full again. The
words of a cache line are a set, found by a keyed hash. Where a set has no bucket to spare, the client that owes least
is forgotten: too little is refused then, never too much. Nothing is ever swept, for a moment that has passed is a full
bucket, whoever's it was.
"""

cimport cython
from libc.string cimport memcpy

from responder._native cimport atomics
from responder._native.clients cimport is_ipv4, read_address
from responder._native.hashing cimport Hash, hash_of

cdef enum:
    HEADER = 4096
    WAYS = 8
    TICK = 14            # bits: 2^14 nanoseconds
    MOMENT = 40          # bits, 208 days: what is further ahead than a minute has passed
    ATTEMPTS = 64
    WIDER = 16           # times as much for an IPv6 /48 as for each of its /64

cdef uint64_t MAGIC = 0x31696D694C467363    # csFLimi1
cdef uint64_t MOMENTS = (<uint64_t> 1 << MOMENT) - 1
cdef int64_t MINUTE = 60000000000
cdef int64_t FULL = MINUTE >> TICK
cdef const uint8_t* IPV4 = b"IPv4/32\0"
cdef const uint8_t* IPV6_64 = b"IPv6/64\0"
cdef const uint8_t* IPV6_48 = b"IPv6/48\0"


@cython.final
cdef class Limiter:
    def __cinit__(self, memory not None, /, *, int per_minute):
        cdef uint8_t[::1] octets = memory
        self.memory = memory
        if len(octets) <= HEADER:
            raise ValueError(f"{len(octets)} octets are too few for a limiter")
        self.header = <LimiterHeader*> &octets[0]
        if self.header.magic != MAGIC or self.header.sets != _sets_in(len(octets)):
            raise ValueError("it isn't a limiter of this size")
        if per_minute < 1:
            raise ValueError(f"{per_minute} a minute is no allowance")
        self.per_minute = per_minute

    @staticmethod
    def lay_out(memory not None, bytes key not None, /):
        cdef uint8_t[::1] octets = memory
        cdef LimiterHeader* header
        if len(octets) <= HEADER:
            raise ValueError(f"{len(octets)} octets are too few for a limiter")
        header = <LimiterHeader*> &octets[0]
        if len(key) != sizeof(header.key):
            raise ValueError(f"a key has {sizeof(header.key)} octets, not {len(key)}")
        header.magic, header.sets = MAGIC, _sets_in(len(octets))
        memcpy(header.key, <const uint8_t*> key, sizeof(header.key))

    def take(self, str address not None, int price, int64_t now, /):
        cdef Address client
        cdef bytes text = address.encode()
        if not read_address(text, len(text), &client):
            raise ValueError(f"{address!r} is no IP address")
        return self.charge(&client, price, now)

    cdef int64_t charge(self, const Address* client, int price, int64_t now) noexcept nogil:
        cdef int64_t early
        if is_ipv4(client):
            return self.charge_bucket(IPV4, client.octets + 12, 4, price, self.per_minute, now)
        early = self.charge_bucket(IPV6_64, client.octets, 8, price, self.per_minute, now)
        if early == 0:
            early = self.charge_bucket(IPV6_48, client.octets, 6, price, WIDER * self.per_minute, now)
        return early

    cdef int64_t charge_bucket(
        self, const uint8_t* kind, const uint8_t* prefix, size_t size, int price, int64_t per_minute, int64_t now
    ) noexcept nogil:
        cdef Hash hash_ = hash_of(self.header.key, kind, prefix, size)
        cdef uint64_t* words = <uint64_t*> (<uint8_t*> self.header + HEADER) + WAYS * (
            (hash_.high >> 32) * self.header.sets >> 32
        )
        cdef uint64_t mark = hash_.low << MOMENT
        cdef uint64_t present = <uint64_t> (now >> TICK) & MOMENTS
        cdef int64_t cost = min(max((price * MINUTE // per_minute) >> TICK, <int64_t> 1), FULL)
        cdef int64_t owed, least
        cdef uint64_t word
        cdef uint64_t seen = 0
        cdef uint64_t* chosen = words
        cdef int way, attempt
        for attempt in range(ATTEMPTS):
            least = FULL + 1
            for way in range(WAYS):
                word = atomics.load(&words[way])
                owed = <int64_t> ((word - present) & MOMENTS)
                if owed > FULL:
                    owed = 0
                if word & ~MOMENTS == mark:
                    chosen, seen, least = &words[way], word, owed
                    break
                if owed < least:
                    chosen, seen, least = &words[way], word, owed
            else:
                least = 0      # what another owed
            if least + cost > FULL:
                return (least + cost - FULL) << TICK
            if atomics.swap(chosen, seen, mark | ((present + least + cost) & MOMENTS)):
                return 0
        return 0               # many at once: not this one's fault


cdef uint64_t _sets_in(size_t octets):
    return (octets - HEADER) // (WAYS * sizeof(uint64_t))
