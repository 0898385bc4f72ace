"""Encoding and signing CRLs (RFC 5280 §5). Entries are kept as they will stand in the CRL."""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from cpython.bytes cimport PyBytes_FromStringAndSize

from responder._native cimport der
from responder._native.algorithms cimport MAX_SIGNATURE, Algorithm
from responder._native.der cimport Out, Span, span
from responder._native.keys cimport PrivateKey

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


@cython.final
cdef class CRLBuilder:
    """Collects the entries of one CRL in encoded form, in the order they are added, then signs it."""

    cdef unsigned char* _entries
    cdef size_t _size
    cdef size_t _capacity
    cdef Py_ssize_t _count

    def __dealloc__(self):
        free(self._entries)

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
        cdef int64_t revoked_at = der.moment("revocation_time", revocation_time)
        cdef int64_t invalid_from = -1 if invalidity_date == -1 else der.moment("invalidity_date", invalidity_date)
        cdef size_t size
        if len(serial) > MAX_SERIAL or not der.is_minimal_integer(serial, len(serial)):
            raise ValueError(f"a serial is the content of a minimal INTEGER, 1 to {MAX_SERIAL} octets")
        if not -1 <= reason <= 10 or reason == 7:
            raise ValueError(f"reason {reason} isn't a CRLReason")
        put_entry(&out, serial, len(serial), revoked_at, reason, invalid_from)
        size = der.written(&out, buffer + sizeof(buffer))
        self._reserve(size)
        memcpy(self._entries + self._size, out.position, size)
        self._size += size
        self._count += 1

    cdef _reserve(self, size_t size):
        cdef size_t capacity = self._capacity or 4096
        cdef unsigned char* grown
        while capacity < self._size + size:
            capacity *= 2
        if capacity == self._capacity:
            return
        grown = <unsigned char*> realloc(self._entries, capacity)
        if grown == NULL:
            raise MemoryError
        self._entries = grown
        self._capacity = capacity

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
        number = crl_number.to_bytes(crl_number.bit_length() // 8 + 1, "big")
        capacity = (
            self._size + len(issuer_name) + len(authority_key_identifier) + len(extensions) + len(algorithm) + SLACK
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
            der.put(out, self._entries, self._size)
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
