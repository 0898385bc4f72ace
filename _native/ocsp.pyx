"""OCSP responses as records: what is the same for all answers of a signer is its profile, the rest is a record of a
hundred octets or so. One encoder makes the octets that are signed and renders the response, so the two can't differ.

A record, format 1, all integers big-endian:

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
    61  5   revocation_time, when revoked
    .   2+n single extensions, when flagged: length, DER
    .   2   length of a signature, when there are variants
    .       for each variant, ascending: variant octet, signature (ECDSA as r and s, 32 octets each)

A profile's body, format 1, is the octet 1 and then

    SEQUENCE { issuerTag OCTET STRING, hashes SEQUENCE OF OCTET STRING (name and key, four times),
               signatureAlgorithm AlgorithmIdentifier, responderID OCTET STRING (holding its DER),
               certs SEQUENCE OF Certificate, responseExtensions SEQUENCE OF Extension }
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from cpython.bytes cimport PyBytes_FromStringAndSize

from responder._native cimport der, libcrypto
from responder._native.der cimport In, Out, TLV
from responder._native.errors cimport drain_errors
from responder._native.keys cimport DIGEST_OCTETS, ECDSA_WITH_SHA256, MAX_SIGNATURE, PrivateKey, sha256, sha256_of_two

import hashlib

from responder.errors import SigningFailed

cdef enum:
    FORMAT = 1
    FIXED = 61
    COORDINATE = 32
    GOOD = 0
    REVOKED = 1
    UNKNOWN = 2
    MAX_EXTENSIONS = 4096
    MAX_SERIAL = 16384
    MAX_SINGLES = 64

cdef int64_t MAX_TIME = 253402300799  # 9999-12-31T23:59:59Z

# AlgorithmIdentifiers of a CertID's hash: with NULL parameters, then with absent ones.
_HASHES = (
    ("3009 06052b0e03021a 0500", 20),
    ("300d 0609608648016503040201 0500", 32),
    ("300d 0609608648016503040202 0500", 48),
    ("300d 0609608648016503040203 0500", 64),
    ("3007 06052b0e03021a", 20),
    ("300b 0609608648016503040201", 32),
    ("300b 0609608648016503040202", 48),
    ("300b 0609608648016503040203", 64),
)
# OBJECT IDENTIFIER id-pkix-ocsp-basic, and id-pkix-ocsp-nonce
cdef bytes _BASIC = bytes.fromhex("06092b0601050507300101")
cdef bytes _NONCE = bytes.fromhex("06092b0601050507300102")
cdef const unsigned char* BASIC = _BASIC
cdef const unsigned char* NONCE = _NONCE

# Everything in a response that isn't counted one by one: headers, times, statuses.
cdef enum:
    SLACK = 256


cdef inline int index_of(int variant) noexcept nogil:
    """Where a variant stands in a profile's tables; -1 for none of ours."""
    if 1 <= variant <= 4:
        return variant - 1
    if 17 <= variant <= 20:
        return variant - 13
    return -1


# --- records -------------------------------------------------------------------------------------------------------


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
    """Fill `view`; a sentence when it isn't a record of format 1, else NULL."""
    cdef size_t position = FIXED
    cdef size_t index
    cdef int flags
    cdef int variant
    cdef int last = 0
    if size < FIXED or data[0] != FORMAT:
        return b"not a record of format 1"
    view.epoch = <uint32_t> get(data + 1, 4)
    view.number = get(data + 5, 8)
    view.as_of = <int64_t> get(data + 13, 8)
    flags = data[21]
    view.cert_status = flags & 3
    if flags >> 4 or view.cert_status > UNKNOWN:
        return b"flags that this version doesn't know"
    view.reason = data[22] if flags & 4 else -1
    if (not flags & 4 and data[22]) or (flags & 4 and view.cert_status != REVOKED):
        return b"a reason where there is none"
    view.count = data[23]
    view.profile_id = data + 24
    view.certificate_tag = data + 40
    view.this_update = <int64_t> get(data + 48, 5)
    view.next_update = view.this_update + <int64_t> get(data + 53, 4)
    view.produced_at = view.this_update + <int64_t> get(data + 57, 4)
    if view.next_update > MAX_TIME or view.produced_at > MAX_TIME:
        return b"a time after the year 9999"
    view.revocation_time = -1
    if view.cert_status == REVOKED:
        if size < position + 5:
            return b"cut short"
        view.revocation_time = <int64_t> get(data + position, 5)
        if view.revocation_time > MAX_TIME:
            return b"a time after the year 9999"
        position += 5
    view.extensions = NULL
    view.extensions_size = 0
    if flags & 8:
        if size < position + 2:
            return b"cut short"
        view.extensions_size = <size_t> get(data + position, 2)
        position += 2
        if view.extensions_size == 0 or view.extensions_size > MAX_EXTENSIONS:
            return b"single extensions of an impossible length"
        if size < position + view.extensions_size:
            return b"cut short"
        view.extensions = data + position
        position += view.extensions_size
    view.signature_size = 0
    view.signatures = NULL
    if view.count == 0:
        if position != size:
            return b"octets follow the record"
        return NULL
    if view.count > VARIANTS or size < position + 2:
        return b"cut short"
    view.signature_size = <size_t> get(data + position, 2)
    position += 2
    if view.signature_size == 0 or view.signature_size > MAX_SIGNATURE:
        return b"signatures of an impossible length"
    if size - position != view.count * (1 + view.signature_size):
        return b"not as long as its signatures"
    view.signatures = data + position
    for index in range(<size_t> view.count):
        variant = view.signatures[index * (1 + view.signature_size)]
        if index_of(variant) < 0 or variant <= last:
            return b"variants that aren't ours, or aren't ascending"
        last = variant
    return NULL


