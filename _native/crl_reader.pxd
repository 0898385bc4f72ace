"""Reading CRLs (RFC 5280 §5), for the writer's check; see `crl_reader.pyx`."""

from libc.stdint cimport int64_t

from responder._native.der cimport In, Span

cdef enum:
    MAX_SERIAL = 512

# One entry; where it is kept its serial follows it.
cdef packed struct Row:
    int64_t revocation_time
    int64_t invalidity_date     # or -1
    signed char reason          # or -1; never 0
    unsigned short serial_size

# A CRL taken apart, as views into its octets.
ctypedef struct CRLView:
    Span tbs
    Span version                # DER, as the others
    Span algorithm              # of the tbs, and the same after it
    Span issuer
    Span this_update
    Span next_update
    Span entries                # one after the other, without the header of their SEQUENCE
    Span extensions             # [0] and all
    Span signature              # octets
    Span after                  # all that follows the tbs

ctypedef struct EntryView:
    Span serial
    Row row

cdef int take_apart(const Span* octets, CRLView* view, str what) except -1
cdef bint read_entry(In* entries, EntryView* entry) noexcept nogil
cdef list missing(const Span* entries, const Span* before)
