"""Encoding, signing and reading back CRLs (RFC 5280 §5).

Entries are kept twice: as they will stand in the CRL, and as they were asked for, so that what was encoded is compared
with what was meant by a reader that shares nothing with the writer but the calendar.
"""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport memcmp, memcpy

from cpython.bytes cimport PyBytes_FromStringAndSize

from responder._native cimport der
from responder._native.algorithms cimport MAX_SIGNATURE, Algorithm
from responder._native.der cimport In, Out, Span, TLV, span
from responder._native.keys cimport PrivateKey, PublicKey

cdef enum:
    MAX_SERIAL = 512
    MAX_ENTRY = MAX_SERIAL + 128
    # Headers, version, times, algorithm, CRLNumber and AKI of a CRL, without what is counted one by one.
    SLACK = 512

# OBJECT IDENTIFIERs: id-ce-cRLNumber, id-ce-authorityKeyIdentifier, id-ce-cRLReasons, id-ce-invalidityDate
cdef const unsigned char* CRL_NUMBER = b"\x06\x03\x55\x1d\x14"
cdef const unsigned char* AUTHORITY_KEY_IDENTIFIER = b"\x06\x03\x55\x1d\x23"
cdef const unsigned char* CRL_REASON = b"\x06\x03\x55\x1d\x15"
cdef const unsigned char* INVALIDITY_DATE = b"\x06\x03\x55\x1d\x18"

cdef enum:
    OID_SIZE = 5

# One entry as it was asked for; its serial follows it.
cdef packed struct Row:
    int64_t revocation_time
    int64_t invalidity_date     # or -1
    signed char reason          # or -1; never 0
    unsigned short serial_size

ctypedef struct Buffer:
    unsigned char* data
    size_t size
    size_t capacity

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
    Span whole
    Span serial
    Row row


cdef bint append(Buffer* buffer, const void* data, size_t size) noexcept nogil:
    cdef size_t capacity = buffer.capacity or 4096
    cdef unsigned char* grown
    while capacity < buffer.size + size:
        capacity += capacity // 2
    if capacity != buffer.capacity:
        grown = <unsigned char*> realloc(buffer.data, capacity)
        if grown == NULL:
            return False
        buffer.data = grown
        buffer.capacity = capacity
    memcpy(buffer.data + buffer.size, data, size)
    buffer.size += size
    return True


