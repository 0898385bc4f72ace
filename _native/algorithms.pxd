"""Signature algorithms, and the signing of octets with them, without the GIL."""

from libc.stddef cimport size_t

from responder._native cimport libcrypto
from responder._native.der cimport Span

cdef enum:
    MAX_SIGNATURE = 8192   # RSA of 16,384 bits has 2,048 octets, ML-DSA-87 4,627

ctypedef struct Algorithm:
    const char* name                    # for labels; RSA's goes on with the size of the key
    const char* key_type                # as libcrypto calls it
    const char* group                   # the curve, or NULL
    int digest                          # which of ours is signed, or that the algorithm takes the octets themselves
    int padding                         # of RSA
    size_t coordinate                   # octets of r and of s in records; 0 where a signature is kept as it is
    const unsigned char* identifier     # DER AlgorithmIdentifier
    size_t identifier_size

# What one thread signs with: libcrypto's state for one key and algorithm.
ctypedef struct SigningContext:
    const Algorithm* algorithm
    libcrypto.EVP_PKEY* key             # borrowed
    libcrypto.EVP_PKEY_CTX* context     # NULL where the algorithm takes the octets themselves
    libcrypto.EVP_MD_CTX* digester      # for what is signed
    libcrypto.EVP_MD_CTX* hasher        # for all else: a context that has signed hashes no more

# The first algorithm of an AlgorithmIdentifier, or NULL when it isn't one of ours.
cdef const Algorithm* find_algorithm(const Span* identifier) noexcept nogil
# The algorithm of an AlgorithmIdentifier that `key` signs with, or NULL.
cdef const Algorithm* find_algorithm_of_key(libcrypto.EVP_PKEY* key, const Span* identifier) noexcept nogil
# The `index`th algorithm that `key` can sign with, its own first, or NULL when there are no more.
cdef const Algorithm* algorithm_of_key(libcrypto.EVP_PKEY* key, int index) noexcept

cdef bint open_signing(SigningContext* signing, libcrypto.EVP_PKEY* key, const Algorithm* algorithm) noexcept nogil
cdef void close_signing(SigningContext* signing) noexcept nogil
# Sign octets; `signature` has room for MAX_SIGNATURE.
cdef bint sign_octets(
    SigningContext* signing, const unsigned char* data, size_t size, unsigned char* signature, size_t* length
) noexcept nogil
cdef bint verify_octets(
    libcrypto.EVP_PKEY* key, const Algorithm* algorithm, const Span* text, const Span* signature
) noexcept nogil

cdef bint sha256_of_two(
    libcrypto.EVP_MD_CTX* context, const Span* first, const Span* second, unsigned char* digest
) noexcept nogil


# A digest context for use under the GIL.
cdef class Digester:
    cdef libcrypto.EVP_MD_CTX* context
