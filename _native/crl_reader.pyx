"""Reading CRLs (RFC 5280 §5): what stands in one, entry by entry, and what was on the one before.

It shares nothing with the writer but the calendar, and says what is wrong with any octets.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.stdlib cimport free, qsort
from libc.string cimport memcmp

from responder._native cimport der, times
from responder._native.buffer cimport Buffer, append
from responder._native.der cimport In, Span, TLV, span

# OBJECT IDENTIFIERs: id-ce-cRLReasons, id-ce-invalidityDate
cdef const unsigned char* CRL_REASON = b"\x06\x03\x55\x1d\x15"
cdef const unsigned char* INVALIDITY_DATE = b"\x06\x03\x55\x1d\x18"

cdef enum:
    OID_SIZE = 5


cdef int take_apart(const Span* octets, CRLView* view, str what) except -1:
    """Raises ValueError unless this is one DER CertificateList v2 in which both algorithms are the same."""
    cdef const char* fault
    with nogil:
        fault = parse_crl(octets, view)
    if fault != NULL:
        raise ValueError(f"{what} can't be read: {fault.decode()}")
    return 0


cdef const char* parse_crl(const Span* octets, CRLView* view) noexcept nogil:
    cdef In outer = der.reader(octets.data, octets.size)
    cdef In whole, tbs, entries
    cdef TLV value, algorithm
    if not der.enter(&outer, der.SEQUENCE, &whole) or not der.at_end(&outer):
        return b"not one SEQUENCE"
    if not der.read(&whole, der.SEQUENCE, &value):
        return b"tbsCertList isn't a SEQUENCE"
    set_span(&view.tbs, &value)
    tbs = der.reader(value.content, value.length)
    view.after.data = whole.position
    view.after.size = <size_t> (whole.end - whole.position)
    if not der.read(&whole, der.SEQUENCE, &algorithm):
        return b"signatureAlgorithm isn't a SEQUENCE"
    set_span(&view.algorithm, &algorithm)
    if not der.read(&whole, der.BIT_STRING, &value) or value.length < 2 or value.content[0] or not der.at_end(&whole):
        return b"the signature isn't a BIT STRING of whole octets at the end"
    view.signature.data = value.content + 1
    view.signature.size = value.length - 1
    if not der.read(&tbs, der.INTEGER, &value) or value.length != 1 or value.content[0] != 1:
        return b"not of version 2"
    set_span(&view.version, &value)
    if (
        not der.read(&tbs, der.SEQUENCE, &value)
        or value.total != view.algorithm.size
        or memcmp(value.start, view.algorithm.data, value.total) != 0
    ):
        return b"signature isn't the same as signatureAlgorithm"
    if not der.read(&tbs, der.SEQUENCE, &value):
        return b"issuer isn't a SEQUENCE"
    set_span(&view.issuer, &value)
    if not read_time(&tbs, &value):
        return b"thisUpdate isn't a time"
    set_span(&view.this_update, &value)
    if not read_time(&tbs, &value):
        return b"nextUpdate isn't a time"
    set_span(&view.next_update, &value)
    view.entries.data = tbs.position
    view.entries.size = 0
    if der.next_is(&tbs, der.SEQUENCE):
        if not der.enter(&tbs, der.SEQUENCE, &entries) or der.at_end(&entries):
            return b"revokedCertificates is damaged, or empty"
        view.entries.data = entries.position
        view.entries.size = <size_t> (entries.end - entries.position)
    if not der.read(&tbs, 0xA0, &value) or not der.at_end(&tbs):
        return b"crlExtensions isn't the last part"
    set_span(&view.extensions, &value)
    return NULL


cdef inline void set_span(Span* target, const TLV* value) noexcept nogil:
    target.data = value.start
    target.size = value.total


cdef inline bint read_time(In* source, TLV* value) noexcept nogil:
    cdef int64_t seconds
    return der.read_any(source, value) and times.read_moment(value, &seconds)


cdef bint read_entry(In* entries, EntryView* entry) noexcept nogil:
    """One revokedCertificates entry with no extensions but reasonCode and invalidityDate, neither critical."""
    cdef In inside, extensions, extension, content
    cdef TLV value, oid
    if (
        not der.enter(entries, der.SEQUENCE, &inside)
        or not der.read(&inside, der.INTEGER, &value)
        or not der.is_minimal_integer(value.content, value.length)
        or value.length > MAX_SERIAL
    ):
        return False
    entry.serial.data = value.content
    entry.serial.size = value.length
    entry.row.serial_size = <unsigned short> value.length
    entry.row.reason = -1
    entry.row.invalidity_date = -1
    if not der.read_any(&inside, &value) or not times.read_moment(&value, &entry.row.revocation_time):
        return False
    if der.at_end(&inside):
        return True
    if not der.enter(&inside, der.SEQUENCE, &extensions) or der.at_end(&extensions) or not der.at_end(&inside):
        return False
    while not der.at_end(&extensions):
        if (
            not der.enter(&extensions, der.SEQUENCE, &extension)
            or not der.read(&extension, der.OID, &oid)
            or oid.total != OID_SIZE
            or not der.enter(&extension, der.OCTET_STRING, &content)
            or not der.at_end(&extension)
            or not der.read_any(&content, &value)
            or not der.at_end(&content)
        ):
            return False
        if memcmp(oid.start, CRL_REASON, OID_SIZE) == 0:
            if entry.row.reason != -1 or value.tag != der.ENUMERATED or value.length != 1 or not 0 < value.content[0] < 11:
                return False
            entry.row.reason = <signed char> value.content[0]
        elif memcmp(oid.start, INVALIDITY_DATE, OID_SIZE) == 0:
            if (
                entry.row.invalidity_date != -1
                or value.tag != times.GENERALIZED_TIME
                or not times.read_moment(&value, &entry.row.invalidity_date)
            ):
                return False
        else:
            return False
    return True


cdef int compare(const void* one, const void* other) noexcept nogil:
    """The order of serials as octets, the shorter first where one begins like the other."""
    cdef const Span* first = <const Span*> one
    cdef const Span* second = <const Span*> other
    cdef size_t common = first.size if first.size < second.size else second.size
    cdef int order = memcmp(first.data, second.data, common)
    if order:
        return order
    return (first.size > second.size) - (first.size < second.size)


cdef list missing(const Span* entries, const Span* before):
    """The serials in `before` that aren't in `entries`; both are lists of revokedCertificates in any order."""
    cdef Buffer ours, theirs
    cdef Py_ssize_t our_count = 0
    cdef Py_ssize_t their_count = 0
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t index
    cdef Span* a
    cdef Span* b
    cdef bint done
    cdef list gone = []
    ours.data = theirs.data = NULL
    ours.size = theirs.size = ours.capacity = theirs.capacity = 0
    try:
        with nogil:
            done = serials_of(entries, &ours, &our_count) and serials_of(before, &theirs, &their_count)
        if not done:
            raise ValueError("an entry of the CRL before can't be read")
        a, b = <Span*> ours.data, <Span*> theirs.data
        for index in range(their_count):
            while at < our_count and compare(&a[at], &b[index]) < 0:
                at += 1
            if at == our_count or compare(&a[at], &b[index]) != 0:
                gone.append(<bytes> b[index].data[:b[index].size])
        return gone
    finally:
        free(ours.data)
        free(theirs.data)


