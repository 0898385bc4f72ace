"""The field's nouns, spelled as in the RFCs, and the rules that need nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from responder._native import (
    CRLBuilder,
    PublicKey,
    Records,
    SigningProfile,
    crl_excerpt,
    decode_records,
    load_profile,
    load_public_key,
    tombstone,
)
from responder._native import parse_ocsp_request as _parse_ocsp_request
from responder.certificates import read_certificate
from responder.errors import ConfigError

__all__ = [
    "HASH_NAMES",
    "Answer",
    "CRL",
    "CRLBuilder",
    "CRLReason",
    "CertID",
    "CertIDVariant",
    "CertStatus",
    "Certificate",
    "CertificateStatus",
    "Issuer",
    "IssuerPolicy",
    "Issuers",
    "NoncePolicy",
    "OCSPRequest",
    "PublicKey",
    "Records",
    "ResponseTimes",
    "RevokedInfo",
    "SigningProfile",
    "StatusVersion",
    "UnknownSerial",
    "crl_excerpt",
    "decode_records",
    "decode_serial",
    "encode_serial",
    "epoch_seconds",
    "from_epoch_seconds",
    "load_profile",
    "load_public_key",
    "make_issuer",
    "parse_ocsp_request",
    "refresh_due",
    "response_times",
    "tombstone_for",
]

_EMPTY_NAME = b"\x30\x00"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CertStatus(IntEnum):
    """What OCSP says of a certificate. Source: RFC 6960 §2.2."""

    GOOD = 0
    REVOKED = 1
    UNKNOWN = 2


class CRLReason(IntEnum):
    """Why a certificate was revoked, under the RFC's own names. Source: RFC 5280 §5.3.1 (7 is unused)."""

    unspecified = 0
    keyCompromise = 1
    cACompromise = 2
    affiliationChanged = 3
    superseded = 4
    cessationOfOperation = 5
    certificateHold = 6
    removeFromCRL = 8
    privilegeWithdrawn = 9
    aACompromise = 10


class CertIDVariant(IntEnum):
    """A hash algorithm as a CertID spells it: with NULL parameters, or with absent ones (some clients compare).

    Source: RFC 6960 §4.1.1; requirement 6960-12.
    """

    UNKNOWN = 0
    SHA1 = 1
    SHA256 = 2
    SHA384 = 3
    SHA512 = 4
    SHA1_ABSENT = 17
    SHA256_ABSENT = 18
    SHA384_ABSENT = 19
    SHA512_ABSENT = 20

    @property
    def hash_name(self) -> str:
        """`sha1`, `sha256`, `sha384`, `sha512` or `unknown`, whatever the parameters."""
        return HASH_NAMES[self & 0x0F]


HASH_NAMES = ("unknown", "sha1", "sha256", "sha384", "sha512")


class NoncePolicy(IntEnum):
    """What an issuer does with a nonce: `optional` echoes and signs live, `ignore` answers from the cache, `required`
    refuses requests without one."""

    optional = 0
    ignore = 1
    required = 2


class UnknownSerial(IntEnum):
    """What an issuer answers for a serial it never saw: `revoked` is RFC 6960's extended revoke, `good` is for issuers
    whose statuses come from CRLs. Source: RFC 6960 §2.2, §4.4.8; RFC 9919 §3.2.3."""

    unauthorized = 0
    unknown = 1
    revoked = 2
    good = 3


@dataclass(frozen=True, slots=True)
class CertID:
    """One asked certificate, as the request names it. `serial_number` is any integer, also negative.

    Source: RFC 6960 §4.1.1.
    """

    variant: CertIDVariant
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial_number: int


@dataclass(frozen=True, slots=True)
class RequestSignature:
    """The optionalSignature of a request, unverified: the DER it is of, its AlgorithmIdentifier (DER), its octets, and
    DER certificates. Source: RFC 6960 §4.1.1."""

    tbs_request: bytes
    signature_algorithm: bytes
    signature: bytes
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class OCSPRequest:
    """A request read strictly.

    Attributes:
        nonce: the extnValue's content, 1 to 130 bytes, to be returned unchanged.
        preferred: signature algorithms the client would like, DER AlgorithmIdentifiers, the most preferred first.
        signature_algorithm: which of them is to be signed with, where the issuer allows a preference and it makes a
            difference (`ocsp/filter.py`); then the answer is signed live.
    """

    cert_ids: tuple[CertID, ...]
    nonce: bytes | None = None
    preferred: tuple[bytes, ...] = ()
    signature: RequestSignature | None = None
    signature_algorithm: bytes | None = None


