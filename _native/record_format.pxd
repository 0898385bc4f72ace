"""Stored records as views into their octets. Read and written without the GIL."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t

from responder._native.der cimport Span

cdef enum:
    PROFILE_ID = 16
    CERTIFICATE_TAG = 8
    VARIANTS = 8
    MAX_SINGLE_EXTENSIONS = 4096
    TAG_OFFSET = 40
    FIXED = 61
    VERBATIM_HEAD = 3    # variant and length, before an answer made elsewhere
    DIGEST = 16          # and then of its SHA-256

cdef enum:
    GOOD = 0
    REVOKED = 1
    UNKNOWN = 2

ctypedef struct RecordView:
    uint32_t epoch
    uint64_t number
    int64_t as_of                    # microseconds since 1970
    int cert_status
    int reason                       # -1 for none
    int64_t revocation_time          # -1 for none
    int64_t this_update
    int64_t next_update
    int64_t produced_at
    const unsigned char* profile_id
    const unsigned char* certificate_tag
    Span extensions                  # of the single response
    int count                        # of variants
    size_t signature_size            # of the longest
    const unsigned char* signatures  # count times a variant octet and a signature
    bint is_verbatim                 # they are digests and responses, each after its length


cdef int64_t MAX_TIME  # 9999-12-31T23:59:59Z


cdef inline int index_of(int variant) noexcept nogil:
    """Where a variant stands in tables of all; -1 for none of ours."""
    if 1 <= variant <= 4:
        return variant - 1
    if 17 <= variant <= 20:
        return variant - 13
    return -1


cdef inline bint find_signature(const RecordView* view, int variant, Span* found) noexcept nogil:
    """The signature of a variant as it is stored; of an answer made elsewhere its digest and its DER. False: none."""
    cdef int index
    cdef const unsigned char* entry = view.signatures
    for index in range(view.count):
        found.data, found.size = entry + 1, view.signature_size
        if view.is_verbatim:
            found.data, found.size = entry + VERBATIM_HEAD, (<size_t> entry[1] << 8) | entry[2]
        if entry[0] == variant:
            return True
        entry = found.data + found.size
    return False


# A sentence when these octets aren't records of ours, else NULL.
cdef const char* parse_record(const unsigned char* data, size_t size, RecordView* view) noexcept nogil
# How long the part before the signatures is, and writing it.
cdef size_t fixed_size(const RecordView* view) noexcept nogil
cdef void write_fixed(unsigned char* out, const RecordView* view) noexcept nogil
