"""A CRL is read back by someone else's parser before anyone may fetch it (incident I-9)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes

from responder.errors import CRLError
from responder.pki import CRL, CRLReason, Issuer, RevokedCertificate, RevokedInfo, encode_serial


def check_crl(crl: CRL, *, issuer: Issuer, entries: Sequence[RevokedCertificate], previous: CRL | None) -> list[bytes]:
    """Check what was just built against what was asked for.

    Returns:
        The serials of `previous` that are no longer on it, for the caller to explain.

    Raises:
        CRLError: all that is wrong, a sentence each.

    Source: RFC 5280 §5.1, §5.2 (5280-01 to 5280-05).
    """
    faults: list[str] = []
    try:
        parsed = x509.load_der_x509_crl(crl.der)
    except ValueError as error:
        raise CRLError(f"issuer {issuer.id}: the CRL can't be parsed: {error}") from error
    ca = x509.load_der_x509_certificate(issuer.certificate)
    public_key = cast(CertificateIssuerPublicKeyTypes, ca.public_key())
    _expect(faults, "signature valid", parsed.is_signature_valid(public_key), True)
    # Byte for byte the CA's subject (5280-02).
    _expect(faults, "issuer", parsed.issuer, ca.subject)
    _expect(faults, "issuer as in the certificate", issuer.name in crl.der, True)
    _expect(faults, "thisUpdate", parsed.last_update_utc, crl.this_update)
    _expect(faults, "nextUpdate", parsed.next_update_utc, crl.next_update)
    extensions = {extension.oid: extension for extension in parsed.extensions}
    number = extensions.get(x509.CRLNumber.oid)
    _expect(
        faults,
        "CRLNumber",
        number and (number.critical, number.value.crl_number),
        (False, crl.crl_number),
    )
    key_identifier = extensions.get(x509.AuthorityKeyIdentifier.oid)
    _expect(
        faults,
        "authorityKeyIdentifier",
        key_identifier and (key_identifier.critical, key_identifier.value.key_identifier),
        (False, issuer.key_identifier),
    )
    if previous is not None:
        if crl.crl_number <= previous.crl_number:
            faults.append(f"CRLNumber {crl.crl_number} isn't higher than the last one, {previous.crl_number}")
        if crl.this_update < previous.this_update:
            faults.append(f"thisUpdate {crl.this_update} is before the last CRL's, {previous.this_update}")
    if crl.next_update <= crl.this_update:
        faults.append(f"nextUpdate {crl.next_update} isn't after thisUpdate")
    found = {encode_serial(entry.serial_number): _info(entry) for entry in parsed}
    wanted = {entry.serial: _as_on_crl(entry.revoked_info) for entry in entries}
    if len(found) != len(parsed):
        faults.append(f"{len(parsed) - len(found)} serials are listed more than once")
    if found != wanted:
        differing = sorted(
            {serial.hex() for serial in wanted.keys() ^ found.keys()}
            | {serial.hex() for serial in wanted.keys() & found.keys() if wanted[serial] != found[serial]}
        )
        faults.append(f"{len(differing)} entries differ from what was asked, first serial 0x{differing[0]}")
    if faults:
        raise CRLError(f"issuer {issuer.id}: CRL {crl.crl_number} must not be published:\n" + "\n".join(faults))
    if previous is None:
        return []
    return [
        serial
        for entry in x509.load_der_x509_crl(previous.der)
        if (serial := encode_serial(entry.serial_number)) not in found
    ]


def _expect(faults: list[str], name: str, found: object, wanted: object) -> None:
    if found != wanted:
        faults.append(f"{name} is {found!r} but should be {wanted!r}")


def _info(entry: x509.RevokedCertificate) -> tuple[datetime, CRLReason | None, datetime | None]:
    reason: CRLReason | None = None
    invalidity_date: datetime | None = None
    for extension in entry.extensions:
        if isinstance(extension.value, x509.CRLReason):
            reason = CRLReason[extension.value.reason.value]
        elif isinstance(extension.value, x509.InvalidityDate):
            invalidity_date = extension.value.invalidity_date_utc
    return entry.revocation_date_utc, reason, invalidity_date


def _as_on_crl(info: RevokedInfo) -> tuple[datetime, CRLReason | None, datetime | None]:
    """Whole seconds, and no unspecified reason (5280-09)."""
    reason = None if info.revocation_reason is CRLReason.unspecified else info.revocation_reason
    invalidity = info.invalidity_date and info.invalidity_date.replace(microsecond=0)
    return info.revocation_time.replace(microsecond=0), reason, invalidity
