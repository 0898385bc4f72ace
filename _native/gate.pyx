"""The gate between the table and all that costs more: limits by client, and how much may be under way for all of them.

Refusing costs what a hit in the table does, so that a flood of what is refused leaves the others alone.
"""

cimport cython

from responder._native cimport http
from responder._native.clients cimport find_client, read_address
from responder._native.framing cimport HEAD, POST
from responder._native.http cimport OVERLOADED, TOO_MANY

cdef int64_t SECOND = 1000000000


@cython.final
cdef class Gate:
    def __cinit__(
        self, lane not None, /, *, words, Limiter limiter=None, Networks exempt not None, Networks trusted not None,
        int refusal, int room, int signatures, bint counts_hits,
    ):
        cdef uint64_t[::1] of_lane = lane
        self.limiter, self.exempt, self.trusted, self.memory = limiter, exempt, trusted, lane
        self.counters = &of_lane[0]
        self.refusal, self.room, self.counts_hits = refusal, room, counts_hits
        self.signatures = signatures
        self.words = words

    def charge(self, str peer not None, bytes head not None, int price, int64_t now, /):
        cdef Address address
        cdef bytes text = peer.encode()
        if not read_address(text, len(text), &address):
            raise ValueError(f"{peer!r} is no IP address")
        return self.early(&address, head, len(head), price, now)

    cdef int64_t early(self, const Address* peer, Bytes head, size_t size, int price, int64_t now) noexcept nogil:
        """0, or how many nanoseconds it is too early for this client to ask for more."""
        cdef Address client
        if self.limiter is None:
            return 0
        find_client(peer, head, size, self.trusted, &client)
        return 0 if self.exempt.has(&client) else self.limiter.charge(&client, price, now)

    cdef bint spares(self, const Address* peer) noexcept nogil:
        return self.exempt.has(peer) or self.trusted.has(peer)

    cdef void count(self, uint16_t word) noexcept nogil:
        self.counters[word] += 1

    cdef bint has_room(self) noexcept nogil:
        return self.under_way < self.room

    cdef bint admits(
        self,
        const Address* peer,
        const Head* head,
        Bytes data,
        bint is_ocsp,
        bint is_hit,
        int price,
        int64_t now,
        const Span* stamp,
        Out* out,
    ) noexcept nogil:
        cdef bint is_post = head.method == POST
        cdef bint has_room = is_hit or self.has_room()
        cdef int64_t early = 0
        if has_room:
            early = self.early(peer, data, head.size, price, now)
            if early == 0:
                return True
        early = max((early + SECOND - 1) // SECOND, <int64_t> 1)
        if not is_ocsp:
            self.counters[self.words.limited] += 1
            http.put_error(out, TOO_MANY, early, head.closes, head.method == HEAD, stamp)
            return False
        self.counters[self.words.rate_limited[is_post] if has_room else self.words.overloaded[is_post]] += 1
        http.put_error(
            out, self.refusal if has_room else OVERLOADED, early, head.closes, head.method == HEAD, stamp
        )
        return False

    cdef void refuse_framing(self, bint is_too_long, const Span* stamp, Out* out) noexcept nogil:
        self.counters[self.words.too_long if is_too_long else self.words.malformed] += 1
        http.put_refusal(out, 431 if is_too_long else 400, stamp)
