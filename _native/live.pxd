"""Answers that are signed in the lane: with a nonce, by keys that sign in less than a hop to a
thread takes."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from responder._native cimport libcrypto
from responder._native.algorithms cimport Algorithm, SigningContext
from responder._native.der cimport Out, Span
from responder._native.render cimport Constants, Single

cdef enum:
    SIGN_BOUNDS = 10

ctypedef struct LiveKey:
    const unsigned char* profile_id
    libcrypto.EVP_PKEY* key
    const Algorithm* algorithm
    SigningContext context       # its `algorithm` is NULL before the first signature
    uint16_t signatures          # words of this process's lane: a counter, and a histogram with SIGN_BOUNDS bounds
    uint16_t seconds


cdef class LiveKeys:
    cdef LiveKey* keys
    cdef uint64_t mask
    cdef list held
    cdef int64_t[SIGN_BOUNDS] bounds     # nanoseconds
    cdef LiveKey* find(self, const unsigned char* profile_id) noexcept nogil
    # The OCSPResponse that says this, with a nonce where that has octets; False where there is no room, or libcrypto refuses.
    cdef bint put_answer(
        self,
        LiveKey* key,
        const Constants* profile,
        const Single* singles,
        int count,
        const Span* nonce,
        int64_t produced_at,
        uint64_t* counters,
        Out* out,
    ) noexcept nogil