cdef class Records:
    """All pre-signed variants of one certificate. Made by `decode_records`, `sign_records` or `tombstone`."""

    def __init__(self):
        raise TypeError("Records is made by decode_records, tombstone or SigningProfile.sign_records")

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
    def variants(self):
        return tuple(
            [self.view.signatures[index * (1 + self.view.signature_size)] for index in range(self.view.count)]
        )

    @property
    def single_extensions(self):
        return b"" if self.view.extensions == NULL else <bytes> self.view.extensions[:self.view.extensions_size]

    cdef const unsigned char* signature_of(self, int variant) noexcept:
        """Where the signature of a variant begins, or NULL."""
        cdef int index
        cdef const unsigned char* entry
        for index in range(self.view.count):
            entry = self.view.signatures + index * (1 + self.view.signature_size)
            if entry[0] == variant:
                return entry + 1
        return NULL


def decode_records(bytes encoded not None, /):
    """Read what `Records.encoded` gave."""
    cdef Records records = Records.__new__(Records)
    cdef const char* fault
    records.encoded = encoded
    fault = parse_record(encoded, len(encoded), &records.view)
    if fault != NULL:
        raise ValueError(f"these records can't be read: {fault.decode()}")
    return records


cdef size_t write_fixed(
    unsigned char* out,
    const RecordView* view,
) noexcept nogil:
    """The part before the signatures; how long it is. `out` has room for FIXED + 9 + the extensions."""
    cdef size_t position = FIXED
    out[0] = FORMAT
    store(out + 1, view.epoch, 4)
    store(out + 5, view.number, 8)
    store(out + 13, <uint64_t> view.as_of, 8)
    out[21] = view.cert_status | (4 if view.reason >= 0 else 0) | (8 if view.extensions_size else 0)
    out[22] = <unsigned char> view.reason if view.reason >= 0 else 0
    out[23] = <unsigned char> view.count
    memcpy(out + 24, view.profile_id, PROFILE_ID)
    memcpy(out + 40, view.certificate_tag, CERTIFICATE_TAG)
    store(out + 48, <uint64_t> view.this_update, 5)
    store(out + 53, <uint64_t> (view.next_update - view.this_update), 4)
    store(out + 57, <uint64_t> (view.produced_at - view.this_update), 4)
    if view.cert_status == REVOKED:
        store(out + position, <uint64_t> view.revocation_time, 5)
        position += 5
    if view.extensions_size:
        store(out + position, view.extensions_size, 2)
        memcpy(out + position + 2, view.extensions, view.extensions_size)
        position += 2 + view.extensions_size
    if view.count:
        store(out + position, view.signature_size, 2)
        position += 2
    return position


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
    cdef unsigned char buffer[FIXED + 16]
    cdef bytes tag = hashlib.sha256(issuer_tag + serial).digest()[:CERTIFICATE_TAG]
    cdef bytes no_profile = bytes(PROFILE_ID)
    memset(&view, 0, sizeof(view))
    if len(issuer_tag) != CERTIFICATE_TAG:
        raise ValueError("issuer_tag hasn't 8 octets")
    if not GOOD <= cert_status <= UNKNOWN:
        raise ValueError(f"cert_status {cert_status} is none of good, revoked and unknown")
    view.epoch = epoch
    view.number = number
    view.as_of = as_of_microseconds
    view.cert_status = cert_status
    view.reason = -1
    view.this_update = as_of_microseconds // 1_000_000
    view.next_update = next_update
    view.produced_at = view.this_update
    view.revocation_time = view.this_update
    if not 0 <= view.this_update <= view.next_update <= MAX_TIME or view.next_update - view.this_update >= 1 << 32:
        raise ValueError("next_update isn't after as_of, or is too far from it")
    view.profile_id = no_profile
    view.certificate_tag = tag
    return decode_records(buffer[:write_fixed(buffer, &view)])


