"""Walks through the octets of an OCSP request or response: where each field of RFC 6960 begins, how long it is, what it
says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from responder import der

_TAGS = {
    0x01: "BOOLEAN", 0x02: "INTEGER", 0x03: "BIT STRING", 0x04: "OCTET STRING", 0x05: "NULL", 0x06: "OID",
    0x0A: "ENUMERATED", 0x0C: "UTF8String", 0x13: "PrintableString", 0x16: "IA5String", 0x17: "UTCTime",
    0x18: "GeneralizedTime", 0x30: "SEQUENCE", 0x31: "SET",
}  # fmt: skip

_OIDS = {
    "1.3.6.1.5.5.7.48.1.1": "id-pkix-ocsp-basic", "1.3.6.1.5.5.7.48.1.2": "nonce", "1.3.6.1.5.5.7.48.1.3": "crl",
    "1.3.6.1.5.5.7.48.1.4": "acceptableResponses", "1.3.6.1.5.5.7.48.1.6": "archiveCutoff",
    "1.3.6.1.5.5.7.48.1.7": "serviceLocator", "1.3.6.1.5.5.7.48.1.8": "preferredSignatureAlgorithms",
    "1.3.6.1.5.5.7.48.1.9": "extendedRevoke", "1.3.14.3.2.26": "SHA-1", "2.16.840.1.101.3.4.2.1": "SHA-256",
    "2.16.840.1.101.3.4.2.2": "SHA-384", "2.16.840.1.101.3.4.2.3": "SHA-512",
    "1.2.840.10045.4.3.2": "ecdsa-with-SHA256", "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
    "1.2.840.10045.4.3.4": "ecdsa-with-SHA512", "1.2.840.113549.1.1.10": "RSASSA-PSS",
    "1.2.840.113549.1.1.11": "sha256WithRSAEncryption", "1.2.840.113549.1.1.12": "sha384WithRSAEncryption",
    "1.2.840.113549.1.1.13": "sha512WithRSAEncryption", "1.3.101.112": "Ed25519", "1.3.101.113": "Ed448",
    "2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.10": "O", "2.5.4.11": "OU",
}  # fmt: skip

_STATUSES = {
    0: "successful",
    1: "malformedRequest",
    2: "internalError",
    3: "tryLater",
    5: "sigRequired",
    6: "unauthorized",
}


@dataclass(frozen=True, slots=True)
class Field:
    """What may stand at a place.

    Attributes:
        tags: that it is known by; none: any.
        parts: what is in it, in order, each of them at most once; or, with `of_one_kind`, the first again and again.
        opens: its content is DER, as of an OCTET STRING.
    """

    name: str
    tags: tuple[int, ...] = ()
    parts: tuple[Field, ...] = ()
    of_one_kind: bool = False
    opens: bool = False


_EXTENSION = Field(
    "Extension", (0x30,), (Field("extnID", (0x06,)), Field("critical", (0x01,)), Field("extnValue", (0x04,)))
)
_ALGORITHM = (Field("algorithm", (0x06,)), Field("parameters"))
_CERT_ID = Field(
    "certID",
    (0x30,),
    (
        Field("hashAlgorithm", (0x30,), _ALGORITHM),
        Field("issuerNameHash", (0x04,)),
        Field("issuerKeyHash", (0x04,)),
        Field("serialNumber", (0x02,)),
    ),
)


def _extensions(name: str, tag: int) -> Field:
    return Field(name, (tag,), (Field("Extensions", (0x30,), (_EXTENSION,), of_one_kind=True),))


_SINGLE = Field(
    "SingleResponse",
    (0x30,),
    (
        _CERT_ID,
        Field("good", (0x80,)),
        Field("revoked", (0xA1,), (Field("revocationTime", (0x18,)), Field("revocationReason", (0xA0,)))),
        Field("unknown", (0x82,)),
        Field("thisUpdate", (0x18,)),
        Field("nextUpdate", (0xA0,)),
        _extensions("singleExtensions", 0xA1),
    ),
)
_BASIC = Field(
    "BasicOCSPResponse",
    (0x30,),
    (
        Field(
            "tbsResponseData",
            (0x30,),
            (
                Field("version", (0xA0,)),
                Field("responderID byName", (0xA1,)),
                Field("responderID byKey", (0xA2,)),
                Field("producedAt", (0x18,)),
                Field("responses", (0x30,), (_SINGLE,), of_one_kind=True),
                _extensions("responseExtensions", 0xA1),
            ),
        ),
        Field("signatureAlgorithm", (0x30,), _ALGORITHM),
        Field("signature", (0x03,)),
        Field("certs", (0xA0,), (Field("certs", (0x30,), (Field("Certificate", (0x30,)),), of_one_kind=True),)),
    ),
)
RESPONSE = Field(
    "OCSPResponse",
    (0x30,),
    (
        Field("responseStatus", (0x0A,)),
        Field(
            "responseBytes",
            (0xA0,),
            (
                Field(
                    "ResponseBytes",
                    (0x30,),
                    (Field("responseType", (0x06,)), Field("response", (0x04,), (_BASIC,), opens=True)),
                ),
            ),
        ),
    ),
)
REQUEST = Field(
    "OCSPRequest",
    (0x30,),
    (
        Field(
            "tbsRequest",
            (0x30,),
            (
                Field("version", (0xA0,)),
                Field("requestorName", (0xA1,)),
                Field(
                    "requestList",
                    (0x30,),
                    (Field("Request", (0x30,), (_CERT_ID, _extensions("singleRequestExtensions", 0xA0))),),
                    of_one_kind=True,
                ),
                _extensions("requestExtensions", 0xA2),
            ),
        ),
        Field("optionalSignature", (0xA0,)),
    ),
)


def explain(octets: bytes, field: Field) -> Iterator[str]:
    """A line for each value: offset and length in octets, the field, its tag, and what it says.

    Octets that aren't DER end it with a line that says so.
    """
    yield from _explain(octets, (field,), False, 0, 0)


def _explain(octets: bytes, fields: tuple[Field, ...], of_one_kind: bool, base: int, depth: int) -> Iterator[str]:
    position, left = 0, list(fields)
    try:
        values = der.values(octets)
    except ValueError as error:
        yield f"{base:6}        {'  ' * depth}no DER: {error}"
        return
    for tag, content, whole in values:
        field = _next(left, tag, of_one_kind=of_one_kind)
        kind = _TAGS.get(tag) or f"[{tag & 0x1F}]"
        begins = base + position + len(whole) - len(content)
        says = "" if field.parts else _said(tag, content, field)
        line = f"{base + position:6} {len(whole):6} {'  ' * depth}{f'{field.name} {kind}'.strip()}"
        yield line + (f": {says}" if says else "")
        if field.parts:
            yield from _explain(content, field.parts, field.of_one_kind, begins, depth + 1)
        elif tag & 0x20 and field.name != "Certificate":
            yield from _explain(content, (Field(""),), True, begins, depth + 1)
        position += len(whole)


def _next(left: list[Field], tag: int, *, of_one_kind: bool) -> Field:
    """The field that this value is; those before it were left out."""
    if of_one_kind:
        return left[0]
    for index, field in enumerate(left):
        if not field.tags or tag in field.tags:
            del left[: index + 1]
            return field
    return Field("")


def _said(tag: int, content: bytes, field: Field) -> str:
    if tag == 0x06:
        dotted = der.dotted(content)
        return f"{_OIDS[dotted]} ({dotted})" if dotted in _OIDS else dotted
    if tag == 0x0A and field.name == "responseStatus":
        return _STATUSES.get(int.from_bytes(content), str(int.from_bytes(content)))
    if tag in (0x02, 0x0A):
        number = int.from_bytes(content, signed=True)
        return str(number) if abs(number) < 1 << 16 else f"0x{content.hex()}"
    if tag == 0x01:
        return "TRUE" if any(content) else "FALSE"
    if tag in (0x0C, 0x13, 0x16, 0x17, 0x18):
        return content.decode("utf-8", "backslashreplace")
    if tag & 0x20:
        return ""
    shown = content[1:] if tag == 0x03 else content
    return shown.hex() if len(shown) <= 40 else f"{shown[:32].hex()}… ({len(shown)} octets)"
