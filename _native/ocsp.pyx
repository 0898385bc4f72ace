"""OCSP responses: signing profiles, what is signed, and rendering it from records.

One encoder makes the octets that are signed and renders the response from its record, so the two can't differ.

A profile's body, format 1, is the octet 1 and then

    SEQUENCE { issuerTag OCTET STRING, generation INTEGER, hashes SEQUENCE OF OCTET STRING (name and key, four times),
               signatureAlgorithm AlgorithmIdentifier, responderID OCTET STRING (holding its DER),
               certs SEQUENCE OF Certificate, responseExtensions SEQUENCE OF Extension }
"""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from cpython.bytes cimport PyBytes_FromStringAndSize

from responder._native cimport der, ecdsa, libcrypto
from responder._native.algorithms cimport (
    MAX_SIGNATURE,
    Algorithm,
    SigningContext,
    find_algorithm,
    sha256_of_two,
    sign_octets,
)
from responder._native.der cimport In, Out, Span, TLV, span
from responder._native.errors cimport drain_errors
from responder._native.keys cimport PrivateKey, PublicKey
from responder._native.records cimport (
    CERTIFICATE_TAG,
    GOOD,
    MAX_SINGLE_EXTENSIONS,
    PROFILE_ID,
    REVOKED,
    TAG_OFFSET,
    UNKNOWN,
    VARIANTS,
    RecordView,
    Records,
    fixed_size,
    index_of,
    read_records,
    set_version,
    signature_of,
    write_fixed,
)

import hashlib

from responder.errors import SigningFailed

cdef enum:
    FORMAT = 1
    MAX_SERIAL = 16384   # as long as a request may be
    MAX_SINGLES = 64
    MAX_NONCE = 4096
    SHA256_OCTETS = 32
    # Everything in a response that isn't counted one by one: headers, times, statuses, the DER of an ECDSA signature.
    SLACK = 256

# AlgorithmIdentifiers of a CertID's hash and its length: with NULL parameters, then with absent ones.
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
cdef const unsigned char* BASIC = b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01"
cdef const unsigned char* NONCE = b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x02"
cdef enum:
    OID_SIZE = 11

cdef object _FACTORY = object()


# --- the encoder ---------------------------------------------------------------------------------------------------


cdef void put_single(Out* out, const Constants* profile, const Single* single) noexcept nogil:
    """SingleResponse (RFC 6960 §4.2.1)."""
    cdef const unsigned char* end = out.position
    cdef const unsigned char* inner
    if single.extensions.size:
        der.put_value(out, der.SEQUENCE, single.extensions.data, single.extensions.size)
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
    der.put_value(out, der.INTEGER, single.serial.data, single.serial.size)
    der.put(out, profile.prefix[single.index], profile.prefix_size[single.index])
    der.wrap(out, der.SEQUENCE, inner)
    der.wrap(out, der.SEQUENCE, end)


cdef void put_response_data(
    Out* out, const Constants* profile, const Single* singles, int count, int64_t produced_at, const Span* nonce
) noexcept nogil:
    """ResponseData, what is signed. version is v1, the default, and left out (6960-15); `nonce` may be NULL."""
    cdef const unsigned char* end = out.position
    cdef const unsigned char* inner
    cdef int index
    if profile.extensions.size or nonce != NULL:
        inner = out.position
        if nonce != NULL:
            put_nonce(out, nonce)
        der.put_span(out, &profile.extensions)
        der.wrap(out, der.SEQUENCE, inner)
        der.wrap(out, 0xA1, inner)
    inner = out.position
    for index in range(count - 1, -1, -1):
        put_single(out, profile, &singles[index])
    der.wrap(out, der.SEQUENCE, inner)
    der.put_generalized_time(out, produced_at)
    der.put_span(out, &profile.responder_id)
    der.wrap(out, der.SEQUENCE, end)


cdef void put_nonce(Out* out, const Span* nonce) noexcept nogil:
    """The nonce extension with its content byte for byte (9654-03)."""
    cdef const unsigned char* end = out.position
    der.put_value(out, der.OCTET_STRING, nonce.data, nonce.size)
    der.put(out, NONCE, OID_SIZE)
    der.wrap(out, der.SEQUENCE, end)


