from libc.stddef cimport size_t

from responder._native cimport libcrypto

cdef enum:
    DIGEST_OCTETS = 32
    MAX_SIGNATURE = 2048  # RSA of 16,384 bits, which is the longest we take


cdef class PrivateKey:
    cdef libcrypto.EVP_PKEY* _key
    cdef libcrypto.EVP_PKEY_CTX* _spare
    cdef readonly bytes public_key
    cdef readonly bytes signature_algorithm
    cdef readonly str name
    cdef bint is_ecdsa
    cdef bytes _sign(self, const unsigned char* message, size_t size)
    cdef libcrypto.EVP_PKEY_CTX* take_context(self) except NULL
    cdef void give_back(self, libcrypto.EVP_PKEY_CTX* context) noexcept


cdef bint sha256(
    libcrypto.EVP_MD_CTX* context, const unsigned char* data, size_t size, unsigned char* digest
) noexcept nogil
cdef bint sha256_of_two(
    libcrypto.EVP_MD_CTX* context,
    const unsigned char* first,
    size_t first_size,
    const unsigned char* second,
    size_t second_size,
    unsigned char* digest,
) noexcept nogil

cdef bytes ECDSA_WITH_SHA256
