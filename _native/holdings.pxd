"""What a host knows, and what may be said of certificates at this moment."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint64_t

from responder._native.der cimport Span
from responder._native.issued cimport Issued
from responder._native.issuers cimport IssuerIndex, IssuerPlace
from responder._native.live cimport LiveKeys
from responder._native.record_format cimport RecordView
from responder._native.render cimport Constants
from responder._native.request cimport MAX_IDS, CertIDView, RequestView
from responder._native.sets cimport MAX_RECORD
from responder._native.table cimport Table

cdef enum:
    MAX_NAME = 8 + 64        # an issuer's tag, and a serial that the table takes

cdef enum Reading:
    READ                     # `found` says what may be said
    NEVER_ISSUED
    UNREAD                   # only the chain knows

# What is said of one certificate that is asked for.
ctypedef struct Found:
    bint is_issued           # else nothing but `unknown`
    Span serial
    RecordView view
    int64_t due              # when a new one is
    const Constants* profile
    uint8_t[MAX_RECORD] record


cdef class Holdings:
    cdef Table table
    cdef object memory
    cdef uint64_t* deadline
    cdef uint64_t* database_clock        # nanoseconds since 1970 less CLOCK_BOOTTIME; 0 while it isn't known
    cdef Issued issued                   # None: nothing is told of what was never issued
    cdef uint64_t* issued_until          # CLOCK_BOOTTIME: until then it decides
    cdef LiveKeys live
    cdef Found[MAX_IDS] found            # by the present request
    cdef size_t missing_size             # set where an answer misses a certificate in the table; its caller sets it to 0
    cdef uint8_t[MAX_NAME] missing
    cdef IssuerIndex issuers
    cdef const Constants** profiles
    cdef uint64_t profile_mask
    cdef list held
    cdef const Constants* find_profile(self, const uint8_t* profile_id) noexcept nogil
    cdef bint is_current(self, int64_t boottime) noexcept nogil
    cdef bint may_sign(self, int64_t now, int64_t boottime) noexcept nogil
    cdef Reading read_all(
        self, const IssuerPlace* issuer, const RequestView* asked, int64_t boottime, int64_t ceiling
    ) noexcept nogil
    cdef Reading read(
        self, const IssuerPlace* issuer, const CertIDView* cert_id, int64_t boottime, int64_t ceiling, Found* found
    ) noexcept nogil
    cdef bint is_still_so(self, const IssuerPlace* issuer, int count) noexcept nogil
    cdef void miss(self, const uint8_t* tag, const Span* serial) noexcept nogil
    cdef bint was_never_issued(self, const IssuerPlace* issuer, const Span* serial, int64_t boottime) noexcept nogil