# --- profiles ------------------------------------------------------------------------------------------------------


def encode_profile(
    *,
    bytes issuer_tag not None,
    object cert_id_hashes,
    bytes signature_algorithm not None,
    bytes responder_id not None,
    object certificates,
    bytes response_extensions not None=b"",
):
    """The body of a profile."""
    hashes = b"".join(_value(der.OCTET_STRING, value) for pair in cert_id_hashes for value in pair)
    return bytes([FORMAT]) + _value(
        der.SEQUENCE,
        _value(der.OCTET_STRING, issuer_tag)
        + _value(der.SEQUENCE, hashes)
        + signature_algorithm
        + _value(der.OCTET_STRING, responder_id)
        + _value(der.SEQUENCE, b"".join(certificates))
        + _value(der.SEQUENCE, response_extensions),
    )


cdef bytes _value(unsigned char tag, bytes content):
    """One DER value."""
    cdef unsigned char header[8]
    cdef Out out = der.writer(header, sizeof(header))
    der.put_header(&out, tag, len(content))
    return <bytes> out.position[:header + sizeof(header) - out.position] + content


def load_profile(bytes body not None, /):
    """Read a profile's body."""
    cdef SigningProfile profile = SigningProfile.__new__(SigningProfile)
    cdef const unsigned char* data = body
    cdef In outer, inner, inside
    cdef TLV value
    cdef int index
    if not body or data[0] != FORMAT:
        raise ValueError("a signing profile of a format that this version doesn't know")
    outer = der.reader(data + 1, len(body) - 1)
    if not der.enter(&outer, der.SEQUENCE, &inner) or not der.at_end(&outer):
        raise ValueError("a damaged signing profile: not one SEQUENCE")
    if not der.read(&inner, der.OCTET_STRING, &value) or value.length != CERTIFICATE_TAG:
        raise ValueError("a damaged signing profile: issuerTag")
    profile.issuer_tag = value.content[:value.length]
    if not der.enter(&inner, der.SEQUENCE, &inside):
        raise ValueError("a damaged signing profile: hashes")
    hashes = []
    while not der.at_end(&inside):
        if not der.read(&inside, der.OCTET_STRING, &value):
            raise ValueError("a damaged signing profile: hashes")
        hashes.append(<bytes> value.content[:value.length])
    _set_prefixes(profile, hashes)
    if not der.read(&inner, der.SEQUENCE, &value):
        raise ValueError("a damaged signing profile: signatureAlgorithm")
    profile.signature_algorithm = value.start[:value.total]
    profile.is_ecdsa = profile.signature_algorithm == ECDSA_WITH_SHA256
    if not der.read(&inner, der.OCTET_STRING, &value):
        raise ValueError("a damaged signing profile: responderID")
    profile.responder_id = value.content[:value.length]
    inside = der.reader(value.content, value.length)
    if not der.read_any(&inside, &value) or not der.at_end(&inside) or value.tag not in (0xA1, 0xA2):
        raise ValueError("a damaged signing profile: responderID")
    if not der.enter(&inner, der.SEQUENCE, &inside):
        raise ValueError("a damaged signing profile: certs")
    certificates = []
    while not der.at_end(&inside):
        if not der.read(&inside, der.SEQUENCE, &value):
            raise ValueError("a damaged signing profile: certs")
        certificates.append(<bytes> value.start[:value.total])
    profile.certificates = tuple(certificates)
    # certs is left out when empty (6960-17).
    profile.certs_field = (
        _value(0xA0, _value(der.SEQUENCE, b"".join(certificates))) if certificates else b""
    )
    if not der.read(&inner, der.SEQUENCE, &value) or not der.at_end(&inner):
        raise ValueError("a damaged signing profile: responseExtensions")
    profile.extensions = value.content[:value.length]
    inside = der.reader(value.content, value.length)
    while not der.at_end(&inside):
        if not der.read(&inside, der.SEQUENCE, &value):
            raise ValueError("a damaged signing profile: responseExtensions")
    profile.body = body
    profile.id = hashlib.sha256(body).digest()[:PROFILE_ID]
    profile.constant_size = (
        len(profile.responder_id)
        + len(profile.extensions)
        + len(profile.certs_field)
        + len(profile.signature_algorithm)
        + SLACK
    )
    return profile


