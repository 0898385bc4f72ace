"""Issuers: what is known of a CA, what the operator has chosen for it, and all of them by their hashes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from responder.errors import ConfigError
from responder.pki.certificates import read_certificate
from responder.pki.request import CertID
from responder.pki.terms import HASH_NAMES, CertIDVariant, NoncePolicy, UnknownSerial

_EMPTY_NAME = b"\x30\x00"
_WITH_NULL = (CertIDVariant.SHA1, CertIDVariant.SHA256, CertIDVariant.SHA384, CertIDVariant.SHA512)


@dataclass(frozen=True, slots=True)
class IssuerPolicy:
    """What an operator decides per issuer (`certstatus issuer set`).

    Attributes:
        offline: nothing is signed here: answers are made elsewhere, and imported.
        require_signature: unsigned requests are answered sigRequired, signed ones are verified (RFC 6960 §2.3).
        honour_preferred: sign live with an algorithm that the client prefers, when a signer for it is there.
        rsa_pss: sign with RSASSA-PSS where the key is RSA.
        baseline: the CA/Browser Forum's Baseline Requirements apply.
        archive: go on answering after a certificate has expired, with archiveCutoff; for `archive_retention`, or for
            ever when that is None (then the cut-off is the CA's notBefore, ETSI EN 319 411-2).
        cert_hash: prove with certHash that a certificate is known, where its hash is (Common PKI).
        crl_url: named in the answers for revoked certificates (RFC 6960 §4.4.2).
        compromised_at: since when the CA's key isn't its own any more: everything is revoked (RFC 6960 §2.7).
        generation: of the answers; raised when all that were made before must not be used any more.
        refresh: counted from this_update.
        crl_delay: how long a revocation may wait for its CRL, at most.
        delegate_lifetime: of the responder certificates that are issued here; short, since nocheck means that
            they can't be revoked (6960-09).
        delegate_renewal: how long before its end one is followed by the next; None: validity and two days more.
    """

    offline: bool = False
    nonce: NoncePolicy = NoncePolicy.optional
    unknown_serial: UnknownSerial = UnknownSerial.unauthorized
    require_signature: bool = False
    honour_preferred: bool = False
    responder_id_by_name: bool = False
    rsa_pss: bool = False
    baseline: bool = False
    archive: bool = False
    archive_retention: timedelta | None = None
    cert_hash: bool = False
    crl_url: str | None = None
    compromised_at: datetime | None = None
    generation: int = 1
    validity: timedelta = timedelta(days=4)
    refresh: timedelta = timedelta(hours=36)
    max_age: timedelta = timedelta(hours=1)
    variants: tuple[CertIDVariant, ...] = (CertIDVariant.SHA1, CertIDVariant.SHA256)
    crl_validity: timedelta = timedelta(days=7)
    crl_interval: timedelta = timedelta(hours=24)
    crl_delay: timedelta = timedelta(seconds=60)
    delegate_lifetime: timedelta = timedelta(days=30)
    delegate_renewal: timedelta | None = None

    @property
    def kept_variants(self) -> tuple[CertIDVariant, ...]:
        """Those that records may have."""
        return _WITH_NULL if self.offline else self.variants

    @property
    def says_no_more_than_good(self) -> bool:
        """Whether nothing is added to the answer for a good certificate."""
        return not (self.archive or self.cert_hash) and self.compromised_at is None


@dataclass(frozen=True, slots=True, eq=False)
class Issuer:
    """One CA key under one name. Two issuers with one of the two in common are different issuers (incident I-7).

    Attributes:
        tag: 8 bytes that name it in records and keys: SHA-256 over subject and SubjectPublicKeyInfo, cut.
        certificate: DER.
        name: DER Name, byte for byte the certificate's subject (6960-11).
        cert_id_hashes: `(issuer_name_hash, issuer_key_hash)` for SHA-1, SHA-256, SHA-384, SHA-512.
        key_identifier: what CRLs and responder certificates carry as authorityKeyIdentifier.
    """

    id: str
    tag: bytes
    certificate: bytes
    name: bytes
    public_key: bytes
    cert_id_hashes: tuple[tuple[bytes, bytes], ...]
    key_identifier: bytes
    not_before: datetime
    not_after: datetime
    policy: IssuerPolicy = field(default_factory=IssuerPolicy)

    def archived_since(self, moment: datetime) -> datetime | None:
        """Of certificates that have expired since then answers go on at this moment, and CRLs list them: the cut-off
        (RFC 6960 §4.4.4); None where they don't."""
        if not self.policy.archive:
            return None
        retention = self.policy.archive_retention
        return self.not_before if retention is None else moment - retention

    def cert_id(self, variant: CertIDVariant, serial: bytes) -> CertID:
        """How a request names a certificate of this issuer, with this hash."""
        issuer_name_hash, issuer_key_hash = self.cert_id_hashes[variant.hash_number - 1]
        return CertID(variant, issuer_name_hash, issuer_key_hash, serial)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Issuer) and other.tag == self.tag

    def __hash__(self) -> int:
        return hash(self.tag)


def make_issuer(issuer_id: str, certificate: bytes, policy: IssuerPolicy | None = None) -> Issuer:
    """Read a CA certificate (DER) into an `Issuer`.

    Raises:
        ConfigError: it isn't a certificate, or has no subject.
    """
    try:
        parsed = read_certificate(certificate)
        not_before, not_after = parsed.not_before, parsed.not_after
        ski = parsed.subject_key_identifier
    except ValueError as error:
        raise ConfigError(f"issuer {issuer_id}: the certificate can't be read: {error}") from error
    name, spki, key_bits = parsed.parts.subject, parsed.parts.spki, parsed.parts.public_key_bits
    if name == _EMPTY_NAME:
        raise ConfigError(
            f"issuer {issuer_id}: the subject of the certificate is empty; a CA and its CRLs must have a name "
            "(RFC 5280 §4.1.2.6, §5.1.2.3)"
        )
    if not ski:
        ski = hashlib.sha1(key_bits, usedforsecurity=False).digest()  # RFC 5280 §4.2.1.2, method 1
    return Issuer(
        id=issuer_id,
        tag=hashlib.sha256(name + spki).digest()[:8],
        certificate=certificate,
        name=name,
        public_key=spki,
        cert_id_hashes=tuple(
            (hashlib.new(h, name).digest(), hashlib.new(h, key_bits).digest()) for h in HASH_NAMES[1:]
        ),
        key_identifier=ski,
        not_before=not_before,
        not_after=not_after,
        policy=policy or IssuerPolicy(),
    )
