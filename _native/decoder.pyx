"""Libcrypto's decoders, made once.

Libcrypto before 3.2 looks up all of its decoders for each context, which takes ten times as long as to read a key. A context
reads one key at a time, so this needs the GIL.
"""

cimport cython
from libc.stddef cimport size_t

from responder._native cimport libcrypto
from responder._native.errors cimport drain_errors


@cython.final
cdef class Decoder:
    """Reads keys of one form (`DER`, `PEM`) and one structure, or any structure where that is NULL."""

    def __cinit__(self, const char* form, structure, int selection):
        cdef const char* wanted = NULL
        if structure is not None:
            wanted = <const char*> <bytes> structure
        self._context = libcrypto.OSSL_DECODER_CTX_new_for_pkey(
            &self._found, form, wanted, NULL, selection, NULL, NULL
        )
        if self._context == NULL:
            raise MemoryError(f"libcrypto makes no decoder: {drain_errors()}")

    def __dealloc__(self):
        libcrypto.OSSL_DECODER_CTX_free(self._context)

    cdef libcrypto.EVP_PKEY* read(self, const unsigned char* data, size_t* size) noexcept:
        libcrypto.ERR_clear_error()
        return self._taken(libcrypto.OSSL_DECODER_from_data(self._context, &data, size) == 1)

    cdef libcrypto.EVP_PKEY* search(self, libcrypto.BIO* source) noexcept:
        cdef libcrypto.EVP_PKEY* found
        cdef int at = 0
        cdef int before
        libcrypto.ERR_clear_error()
        while True:
            found = self._taken(libcrypto.OSSL_DECODER_from_bio(self._context, source) == 1)
            before, at = at, libcrypto.BIO_pending(source)
            if found != NULL or at == 0 or at == before:
                break
        if found != NULL:
            libcrypto.ERR_clear_error()  # of the blocks before it
        return found

    cdef libcrypto.EVP_PKEY* _taken(self, bint done) noexcept:
        cdef libcrypto.EVP_PKEY* found = self._found
        self._found = NULL
        if not done:
            libcrypto.EVP_PKEY_free(found)
            return NULL
        return found
