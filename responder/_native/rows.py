"""What the core is given to sign, and what it finds in requests and certificates, a row at a time."""

from typing import NamedTuple


class StatusRow(NamedTuple):
    """A status to sign as records.

    `cert_status` 0 good, 1 revoked, 2 unknown; `revocation_time` and `reason` -1 for none; `single_extensions` DER
    Extension values one after the other, or empty.
    """

    serial: bytes
    cert_status: int
    revocation_time: int
    reason: int
    this_update: int
    next_update: int
    epoch: int
    number: int
    as_of_microseconds: int
    single_extensions: bytes


class SingleRow(NamedTuple):
    """A SingleResponse to sign; its fields as in `StatusRow`."""

    variant: int
    serial: bytes
    cert_status: int
    revocation_time: int
    reason: int
    this_update: int
    next_update: int
    single_extensions: bytes


class CertIDRow(NamedTuple):
    """A CertID of a request: `variant` as in `CertIDVariant`, 0 for a hash that isn't ours; `serial` the contents of
    the INTEGER."""

    variant: int
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: bytes


class SignatureRow(NamedTuple):
    """The optionalSignature of a request, unverified, and what it is of: DER, but for the BIT STRING's contents."""

    tbs_request: bytes
    signature_algorithm: bytes
    signature: bytes
    certificates: tuple[bytes, ...]


class RequestRow(NamedTuple):
    """What stands in an OCSPRequest: the nonce's extnValue content or None; `preferred` the first eight DER
    AlgorithmIdentifiers."""

    cert_ids: list[CertIDRow]
    nonce: bytes | None
    preferred: tuple[bytes, ...]
    signature: SignatureRow | None


class ExtensionParts(NamedTuple):
    """An Extension of a certificate: `oid` the DER OBJECT IDENTIFIER, `value` the contents of the OCTET STRING."""

    oid: bytes
    critical: bool
    value: bytes


class CertificateParts(NamedTuple):
    """What stands in a certificate.

    `serial` the content octets; `not_before` and `not_after` in seconds since 1970; `public_key_bits` and `signature`
    the BIT STRINGs' contents without the unused-bits octet; all else DER.
    """

    tbs: bytes
    serial: bytes
    issuer: bytes
    not_before: int
    not_after: int
    subject: bytes
    spki: bytes
    public_key_bits: bytes
    extensions: tuple[ExtensionParts, ...]
    signature_algorithm: bytes
    signature: bytes


class IssuerRow(NamedTuple):
    """An issuer to answer for: `cert_id_hashes` a name and a key hash for SHA-1 to SHA-512, `variants` those that
    records are made for, `refresh` and `max_age` in seconds; `is_for_the_chain` where a plain request isn't enough,
    `refuses_unknown` where a serial that was never issued is `unauthorized`."""

    tag: bytes
    cert_id_hashes: tuple[tuple[bytes, bytes], ...]
    variants: tuple[int, ...]
    ignores_nonce: bool
    honours_preferences: bool
    refresh: int
    max_age: int
    is_for_the_chain: bool = False
    refuses_unknown: bool = False


class RequestHead(NamedTuple):
    """A head of HTTP/1.x: `method` is empty for others than GET, HEAD and POST; `size` in octets, with the empty line;
    `body_size` None where the body is chunked."""

    method: str
    target: bytes
    size: int
    body_size: int | None
    if_none_match: list[bytes]
    has_since: bool
    expects: bool
    closes: bool
