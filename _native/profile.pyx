"""Signing profiles: all that is the same for a signer's answers, and how it is stored.

A profile's body, format 1, is the octet 1 and then

    SEQUENCE { issuerTag OCTET STRING, generation INTEGER, hashes SEQUENCE OF OCTET STRING (name and key, four times),
               signatureAlgorithm AlgorithmIdentifier, responderID OCTET STRING (holding its DER),
               certs SEQUENCE OF Certificate, responseExtensions SEQUENCE OF Extension }
"""

cimport cython
from libc.stddef cimport size_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from cpython.bytes cimport PyBytes_FromStringAndSize

from responder._native cimport der, ecdsa, libcrypto
from responder._native.algorithms cimport MAX_SIGNATURE, Digester, find_algorithm
from responder._native.batch cimport sign_goods, sign_records
from responder._native.copied cimport CopiedStatuses
from responder._native.der cimport In, Out, Span, TLV, span
from responder._native.errors cimport drain_errors
from responder._native.keys cimport PrivateKey, PublicKey
from responder._native.record_format cimport (
    CERTIFICATE_TAG,
    DIGEST,
    PROFILE_ID,
    VARIANTS,
    RecordView,
)
from responder._native.records cimport Records
from responder._native.render cimport (
    NO_SUCH_VARIANT,
    OTHER_ALGORITHM,
    OTHER_CERTIFICATE,
    OTHER_PROFILE,
    RENDERED,
    SLACK,
    Constants,
    Rendering,
    Single,
    check_record,
    render_record,
    response_data,
    room_for,
    set_single,
)
from responder._native.sign cimport sign_response
from responder._native.verbatim cimport read_signed, take_over

import hashlib

from responder.errors import SigningFailed

cdef enum:
    FORMAT = 1

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

cdef object _FACTORY = object()


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
        cdef Span signature
        cdef size_t coordinate = self.constants.algorithm.coordinate
        cdef unsigned char[MAX_SIGNATURE] buffer
        cdef Span octets = span(serial)
        cdef Span signed, text
        cdef Single single
        cdef Out out
        cdef bytes tbs
        cdef Rendering outcome = check_record(
            &self.constants, view, variant, &octets, _digester.context, &signature
        )
        if outcome != RENDERED:
            raise _refusal(outcome, variant)
        if view.is_verbatim:
            octets.data, octets.size = signature.data + DIGEST, signature.size - DIGEST
            if not read_signed(&octets, &text, &signed):
                raise ValueError("it is no successful OCSPResponse")
            key.verify_span(&self.constants.signature_algorithm, &text, &signed)
            return
        signed = signature
        if coordinate:
            out = der.writer(buffer, sizeof(buffer))
            ecdsa.put_signature(&out, signature.data, coordinate)
            signed.data, signed.size = out.position, der.written(&out, buffer + sizeof(buffer))
        set_single(&single, view, variant, &octets)
        tbs = response_data(&self.constants, &single, 1, view.produced_at, NULL, room_for(&self.constants, view, &octets))
        text = span(tbs)
        key.verify_span(&self.constants.signature_algorithm, &text, &signed)

    def take_over(self, object status, object produced_at, object answers, /):
        """Records of answers that were made elsewhere, as they came."""
        return take_over(&self.constants, status, produced_at, answers)

    def sign_response(self, PrivateKey key not None, object singles, object produced_at, bytes nonce, /):
        """Sign one complete DER OCSPResponse, for a nonce or several CertIDs."""
        return sign_response(&self.constants, key, singles, produced_at, nonce)

    def sign_records(self, PrivateKey key not None, object statuses, object variants, object produced_at, /):
        """Sign one response per certificate and variant, as records. Releases the GIL for the whole batch."""
        return sign_records(&self.constants, key, statuses, variants, produced_at)

    def sign_goods(
        self,
        PrivateKey key not None,
        CopiedStatuses statuses not None,
        object variants,
        object this_update,
        object next_update,
        object now,
        /,
    ):
        """The same of those copied statuses that are good at `now`; None for the others."""
        return sign_goods(&self.constants, key, statuses, variants, this_update, next_update, now)


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


cdef Digester _digester = Digester()
