"""How records are stored: what differs between the answers of one signer, in a hundred octets or so.

Format 1, all integers big-endian:

    0   1   format
    1   4   epoch              13  8   as_of, microseconds since 1970
    5   8   number             21  1   flags: bits 0-1 cert_status, bit 2 reason, bit 3 single extensions
    22  1   reason, 0 when none
    23  1   number of variants
    24  16  profile id (zeros in a tombstone)
    40  8   certificate tag: SHA-256 of issuer tag and serial, cut
    48  5   this_update, seconds since 1970 (in a tombstone: as_of)
    53  4   next_update, seconds after this_update
    57  4   produced_at, seconds after this_update
    61  5   revocation_time, when revoked (in a tombstone: as_of)
    .   2+n single extensions, when flagged: length, DER
    .   2   length of a signature, when there are variants
    .       for each variant, ascending: variant octet, signature (ECDSA as r and s, 32 octets each)

Format 2 has answers that were made elsewhere, as they came; the same up to the revocation_time, and then

    .       for each variant, ascending: variant octet, 2 octets of length, 16 of the OCSPResponse's SHA-256, its DER

It has no extensions: they stand in the DER. this_update is that of the newest; next_update is not after the first end of
theirs, and not further from produced_at, when the records were made, than an answer of ours may be valid.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from responder._native cimport der
from responder._native.algorithms cimport MAX_SIGNATURE

cdef enum:
    FORMAT = 1
    VERBATIM = 2
    REASON = 4
    EXTENSIONS = 8

MAX_TIME = 253402300799


cdef inline uint64_t get(const unsigned char* data, int octets) noexcept nogil:
    cdef uint64_t value = 0
    cdef int index
    for index in range(octets):
        value = (value << 8) | data[index]
    return value


cdef inline void store(unsigned char* data, uint64_t value, int octets) noexcept nogil:
    cdef int index
    for index in range(octets - 1, -1, -1):
        data[index] = <unsigned char> (value & 0xFF)
        value >>= 8


cdef const char* parse_record(const unsigned char* data, size_t size, RecordView* view) noexcept nogil:
    cdef size_t position = FIXED
    cdef size_t index
    cdef int flags, variant
    cdef int last = 0
    if size < FIXED or (data[0] != FORMAT and data[0] != VERBATIM):
        return b"not a record of format 1 or 2"
    view.is_verbatim = data[0] == VERBATIM
    view.epoch = <uint32_t> get(data + 1, 4)
    view.number = get(data + 5, 8)
    if data[13] & 0x80:
        return b"as_of is before 1970"
    view.as_of = <int64_t> get(data + 13, 8)
    if view.as_of >= (MAX_TIME + 1) * 1000000:
        return b"as_of is after the year 9999"
    flags = data[21]
    view.cert_status = flags & 3
    if flags & ~(3 | REASON | EXTENSIONS) or view.cert_status > UNKNOWN:
        return b"flags that this version doesn't know"
    view.reason = -1
    if flags & REASON:
        view.reason = data[22]
        if view.cert_status != REVOKED or not is_reason(view.reason):
            return b"a reason that can't be"
    elif data[22]:
        return b"a reason without its flag"
    view.count = data[23]
    view.profile_id = data + 24
    view.certificate_tag = data + TAG_OFFSET
    view.this_update = <int64_t> get(data + 48, 5)
    view.next_update = view.this_update + <int64_t> get(data + 53, 4)
    view.produced_at = view.this_update + <int64_t> get(data + 57, 4)
    if view.next_update > MAX_TIME or view.produced_at > MAX_TIME:
        return b"a time after the year 9999"
    view.revocation_time = -1
    if view.cert_status == REVOKED:
        if size - position < 5:
            return b"cut short"
        view.revocation_time = <int64_t> get(data + position, 5)
        if view.revocation_time > MAX_TIME:
            return b"a time after the year 9999"
        position += 5
    view.extensions.data = NULL
    view.extensions.size = 0
    if flags & EXTENSIONS:
        if size - position < 2:
            return b"cut short"
        view.extensions.size = <size_t> get(data + position, 2)
        position += 2
        view.extensions.data = data + position
        if view.extensions.size == 0 or view.extensions.size > MAX_SINGLE_EXTENSIONS:
            return b"single extensions of an impossible length"
        if size - position < view.extensions.size:
            return b"cut short"
        if not der.is_extensions(view.extensions.data, view.extensions.size):
            return b"single extensions that aren't Extensions"
        position += view.extensions.size
    view.signature_size = 0
    view.signatures = NULL
    if view.count == 0 and not view.is_verbatim:
        return parse_tombstone(view, size - position)
    if view.count > VARIANTS:
        return b"more variants than there are"
    if view.is_verbatim:
        return parse_verbatim(view, data + position, size - position)
    if size - position < 2:
        return b"cut short"
    view.signature_size = <size_t> get(data + position, 2)
    position += 2
    if view.signature_size == 0 or view.signature_size > MAX_SIGNATURE:
        return b"signatures of an impossible length"
    if size - position != <size_t> view.count * (1 + view.signature_size):
        return b"not as long as its signatures"
    view.signatures = data + position
    for index in range(<size_t> view.count):
        variant = view.signatures[index * (1 + view.signature_size)]
        if index_of(variant) < 0 or variant <= last:
            return b"variants that aren't ours, or aren't ascending"
        last = variant
    return NULL


cdef const char* parse_verbatim(RecordView* view, const unsigned char* entry, size_t left) noexcept nogil:
    """Whole responses; `signature_size` is that of the longest."""
    cdef int index
    cdef int last = 0
    cdef size_t size
    if view.count == 0 or view.extensions.size:
        return b"answers made elsewhere: none, or with extensions of ours"
    view.signatures = entry
    for index in range(view.count):
        if left < VERBATIM_HEAD:
            return b"cut short"
        size = <size_t> get(entry + 1, 2)
        if size <= DIGEST or left - VERBATIM_HEAD < size:
            return b"cut short"
        if not der.is_one(entry + VERBATIM_HEAD + DIGEST, size - DIGEST, der.SEQUENCE):
            return b"an answer that isn't one DER SEQUENCE"
        if index_of(entry[0]) < 0 or entry[0] <= last:
            return b"variants that aren't ours, or aren't ascending"
        last = entry[0]
        view.signature_size = max(view.signature_size, size)
        entry += VERBATIM_HEAD + size
        left -= VERBATIM_HEAD + size
    if left:
        return b"not as long as its answers"
    return NULL


cdef const char* parse_tombstone(const RecordView* view, size_t left) noexcept nogil:
    """What has no variants says no more than a tombstone does."""
    cdef int index
    if left:
        return b"octets follow the tombstone"
    for index in range(PROFILE_ID):
        if view.profile_id[index]:
            return b"a profile, but no signature"
    if view.reason >= 0 or view.extensions.size or view.produced_at != view.this_update:
        return b"details, but no signature"
    return NULL


cdef bint is_reason(int reason) noexcept nogil:
    """CRLReason as a status may have it: unspecified (0) is left out, 7 isn't used, removeFromCRL is for deltas."""
    return 1 <= reason <= 10 and reason != 7 and reason != 8


