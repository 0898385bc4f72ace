from libc.stddef cimport size_t

from responder._native cimport libcrypto
from responder._native.der cimport Span

cdef enum:
    DIGEST_OCTETS = 32
    MAX_SIGNATURE = 2048  # RSA of 16,384 bits, which is the longest we take

ctypedef struct Algorithm:
    const char* key_type                # as libcrypto calls it
    const char* group                   # the curve, or NULL
    size_t coordinate                   # octets of r and of s in records; 0 where a signature is kept as it is
    const unsigned char* identifier     # DER AlgorithmIdentifier
    size_t identifier_size

# The algorithm of an AlgorithmIdentifier, or NULL when it isn't one of ours.
cdef const Algorithm* find_algorithm(const Span* identifier) noexcept nogil


cdef class PrivateKey:
    cdef libcrypto.EVP_PKEY* _key
    cdef libcrypto.EVP_PKEY_CTX* _spare
    cdef const Algorithm* algorithm
    cdef readonly bytes public_key
    cdef readonly bytes signature_algorithm
    cdef readonly str name
    cdef size_t signature_size(self) noexcept
    cdef bytes _sign(self, const unsigned char* message, size_t size)
    cdef libcrypto.EVP_PKEY_CTX* take_context(self) except NULL
    cdef void give_back(self, libcrypto.EVP_PKEY_CTX* context) noexcept


cdef bint sign_digest(
    libcrypto.EVP_PKEY_CTX* context, const unsigned char* digest, unsigned char* signature, size_t* size
) noexcept nogil
cdef bint sha256(
    libcrypto.EVP_MD_CTX* context, const unsigned char* data, size_t size, unsigned char* digest
) noexcept nogil
cdef bint sha256_of_two(
    libcrypto.EVP_MD_CTX* context, const Span* first, const Span* second, unsigned char* digest
) noexcept nogil
