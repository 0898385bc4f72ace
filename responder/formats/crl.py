"""What a CA's last CRL says, when ours are to go on after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from responder import der, pem
from responder.errors import ConfigError, Remedy
from responder.pki import (
    MAX_CRL_NUMBER,
    MAX_SERIAL_OCTETS,
    CRLReason,
    IssuedCertificate,
    Issuer,
    RevokedInfo,
    encode_serial,
    names,
)
from responder.pki.certificates import verifies


@dataclass(frozen=True, slots=True)
class PublishedElsewhere:
    """The last CRL of a CA before ours: its number (0: none), and the certificates on it."""

    crl_number: int = 0
    entries: tuple[IssuedCertificate, ...] = ()


def read_crl(path: Path, issuer: Issuer, *, now: datetime) -> PublishedElsewhere:
    """Read the CRL file (PEM or DER) of an issuer.

    Args:
        now: no revocation may be later than this.

    Raises:
        ConfigError: unreadable, another CA's, without a number, or not a full CRL; or an entry that no record can hold.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: the CRL can't be read: {error.strerror}") from error
    try:
        name, nameless, is_signed = _take_apart(pem.der_of(content, "X509 CRL"), issuer)
        crl = x509.load_der_x509_crl(nameless)
        number = _number(path, crl)
        entries = _entries(path, crl, now)
    except (ValueError, TypeError, x509.DuplicateExtension) as error:
        raise ConfigError(f"{path}: not a CRL in PEM or DER: {error}") from error
    if not is_signed:
        raise ConfigError(f"{path}: it isn't signed with the key of {issuer.id}; give the last CRL of this CA")
    if not names.are_equal(name, issuer.name):
        raise ConfigError(
            f"{path}: it is of {names.describe(name)}, not of {names.describe(issuer.name)}; give the last CRL of "
            f"{issuer.id}"
        )
    return PublishedElsewhere(number, entries)


def _take_apart(crl: bytes, issuer: Issuer) -> tuple[bytes, bytes, bool]:
    """The name in a CRL, the CRL without it, and whether the CA has signed it. The parser that reads the rest judges
    what a name holds; a CA's own is taken whatever it is.

    Raises:
        ValueError: not a CRL.
    """
    (_, _, tbs), (_, _, algorithm), (_, signature, wrapped) = _three(crl)
    parts = der.values(der.contents(tbs))
    place = 2 if parts and parts[0][0] == der.INTEGER else 1  # after version and algorithm
    if len(parts) <= place:
        raise ValueError("tbsCertList is cut short")
    nameless = [whole for _, _, whole in parts]
    name, nameless[place] = nameless[place], der.sequence()
    is_signed = verifies(issuer.public_key, algorithm, tbs, signature[1:])
    return name, der.sequence(der.sequence(*nameless), algorithm, wrapped), is_signed


def _three(crl: bytes) -> list[tuple[int, bytes, bytes]]:
    found = der.values(der.contents(crl))
    if len(found) != 3:
        raise ValueError("a CertificateList has three parts")
    return found


def _number(path: Path, crl: x509.CertificateRevocationList) -> int:
    found: int | None = None
    for extension in crl.extensions:
        if isinstance(extension.value, x509.CRLNumber):
            found = extension.value.crl_number
        elif extension.critical:
            raise ConfigError(
                f"{path}: it has the critical extension {extension.oid.dotted_string}, so it isn't a full CRL; "
                "give the full one"
            ).offering(Remedy.GIVE_CRL_NUMBER)
    if found is None:
        raise ConfigError(f"{path}: it has no CRLNumber").offering(Remedy.GIVE_CRL_NUMBER)
    if found >= MAX_CRL_NUMBER:
        raise ConfigError(
            f"{path}: after its CRLNumber {found} none follows that has at most 20 octets (RFC 5280 §5.2.3)"
        ).offering(Remedy.GIVE_CRL_NUMBER)
    return found


def _entries(path: Path, crl: x509.CertificateRevocationList, now: datetime) -> tuple[IssuedCertificate, ...]:
    found: dict[int, IssuedCertificate] = {}
    for each in crl:
        entry = _entry(path, each, now)
        if found.setdefault(entry.serial_number, entry) != entry:
            raise _refused(f"{path}: serial {entry.serial_number:#x} is on it twice, with different dates or reasons")
    return tuple(found.values())


def _refused(sentence: str) -> ConfigError:
    return ConfigError(sentence).offering(Remedy.GIVE_CRL_NUMBER)


def _entry(path: Path, entry: x509.RevokedCertificate, now: datetime) -> IssuedCertificate:
    if len(encode_serial(entry.serial_number)) > MAX_SERIAL_OCTETS:
        raise _refused(f"{path}: a serial on it has more than {MAX_SERIAL_OCTETS} octets, which no database takes")
    reason: CRLReason | None = None
    invalidity_date = None
    for extension in entry.extensions:
        if isinstance(extension.value, x509.CRLReason):
            reason = CRLReason[extension.value.reason.value]
        elif isinstance(extension.value, x509.InvalidityDate):
            invalidity_date = extension.value.invalidity_date_utc
        elif extension.critical:
            raise _refused(
                f"{path}: the entry of serial {entry.serial_number:#x} has the critical extension "
                f"{extension.oid.dotted_string}, which isn't understood"
            )
    for name, moment in (("revocationDate", entry.revocation_date_utc), ("invalidityDate", invalidity_date)):
        if moment is not None and moment.year < 1970:
            raise _refused(
                f"{path}: serial {entry.serial_number:#x} has the {name} {moment.isoformat()}, before 1970, which no "
                f"record can hold"
            )
    if entry.revocation_date_utc > now:
        raise _refused(
            f"{path}: serial {entry.serial_number:#x} is revoked at {entry.revocation_date_utc.isoformat()}, in the "
            f"future (now is {now.isoformat(timespec='seconds')}); look at both clocks"
        )
    if reason in {CRLReason.unspecified, CRLReason.removeFromCRL}:
        reason = None
    return IssuedCertificate(entry.serial_number, RevokedInfo(entry.revocation_date_utc, reason, invalidity_date))