cdef _set_prefixes(SigningProfile profile, list hashes):
    """What stands before the serial in the CertID of each variant."""
    cdef int index
    cdef bytes prefix
    if len(hashes) != 8:
        raise ValueError("a damaged signing profile: not 4 pairs of hashes")
    for index in range(VARIANTS):
        algorithm, size = _HASHES[index]
        name, key = hashes[2 * (index % 4)], hashes[2 * (index % 4) + 1]
        if len(name) != size or len(key) != size:
            raise ValueError("a damaged signing profile: a hash of another length than its algorithm's")
        prefix = bytes.fromhex(algorithm) + _value(der.OCTET_STRING, name) + _value(der.OCTET_STRING, key)
        memcpy(profile.prefix[index], <const unsigned char*> prefix, len(prefix))
        profile.prefix_size[index] = len(prefix)


ctypedef struct Single:
    int index                # of the variant
    const unsigned char* serial
    size_t serial_size
    int cert_status
    int64_t revocation_time
    int reason
    int64_t this_update
    int64_t next_update
    const unsigned char* extensions
    size_t extensions_size


cdef void put_single(Out* out, SigningProfile profile, const Single* single) noexcept nogil:
    """SingleResponse (RFC 6960 §4.2.1)."""
    cdef const unsigned char* end = out.position
    cdef const unsigned char* inner
    if single.extensions_size:
        der.put_value(out, der.SEQUENCE, single.extensions, single.extensions_size)
        der.wrap(out, 0xA1, end)
    inner = out.position
    der.put_generalized_time(out, single.next_update)
    der.wrap(out, 0xA0, inner)
    der.put_generalized_time(out, single.this_update)
    inner = out.position
    if single.cert_status == REVOKED:
        # unspecified is left out, as on CRLs (RFC 5280 §5.3.1).
        if single.reason > 0:
            der.put_octet(out, <unsigned char> single.reason)
            der.put_header(out, der.ENUMERATED, 1)
            der.put_header(out, 0xA0, 3)
        der.put_generalized_time(out, single.revocation_time)
        der.wrap(out, 0xA1, inner)
    else:
        der.put_header(out, 0x80 if single.cert_status == GOOD else 0x82, 0)
    inner = out.position
    der.put_value(out, der.INTEGER, single.serial, single.serial_size)
    der.put(out, profile.prefix[single.index], profile.prefix_size[single.index])
    der.wrap(out, der.SEQUENCE, inner)
    der.wrap(out, der.SEQUENCE, end)


cdef void put_response_data(
    Out* out,
    SigningProfile profile,
    const Single* singles,
    int count,
    int64_t produced_at,
    const unsigned char* responder_id,
    size_t responder_id_size,
    const unsigned char* extensions,
    size_t extensions_size,
    const unsigned char* nonce,
    size_t nonce_size,
) noexcept nogil:
    """ResponseData, what is signed. version is v1, the default, and left out (6960-15)."""
    cdef const unsigned char* end = out.position
    cdef const unsigned char* inner
    cdef int index
    if extensions_size or nonce != NULL:
        inner = out.position
        der.put(out, extensions, extensions_size)
        if nonce != NULL:
            put_nonce(out, nonce, nonce_size)
        der.wrap(out, der.SEQUENCE, inner)
        der.wrap(out, 0xA1, inner)
    inner = out.position
    for index in range(count - 1, -1, -1):
        put_single(out, profile, &singles[index])
    der.wrap(out, der.SEQUENCE, inner)
    der.put_generalized_time(out, produced_at)
    der.put(out, responder_id, responder_id_size)
    der.wrap(out, der.SEQUENCE, end)


cdef void put_nonce(Out* out, const unsigned char* nonce, size_t size) noexcept nogil:
    """The nonce extension with its content byte for byte (9654-03)."""
    cdef const unsigned char* end = out.position
    der.put_value(out, der.OCTET_STRING, nonce, size)
    der.put(out, NONCE, 11)
    der.wrap(out, der.SEQUENCE, end)