cdef void put_signature(
    Out* out, const Constants* profile, const unsigned char* signature, size_t size, bint as_coordinates
) noexcept nogil:
    """What follows tbsResponseData in a BasicOCSPResponse: signatureAlgorithm, signature, certs."""
    cdef const unsigned char* end
    der.put_span(out, &profile.certs)
    end = out.position
    if as_coordinates:
        ecdsa.put_signature(out, signature, profile.algorithm.coordinate)
    else:
        der.put(out, signature, size)
    der.put_octet(out, 0)  # no unused bits
    der.wrap(out, der.BIT_STRING, end)
    der.put_span(out, &profile.signature_algorithm)


cdef void put_response(Out* out, const unsigned char* end) noexcept nogil:
    """OCSPResponse, successful, around the parts of a BasicOCSPResponse that were written since `end`."""
    der.wrap(out, der.SEQUENCE, end)
    der.wrap(out, der.OCTET_STRING, end)
    der.put(out, BASIC, OID_SIZE)
    der.wrap(out, der.SEQUENCE, end)
    der.wrap(out, 0xA0, end)
    der.put_octet(out, 0)
    der.put_header(out, der.ENUMERATED, 1)
    der.wrap(out, der.SEQUENCE, end)


cdef size_t room_for(const Constants* profile, const RecordView* view, const Span* serial) noexcept nogil:
    return profile.size + MAX_PREFIX + serial.size + view.extensions.size + view.signature_size


cdef void set_single(Single* single, const RecordView* view, int variant, const Span* serial) noexcept nogil:
    """What the SingleResponse of a record says."""
    single.index = index_of(variant)
    single.serial = serial[0]
    single.cert_status = view.cert_status
    single.revocation_time = view.revocation_time
    single.reason = view.reason
    single.this_update = view.this_update
    single.next_update = view.next_update
    single.extensions = view.extensions


cdef Rendering render_record(
    const Constants* profile,
    const RecordView* view,
    int variant,
    const Span* serial,
    libcrypto.EVP_MD_CTX* digester,
    Out* out,
) noexcept nogil:
    cdef unsigned char[SHA256_OCTETS] digest
    cdef Single single
    cdef const unsigned char* end = out.position
    cdef const unsigned char* signature = signature_of(view, variant)
    cdef bint as_coordinates = profile.algorithm.coordinate != 0
    if signature == NULL:
        return NO_SUCH_VARIANT
    if memcmp(view.profile_id, profile.id, PROFILE_ID) != 0:
        return OTHER_PROFILE
    if as_coordinates and view.signature_size != 2 * profile.algorithm.coordinate:
        return OTHER_ALGORITHM
    if not sha256_of_two(digester, &profile.issuer_tag, serial, digest):
        return NO_DIGEST
    if memcmp(view.certificate_tag, digest, CERTIFICATE_TAG) != 0:
        return OTHER_CERTIFICATE
    set_single(&single, view, variant, serial)
    put_signature(out, profile, signature, view.signature_size, as_coordinates)
    put_response_data(out, profile, &single, 1, view.produced_at, NULL)
    put_response(out, end)
    return NO_ROOM if out.full else RENDERED


# --- profiles ------------------------------------------------------------------------------------------------------