@cython.final
cdef class CRLBuilder:
    """Collects the entries of one CRL in encoded form, in the order they are added, then signs it."""

    cdef Buffer _entries        # as they will stand in the CRL
    cdef Buffer _rows           # as they were asked for
    cdef Py_ssize_t _count

    def __dealloc__(self):
        free(self._entries.data)
        free(self._rows.data)

    def __reduce__(self):
        raise TypeError("a CRLBuilder is never copied")

    def __len__(self):
        return self._count

    def add(
        self, bytes serial not None, object revocation_time, object reason=-1, object invalidity_date=-1, /
    ):
        """Add one revokedCertificates entry."""
        cdef unsigned char[MAX_ENTRY] buffer
        cdef Out out = der.writer(buffer, sizeof(buffer))
        cdef Row row
        cdef size_t size
        row.revocation_time = der.moment("revocation_time", revocation_time)
        row.invalidity_date = -1 if invalidity_date == -1 else der.moment("invalidity_date", invalidity_date)
        der.whole("reason", reason)
        if len(serial) > MAX_SERIAL or not der.is_minimal_integer(serial, len(serial)):
            raise ValueError(f"a serial is the content of a minimal INTEGER, 1 to {MAX_SERIAL} octets")
        if not -1 <= reason <= 10 or reason == 7:
            raise ValueError(f"reason {reason} isn't a CRLReason")
        row.reason = reason or -1
        row.serial_size = <unsigned short> len(serial)
        put_entry(&out, serial, len(serial), row.revocation_time, row.reason, row.invalidity_date)
        size = der.written(&out, buffer + sizeof(buffer))
        if out.full:
            raise ValueError("the entry is longer than was reckoned")
        if (
            not append(&self._entries, out.position, size)
            or not append(&self._rows, &row, sizeof(row))
            or not append(&self._rows, <const unsigned char*> serial, row.serial_size)
        ):
            raise MemoryError
        self._count += 1

    def extend(self, object rows, /):
        """Add an entry for each `(serial, revocation_time, reason, invalidity_date)`."""
        for serial, revocation_time, reason, invalidity_date in rows:
            self.add(serial, revocation_time, reason, invalidity_date)

    def check(self, bytes crl not None, PublicKey key not None, bytes previous=None, /):
        """Read a CRL back: the signature, and entry by entry what was added. Returns the serials that `previous` has
        and this one hasn't. Releases the GIL."""
        cdef CRLView view, before
        cdef In entries
        cdef EntryView entry
        cdef const unsigned char* row = self._rows.data
        cdef const unsigned char* end = self._rows.data + self._rows.size
        cdef Py_ssize_t index = 0
        cdef bint same = True
        cdef Span octets = span(crl)
        take_apart(&octets, &view, "the CRL")
        key.verify_span(&view.algorithm, &view.tbs, &view.signature)
        with nogil:
            entries = der.reader(view.entries.data, view.entries.size)
            while same and not der.at_end(&entries):
                same = read_entry(&entries, &entry) and row < end and is_row(&entry, row)
                if same:
                    row += sizeof(Row) + entry.row.serial_size
                    index += 1
        if not same:
            raise ValueError(f"entry {index} isn't what was asked for")
        if index != self._count:
            raise ValueError(f"{index} entries, {self._count} were asked for")
        if previous is None:
            return []
        octets = span(previous)
        take_apart(&octets, &before, "the CRL before")
        return missing(&view.entries, &before.entries)

    def rows(self, object positions, /):
        """What was added, as `(serial, revocation_time, reason, invalidity_date)`, at these ascending positions."""
        cdef list found = []
        cdef const unsigned char* at = self._rows.data
        cdef Py_ssize_t index = 0
        cdef Py_ssize_t wanted
        cdef Row row
        for wanted in positions:
            if not index <= wanted < self._count:
                raise IndexError(wanted)
            while True:
                memcpy(&row, at, sizeof(row))
                if index == wanted:
                    break
                at += sizeof(row) + row.serial_size
                index += 1
            found.append(
                (
                    <bytes> (at + sizeof(row))[:row.serial_size],
                    row.revocation_time,
                    row.reason,
                    row.invalidity_date,
                )
            )
        return found

    def sign(
        self,
        PrivateKey key not None,
        bytes issuer_name not None,
        bytes authority_key_identifier not None,
        object crl_number,
        object this_update,
        object next_update,
        bytes extensions not None=b"",
        bytes signature_algorithm=None,
        /,
    ):
        """The DER CertificateList v2. Releases the GIL while signing."""
        cdef size_t capacity
        cdef size_t tbs_size
        cdef unsigned char* buffer = NULL
        cdef bytes number, signature
        cdef bytes algorithm = key.signature_algorithm if signature_algorithm is None else signature_algorithm
        cdef Span identifier = span(algorithm)
        cdef const Algorithm* how = key.find(&identifier)
        cdef Out out
        if how == NULL:
            raise ValueError(f"a key of {key.name} doesn't sign with this algorithm")
        der.whole("crl_number", crl_number)
        if not 0 < crl_number < 1 << 159:
            raise ValueError(f"CRL number {crl_number} isn't between 1 and 2^159 - 1")
        if der.moment("next_update", next_update) < der.moment("this_update", this_update):
            raise ValueError(f"next_update {next_update} is before this_update {this_update}")
        if not der.is_one(issuer_name, len(issuer_name), der.SEQUENCE) or len(issuer_name) == 2:
            raise ValueError("the issuer's name isn't a DER Name, or is an empty one")
        if not authority_key_identifier:
            raise ValueError("the key identifier is empty")
        if not der.is_extensions(extensions, len(extensions)):
            raise ValueError("extensions that aren't DER Extension values one after the other")
        if der.has_extension(extensions, len(extensions), CRL_NUMBER, OID_SIZE) or der.has_extension(
            extensions, len(extensions), AUTHORITY_KEY_IDENTIFIER, OID_SIZE
        ):
            raise ValueError("cRLNumber and authorityKeyIdentifier are written here; they can't be given")
        number = crl_number.to_bytes(crl_number.bit_length() // 8 + 1, "big")
        capacity = (
            self._entries.size + len(issuer_name) + len(authority_key_identifier) + len(extensions) + len(algorithm) + SLACK
        )
        try:
            buffer = <unsigned char*> malloc(capacity)
            if buffer == NULL:
                raise MemoryError
            out = der.writer(buffer, capacity)
            self._put_tbs(
                &out, algorithm, issuer_name, authority_key_identifier, number, this_update, next_update, extensions
            )
            if out.full:
                raise ValueError("the CRL is longer than was reckoned")
            tbs_size = der.written(&out, buffer + capacity)
            signature = key._sign(how, out.position, tbs_size)
            return self._wrap(out.position, tbs_size, algorithm, signature)
        finally:
            free(buffer)

    cdef _put_tbs(
        self,
        Out* out,
        bytes algorithm,
        bytes issuer_name,
        bytes key_identifier,
        bytes number,
        int64_t this_update,
        int64_t next_update,
        bytes extensions,
    ):
        """TBSCertList (§5.1.2), written from its end."""
        cdef const unsigned char* end = out.position
        cdef const unsigned char* inner
        der.put(out, extensions, len(extensions))
        put_number_extension(out, number, len(number))
        put_key_extension(out, key_identifier, len(key_identifier))
        der.wrap(out, der.SEQUENCE, end)
        der.wrap(out, 0xA0, end)
        # Without entries the field is absent (§5.1.2.6).
        if self._count:
            inner = out.position
            der.put(out, self._entries.data, self._entries.size)
            der.wrap(out, der.SEQUENCE, inner)
        der.put_time(out, next_update)
        der.put_time(out, this_update)
        der.put(out, issuer_name, len(issuer_name))
        der.put(out, algorithm, len(algorithm))
        der.put_octet(out, 1)  # v2
        der.put_header(out, der.INTEGER, 1)
        der.wrap(out, der.SEQUENCE, end)

    cdef bytes _wrap(self, const unsigned char* tbs, size_t tbs_size, bytes algorithm, bytes signature):
        """CertificateList (§5.1.1)."""
        cdef unsigned char[MAX_SIGNATURE + 128] tail
        cdef unsigned char[8] head
        cdef Out after = der.writer(tail, sizeof(tail))
        cdef Out before = der.writer(head, sizeof(head))
        cdef size_t after_size, before_size
        cdef bytes whole
        cdef unsigned char* target
        der.put(&after, signature, len(signature))
        der.put_octet(&after, 0)  # no unused bits
        der.wrap(&after, der.BIT_STRING, tail + sizeof(tail))
        der.put(&after, algorithm, len(algorithm))
        after_size = der.written(&after, tail + sizeof(tail))
        der.put_header(&before, der.SEQUENCE, tbs_size + after_size)
        before_size = der.written(&before, head + sizeof(head))
        whole = PyBytes_FromStringAndSize(NULL, before_size + tbs_size + after_size)
        target = <unsigned char*> <char*> whole
        memcpy(target, before.position, before_size)
        memcpy(target + before_size, tbs, tbs_size)
        memcpy(target + before_size + tbs_size, after.position, after_size)
        return whole


cdef void put_entry(
    Out* out, const unsigned char* serial, size_t size, int64_t revocation_time, int reason, int64_t invalidity_date
) noexcept nogil:
    cdef const unsigned char* end = out.position
    cdef const unsigned char* inner
    if reason > 0 or invalidity_date >= 0:
        if invalidity_date >= 0:
            inner = out.position
            der.put_generalized_time(out, invalidity_date)
            der.wrap(out, der.OCTET_STRING, inner)
            der.put(out, INVALIDITY_DATE, OID_SIZE)
            der.wrap(out, der.SEQUENCE, inner)
        if reason > 0:
            inner = out.position
            der.put_octet(out, <unsigned char> reason)
            der.put_header(out, der.ENUMERATED, 1)
            der.wrap(out, der.OCTET_STRING, inner)
            der.put(out, CRL_REASON, OID_SIZE)
            der.wrap(out, der.SEQUENCE, inner)
        der.wrap(out, der.SEQUENCE, end)
    der.put_time(out, revocation_time)
    der.put_value(out, der.INTEGER, serial, size)
    der.wrap(out, der.SEQUENCE, end)


cdef void put_number_extension(Out* out, const unsigned char* number, size_t size) noexcept nogil:
    """cRLNumber, never critical (§5.2.3)."""
    cdef const unsigned char* end = out.position
    der.put_value(out, der.INTEGER, number, size)
    der.wrap(out, der.OCTET_STRING, end)
    der.put(out, CRL_NUMBER, OID_SIZE)
    der.wrap(out, der.SEQUENCE, end)


cdef void put_key_extension(Out* out, const unsigned char* key_identifier, size_t size) noexcept nogil:
    """authorityKeyIdentifier by keyIdentifier (§5.2.1)."""
    cdef const unsigned char* end = out.position
    der.put_value(out, 0x80, key_identifier, size)
    der.wrap(out, der.SEQUENCE, end)
    der.wrap(out, der.OCTET_STRING, end)
    der.put(out, AUTHORITY_KEY_IDENTIFIER, OID_SIZE)
    der.wrap(out, der.SEQUENCE, end)


# --- reading -------------------------------------------------------------------------------------------------------


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
    return der.read_any(source, value) and der.read_moment(value, &seconds)


cdef bint read_entry(In* entries, EntryView* entry) noexcept nogil:
    """One revokedCertificates entry with no extensions but reasonCode and invalidityDate, neither critical."""
    cdef In inside, extensions, extension, content
    cdef TLV value, oid
    cdef const unsigned char* start = entries.position
    if not der.enter(entries, der.SEQUENCE, &inside):
        return False
    entry.whole.data = start
    entry.whole.size = <size_t> (entries.position - start)
    if (
        not der.read(&inside, der.INTEGER, &value)
        or not der.is_minimal_integer(value.content, value.length)
        or value.length > MAX_SERIAL
    ):
        return False
    entry.serial.data = value.content
    entry.serial.size = value.length
    entry.row.serial_size = <unsigned short> value.length
    entry.row.reason = -1
    entry.row.invalidity_date = -1
    if not der.read_any(&inside, &value) or not der.read_moment(&value, &entry.row.revocation_time):
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
                or value.tag != der.GENERALIZED_TIME
                or not der.read_moment(&value, &entry.row.invalidity_date)
            ):
                return False
        else:
            return False
    return True


cdef inline bint is_row(const EntryView* entry, const unsigned char* row) noexcept nogil:
    return (
        memcmp(&entry.row, row, sizeof(Row)) == 0
        and memcmp(entry.serial.data, row + sizeof(Row), entry.serial.size) == 0
    )


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
    """The same CRL, its signature no longer of it, with the entries at these ascending positions alone."""
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
            octets_of(&view.version),
            octets_of(&view.algorithm),
            octets_of(&view.issuer),
            octets_of(&view.this_update),
            octets_of(&view.next_update),
            value_of(der.SEQUENCE, listed) if listed else b"",
            octets_of(&view.extensions),
        )
    )
    return value_of(der.SEQUENCE, value_of(der.SEQUENCE, tbs) + octets_of(&view.after))


cdef bytes octets_of(const Span* what):
    return <bytes> what.data[:what.size]


cdef bytes value_of(unsigned char tag, bytes content):
    """One DER value."""
    cdef unsigned char[8] header
    cdef Out out = der.writer(header, sizeof(header))
    der.put_header(&out, tag, len(content))
    return <bytes> out.position[:der.written(&out, header + sizeof(header))] + content