cdef void put_ecdsa(Out* out, const unsigned char* r_and_s) noexcept nogil:
    """ECDSA-Sig-Value of r and s, 32 octets each (RFC 3279 §2.2.3)."""
    cdef const unsigned char* end = out.position
    put_unsigned(out, r_and_s + COORDINATE, COORDINATE)
    put_unsigned(out, r_and_s, COORDINATE)
    der.wrap(out, der.SEQUENCE, end)


cdef void put_unsigned(Out* out, const unsigned char* value, size_t size) noexcept nogil:
    cdef const unsigned char* end = out.position
    while size > 1 and value[0] == 0:
        value += 1
        size -= 1
    der.put(out, value, size)
    if value[0] & 0x80:
        der.put_octet(out, 0)
    der.wrap(out, der.INTEGER, end)


cdef bint split_ecdsa(const unsigned char* signature, size_t size, unsigned char* r_and_s) noexcept nogil:
    """r and s of a DER ECDSA-Sig-Value, padded to 32 octets each; False when it isn't one on a 256-bit curve."""
    cdef In outer = der.reader(signature, size)
    cdef In inner
    cdef TLV value
    cdef int half
    if not der.enter(&outer, der.SEQUENCE, &inner) or not der.at_end(&outer):
        return False
    memset(r_and_s, 0, 2 * COORDINATE)
    for half in range(2):
        if not der.read(&inner, der.INTEGER, &value) or not der.is_minimal_integer(&value):
            return False
        if value.content[0] == 0 and value.length > 1:
            value.content += 1
            value.length -= 1
        if value.length > COORDINATE:
            return False
        memcpy(r_and_s + (half + 1) * COORDINATE - value.length, value.content, value.length)
    return der.at_end(&inner)


