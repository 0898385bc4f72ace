"""Answers that were made elsewhere, as records: nothing of them is rendered, their octets are sent as they came."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.string cimport memset

from cpython.bytes cimport PyBytes_FromStringAndSize

from responder._native cimport der, times
from responder._native.der cimport In, Span, TLV, span
from responder._native.record_format cimport (
    CERTIFICATE_TAG,
    DIGEST,
    VARIANTS,
    RecordView,
    fixed_size,
    index_of,
    write_fixed,
)
from responder._native.records cimport Records, read_records, set_version
from responder._native.render cimport Constants, Single
from responder._native.sign cimport fill_single

import hashlib

cdef enum:
    MAX_ANSWER = 0xFFFF - DIGEST


cdef Records take_over(const Constants* profile, object status, object produced_at, object answers):
    """The records of one certificate."""
    cdef Single single
    cdef RecordView view
    cdef bytes serial, tag, head
    # A tuple of our own: it keeps the octets alive that the view points into.
    cdef tuple held = tuple(status)
    cdef list entries = []
    serial, cert_status, revocation_time, reason, this_update, next_update, epoch, number, as_of, extensions = held
    memset(&view, 0, sizeof(view))
    for variant, response in sorted(answers):
        if not 0 < len(response) <= MAX_ANSWER:
            raise ValueError(f"an answer of {len(response)} octets; at most {MAX_ANSWER} can be kept")
        if index_of(variant) < 0:
            raise ValueError(f"variant {variant} is none of ours")
        entries.append(
            bytes([variant])
            + (DIGEST + len(response)).to_bytes(2, "big")
            + hashlib.sha256(response).digest()[:DIGEST]
            + response
        )
    if not entries:
        raise ValueError("no answers to keep")
    fill_single(
        &single, answers[0][0], serial, cert_status, revocation_time, reason, this_update, next_update, extensions
    )
    if single.extensions.size:
        raise ValueError("the extensions of an answer made elsewhere stand in it")
    set_version(&view, epoch, number, as_of)
    tag = hashlib.sha256(profile.issuer_tag.data[:profile.issuer_tag.size] + serial).digest()[:CERTIFICATE_TAG]
    view.is_verbatim, view.count = True, len(entries)
    view.cert_status = single.cert_status
    view.reason = single.reason if single.reason > 0 else -1
    view.revocation_time = single.revocation_time
    view.this_update, view.next_update = single.this_update, single.next_update
    view.produced_at = times.moment("produced_at", produced_at)
    if not 0 <= view.produced_at - view.this_update < <int64_t> 1 << 32:
        raise ValueError("produced_at is before this_update, or too far from it")
    view.profile_id, view.certificate_tag = profile.id, tag
    head = PyBytes_FromStringAndSize(NULL, fixed_size(&view))
    write_fixed(<unsigned char*> <char*> head, &view)
    return read_records(head + b"".join(entries))


cdef bint read_signed(const Span* response, Span* data, Span* signature) noexcept nogil:
    """RFC 6960 §4.2.1: OCSPResponse, ResponseBytes, BasicOCSPResponse."""
    cdef In outer = der.reader(response.data, response.size)
    cdef In inner, octets, basic
    cdef TLV value
    if not der.enter(&outer, der.SEQUENCE, &inner) or not der.read(&inner, der.ENUMERATED, &value):
        return False
    if not der.enter(&inner, 0xA0, &outer) or not der.enter(&outer, der.SEQUENCE, &inner):
        return False
    if not der.read(&inner, der.OID, &value) or not der.enter(&inner, der.OCTET_STRING, &octets):
        return False
    if not der.enter(&octets, der.SEQUENCE, &basic) or not der.read(&basic, der.SEQUENCE, &value):
        return False
    data.data, data.size = value.start, value.total
    if not der.read(&basic, der.SEQUENCE, &value) or not der.read(&basic, der.BIT_STRING, &value):
        return False
    if value.length < 2 or value.content[0]:
        return False
    signature.data, signature.size = value.content + 1, value.length - 1
    return True