def parse_ocsp_request(der: bytes) -> OCSPRequest:
    """Read a DER OCSPRequest of at most 16 KiB, for whoever answers it.

    Raises:
        MalformedRequest: with the reason and its offset.
    """
    cert_ids, nonce, preferred, signature = _parse_ocsp_request(der)
    return OCSPRequest(
        tuple(
            CertID(CertIDVariant(variant), name_hash, key_hash, decode_serial(serial))
            for variant, name_hash, key_hash, serial in cert_ids
        ),
        nonce,
        preferred,
        None if signature is None else RequestSignature(*signature),
    )


MAX_SERIAL_OCTETS = 256
"""What the database keeps of a serial number, as `encode_serial` has it; CAs use at most 20 (RFC 5280 §4.1.2.2)."""

MAX_CRL_NUMBER = 2**159 - 1
"""The highest that has 20 octets (RFC 5280 §5.2.3)."""


def encode_serial(serial_number: int) -> bytes:
    """The content octets of the minimal DER INTEGER (X.690 §8.3.2): how a serial is stored and signed."""
    magnitude = serial_number if serial_number >= 0 else ~serial_number
    return serial_number.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True)


def decode_serial(octets: bytes) -> int:
    """The integer of `encode_serial`."""
    return int.from_bytes(octets, "big", signed=True)


def epoch_seconds(moment: datetime) -> int:
    """Whole seconds since 1970, rounded down: how times travel to the native core."""
    return (moment - _EPOCH) // timedelta(seconds=1)


def from_epoch_seconds(seconds: int) -> datetime:
    """The aware UTC time of `epoch_seconds`."""
    return _EPOCH + timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class IssuerPolicy:
    """What an operator decides per issuer (`certstatus issuer set`).

    Attributes:
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


def _lookup_keys(issuer: Issuer) -> list[tuple[int, bytes, bytes]]:
    """What CertIDs name an issuer by: hash algorithm, name hash, key hash."""
    return [(algorithm, *hashes) for algorithm, hashes in enumerate(issuer.cert_id_hashes, 1)]


class Issuers:
    """The issuers this installation answers for; replaced as a whole when the operator changes them."""

    def __init__(self, issuers: Iterable[Issuer] = ()) -> None:
        self._by_id: dict[str, Issuer] = {}
        self._by_hashes: dict[tuple[int, bytes, bytes], Issuer] = {}
        self.replace(issuers)

    def replace(self, issuers: Iterable[Issuer]) -> None:
        """Take exactly these from now on."""
        by_id = {issuer.id: issuer for issuer in issuers}
        # Of ten thousand one has changed, as a rule.
        new = [issuer for issuer_id, issuer in by_id.items() if self._by_id.get(issuer_id) is not issuer]
        old = [issuer for issuer_id, issuer in self._by_id.items() if by_id.get(issuer_id) is not issuer]
        for issuer in old:
            for key in _lookup_keys(issuer):
                if self._by_hashes.get(key) is issuer:
                    del self._by_hashes[key]
        for issuer in new:
            self._by_hashes.update(dict.fromkeys(_lookup_keys(issuer), issuer))
        self._by_id = by_id

    def find(self, cert_id: CertID) -> Issuer | None:
        """The issuer that a CertID names, by hash algorithm, name hash and key hash together."""
        return self._by_hashes.get((cert_id.variant & 0x0F, cert_id.issuer_name_hash, cert_id.issuer_key_hash))

    def get(self, issuer_id: str) -> Issuer | None:
        """The issuer of this id."""
        return self._by_id.get(issuer_id)

    def __iter__(self) -> Iterator[Issuer]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as status is kept for it: whose, and which serial."""

    issuer: Issuer
    serial_number: int

    @property
    def serial(self) -> bytes:
        """The serial's content octets."""
        return encode_serial(self.serial_number)


@dataclass(frozen=True, slots=True, order=True)
class StatusVersion:
    """When a status was true: the database's epoch, the change's number, the moment it was read.

    Compared part by part, in this order. Source: design §4.1.
    """

    epoch: int
    number: int
    as_of: datetime

    @property
    def change(self) -> tuple[int, int]:
        """Epoch and number: which change made the status, whenever it was read."""
        return self.epoch, self.number

    @property
    def as_of_microseconds(self) -> int:
        """`as_of` in microseconds since 1970."""
        return (self.as_of - _EPOCH) // timedelta(microseconds=1)

    @classmethod
    def of(cls, records: Records) -> StatusVersion:
        """The version that records were made from."""
        as_of = _EPOCH + timedelta(microseconds=records.as_of_microseconds)
        return cls(records.epoch, records.number, as_of)