cdef class SigningProfile:
    """All that is the same for a signer's answers. Made by `load_profile`."""

    def __init__(self):
        raise TypeError("SigningProfile is made by load_profile")

    def __reduce__(self):
        return load_profile, (self.body,)

    def __eq__(self, other):
        return isinstance(other, SigningProfile) and (<SigningProfile> other).body == self.body

    def __hash__(self):
        return hash(self.body)

    def render(self, Records records not None, int variant, bytes serial not None, /):
        """The whole DER OCSPResponse of one certificate for one CertID variant, as it was signed."""
        return self._render(records, variant, serial, len(serial))

    cdef bytes _render(self, Records records, int variant, const unsigned char* serial, size_t serial_size):
        cdef Single single
        cdef Out out
        cdef size_t capacity
        cdef unsigned char* buffer
        cdef unsigned char digest[DIGEST_OCTETS]
        cdef const unsigned char* own_id = self.id
        cdef const unsigned char* tag = self.issuer_tag
        cdef const unsigned char* responder_id = self.responder_id
        cdef const unsigned char* extensions = self.extensions
        cdef const unsigned char* signature = records.signature_of(variant)
        cdef const RecordView* view = &records.view
        if signature == NULL:
            raise KeyError(variant)
        if memcmp(view.profile_id, own_id, PROFILE_ID) != 0:
            raise ValueError("these records were signed with another profile")
        if not sha256_of_two(_digester.context, tag, CERTIFICATE_TAG, serial, serial_size, digest):
            raise SigningFailed(f"libcrypto refused to hash: {drain_errors()}")
        if memcmp(view.certificate_tag, digest, CERTIFICATE_TAG) != 0:
            raise ValueError("these records are of another certificate")
        if self.is_ecdsa and view.signature_size != 2 * COORDINATE:
            raise ValueError("these records have signatures of another algorithm")
        single.index = index_of(variant)
        single.serial = serial
        single.serial_size = serial_size
        single.cert_status = view.cert_status
        single.revocation_time = view.revocation_time
        single.reason = view.reason
        single.this_update = view.this_update
        single.next_update = view.next_update
        single.extensions = view.extensions
        single.extensions_size = view.extensions_size
        capacity = (
            self.constant_size
            + self.prefix_size[single.index]
            + serial_size
            + view.extensions_size
            + view.signature_size
        )
        buffer = <unsigned char*> malloc(capacity)
        if buffer == NULL:
            raise MemoryError
        try:
            out = der.writer(buffer, capacity)
            self._put_certs_and_signature(&out, signature, view.signature_size, self.is_ecdsa)
            put_response_data(
                &out,
                self,
                &single,
                1,
                view.produced_at,
                responder_id,
                len(self.responder_id),
                extensions,
                len(self.extensions),
                NULL,
                0,
            )
            return _finish(&out, buffer + capacity)
        finally:
            free(buffer)

    cdef void _put_certs_and_signature(
        self, Out* out, const unsigned char* signature, size_t size, bint as_coordinates
    ):
        """What follows tbsResponseData in a BasicOCSPResponse."""
        cdef const unsigned char* end
        cdef const unsigned char* algorithm = self.signature_algorithm
        cdef const unsigned char* certs = self.certs_field
        der.put(out, certs, len(self.certs_field))
        end = out.position
        if as_coordinates:
            put_ecdsa(out, signature)
        else:
            der.put(out, signature, size)
        der.put_octet(out, 0)  # no unused bits
        der.wrap(out, der.BIT_STRING, end)
        der.put(out, algorithm, len(self.signature_algorithm))

    def sign_response(self, PrivateKey key not None, object singles, object produced_at, object nonce, /):
        """Sign one complete DER OCSPResponse, for a nonce or several CertIDs."""
        cdef Single items[MAX_SINGLES]
        cdef Out out
        cdef Out tbs
        cdef unsigned char* buffer = NULL
        cdef unsigned char* signed_part = NULL
        cdef size_t capacity
        cdef size_t tbs_size
        cdef int count = 0
        cdef bytes serial, single_extensions, signature
        cdef bytes nonce_content = nonce
        cdef const unsigned char* nonce_data = NULL
        cdef size_t nonce_size = 0
        cdef const unsigned char* responder_id = self.responder_id
        cdef const unsigned char* extensions = self.extensions
        self._require(key)
        held = list(singles)  # keeps the serials alive while pointers to them are used
        if not 1 <= len(held) <= MAX_SINGLES:
            raise ValueError(f"{len(held)} single responses; 1 to {MAX_SINGLES} are possible")
        capacity = self.constant_size
        for variant, serial, cert_status, revocation_time, reason, this_update, next_update, single_extensions in held:
            _fill(
                &items[count], variant, serial, cert_status, revocation_time, reason, this_update, next_update,
                single_extensions,
            )
            capacity += SLACK + MAX_PREFIX + items[count].serial_size + items[count].extensions_size
            count += 1
        if nonce_content is not None:
            nonce_data = nonce_content
            nonce_size = len(nonce_content)
            if nonce_size == 0 or nonce_size > 4096:
                raise ValueError("a nonce has 1 to 4096 octets")
            capacity += nonce_size
        _check_time("produced_at", produced_at)
        try:
            signed_part = <unsigned char*> malloc(capacity)
            if signed_part == NULL:
                raise MemoryError
            tbs = der.writer(signed_part, capacity)
            put_response_data(
                &tbs, self, items, count, produced_at, responder_id, len(self.responder_id), extensions,
                len(self.extensions), nonce_data, nonce_size,
            )
            if tbs.full:
                raise SigningFailed("the response is longer than was reckoned")
            tbs_size = signed_part + capacity - tbs.position
            signature = key._sign(tbs.position, tbs_size)
            capacity = self.constant_size + tbs_size + len(signature)
            buffer = <unsigned char*> malloc(capacity)
            if buffer == NULL:
                raise MemoryError
            out = der.writer(buffer, capacity)
            self._put_certs_and_signature(&out, signature, len(signature), False)
            der.put(&out, tbs.position, tbs_size)
            return _finish(&out, buffer + capacity)
        finally:
            free(buffer)
            free(signed_part)

    def sign_records(self, PrivateKey key not None, object statuses, object variants, object produced_at, /):
        """Sign one response per certificate and variant, as records. Releases the GIL for the whole batch."""
        cdef int variant_count = 0
        cdef int order[VARIANTS]
        cdef Py_ssize_t count, index
        cdef RecordView* views = NULL
        cdef Single* items = NULL
        cdef unsigned char* signatures = NULL
        cdef unsigned char* tags = NULL
        cdef unsigned char* scratch = NULL
        cdef unsigned char* encoded = NULL
        cdef size_t stride, capacity, signature_size
        cdef size_t longest = 0
        cdef int64_t produced = 0
        cdef const unsigned char* profile_id = self.id
        cdef const unsigned char* tag = self.issuer_tag
        cdef const unsigned char* responder_id = self.responder_id
        cdef size_t responder_id_size = len(self.responder_id)
        cdef const unsigned char* extensions = self.extensions
        cdef size_t extensions_size = len(self.extensions)
        cdef libcrypto.EVP_PKEY_CTX* context = NULL
        cdef libcrypto.EVP_MD_CTX* digester = NULL
        cdef bint done
        cdef bytes serial, single_extensions
        self._require(key)
        _check_time("produced_at", produced_at)
        produced = produced_at
        for variant in sorted(set(variants)):
            if index_of(variant) < 0:
                raise ValueError(f"variant {variant} is none of ours")
            order[variant_count] = variant
            variant_count += 1
        held = list(statuses)
        count = len(held)
        if count == 0 or variant_count == 0:
            raise ValueError("nothing to sign: no statuses, or no variants")
        signature_size = 2 * COORDINATE if self.is_ecdsa else libcrypto.EVP_PKEY_get_size(key._key)
        stride = variant_count * (1 + signature_size)
        libcrypto.ERR_clear_error()
        context = key.take_context()
        try:
            views = <RecordView*> malloc(count * sizeof(RecordView))
            items = <Single*> malloc(count * sizeof(Single))
            signatures = <unsigned char*> malloc(count * stride)
            tags = <unsigned char*> malloc(count * CERTIFICATE_TAG)
            if views == NULL or items == NULL or signatures == NULL or tags == NULL:
                raise MemoryError
            for index in range(count):
                (
                    serial, cert_status, revocation_time, reason, this_update, next_update, epoch, number, as_of,
                    single_extensions,
                ) = held[index]
                _fill(
                    &items[index], order[0], serial, cert_status, revocation_time, reason, this_update, next_update,
                    single_extensions,
                )
                if not 0 <= produced - items[index].this_update < 1 << 32:
                    raise ValueError("produced_at is before this_update")
                longest = max(longest, items[index].serial_size + items[index].extensions_size)
                views[index].epoch = epoch
                views[index].number = number
                views[index].as_of = as_of
                views[index].cert_status = items[index].cert_status
                views[index].reason = items[index].reason if items[index].reason > 0 else -1
                views[index].revocation_time = items[index].revocation_time
                views[index].this_update = items[index].this_update
                views[index].next_update = items[index].next_update
                views[index].produced_at = produced
                views[index].profile_id = profile_id
                views[index].certificate_tag = tags + index * CERTIFICATE_TAG
                views[index].extensions = items[index].extensions
                views[index].extensions_size = items[index].extensions_size
                views[index].count = variant_count
                views[index].signature_size = signature_size
                views[index].signatures = signatures + index * stride
            capacity = self.constant_size + MAX_PREFIX + longest
            scratch = <unsigned char*> malloc(capacity)
            encoded = <unsigned char*> malloc(FIXED + 16 + longest + stride)
            digester = libcrypto.EVP_MD_CTX_new()
            if scratch == NULL or encoded == NULL or digester == NULL:
                raise MemoryError
            with nogil:
                done = sign_all(
                    self, items, views, count, order, variant_count, produced, responder_id, responder_id_size,
                    extensions, extensions_size, tag, context, digester, scratch, capacity, signatures, tags,
                )
            if not done:
                raise SigningFailed(f"libcrypto refused to sign: {drain_errors()}")
            return [_encode(&views[index], encoded, stride) for index in range(count)]
        finally:
            libcrypto.EVP_MD_CTX_free(digester)
            key.give_back(context)
            free(encoded)
            free(scratch)
            free(tags)
            free(signatures)
            free(items)
            free(views)

    cdef _require(self, PrivateKey key):
        if key.signature_algorithm != self.signature_algorithm:
            raise ValueError("the key signs with another algorithm than this profile names")