cdef bint serials_of(const Span* entries, Buffer* found, Py_ssize_t* count) noexcept nogil:
    """The serials as an ascending array of spans; False when an entry can't be read, or for want of memory."""
    cdef In source = der.reader(entries.data, entries.size)
    cdef In inside
    cdef TLV value
    cdef Span serial, last
    cdef bint ascending = True
    last.size = 0
    last.data = entries.data
    while not der.at_end(&source):
        if not der.enter(&source, der.SEQUENCE, &inside) or not der.read(&inside, der.INTEGER, &value):
            return False
        serial.data = value.content
        serial.size = value.length
        if not append(found, &serial, sizeof(serial)):
            return False
        ascending = ascending and compare(&last, &serial) < 0
        last = serial
        count[0] += 1
    if not ascending:
        qsort(found.data, count[0], sizeof(Span), &compare)
    return True


def crl_excerpt(bytes crl not None, object positions, /):
    """The issuer's name, and the same CRL without it, its signature no longer of it, with the entries at these ascending
    positions alone."""
    cdef CRLView view
    cdef Span octets = span(crl)
    cdef In entries
    cdef TLV value
    cdef Py_ssize_t index = -1
    cdef Py_ssize_t wanted
    cdef bint found
    cdef list kept = []
    take_apart(&octets, &view, "the CRL")
    entries = der.reader(view.entries.data, view.entries.size)
    for wanted in positions:
        if wanted <= index:
            raise ValueError("positions that don't ascend")
        with nogil:
            found = True
            while found and index < wanted:
                found = der.read_any(&entries, &value)
                index += 1
        if not found:
            raise IndexError(wanted)
        kept.append(<bytes> value.start[:value.total])
    listed = b"".join(kept)
    tbs = b"".join(
        (
            der.octets_of(&view.version),
            der.octets_of(&view.algorithm),
            b"\x30\x00",
            der.octets_of(&view.this_update),
            der.octets_of(&view.next_update),
            der.value_of(der.SEQUENCE, listed) if listed else b"",
            der.octets_of(&view.extensions),
        )
    )
    excerpt = der.value_of(der.SEQUENCE, der.value_of(der.SEQUENCE, tbs) + der.octets_of(&view.after))
    return der.octets_of(&view.issuer), excerpt
