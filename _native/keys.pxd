from libc.stddef cimport size_t

from responder._native cimport libcrypto
from responder._native.algorithms cimport Algorithm, SigningContext
from responder._native.der cimport Span


cdef enum:
    MAX_KEY_OCTETS = 65536


cdef class PrivateKey:
    cdef libcrypto.EVP_PKEY* _key
    cdef SigningContext _spare            # its algorithm is NULL where there is none
    cdef const Algorithm* algorithm
    cdef readonly bytes public_key
    cdef readonly bytes signature_algorithm
    cdef readonly tuple signature_algorithms
    cdef readonly str name
    cdef readonly bint is_local
    cdef const Algorithm* find(self, const Span* identifier) noexcept
    cdef size_t signature_size(self, const Algorithm* algorithm) noexcept
    cdef bytes _sign(self, const Algorithm* algorithm, const unsigned char* message, size_t size)
    cdef int take(self, const Algorithm* algorithm, SigningContext* signing) except -1
    cdef void give_back(self, SigningContext* signing) noexcept


# Take over a key of libcrypto's. Raises ValueError for one that we don't sign with.
cdef PrivateKey take_over(libcrypto.EVP_PKEY* pkey)


cdef class PublicKey:
    cdef libcrypto.EVP_PKEY* _key
    cdef readonly tuple signature_algorithms
    cdef int verify_span(self, const Span* identifier, const Span* message, const Span* signature) except -1