cdef bint sign_all(
    SigningProfile profile,
    Single* items,
    const RecordView* views,
    Py_ssize_t count,
    const int* order,
    int variant_count,
    int64_t produced_at,
    const unsigned char* responder_id,
    size_t responder_id_size,
    const unsigned char* extensions,
    size_t extensions_size,
    const unsigned char* issuer_tag,
    libcrypto.EVP_PKEY_CTX* context,
    libcrypto.EVP_MD_CTX* digester,
    unsigned char* scratch,
    size_t capacity,
    unsigned char* signatures,
    unsigned char* tags,
) noexcept nogil:
    """Fill `signatures` and `tags` for every certificate and variant; False at the first that libcrypto refuses."""
    cdef unsigned char digest[DIGEST_OCTETS]
    cdef unsigned char signature[MAX_SIGNATURE]
    cdef unsigned char* target = signatures
    cdef size_t size
    cdef Py_ssize_t index
    cdef int which
    cdef Out out
    for index in range(count):
        if not sha256_of_two(
            digester, issuer_tag, CERTIFICATE_TAG, items[index].serial, items[index].serial_size, digest
        ):
            return False
        memcpy(tags + index * CERTIFICATE_TAG, digest, CERTIFICATE_TAG)
        for which in range(variant_count):
            items[index].index = index_of(order[which])
            out = der.writer(scratch, capacity)
            put_response_data(
                &out, profile, &items[index], 1, produced_at, responder_id, responder_id_size, extensions,
                extensions_size, NULL, 0,
            )
            size = MAX_SIGNATURE
            if (
                out.full
                or not sha256(digester, out.position, scratch + capacity - out.position, digest)
                or libcrypto.EVP_PKEY_sign(context, signature, &size, digest, DIGEST_OCTETS) != 1
            ):
                return False
            target[0] = <unsigned char> order[which]
            target += 1
            if profile.is_ecdsa:
                if not split_ecdsa(signature, size, target):
                    return False
            elif size == views[index].signature_size:
                memcpy(target, signature, size)
            else:
                return False
            target += views[index].signature_size
    return True


