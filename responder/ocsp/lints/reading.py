"""An OCSPResponse taken apart, octets as they stand, for the rules to look at: nothing is interpreted that might hide a
fault. Source: RFC 6960 §4.2.1, Appendix B.1."""

from __future__ import annotations

from dataclasses import dataclass

from responder import der

SUCCESSFUL = 0
ENUMERATED = 0x0A
NULL = 0x05

_CONSTRUCTED = 0x20


@dataclass(frozen=True, slots=True)
class Extension:
    """`oid` in dots; `value` is the content of extnValue."""

    oid: str
    is_critical: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class Single:
    """A SingleResponse. Times are the text of their GeneralizedTime, with the tag they have; `status` is the tag of
    certStatus: 0x80 good, 0xA1 revoked, 0x82 unknown."""

    hash_oid: str
    hash_parameters: bytes
    name_hash: bytes
    key_hash: bytes
    serial: bytes
    status: int
    revocation_time: tuple[int, bytes] | None
    reason: int | None
    this_update: tuple[int, bytes]
    next_update: tuple[int, bytes] | None
    extensions: tuple[Extension, ...]


@dataclass(frozen=True, slots=True)
class Response:
    """The whole. Of an error all but `octets` and `status` is empty.

    Attributes:
        has_version: it is written although it is the default.
        responder: the tag of responderID (0xA1 byName, 0xA2 byKey) and what is in it.
        signature: with its octet of unused bits.
        certs: DER certificates; None where the field is absent.
        basic: the BasicOCSPResponse.
    """

    octets: bytes
    status: int
    response_type: str = ""
    has_version: bool = False
    responder: tuple[int, bytes] = (0, b"")
    produced_at: tuple[int, bytes] = (0, b"")
    singles: tuple[Single, ...] = ()
    extensions: tuple[Extension, ...] = ()
    algorithm: bytes = b""
    signature: bytes = b""
    certs: tuple[bytes, ...] | None = None
    basic: bytes = b""


def read(octets: bytes) -> Response:
    """Take it apart.

    Raises:
        ValueError: it isn't of the form of RFC 6960; the message says where.
    """
    try:
        return _read(octets)
    except IndexError:
        raise ValueError("a field is missing") from None


def _read(octets: bytes) -> Response:
    parts = _in(octets, 0x30, "OCSPResponse")
    if not parts or parts[0][0] != ENUMERATED or len(parts[0][1]) != 1:
        raise ValueError("responseStatus: an ENUMERATED of one octet is wanted")
    status = parts[0][1][0]
    if status != SUCCESSFUL:
        return Response(octets, status)
    if len(parts) != 2:
        raise ValueError("responseBytes: missing, and the status is successful")
    kind, response = _in(_explicit(parts[1], 0xA0, "responseBytes"), 0x30, "ResponseBytes")[:2]
    _want(kind, der.OBJECT_IDENTIFIER, "responseType")
    _want(response, der.OCTET_STRING, "response")
    basic = _in(response[1], 0x30, "BasicOCSPResponse")
    if not 3 <= len(basic) <= 4:
        raise ValueError(f"BasicOCSPResponse: {len(basic)} fields; 3 or 4 are wanted")
    certs = None
    if len(basic) == 4:
        certs = tuple(whole for _, _, whole in der.values(der.contents(_explicit(basic[3], 0xA0, "certs"))))
    has_version, responder, produced_at, singles, extensions = _data(basic[0][2])
    _algorithm(basic[1], "signatureAlgorithm")
    _want(basic[2], der.BIT_STRING, "signature")
    return Response(
        octets,
        status,
        der.dotted(kind[1]),
        has_version,
        responder,
        produced_at,
        singles,
        extensions,
        basic[1][2],
        basic[2][1],
        certs,
        response[1],
    )


Value = tuple[int, bytes, bytes]


Data = tuple[bool, tuple[int, bytes], tuple[int, bytes], tuple[Single, ...], tuple[Extension, ...]]


def _data(octets: bytes) -> Data:
    """Whether it has a version, who the responder is, producedAt, what is said, and extensions."""
    fields = _in(octets, 0x30, "tbsResponseData")
    has_version = bool(fields) and fields[0][0] == 0xA0
    rest = fields[1:] if has_version else fields
    if not 3 <= len(rest) <= 4 or rest[0][0] not in (0xA1, 0xA2) or rest[2][0] != 0x30:
        raise ValueError("ResponseData: responderID, producedAt, responses and perhaps extensions are wanted")
    singles = tuple(_single(whole) for _, _, whole in der.values(rest[2][1]))
    extensions = _extensions(_explicit(rest[3], 0xA1, "responseExtensions")) if len(rest) == 4 else ()
    return has_version, (rest[0][0], rest[0][1]), (rest[1][0], rest[1][1]), singles, extensions


