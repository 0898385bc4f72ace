"""A CRL is read back before anyone may fetch it (incident I-9): every entry natively, its head and a sample of its
entries by someone else's parser."""

from __future__ import annotations

import random
from datetime import datetime

from cryptography import x509

from responder.der import generalized_time
from responder.errors import CRLError
from responder.pki import CRL, CRLBuilder, CRLReason, Issuer, crl_excerpt, encode_serial, epoch_seconds, load_public_key

_EXPIRED_CERTS_ON_CRL = x509.ObjectIdentifier("2.5.29.60")

SAMPLE = 1000
"""Entries that the other parser reads: the first, the last, and others by chance; all, where there are no more."""


def check_crl(
    crl: CRL, *, issuer: Issuer, entries: CRLBuilder, previous: CRL | None, expired_since: datetime | None = None
) -> list[bytes]:
    """Check what was just built against what was asked for. Takes seconds for a million entries, most of them without
    the GIL: not for an event loop.

    Returns:
        The serials of `previous` that are no longer on it, for the caller to explain.

    Raises:
        CRLError: all that is wrong, a sentence each.

    Source: RFC 5280 §5.1, §5.2 (5280-01 to 5280-05).
    """
    faults: list[str] = []
    removed: list[bytes] = []
    try:
        removed = entries.check(crl.der, load_public_key(issuer.public_key), None if previous is None else previous.der)
    except ValueError as error:
        faults.append(str(error))
    if previous is not None:
        if crl.crl_number <= previous.crl_number:
            faults.append(f"CRLNumber {crl.crl_number} isn't higher than the last one, {previous.crl_number}")
        if crl.this_update < previous.this_update:
            faults.append(f"thisUpdate {crl.this_update} is before the last CRL's, {previous.this_update}")
    if crl.next_update <= crl.this_update:
        faults.append(f"nextUpdate {crl.next_update} isn't after thisUpdate")
    faults += _head_and_sample(crl, issuer, entries, expired_since)
    if faults:
        raise CRLError(f"issuer {issuer.id}: CRL {crl.crl_number} must not be published:\n" + "\n".join(faults))
    return removed


def _head_and_sample(crl: CRL, issuer: Issuer, entries: CRLBuilder, expired_since: datetime | None) -> list[str]:
    """What pyca/cryptography finds wrong with it."""
    count = len(entries)
    ends = [0, count - 1] if count else []
    positions = sorted({*ends, *random.sample(range(count), min(count, SAMPLE))})
    try:
        # The other parser judges names by their string types; the CA's own is copied whatever it is.
        name, excerpt = crl_excerpt(crl.der, positions)
        parsed = x509.load_der_x509_crl(excerpt)
        extensions = {extension.oid: extension for extension in parsed.extensions}
        found = [_row(entry) for entry in parsed]
    except (ValueError, IndexError) as error:
        return [f"it can't be parsed: {error or type(error).__name__}"]
    number, key_identifier = extensions.get(x509.CRLNumber.oid), extensions.get(x509.AuthorityKeyIdentifier.oid)
    faults: list[str] = []
    # Byte for byte the CA's subject (5280-02).
    _expect(faults, "issuer as in the certificate", name, issuer.name)
    _expect(faults, "thisUpdate", parsed.last_update_utc, crl.this_update)
    _expect(faults, "nextUpdate", parsed.next_update_utc, crl.next_update)
    _expect(faults, "CRLNumber", number and (number.critical, number.value.crl_number), (False, crl.crl_number))
    _expect(
        faults,
        "authorityKeyIdentifier",
        key_identifier and (key_identifier.critical, key_identifier.value.key_identifier),
        (False, issuer.key_identifier),
    )
    expired = extensions.get(_EXPIRED_CERTS_ON_CRL)
    _expect(
        faults,
        "expiredCertsOnCRL",
        expired and (expired.critical, expired.value.public_bytes()),
        None if expired_since is None else (False, generalized_time(expired_since)),
    )
    for one, wanted in zip(found, entries.rows(positions), strict=True):
        if one != wanted:
            faults.append(f"the entry of serial 0x{wanted[0].hex()} differs from what was asked")
            break
    return faults


def _expect(faults: list[str], name: str, found: object, wanted: object) -> None:
    if found != wanted:
        faults.append(f"{name} is {found!r} but should be {wanted!r}")


def _row(entry: x509.RevokedCertificate) -> tuple[bytes, int, int, int]:
    """An entry as `CRLBuilder.rows` has it."""
    reason, invalidity_date = -1, -1
    for extension in entry.extensions:
        if isinstance(extension.value, x509.CRLReason):
            reason = int(CRLReason[extension.value.reason.value])  # 0, unspecified, is never on ours (5280-09)
        elif isinstance(extension.value, x509.InvalidityDate):
            invalidity_date = epoch_seconds(extension.value.invalidity_date_utc)
    return encode_serial(entry.serial_number), epoch_seconds(entry.revocation_date_utc), reason, invalidity_date
