"""Records of a certificate, as Python holds them; `record_format` has how they are stored."""

cimport cython
from libc.stdint cimport int64_t
from libc.string cimport memset

from responder._native cimport der, times
from responder._native.der cimport Span
from responder._native.record_format cimport (
    CERTIFICATE_TAG,
    FIXED,
    GOOD,
    MAX_TIME,
    PROFILE_ID,
    UNKNOWN,
    RecordView,
    find_signature,
    fixed_size,
    parse_record,
    write_fixed,
)

import hashlib

cdef object _FACTORY = object()
cdef tuple OURS = (1, 2, 3, 4, 17, 18, 19, 20)


@cython.final
cdef class Records:
    """All pre-signed variants of one certificate. Immutable."""

    def __cinit__(self, factory=None):
        if factory is not _FACTORY:
            raise TypeError("Records is made by decode_records, tombstone or a SigningProfile")

    def __reduce__(self):
        return decode_records, (self.encoded,)

    def __eq__(self, other):
        return isinstance(other, Records) and (<Records> other).encoded == self.encoded

    def __hash__(self):
        return hash(self.encoded)

    @property
    def is_tombstone(self):
        return self.view.count == 0

    @property
    def profile_id(self):
        return <bytes> self.view.profile_id[:PROFILE_ID]

    @property
    def cert_status(self):
        return self.view.cert_status

    @property
    def revocation_time(self):
        return None if self.view.revocation_time < 0 else self.view.revocation_time

    @property
    def revocation_reason(self):
        return None if self.view.reason < 0 else self.view.reason

    @property
    def this_update(self):
        return self.view.this_update

    @property
    def next_update(self):
        return self.view.next_update

    @property
    def produced_at(self):
        return self.view.produced_at

    @property
    def epoch(self):
        return self.view.epoch

    @property
    def number(self):
        return self.view.number

    @property
    def as_of_microseconds(self):
        return self.view.as_of

    @property
    def is_verbatim(self):
        return bool(self.view.is_verbatim)

    @property
    def variants(self):
        cdef Span found
        return tuple([variant for variant in OURS if find_signature(&self.view, variant, &found)])

    def signature(self, int variant, /):
        cdef Span found
        if not find_signature(&self.view, variant, &found):
            raise KeyError(variant)
        return <bytes> found.data[:found.size]

    @property
    def single_extensions(self):
        return <bytes> self.view.extensions.data[:self.view.extensions.size]


cdef Records read_records(bytes encoded):
    cdef Records records = Records.__new__(Records, _FACTORY)
    cdef const char* fault
    records.encoded = encoded
    fault = parse_record(encoded, len(encoded), &records.view)
    if fault != NULL:
        raise ValueError(f"these records can't be read: {fault.decode()}")
    return records


def decode_records(bytes encoded not None, /):
    """Read what `Records.encoded` gave."""
    return read_records(encoded)


cdef set_version(RecordView* view, object epoch, object number, object as_of_microseconds):
    """Set what records are compared by.

    Raises:
        ValueError: a number that its field can't hold.
    """
    der.whole("epoch", epoch)
    der.whole("number", number)
    der.whole("as_of", as_of_microseconds)
    if not 0 <= epoch < 1 << 32:
        raise ValueError(f"epoch {epoch} isn't a number of 32 bits")
    if not 0 <= number < 1 << 64:
        raise ValueError(f"number {number} isn't a number of 64 bits")
    if not 0 <= as_of_microseconds < (MAX_TIME + 1) * 1000000:
        raise ValueError(f"as_of {as_of_microseconds} is before 1970, or too far away")
    view.epoch = epoch
    view.number = number
    view.as_of = as_of_microseconds


def tombstone(
    bytes issuer_tag not None,
    bytes serial not None,
    int cert_status,
    object epoch,
    object number,
    object as_of_microseconds,
    object next_update,
    /,
):
    """Records without a variant, which bury everything of a lower `(version, as_of)`."""
    cdef RecordView view
    cdef unsigned char[FIXED + 5] buffer
    cdef bytes tag = hashlib.sha256(issuer_tag + serial).digest()
    cdef bytes no_profile = bytes(PROFILE_ID)
    memset(&view, 0, sizeof(view))
    if len(issuer_tag) != CERTIFICATE_TAG:
        raise ValueError(f"issuer_tag has {len(issuer_tag)} octets, not {CERTIFICATE_TAG}")
    if not der.is_minimal_integer(serial, len(serial)):
        raise ValueError("the serial isn't the content of a minimal INTEGER")
    if not GOOD <= cert_status <= UNKNOWN:
        raise ValueError(f"cert_status {cert_status} is none of good, revoked and unknown")
    set_version(&view, epoch, number, as_of_microseconds)
    view.cert_status = cert_status
    view.reason = -1
    view.this_update = times.moment("as_of", as_of_microseconds // 1_000_000)
    view.next_update = times.moment("next_update", next_update)
    view.produced_at = view.this_update
    view.revocation_time = view.this_update
    if not 0 <= view.next_update - view.this_update < <int64_t> 1 << 32:
        raise ValueError("next_update is before as_of, or too far from it")
    view.profile_id = no_profile
    view.certificate_tag = tag
    write_fixed(buffer, &view)
    return read_records(buffer[:fixed_size(&view)])