@cython.final
cdef class SigningProfile:
    """All that is the same for a signer's answers. Immutable. Made by `load_profile`."""

    def __cinit__(self, factory=None):
        if factory is not _FACTORY:
            raise TypeError("SigningProfile is made by load_profile")

    def __reduce__(self):
        return load_profile, (self.body,)

    def __eq__(self, other):
        return isinstance(other, SigningProfile) and (<SigningProfile> other).body == self.body

    def __hash__(self):
        return hash(self.body)

    def render(self, Records records not None, int variant, bytes serial not None, /):
        """The whole DER OCSPResponse of one certificate for one CertID variant, as it was signed."""
        cdef Span octets = span(serial)
        cdef size_t room = room_for(&self.constants, &records.view, &octets)
        cdef unsigned char* buffer = <unsigned char*> malloc(room)
        cdef Out out
        cdef Rendering outcome
        if buffer == NULL:
            raise MemoryError
        try:
            out = der.writer(buffer, room)
            outcome = render_record(&self.constants, &records.view, variant, &octets, _digester.context, &out)
            if outcome != RENDERED:
                raise _refusal(outcome, variant)
            return PyBytes_FromStringAndSize(<char*> out.position, der.written(&out, buffer + room))
        finally:
            free(buffer)

    def verify(self, PublicKey key not None, Records records not None, int variant, bytes serial not None, /):
        """Check the signature of one variant of records, over what `render` would send."""
        cdef const RecordView* view = &records.view
        cdef const unsigned char* signature = signature_of(view, variant)
        cdef size_t coordinate = self.constants.algorithm.coordinate
        cdef unsigned char[MAX_SIGNATURE] buffer
        cdef unsigned char[SHA256_OCTETS] digest
        cdef Span octets = span(serial)
        cdef Span signed, text
        cdef Single single
        cdef Out out
        cdef bytes tbs
        if signature == NULL:
            raise KeyError(variant)
        if memcmp(view.profile_id, self.constants.id, PROFILE_ID) != 0:
            raise _refusal(OTHER_PROFILE, variant)
        if not sha256_of_two(_digester.context, &self.constants.issuer_tag, &octets, digest):
            raise _refusal(NO_DIGEST, variant)
        if memcmp(view.certificate_tag, digest, CERTIFICATE_TAG) != 0:
            raise _refusal(OTHER_CERTIFICATE, variant)
        signed.data, signed.size = signature, view.signature_size
        if coordinate:
            if view.signature_size != 2 * coordinate:
                raise _refusal(OTHER_ALGORITHM, variant)
            out = der.writer(buffer, sizeof(buffer))
            ecdsa.put_signature(&out, signature, coordinate)
            signed.data, signed.size = out.position, der.written(&out, buffer + sizeof(buffer))
        set_single(&single, view, variant, &octets)
        tbs = _tbs(&self.constants, &single, 1, view.produced_at, NULL, room_for(&self.constants, view, &octets))
        text = span(tbs)
        key.verify_span(&self.constants.signature_algorithm, &text, &signed)

    def sign_response(
        self, PrivateKey key not None, object singles, object produced_at, bytes nonce, /
    ):
        """Sign one complete DER OCSPResponse, for a nonce or several CertIDs."""
        cdef Single[MAX_SINGLES] items
        cdef Span nonce_content
        cdef int count = 0
        cdef bytes tbs
        cdef bytes signature
        # Tuples of our own: they keep the octets alive that `items` points into.
        cdef list held = [tuple(single) for single in singles]
        cdef size_t room = self.constants.size
        cdef const Algorithm* algorithm = self._algorithm_for(key)
        if not 1 <= len(held) <= MAX_SINGLES:
            raise ValueError(f"{len(held)} single responses; 1 to {MAX_SINGLES} are possible")
        for variant, serial, cert_status, revocation_time, reason, this_update, next_update, extensions in held:
            _fill(
                &items[count],
                variant,
                serial,
                cert_status,
                revocation_time,
                reason,
                this_update,
                next_update,
                extensions,
            )
            room += SLACK + MAX_PREFIX + items[count].serial.size + items[count].extensions.size
            count += 1
        if nonce is not None:
            nonce_content = span(nonce)
            if not 1 <= len(nonce) <= MAX_NONCE:
                raise ValueError(f"a nonce has 1 to {MAX_NONCE} octets, not {len(nonce)}")
            room += nonce_content.size
        tbs = _tbs(
            &self.constants,
            items,
            count,
            der.moment("produced_at", produced_at),
            NULL if nonce is None else &nonce_content,
            room,
        )
        signature = key._sign(algorithm, tbs, len(tbs))
        return _response(&self.constants, tbs, signature)

    def sign_records(self, PrivateKey key not None, object statuses, object variants, object produced_at, /):
        """Sign one response per certificate and variant, as records. Releases the GIL for the whole batch."""
        cdef _Batch batch
        # Tuples of our own: they keep the octets alive that the batch points into.
        cdef list held = [tuple(status) for status in statuses]
        cdef list encoded = []
        batch = _Batch(self, key, variants, len(held), der.moment("produced_at", produced_at))
        for status in held:
            encoded.append(batch.add(status))
        batch.sign()
        return [read_records(record) for record in encoded]

    cdef const Algorithm* _algorithm_for(self, PrivateKey key) except NULL:
        cdef const Algorithm* algorithm = key.find(&self.constants.signature_algorithm)
        if algorithm == NULL:
            raise ValueError(f"a key of {key.name} doesn't sign with the algorithm that this profile names")
        return algorithm


