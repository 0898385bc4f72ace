"""Signing one OCSP response: for a nonce, or several CertIDs at once."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from cpython.bytes cimport PyBytes_FromStringAndSize

from responder._native cimport der, times
from responder._native.algorithms cimport Algorithm
from responder._native.der cimport Out, Span, span
from responder._native.keys cimport PrivateKey
from responder._native.record_format cimport GOOD, MAX_SINGLE_EXTENSIONS, REVOKED, UNKNOWN, index_of
from responder._native.render cimport (
    MAX_PREFIX,
    SLACK,
    Constants,
    Single,
    put_response,
    put_signature,
    response_data,
)

from responder.errors import SigningFailed

cdef enum:
    MAX_SINGLES = 64
    MAX_NONCE = 4096


cdef bytes sign_response(const Constants* profile, PrivateKey key, object singles, object produced_at, bytes nonce):
    """One complete DER OCSPResponse, for a nonce or several CertIDs."""
    cdef Single[MAX_SINGLES] items
    cdef Span nonce_content
    cdef int count = 0
    cdef bytes tbs
    cdef bytes signature
    # Tuples of our own: they keep the octets alive that `items` points into.
    cdef list held = [tuple(single) for single in singles]
    cdef size_t room = profile.size
    cdef const Algorithm* algorithm = algorithm_for(profile, key)
    if not 1 <= len(held) <= MAX_SINGLES:
        raise ValueError(f"{len(held)} single responses; 1 to {MAX_SINGLES} are possible")
    for variant, serial, cert_status, revocation_time, reason, this_update, next_update, extensions in held:
        fill_single(
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
    tbs = response_data(
        profile,
        items,
        count,
        times.moment("produced_at", produced_at),
        NULL if nonce is None else &nonce_content,
        room,
    )
    signature = key._sign(algorithm, tbs, len(tbs))
    return _response(profile, tbs, signature)


cdef const Algorithm* algorithm_for(const Constants* profile, PrivateKey key) except NULL:
    cdef const Algorithm* algorithm = key.find(&profile.signature_algorithm)
    if algorithm == NULL:
        raise ValueError(f"a key of {key.name} doesn't sign with the algorithm that this profile names")
    return algorithm


cdef int fill_single(
    Single* single,
    object variant,
    bytes serial,
    object cert_status,
    object revocation_time,
    object reason,
    object this_update,
    object next_update,
    bytes extensions,
) except -1:
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
    single.this_update = times.moment("this_update", this_update)
    single.next_update = times.moment("next_update", next_update)
    if not 0 <= single.next_update - single.this_update < <int64_t> 1 << 32:
        raise ValueError("next_update is before this_update, or too far from it")
    single.revocation_time = -1
    if cert_status == REVOKED:
        single.revocation_time = times.moment("revocation_time", revocation_time)
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
    return 0


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
