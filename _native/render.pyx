"""An OCSP response, written backward into a buffer: the one encoder of what is signed and of what is rendered from a
record, so that the two can't differ. No GIL but for `response_data`, and no allocation."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp

from cpython.bytes cimport PyBytes_FromStringAndSize

from responder._native cimport der, ecdsa, libcrypto, times
from responder._native.algorithms cimport sha256_of_two
from responder._native.der cimport Out, Span
from responder._native.record_format cimport (
    CERTIFICATE_TAG,
    DIGEST,
    GOOD,
    PROFILE_ID,
    REVOKED,
    RecordView,
    find_signature,
    index_of,
)

from responder.errors import SigningFailed

# OBJECT IDENTIFIER id-pkix-ocsp-basic, and id-pkix-ocsp-nonce
cdef const unsigned char* BASIC = b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01"
cdef const unsigned char* NONCE = b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x02"
cdef enum:
    OID_SIZE = 11


cdef void put_single(Out* out, const Constants* profile, const Single* single) noexcept nogil:
    """SingleResponse (RFC 6960 §4.2.1)."""
    cdef const unsigned char* end = out.position
    cdef const unsigned char* inner
    if single.extensions.size:
        der.put_value(out, der.SEQUENCE, single.extensions.data, single.extensions.size)
        der.wrap(out, 0xA1, end)
    inner = out.position
    times.put_generalized_time(out, single.next_update)
    der.wrap(out, 0xA0, inner)
    times.put_generalized_time(out, single.this_update)
    inner = out.position
    if single.cert_status == REVOKED:
        # unspecified is left out, as on CRLs (RFC 5280 §5.3.1).
        if single.reason > 0:
            der.put_octet(out, <unsigned char> single.reason)
            der.put_header(out, der.ENUMERATED, 1)
            der.put_header(out, 0xA0, 3)
        times.put_generalized_time(out, single.revocation_time)
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
    times.put_generalized_time(out, produced_at)
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


cdef Rendering check_record(
    const Constants* profile,
    const RecordView* view,
    int variant,
    const Span* serial,
    libcrypto.EVP_MD_CTX* digester,
    Span* signature,
) noexcept nogil:
    cdef unsigned char[SHA256_OCTETS] digest
    if not find_signature(view, variant, signature):
        return NO_SUCH_VARIANT
    if memcmp(view.profile_id, profile.id, PROFILE_ID) != 0:
        return OTHER_PROFILE
    if not is_of_algorithm(profile, view):
        return OTHER_ALGORITHM
    if not sha256_of_two(digester, &profile.issuer_tag, serial, digest):
        return NO_DIGEST
    if memcmp(view.certificate_tag, digest, CERTIFICATE_TAG) != 0:
        return OTHER_CERTIFICATE
    return RENDERED


cdef Rendering render_record(
    const Constants* profile,
    const RecordView* view,
    int variant,
    const Span* serial,
    libcrypto.EVP_MD_CTX* digester,
    Out* out,
) noexcept nogil:
    cdef Span signature
    cdef Rendering outcome = check_record(profile, view, variant, serial, digester, &signature)
    if outcome != RENDERED:
        return outcome
    return render_checked(profile, view, variant, serial, &signature, out)


cdef Rendering render_checked(
    const Constants* profile,
    const RecordView* view,
    int variant,
    const Span* serial,
    const Span* signature,
    Out* out,
) noexcept nogil:
    cdef Single single
    cdef const unsigned char* end = out.position
    cdef bint as_coordinates = profile.algorithm.coordinate != 0
    if view.is_verbatim:
        der.put(out, signature.data + DIGEST, signature.size - DIGEST)
    else:
        set_single(&single, view, variant, serial)
        put_signature(out, profile, signature.data, signature.size, as_coordinates)
        put_response_data(out, profile, &single, 1, view.produced_at, NULL)
        put_response(out, end)
    return NO_ROOM if out.full else RENDERED


cdef bytes response_data(
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