cdef size_t fixed_size(const RecordView* view) noexcept nogil:
    return (
        FIXED
        + (5 if view.cert_status == REVOKED else 0)
        + (2 + view.extensions.size if view.extensions.size else 0)
        + (2 if view.count and not view.is_verbatim else 0)
    )


cdef void write_fixed(unsigned char* out, const RecordView* view) noexcept nogil:
    cdef size_t position = FIXED
    out[0] = VERBATIM if view.is_verbatim else FORMAT
    store(out + 1, view.epoch, 4)
    store(out + 5, view.number, 8)
    store(out + 13, <uint64_t> view.as_of, 8)
    out[21] = view.cert_status | (REASON if view.reason >= 0 else 0) | (EXTENSIONS if view.extensions.size else 0)
    out[22] = <unsigned char> view.reason if view.reason >= 0 else 0
    out[23] = <unsigned char> view.count
    memcpy(out + 24, view.profile_id, PROFILE_ID)
    memcpy(out + TAG_OFFSET, view.certificate_tag, CERTIFICATE_TAG)
    store(out + 48, <uint64_t> view.this_update, 5)
    store(out + 53, <uint64_t> (view.next_update - view.this_update), 4)
    store(out + 57, <uint64_t> (view.produced_at - view.this_update), 4)
    if view.cert_status == REVOKED:
        store(out + position, <uint64_t> view.revocation_time, 5)
        position += 5
    if view.extensions.size:
        store(out + position, view.extensions.size, 2)
        memcpy(out + position + 2, view.extensions.data, view.extensions.size)
        position += 2 + view.extensions.size
    if view.count and not view.is_verbatim:
        store(out + position, view.signature_size, 2)
