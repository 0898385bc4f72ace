from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t

from responder._native.der cimport Out
from responder._native.keys cimport PrivateKey

cdef enum:
    PROFILE_ID = 16
    CERTIFICATE_TAG = 8
    VARIANTS = 8
    MAX_PREFIX = 160   # AlgorithmIdentifier and two SHA-512 hashes, with their headers

ctypedef struct RecordView:
    uint32_t epoch
    uint64_t number
    int64_t as_of
    int cert_status
    int reason                      # -1 for none
    int64_t revocation_time         # -1 for none
    int64_t this_update
    int64_t next_update
    int64_t produced_at
    const unsigned char* profile_id
    const unsigned char* certificate_tag
    const unsigned char* extensions
    size_t extensions_size
    int count                       # of variants
    size_t signature_size
    const unsigned char* signatures  # count times a variant octet and a signature


cdef class Records:
    cdef readonly bytes encoded
    cdef RecordView view
    cdef const unsigned char* signature_of(self, int variant) noexcept


cdef class SigningProfile:
    cdef readonly bytes id
    cdef readonly bytes body
    cdef readonly bytes issuer_tag
    cdef readonly bytes signature_algorithm
    cdef readonly bytes responder_id
    cdef readonly tuple certificates
    cdef bytes extensions
    cdef bytes certs_field
    cdef bint is_ecdsa
    cdef size_t constant_size
    cdef unsigned char prefix[VARIANTS][MAX_PREFIX]
    cdef size_t prefix_size[VARIANTS]
    cdef bytes _render(self, Records records, int variant, const unsigned char* serial, size_t serial_size)
    cdef void _put_certs_and_signature(
        self, Out* out, const unsigned char* signature, size_t size, bint as_coordinates
    )
    cdef _require(self, PrivateKey key)
