"""Seals on what is kept in a store that others may write to: HMAC-SHA-256 over name and value, 16 octets of it.

A signature says that a record is ours, too, and takes a hundred times as long to verify. Whoever holds the key may write
records, but can't sign answers with it.
"""

cimport cython
from libc.stddef cimport size_t

from responder._native cimport libcrypto
from responder._native.errors cimport drain_errors

cdef enum:
    DIGEST = 32
    SEAL = 16
    MIN_KEY = 32


@cython.final
cdef class Seal:
    """For use under the GIL."""

    cdef libcrypto.EVP_MAC_CTX* context

    def __cinit__(self, bytes key not None, /):
        cdef libcrypto.EVP_MAC* algorithm
        cdef libcrypto.OSSL_PARAM[2] parameters
        if len(key) < MIN_KEY:
            raise ValueError(f"a key of {len(key)} octets; {MIN_KEY} are the least")
        algorithm = libcrypto.EVP_MAC_fetch(NULL, b"HMAC", NULL)
        if algorithm == NULL:
            raise MemoryError(f"libcrypto has no HMAC: {drain_errors()}")
        self.context = libcrypto.EVP_MAC_CTX_new(algorithm)
        libcrypto.EVP_MAC_free(algorithm)
        parameters[0] = libcrypto.OSSL_PARAM_construct_utf8_string(b"digest", <char*> b"SHA256", 0)
        parameters[1] = libcrypto.OSSL_PARAM_construct_end()
        if self.context == NULL or libcrypto.EVP_MAC_init(self.context, key, len(key), parameters) != 1:
            raise MemoryError(f"libcrypto makes no HMAC: {drain_errors()}")

    def __dealloc__(self):
        libcrypto.EVP_MAC_CTX_free(self.context)

    def __reduce__(self):
        raise TypeError("a Seal is never copied")

    def close(self, bytes name not None, bytes value not None, /):
        cdef unsigned char[DIGEST] digest
        self.make(name, len(name), value, len(value), digest)
        return value + <bytes> digest[:SEAL]

    def open(self, bytes name not None, bytes sealed not None, /):
        cdef unsigned char[DIGEST] digest
        cdef const unsigned char* octets = sealed
        cdef Py_ssize_t size = len(sealed) - SEAL
        if size < 0:
            return None
        self.make(name, len(name), octets, size, digest)
        if libcrypto.CRYPTO_memcmp(digest, octets + size, SEAL) != 0:
            return None
        return sealed[:size]

    cdef int make(
        self, const unsigned char* name, size_t name_size, const unsigned char* value, size_t size, unsigned char* digest
    ) except -1:
        cdef size_t written = 0
        cdef unsigned char[2] length
        length[0], length[1] = <unsigned char> (name_size >> 8), <unsigned char> name_size
        if (
            libcrypto.EVP_MAC_init(self.context, NULL, 0, NULL) != 1
            or libcrypto.EVP_MAC_update(self.context, length, 2) != 1
            or libcrypto.EVP_MAC_update(self.context, name, name_size) != 1
            or libcrypto.EVP_MAC_update(self.context, value, size) != 1
            or libcrypto.EVP_MAC_final(self.context, digest, &written, DIGEST) != 1
            or written != DIGEST
        ):
            raise MemoryError(f"libcrypto makes no HMAC: {drain_errors()}")
        return 0
