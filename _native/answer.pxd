"""From an OCSP request to the whole HTTP response, for a record in the table. No GIL, no Python objects, no allocation."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from responder._native.der cimport Bytes, Out, Span
from responder._native.framing cimport Head
from responder._native.holdings cimport Found, Holdings
from responder._native.live cimport LiveKey
from responder._native.record_format cimport RecordView
from responder._native.request cimport RequestView
from responder._native.signing_threads cimport Job

cdef enum:
    AGES = 10
    MAX_RESPONSE = 16384     # head and body
    DATE = 29                # octets
    MAX_STAMP = 128
    MAX_SIGNED = 8192        # of ResponseData

cdef enum Outcome:
    ANSWERED                 # what `out` holds is to be sent
    REFUSED                  # the same, of what isn't ours: nothing but an OCSP error
    SIGN                     # it can be signed, in the lane or by a thread, where that isn't too much
    ASK                      # only the chain knows

cdef enum Want:
    LOOK                     # SIGN where a signature is needed
    SIGNED
    WITHOUT_NONCE            # the fullest answer that needs no signature (RFC 9919 §3.2.1)

# Words of this process's lane.
ctypedef struct CounterWords:
    uint16_t[2][3] requests  # GET, POST; good, revoked, unknown
    uint16_t[2] several
    uint16_t[2] unauthorized
    uint16_t[5] hashes       # unknown, SHA-1, SHA-256, SHA-384, SHA-512
    uint16_t answers         # from the table
    uint16_t fetched         # that came into it for this request
    uint16_t live
    uint16_t unmet           # nonces that weren't echoed
    uint16_t ages            # the first bucket, then one for what is above all bounds, then the sum
    uint16_t nonces
    uint16_t signed
    uint16_t[2] crls         # sent, not modified
    uint16_t never_issued


cdef class Responder(Holdings):
    cdef uint8_t[MAX_SIGNED] data        # ResponseData, at the end
    # With SIGN: what a thread is to sign, and with what; `due_key` is NULL where the signature is made in the lane.
    cdef LiveKey* due_key
    cdef const uint8_t* due_data
    cdef size_t due_size
    cdef int64_t due_at                  # producedAt
    cdef const Job* made                 # what a thread has signed, while its request goes on
    cdef uint16_t source                 # counts an answer from the table: where it was found
    cdef uint64_t* counters
    cdef CounterWords words
    cdef int64_t[AGES] bounds
    cdef int64_t stamped     # in which second
    cdef uint8_t[MAX_STAMP] text
    cdef Span stamp
    cdef const Span* stamp_at(self, int64_t second) noexcept nogil
    cdef void put_head(
        self,
        Out* out,
        const uint8_t* end,
        const RecordView* view,
        const uint8_t* tag,
        int64_t max_age,
        bint closes,
        bint is_known,
        int64_t now,
    ) noexcept nogil
    # `price` becomes what the signature costs where that is SIGN, else what the chain's answer costs; see `gate`.
    cdef Outcome answer(
        self, const Head* head, Bytes request, size_t size, int64_t now, Want want, Out* out, int* price
    ) noexcept nogil
    cdef Outcome put_live(
        self, const Head* head, const RequestView* asked, const Span* nonce, Want want, int64_t seconds, Out* out
    ) noexcept nogil
    cdef void count(self, const RequestView* asked, bint is_post, int64_t seconds) noexcept nogil
    cdef bint put_stored(
        self,
        const Head* head,
        const Found* found,
        int variant,
        int64_t max_age,
        int64_t now,
        Out* out,
    ) noexcept nogil
    cdef Outcome refuse(self, const Head* head, const RequestView* asked, int64_t now, Out* out) noexcept nogil
    cdef void count_asked(self, const RequestView* asked) noexcept nogil
