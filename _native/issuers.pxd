"""The issuers that are answered for, as CertIDs name them."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from responder._native.request cimport CertIDView

cdef enum:
    MAX_HASH = 64

# An issuer under the hashes of one algorithm.
ctypedef struct IssuerPlace:
    int algorithm            # 1..4
    bint is_for_the_chain    # whatever is asked
    uint32_t variants        # bit by index_of: those that records are made for
    bint ignores_nonce
    bint honours_preferences
    bint refuses_unknown     # a serial that was never issued is `unauthorized`
    uint8_t[8] tag
    uint8_t[MAX_HASH] name_hash
    uint8_t[MAX_HASH] key_hash
    int64_t refresh          # seconds
    int64_t max_age


cdef class IssuerIndex:
    cdef const IssuerPlace** places      # in the octets that `held` holds
    cdef uint64_t mask
    cdef list held
    cdef const IssuerPlace* find(self, const CertIDView* asked) noexcept nogil