@dataclass(frozen=True, slots=True)
class RevokedInfo:
    """Since when and why. Source: RFC 6960 §4.2.1; invalidity_date RFC 5280 §5.3.2."""

    revocation_time: datetime
    revocation_reason: CRLReason | None = None
    invalidity_date: datetime | None = None


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """What the authority says of one certificate. `not_before`, `not_after` and the SHA-256 of the whole certificate
    are None where never told."""

    certificate: Certificate
    cert_status: CertStatus
    version: StatusVersion
    revoked_info: RevokedInfo | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    certificate_sha256: bytes | None = None

    @property
    def fault(self) -> str | None:
        """What no answer can say of it, as a sentence; None where all can be said. The database refuses such rows since
        schema version 4, but may hold older ones."""
        info = self.revoked_info
        if info is None:
            return None
        for name, moment in (("revoked_at", info.revocation_time), ("invalidity_date", info.invalidity_date)):
            if moment is not None and moment < _EPOCH:
                return f"{name} is {moment.isoformat()}, before 1970"
        return None

    def may_be_answered(self, now: datetime) -> bool:
        """Whether producedAt = `now` lies in the certificate's validity as far as that is known, or in the time for
        which the issuer keeps an archive (standards §1.8; RFC 6960 §4.4.4). The second of notAfter counts in (RFC 5280
        §4.1.2.5)."""
        if self.not_before is not None and now < self.not_before:
            return False
        if self.not_after is None or now <= self.not_after or now.replace(microsecond=0) <= self.not_after:
            return True
        policy = self.certificate.issuer.policy
        now = now.replace(microsecond=0)
        return policy.archive and (policy.archive_retention is None or now <= self.not_after + policy.archive_retention)


def tombstone_for(status: CertificateStatus) -> Records:
    """Records that only say: nothing older than this status may be answered from a store any more."""
    version = status.version
    policy = status.certificate.issuer.policy
    return tombstone(
        status.certificate.issuer.tag,
        status.certificate.serial,
        int(status.cert_status),
        version.epoch,
        version.number,
        version.as_of_microseconds,
        epoch_seconds(version.as_of + policy.validity),
    )


@dataclass(frozen=True, slots=True)
class ResponseTimes:
    """The times of one answer, whole seconds, and the moment from which a newer one is due."""

    this_update: datetime
    next_update: datetime
    refresh_at: datetime


def response_times(
    as_of: datetime,
    *,
    validity: timedelta,
    refresh: timedelta,
    backdate: timedelta,
    not_after: Iterable[datetime],
) -> ResponseTimes:
    """The one place where an answer's times come from.

    this_update is the status' moment less `backdate`; next_update is `validity` later, never past any of `not_after`
    (the certificates in `certs`, and the issuer's). A newer answer is due after `refresh`, and by the strictest of
    the programmes: half the validity, 4 days, or 8 hours before next_update.

    Source: requirement BR-02, RP-01, RP-03 (standards §1.8); RFC 6960 §4.2.2.1.
    """
    this_update = (as_of - backdate).replace(microsecond=0)
    next_update = min([this_update + validity, *(moment.replace(microsecond=0) for moment in not_after)])
    return ResponseTimes(this_update, next_update, refresh_due(this_update, next_update, refresh))


def refresh_due(this_update: datetime, next_update: datetime, refresh: timedelta) -> datetime:
    """When a newer answer than this one is due; see `response_times`."""
    span = next_update - this_update
    due = min(refresh, span / 2, timedelta(days=4))
    if span >= timedelta(hours=16):
        due = min(due, span - timedelta(hours=8))
    return this_update + max(due, timedelta(0))


@dataclass(frozen=True, slots=True)
class ResponderCertificate:
    """A certificate that may sign for an issuer, DER; `public_key` is its SubjectPublicKeyInfo. One that was retired
    may not; one that is followed by another key's isn't renewed."""

    issuer_id: str
    certificate: bytes
    public_key: bytes
    not_before: datetime
    not_after: datetime
    retired_at: datetime | None = None
    is_followed: bool = False


@dataclass(frozen=True, slots=True)
class CRL:
    """A published CRL: DER, and what a server says of it. `scope` is `full` until shards and deltas come; `snapshot`
    names what the database had seen when it was made."""

    issuer_id: str
    scope: str
    crl_number: int
    der: bytes
    this_update: datetime
    next_update: datetime
    sha256: bytes
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: what to render (`records`, `profile`, for one CertID), or a complete `der`.

    `refresh_at` and `max_age` bound what HTTP caches may keep; `cacheable` is False for nonces and several CertIDs.
    """

    this_update: datetime
    next_update: datetime
    refresh_at: datetime
    max_age: timedelta
    cacheable: bool
    source: str
    cert_statuses: tuple[CertStatus, ...] = ()
    records: Records | None = None
    profile: SigningProfile | None = None
    cert_id: CertID | None = None
    der: bytes = b""

    def render(self) -> bytes:
        """The DER OCSPResponse."""
        if self.records is None or self.profile is None or self.cert_id is None:
            return self.der
        return self.profile.render(self.records, int(self.cert_id.variant), encode_serial(self.cert_id.serial_number))

    @property
    def version(self) -> StatusVersion | None:
        """The version of the status answered, where the answer was made from records."""
        return None if self.records is None else StatusVersion.of(self.records)
