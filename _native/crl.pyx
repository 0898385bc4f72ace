"""Encoding and signing CRLs (RFC 5280 §5).

Entries are kept twice: as they will stand in the CRL, and as they were asked for, so that what was encoded is compared
with what was meant by `crl_reader`, which shares nothing with the writer but the calendar.
"""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from cpython.bytes cimport PyBytes_FromStringAndSize

from responder._native cimport der, times
from responder._native.algorithms cimport MAX_SIGNATURE, Algorithm
from responder._native.buffer cimport Buffer, append
from responder._native.crl_reader cimport MAX_SERIAL, CRLView, EntryView, Row, missing, read_entry, take_apart
from responder._native.der cimport In, Out, Span, span
from responder._native.keys cimport PrivateKey, PublicKey

cdef enum:
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
        row.revocation_time = times.moment("revocation_time", revocation_time)
        row.invalidity_date = -1 if invalidity_date == -1 else times.moment("invalidity_date", invalidity_date)
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
        if times.moment("next_update", next_update) < times.moment("this_update", this_update):
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
        times.put_time(out, next_update)
        times.put_time(out, this_update)
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
            times.put_generalized_time(out, invalidity_date)
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
    times.put_time(out, revocation_time)
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


cdef inline bint is_row(const EntryView* entry, const unsigned char* row) noexcept nogil:
    return (
        memcmp(&entry.row, row, sizeof(Row)) == 0
        and memcmp(entry.serial.data, row + sizeof(Row), entry.serial.size) == 0
    )