cdef _refusal(Rendering outcome, int variant):
    if outcome == NO_SUCH_VARIANT:
        return KeyError(variant)
    if outcome == OTHER_PROFILE:
        return ValueError("these records were signed with another profile")
    if outcome == OTHER_CERTIFICATE:
        return ValueError("these records are of another certificate")
    if outcome == OTHER_ALGORITHM:
        return ValueError("these records have signatures of another algorithm")
    return SigningFailed(f"the response couldn't be rendered: {drain_errors()}")


def encode_profile(
    *,
    bytes issuer_tag not None,
    object cert_id_hashes,
    bytes signature_algorithm not None,
    bytes responder_id not None,
    object certificates,
    bytes response_extensions not None=b"",
    object generation=1,
):
    """The body of a profile."""
    cdef bytes body
    cdef SigningProfile profile
    if not 1 <= generation < 1 << 31:
        raise ValueError(f"generation {generation} isn't between 1 and 2^31 - 1")
    hashes = [der.value_of(der.OCTET_STRING, octets) for pair in cert_id_hashes for octets in pair]
    certs = list(certificates)
    body = bytes([FORMAT]) + der.value_of(
        der.SEQUENCE,
        der.value_of(der.OCTET_STRING, issuer_tag)
        + der.value_of(der.INTEGER, generation.to_bytes(generation.bit_length() // 8 + 1, "big"))
        + der.value_of(der.SEQUENCE, b"".join(hashes))
        + signature_algorithm
        + der.value_of(der.OCTET_STRING, responder_id)
        + der.value_of(der.SEQUENCE, b"".join(certs))
        + der.value_of(der.SEQUENCE, response_extensions),
    )
    profile = load_profile(body)
    if profile.certificates != tuple(certs) or profile.signature_algorithm != signature_algorithm:
        raise ValueError("a part of the signing profile isn't one DER value")
    return body


def load_profile(bytes body not None, /):
    """Read a profile's body."""
    cdef SigningProfile profile = SigningProfile.__new__(SigningProfile, _FACTORY)
    cdef In outer, inner
    cdef TLV value
    cdef Span octets = span(body)
    if octets.size == 0 or octets.data[0] != FORMAT:
        raise ValueError("a signing profile of a format that this version doesn't know")
    outer = der.reader(octets.data + 1, octets.size - 1)
    if not der.enter(&outer, der.SEQUENCE, &inner) or not der.at_end(&outer):
        raise ValueError("a damaged signing profile: not one SEQUENCE")
    if not der.read(&inner, der.OCTET_STRING, &value) or value.length != CERTIFICATE_TAG:
        raise ValueError("a damaged signing profile: issuerTag hasn't 8 octets")
    profile.issuer_tag = value.content[:value.length]
    if (
        not der.read(&inner, der.INTEGER, &value)
        or not der.is_minimal_integer(value.content, value.length)
        or value.length > 4
        or value.content[0] & 0x80
    ):
        raise ValueError("a damaged signing profile: generation")
    profile.generation = int.from_bytes(value.content[:value.length], "big")
    if not der.read(&inner, der.SEQUENCE, &value):
        raise ValueError("a damaged signing profile: hashes")
    _set_prefixes(&profile.constants, _elements(&value, der.OCTET_STRING, "hashes"))
    if not der.read(&inner, der.SEQUENCE, &value):
        raise ValueError("a damaged signing profile: signatureAlgorithm")
    profile.signature_algorithm = value.start[:value.total]
    if not der.read(&inner, der.OCTET_STRING, &value) or not (
        der.is_one(value.content, value.length, 0xA1) or der.is_one(value.content, value.length, 0xA2)
    ):
        raise ValueError("a damaged signing profile: responderID is neither byName nor byKey")
    profile.responder_id = value.content[:value.length]
    if not der.read(&inner, der.SEQUENCE, &value):
        raise ValueError("a damaged signing profile: certs")
    profile.certificates = tuple(_elements(&value, der.SEQUENCE, "certs"))
    # certs is left out when empty (6960-17).
    profile.certs = der.value_of(0xA0, value.start[:value.total]) if profile.certificates else b""
    if (
        not der.read(&inner, der.SEQUENCE, &value)
        or not der.is_extensions(value.content, value.length)
        or not der.at_end(&inner)
    ):
        raise ValueError("a damaged signing profile: responseExtensions")
    profile.extensions = value.content[:value.length]
    profile.body = body
    profile.id = hashlib.sha256(body).digest()[:PROFILE_ID]
    _set_constants(profile)
    return profile


cdef list _elements(const TLV* container, unsigned char tag, str what):
    """The DER of each value in a SEQUENCE OF; the content alone of OCTET STRINGs."""
    cdef In inside = der.reader(container.content, container.length)
    cdef TLV value
    cdef list found = []
    while not der.at_end(&inside):
        if not der.read(&inside, tag, &value):
            raise ValueError(f"a damaged signing profile: {what}")
        if tag == der.OCTET_STRING:
            found.append(<bytes> value.content[:value.length])
        else:
            found.append(<bytes> value.start[:value.total])
    return found


cdef _set_prefixes(Constants* constants, list hashes):
    """What stands before the serial in the CertID of each variant."""
    cdef int index
    cdef bytes prefix
    if len(hashes) != 8:
        raise ValueError(f"a damaged signing profile: {len(hashes)} hashes, not 4 pairs")
    for index in range(VARIANTS):
        algorithm, size = _HASHES[index]
        name, key = hashes[2 * (index % 4)], hashes[2 * (index % 4) + 1]
        if len(name) != size or len(key) != size:
            raise ValueError("a damaged signing profile: a hash of another length than its algorithm's")
        prefix = bytes.fromhex(algorithm) + der.value_of(der.OCTET_STRING, name) + der.value_of(der.OCTET_STRING, key)
        constants.prefix_size[index] = len(prefix)
        memcpy(constants.prefix[index], <const unsigned char*> prefix, len(prefix))


cdef _set_constants(SigningProfile profile):
    cdef Constants* constants = &profile.constants
    constants.id = profile.id
    constants.issuer_tag = span(profile.issuer_tag)
    constants.signature_algorithm = span(profile.signature_algorithm)
    constants.responder_id = span(profile.responder_id)
    constants.extensions = span(profile.extensions)
    constants.certs = span(profile.certs)
    constants.algorithm = find_algorithm(&constants.signature_algorithm)
    if constants.algorithm == NULL:
        raise ValueError("a signing profile with a signature algorithm that this version doesn't know")
    constants.size = (
        constants.signature_algorithm.size
        + constants.responder_id.size
        + constants.extensions.size
        + constants.certs.size
        + SLACK
    )


# --- signing -------------------------------------------------------------------------------------------------------


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
    """Check one status and point into its octets, which the caller keeps alive."""
    single.index = index_of(variant)
    if single.index < 0:
        raise ValueError(f"variant {variant} is none of ours")
    if serial is None or len(serial) > MAX_SERIAL or not der.is_minimal_integer(serial, len(serial)):
        raise ValueError(f"a serial is the content of a minimal INTEGER, 1 to {MAX_SERIAL} octets")
    der.whole("cert_status", cert_status)
    der.whole("reason", reason)
    if not GOOD <= cert_status <= UNKNOWN:
        raise ValueError(f"cert_status {cert_status} is none of good, revoked and unknown")
    single.this_update = der.moment("this_update", this_update)
    single.next_update = der.moment("next_update", next_update)
    if not 0 <= single.next_update - single.this_update < <int64_t> 1 << 32:
        raise ValueError("next_update is before this_update, or too far from it")
    single.revocation_time = -1
    if cert_status == REVOKED:
        single.revocation_time = der.moment("revocation_time", revocation_time)
        if not -1 <= reason <= 10 or reason in (7, 8):
            raise ValueError(f"reason {reason} isn't a CRLReason of a status")
    elif revocation_time != -1 or reason != -1:
        raise ValueError("a revocation time or reason, but not revoked")
    if extensions is None or len(extensions) > MAX_SINGLE_EXTENSIONS:
        raise ValueError(f"single extensions of more than {MAX_SINGLE_EXTENSIONS} octets")
    if not der.is_extensions(extensions, len(extensions)):
        raise ValueError("single extensions that aren't DER Extension values one after the other")
    single.serial = span(serial)
    single.cert_status = cert_status
    single.reason = reason
    single.extensions = span(extensions)


cdef bytes _tbs(
    const Constants* profile, const Single* singles, int count, int64_t produced_at, const Span* nonce, size_t room
):
    """DER of ResponseData, which needs no more than `room`."""
    cdef unsigned char* buffer = <unsigned char*> malloc(room)
    cdef Out out
    if buffer == NULL:
        raise MemoryError
    try:
        out = der.writer(buffer, room)
        put_response_data(&out, profile, singles, count, produced_at, nonce)
        if out.full:
            raise SigningFailed("the response is longer than was reckoned")
        return PyBytes_FromStringAndSize(<char*> out.position, der.written(&out, buffer + room))
    finally:
        free(buffer)


cdef bytes _response(const Constants* profile, bytes tbs, bytes signature):
    """DER of the OCSPResponse with these parts."""
    cdef Span data = span(tbs)
    cdef size_t room = profile.size + data.size + len(signature)
    cdef unsigned char* buffer = <unsigned char*> malloc(room)
    cdef Out out
    if buffer == NULL:
        raise MemoryError
    try:
        out = der.writer(buffer, room)
        put_signature(&out, profile, signature, len(signature), False)
        der.put_span(&out, &data)
        put_response(&out, buffer + room)
        if out.full:
            raise SigningFailed("the response is longer than was reckoned")
        return PyBytes_FromStringAndSize(<char*> out.position, der.written(&out, buffer + room))
    finally:
        free(buffer)


ctypedef struct Task:
    Single single
    unsigned char* tag          # where the certificate tag goes in the record
    unsigned char* signatures   # where the variants and their signatures go


cdef class _Batch:
    """Records that are being signed: made whole under the GIL, then their tags and signatures filled in without it.

    The octets that `add` returns must be kept, unseen by others, until `sign` has returned.
    """

    cdef SigningProfile profile
    cdef PrivateKey key
    cdef const Algorithm* algorithm
    cdef Task* tasks
    cdef unsigned char* scratch
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity
    cdef int[VARIANTS] variants
    cdef int variant_count
    cdef int64_t produced_at
    cdef size_t signature_size
    cdef size_t room            # for the longest ResponseData

    def __cinit__(
        self, SigningProfile profile, PrivateKey key, object variants, Py_ssize_t capacity, int64_t produced_at
    ):
        self.profile = profile
        self.key = key
        self.capacity = capacity
        self.produced_at = produced_at
        self.algorithm = profile._algorithm_for(key)
        self.signature_size = key.signature_size(self.algorithm)
        self.room = profile.constants.size
        for variant in sorted(set(variants)):
            if index_of(variant) < 0:
                raise ValueError(f"variant {variant} is none of ours")
            self.variants[self.variant_count] = variant
            self.variant_count += 1
        if self.variant_count == 0:
            raise ValueError("no variants to sign for")
        self.tasks = <Task*> calloc(capacity or 1, sizeof(Task))
        if self.tasks == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.scratch)
        free(self.tasks)

    cdef bytes add(self, tuple status):
        """The record of one status, without its tag and signatures."""
        cdef Task* task = &self.tasks[self.count]
        cdef Single* single = &task.single
        cdef RecordView view
        cdef bytes encoded
        cdef unsigned char* octets
        cdef unsigned char[CERTIFICATE_TAG] no_tag
        cdef size_t start
        serial, cert_status, revocation_time, reason, this_update, next_update, epoch, number, as_of, extensions = status
        _fill(
            single,
            self.variants[0],
            serial,
            cert_status,
            revocation_time,
            reason,
            this_update,
            next_update,
            extensions,
        )
        if not 0 <= self.produced_at - single.this_update < <int64_t> 1 << 32:
            raise ValueError("produced_at is before this_update, or too far from it")
        set_version(&view, epoch, number, as_of)
        memset(no_tag, 0, CERTIFICATE_TAG)
        view.cert_status = single.cert_status
        view.reason = single.reason if single.reason > 0 else -1
        view.revocation_time = single.revocation_time
        view.this_update = single.this_update
        view.next_update = single.next_update
        view.produced_at = self.produced_at
        view.profile_id = self.profile.constants.id
        view.certificate_tag = no_tag
        view.extensions = single.extensions
        view.count = self.variant_count
        view.signature_size = self.signature_size
        start = fixed_size(&view)
        encoded = PyBytes_FromStringAndSize(NULL, start + self.variant_count * (1 + self.signature_size))
        octets = <unsigned char*> <char*> encoded
        write_fixed(octets, &view)
        task.tag = octets + TAG_OFFSET
        task.signatures = octets + start
        self.room = max(
            self.room, self.profile.constants.size + MAX_PREFIX + single.serial.size + single.extensions.size
        )
        self.count += 1
        return encoded

    cdef sign(self):
        """Sign all that was added, without the GIL.

        Raises:
            SigningFailed: libcrypto refused.
        """
        cdef SigningContext signing
        cdef Py_ssize_t index
        cdef bint done = True
        self.scratch = <unsigned char*> malloc(self.room)
        if self.scratch == NULL:
            raise MemoryError
        self.key.take(self.algorithm, &signing)
        try:
            with nogil:
                for index in range(self.count):
                    if not self.sign_one(&self.tasks[index], &signing):
                        done = False
                        break
            if not done:
                raise SigningFailed(f"libcrypto refused to sign: {drain_errors()}")
        finally:
            self.key.give_back(&signing)

    cdef bint sign_one(self, Task* task, SigningContext* signing) noexcept nogil:
        """Fill in the tag and the signatures of one record; False when libcrypto refuses."""
        cdef const Constants* profile = &self.profile.constants
        cdef unsigned char[SHA256_OCTETS] digest
        cdef unsigned char[MAX_SIGNATURE] signature
        cdef unsigned char* target = task.signatures
        cdef const unsigned char* end = self.scratch + self.room
        cdef size_t size
        cdef int which
        cdef Out out
        if not sha256_of_two(signing.hasher, &profile.issuer_tag, &task.single.serial, digest):
            return False
        memcpy(task.tag, digest, CERTIFICATE_TAG)
        for which in range(self.variant_count):
            task.single.index = index_of(self.variants[which])
            out = der.writer(self.scratch, self.room)
            put_response_data(&out, profile, &task.single, 1, self.produced_at, NULL)
            if out.full or not sign_octets(signing, out.position, der.written(&out, end), signature, &size):
                return False
            target[0] = <unsigned char> self.variants[which]
            if profile.algorithm.coordinate:
                if not ecdsa.split_signature(signature, size, target + 1, profile.algorithm.coordinate):
                    return False
            elif size == self.signature_size:
                memcpy(target + 1, signature, size)
            else:
                return False
            target += 1 + self.signature_size
        return True


@cython.final
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
