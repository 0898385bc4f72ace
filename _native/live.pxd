"""The keys that sign for one request, in the lane or in a thread beside it."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from responder._native cimport libcrypto
from responder._native.algorithms cimport Algorithm, SigningContext

cdef enum:
    SIGN_BOUNDS = 10

ctypedef struct LiveKey:
    const unsigned char* profile_id
    libcrypto.EVP_PKEY* key
    const Algorithm* algorithm
    SigningContext context       # its `algorithm` is NULL before the first signature
    bint is_slow                 # a thread signs with it
    uint16_t signatures          # words of this process's lane: a counter, and a histogram with SIGN_BOUNDS bounds
    uint16_t seconds


cdef class LiveKeys:
    cdef LiveKey* keys
    cdef uint64_t mask
    cdef list held
    cdef int64_t[SIGN_BOUNDS] bounds     # nanoseconds
    cdef LiveKey* find(self, const unsigned char* profile_id) noexcept nogil
    # Sign now; `signature` has room for MAX_SIGNATURE. False where libcrypto refuses.
    cdef bint sign(
        self, LiveKey* key, const uint8_t* data, size_t size, uint8_t* signature, size_t* signature_size, uint64_t* counters
    ) noexcept nogil
    cdef void count(self, uint16_t signatures, uint16_t seconds, int64_t taken, uint64_t* counters) noexcept nogil
