"""Who may have what more than the table costs."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from responder._native.clients cimport Address, Networks
from responder._native.der cimport Bytes, Out, Span
from responder._native.framing cimport Head
from responder._native.limiter cimport Limiter

# Words of this process's lane: GET, POST; then what isn't OCSP, or no request.
ctypedef struct RefusalWords:
    uint16_t[2] rate_limited
    uint16_t[2] overloaded
    uint16_t limited
    uint16_t malformed
    uint16_t too_long
    uint16_t slow            # connections closed: a request took too long to come
    uint16_t too_many        # its client had so many
    uint16_t crowded         # idle, and others wanted in
    uint16_t unannounced     # a load balancer said nothing of whose they are, or something else


cdef class Gate:
    cdef Limiter limiter         # None: nobody is limited
    cdef Networks exempt
    cdef Networks trusted        # proxies
    cdef object memory
    cdef uint64_t* counters
    cdef RefusalWords words
    cdef int refusal             # OCSP status, or 429
    cdef int room                # answers that may be under way past the table
    cdef int under_way
    cdef bint counts_hits
    cdef int signatures          # that may wait for their turn in the lane
    # Whether an address is a proxy's, or without a limit.
    cdef bint spares(self, const Address* peer) noexcept nogil
    cdef void count(self, uint16_t word) noexcept nogil
    cdef int64_t early(self, const Address* peer, Bytes head, size_t size, int price, int64_t now) noexcept nogil
    cdef bint has_room(self) noexcept nogil
    # Whether a request may have an answer at this price, and (unless it has one in the table) there is room for it; else
    # `out` has the refusal, as OCSP where it is that.
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
    ) noexcept nogil
    # Of what isn't a request, or may be read in two ways.
    cdef void refuse_framing(self, bint is_too_long, const Span* stamp, Out* out) noexcept nogil
