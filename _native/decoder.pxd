"""Reading keys, of any type that libcrypto knows."""

from libc.stddef cimport size_t

from responder._native cimport libcrypto


cdef class Decoder:
    cdef libcrypto.OSSL_DECODER_CTX* _context
    cdef libcrypto.EVP_PKEY* _found  # where the context puts what it reads
    # The key, which is the caller's from then on, and how many octets follow it; NULL where there is none.
    cdef libcrypto.EVP_PKEY* read(self, const unsigned char* data, size_t* size) noexcept
    cdef libcrypto.EVP_PKEY* _taken(self, bint done) noexcept
    # The first key among the blocks of a PEM file.
    cdef libcrypto.EVP_PKEY* search(self, libcrypto.BIO* source) noexcept