cdef Records _encode(const RecordView* view, unsigned char* buffer, size_t stride):
    """`buffer` has room for the longest record of the batch."""
    cdef size_t size = write_fixed(buffer, view)
    memcpy(buffer + size, view.signatures, stride)
    return decode_records(PyBytes_FromStringAndSize(<char*> buffer, size + stride))


cdef _fill(
    Single* single,
    object variant,
    bytes serial,
    object cert_status,
    object revocation_time,
    object reason,
    object this_update,
    object next_update,
    bytes extensions,
):
    """Check one status and point into its bytes, which the caller keeps alive."""
    single.index = index_of(variant)
    if single.index < 0:
        raise ValueError(f"variant {variant} is none of ours")
    if serial is None or not 1 <= len(serial) <= MAX_SERIAL:
        raise ValueError(f"a serial has 1 to {MAX_SERIAL} octets")
    if not GOOD <= cert_status <= UNKNOWN:
        raise ValueError(f"cert_status {cert_status} is none of good, revoked and unknown")
    _check_time("this_update", this_update)
    _check_time("next_update", next_update)
    if not 0 <= next_update - this_update < 1 << 32:
        raise ValueError("next_update isn't after this_update, or is too far from it")
    if cert_status == REVOKED:
        _check_time("revocation_time", revocation_time)
        if not -1 <= reason <= 10 or reason in (7, 8):
            raise ValueError(f"reason {reason} isn't a CRLReason of OCSP")
    elif revocation_time != -1 or reason != -1:
        raise ValueError("a revocation time or reason, but not revoked")
    if extensions is None or len(extensions) > MAX_EXTENSIONS:
        raise ValueError(f"single extensions of more than {MAX_EXTENSIONS} octets")
    single.serial = serial
    single.serial_size = len(serial)
    single.cert_status = cert_status
    single.revocation_time = revocation_time
    single.reason = reason
    single.this_update = this_update
    single.next_update = next_update
    single.extensions = extensions
    single.extensions_size = len(extensions)


cdef _check_time(str name, object seconds):
    if not 0 <= seconds <= MAX_TIME:
        raise ValueError(f"{name} {seconds} isn't between the years 1970 and 9999")


cdef bytes _finish(Out* out, const unsigned char* end):
    """Around a BasicOCSPResponse whose parts are written up to `end`: OCSPResponse, successful."""
    der.wrap(out, der.SEQUENCE, end)
    der.wrap(out, der.OCTET_STRING, end)
    der.put(out, BASIC, 11)
    der.wrap(out, der.SEQUENCE, end)
    der.wrap(out, 0xA0, end)
    der.put_octet(out, 0)
    der.put_header(out, der.ENUMERATED, 1)
    der.wrap(out, der.SEQUENCE, end)
    if out.full:
        raise SigningFailed("the response is longer than was reckoned")
    return PyBytes_FromStringAndSize(<char*> out.position, end - out.position)


cdef class _Digester:
    """A digest context for use under the GIL."""

    cdef libcrypto.EVP_MD_CTX* context

    def __cinit__(self):
        self.context = libcrypto.EVP_MD_CTX_new()
        if self.context == NULL:
            raise MemoryError

    def __dealloc__(self):
        libcrypto.EVP_MD_CTX_free(self.context)


cdef _Digester _digester = _Digester()
