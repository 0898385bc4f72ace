"""Statuses as PostgreSQL's COPY wrote them, as views into its octets."""

from libc.stdint cimport int64_t, uint32_t

from responder._native.der cimport Bytes, Span

ctypedef struct CopiedStatus:
    Bytes columns          # where the first begins
    int partition
    int64_t number
    Span serial
    bint is_revoked
    int64_t not_before     # microseconds since 1970; INT64_MIN where it was never told
    int64_t not_after      # and INT64_MAX


cdef class CopiedStatuses:
    cdef bytes copied
    cdef CopiedStatus* rows
    cdef Py_ssize_t count
    cdef uint32_t statement_epoch
    cdef int64_t statement_as_of

    cdef int read_rows(self) except -1


cdef inline bint is_good_then(const CopiedStatus* status, int64_t now) noexcept nogil:
    """Whether it isn't revoked, and `now`, in microseconds, is within its validity; the second of notAfter counts in
    (RFC 5280 §4.1.2.5)."""
    return not status.is_revoked and status.not_before <= now and now - now % 1000000 <= status.not_after