def _single(octets: bytes) -> Single:
    fields = _in(octets, 0x30, "SingleResponse")
    if not 3 <= len(fields) <= 5:
        raise ValueError(f"SingleResponse: {len(fields)} fields; 3 to 5 are wanted")
    cert_id = _in(fields[0][2], 0x30, "certID")
    if len(cert_id) != 4:
        raise ValueError(f"certID: {len(cert_id)} fields; 4 are wanted")
    algorithm = _algorithm(cert_id[0], "hashAlgorithm")
    for value, tag, name in zip(
        cert_id[1:],
        (der.OCTET_STRING, der.OCTET_STRING, der.INTEGER),
        ("issuerNameHash", "issuerKeyHash", "serialNumber"),
        strict=True,
    ):
        _want(value, tag, name)
    status, content, _ = fields[1]
    revocation_time, reason = None, None
    if status == 0xA1:
        revoked = der.values(content)
        revocation_time = (revoked[0][0], revoked[0][1])
        if len(revoked) > 1:
            reason = int.from_bytes(der.contents(_explicit(revoked[1], 0xA0, "revocationReason")))
    elif status not in (0x80, 0x82):
        raise ValueError(f"certStatus: tag {status:#x}; good, revoked or unknown is wanted")
    next_update: tuple[int, bytes] | None = None
    extensions: tuple[Extension, ...] = ()
    for field in fields[3:]:
        if field[0] == 0xA0:
            ((tag, text, _),) = der.values(field[1])
            next_update = (tag, text)
        else:
            extensions = _extensions(_explicit(field, 0xA1, "singleExtensions"))
    return Single(
        der.dotted(algorithm[0][1]),
        b"".join(whole for _, _, whole in algorithm[1:]),
        cert_id[1][1],
        cert_id[2][1],
        cert_id[3][1],
        status,
        revocation_time,
        reason,
        (fields[2][0], fields[2][1]),
        next_update,
        extensions,
    )


def _extensions(octets: bytes) -> tuple[Extension, ...]:
    found = []
    for _, content, _ in _in(octets, 0x30, "Extensions"):
        parts = der.values(content)
        is_critical = len(parts) == 3 and any(parts[1][1])
        found.append(Extension(der.dotted(parts[0][1]), is_critical, parts[-1][1]))
    return tuple(found)


def _in(octets: bytes, tag: int, name: str) -> list[Value]:
    """What is in the one value that these octets are."""
    values = der.values(octets)
    if len(values) != 1 or values[0][0] != tag:
        raise ValueError(f"{name}: one value with the tag {tag:#x} is wanted")
    return der.values(values[0][1])


def _algorithm(value: Value, name: str) -> list[Value]:
    """An AlgorithmIdentifier: its OBJECT IDENTIFIER, and parameters where it has some."""
    parts = _in(value[2], 0x30, name)
    _want(parts[0], der.OBJECT_IDENTIFIER, name)
    if len(parts) > 2:
        raise ValueError(f"{name}: {len(parts)} fields; 1 or 2 are wanted")
    return parts


def _explicit(value: Value, tag: int, name: str) -> bytes:
    _want(value, tag, name)
    return value[1]


def _want(value: Value, tag: int, name: str) -> None:
    if value[0] != tag:
        raise ValueError(f"{name}: the tag {tag:#x} is wanted, not {value[0]:#x}")


def not_der(octets: bytes, at: int = 0) -> str | None:
    """What of DER (X.690 §10, §11) isn't kept, with its place; None where all is. An OCTET STRING isn't looked into."""
    try:
        values = der.values(octets)
    except ValueError as error:
        return f"offset {at}: {error}"
    for tag, content, whole in values:
        head = len(whole) - len(content)
        wanted = 2 if len(content) < 128 else 2 + (len(content).bit_length() + 7) // 8
        if head != wanted:
            return f"offset {at}: a length of {head - 1} octets where {wanted - 1} are enough"
        if tag == der.BOOLEAN and content not in (b"\x00", b"\xff"):
            return f"offset {at}: a BOOLEAN of {content.hex()}"
        if tag in (der.INTEGER, ENUMERATED) and not _is_minimal(content):
            return f"offset {at}: a number that isn't the shortest: {content[:4].hex()}"
        if tag == NULL and content:
            return f"offset {at}: a NULL of {len(content)} octets"
        if tag == der.OBJECT_IDENTIFIER and not _is_oid(content):
            return f"offset {at}: no OBJECT IDENTIFIER: {content[:16].hex()}"
        if tag & _CONSTRUCTED and (fault := not_der(content, at + head)):
            return fault
        at += len(whole)
    return None


def _is_oid(content: bytes) -> bool:
    """Whole numbers, each without a leading zero of seven bits (X.690 §8.19.2)."""
    begins = [True, *(octet < 0x80 for octet in content)]
    return len(content) > 0 and begins.pop() and not any(b and o == 0x80 for b, o in zip(begins, content, strict=True))


def _is_minimal(content: bytes) -> bool:
    if len(content) < 2:
        return len(content) == 1
    return not ((content[0] == 0 and content[1] < 0x80) or (content[0] == 0xFF and content[1] >= 0x80))
