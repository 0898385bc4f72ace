"""What is signed: records, complete responses, certificates and CRLs; libcrypto does the cryptography."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from responder import log, metrics
from responder._native import (
    CRLBuilder,
    PrivateKey,
    SingleRow,
    StatusRow,
    verify,
)
from responder.certificates import read_certificate
from responder.errors import CRLError, IssuerUnavailable, SigningFailed, StatusUnavailable
from responder.interfaces import Clock
from responder.keyring import KeyRing
from responder.pki import (
    Answer,
    CertIDVariant,
    Certificate,
    CertificateStatus,
    CertStatus,
    Issuer,
    PublicKey,
    Records,
    ResponseTimes,
    SigningProfile,
    encode_serial,
    epoch_seconds,
    load_public_key,
    response_times,
    tombstone_for,
)
from responder.signers import Signer, Signers, signature_algorithm_of
from responder.singles import revocation_fields, single_status

_log = log.get("signing")

# A P-256 signature takes about 30 µs, a hop to a thread and back more; RSA-2048 takes about 800 µs
# (docs/decisions/0003).
_INLINE_SIGNATURES = {"ecdsa-p256": 4, "ed25519": 4}

MAX_CLOCK_DIFFERENCE = timedelta(seconds=60)
"""Nothing is signed when this host and the database differ by more (design §4.8)."""


class NativeSigner:
    """Signs records and complete responses with the native core; implements `RecordSigner` and `ResponseSigner`."""

    def __init__(self, signers: Signers, clock: Clock, *, backdate: timedelta) -> None:
        self._signers = signers
        self._clock = clock
        self._backdate = backdate
        self._may_log = log.OncePerSecond()

    async def sign(self, statuses: Sequence[CertificateStatus]) -> list[Records]:
        """See `RecordSigner.sign`."""
        if not statuses:
            return []
        now = self._clock.now()
        signer = self._signers.for_issuer(statuses[0].certificate.issuer, now)
        issuer = signer.issuer  # as it was when the signer's profile was made: policy and profile go together
        rows: list[StatusRow] = []
        unsayable: dict[int, Records] = {}
        # The rows of a statement have one as_of, and so one set of times.
        as_of: datetime | None = None
        this_update = next_update = microseconds = 0
        for index, status in enumerate(statuses):
            version = status.version
            if version.as_of != as_of:
                as_of = version.as_of
                times = self._times(signer, as_of, now)
                this_update, next_update = epoch_seconds(times.this_update), epoch_seconds(times.next_update)
                microseconds = version.as_of_microseconds
            fault = status.fault
            if fault is not None:
                unsayable[index] = tombstone_for(status)
                self._report(status, fault)
                continue
            single = single_status(issuer, status, now)
            revocation_time, reason = revocation_fields(single.revoked_info)
            rows.append(
                StatusRow(
                    status.certificate.serial,
                    single.cert_status,
                    revocation_time,
                    reason,
                    this_update,
                    next_update,
                    version.epoch,
                    version.number,
                    microseconds,
                    single.extensions,
                )
            )
        variants = [int(variant) for variant in issuer.policy.variants]
        signatures = len(rows) * len(variants)
        produced_at = epoch_seconds(now)
        started = time.perf_counter()
        if signatures <= _INLINE_SIGNATURES.get(signer.key.name, 0):
            records = signer.profile.sign_records(signer.key, rows, variants, produced_at)
        else:
            records = await asyncio.to_thread(signer.profile.sign_records, signer.key, rows, variants, produced_at)
        if signatures:
            metrics.observe_signatures(signer.key.name, signatures, time.perf_counter() - started)
        if not unsayable:
            return records
        signed = iter(records)
        return [unsayable.get(index) or next(signed) for index in range(len(statuses))]

    def _report(self, status: CertificateStatus, fault: str) -> None:
        metrics.UNSAYABLE.inc()
        if self._may_log("unsayable"):
            _log.error(
                "status_cannot_be_signed",
                issuer=status.certificate.issuer.id,
                serial=hex(status.certificate.serial_number),
                error=fault,
                remedy="certstatus db check",
            )

    async def sign_response(
        self,
        issuer: Issuer,
        answers: Sequence[tuple[CertIDVariant, int, CertificateStatus | None]],
        *,
        nonce: bytes | None,
        signature_algorithm: bytes | None = None,
    ) -> Answer:
        """See `ResponseSigner.sign_response`."""
        now = self._clock.now()
        signer = self._signers.for_issuer(issuer, now, signature_algorithm)
        issuer = signer.issuer  # policy and profile go together
        # One response, one set of times: the earliest of what was read. A serial we never saw is unknown as of now.
        as_of = min((status.version.as_of for _, _, status in answers if status is not None), default=now)
        times = self._times(signer, as_of, now)
        this_update, next_update = epoch_seconds(times.this_update), epoch_seconds(times.next_update)
        singles = []
        for variant, serial_number, status in answers:
            if status is not None and status.fault is not None:
                self._report(status, status.fault)
                raise SigningFailed(f"a status that no answer can say: {status.fault}")
            single = single_status(issuer, status, now)
            revocation_time, reason = revocation_fields(single.revoked_info)
            singles.append(
                SingleRow(
                    variant,
                    encode_serial(serial_number),
                    single.cert_status,
                    revocation_time,
                    reason,
                    this_update,
                    next_update,
                    single.extensions,
                )
            )
        started = time.perf_counter()
        arguments = (signer.key, singles, epoch_seconds(now), nonce)
        if signer.key.name in _INLINE_SIGNATURES:
            der = signer.profile.sign_response(*arguments)
        else:
            der = await asyncio.to_thread(signer.profile.sign_response, *arguments)
        metrics.observe_signatures(signer.key.name, 1, time.perf_counter() - started)
        return Answer(
            this_update=times.this_update,
            next_update=times.next_update,
            refresh_at=times.refresh_at,
            max_age=timedelta(0),
            cacheable=False,
            source="live",
            der=der,
            cert_statuses=tuple(CertStatus(single.cert_status) for single in singles),
        )

    def _times(self, signer: Signer, as_of: datetime, now: datetime) -> ResponseTimes:
        if abs(now - as_of) > MAX_CLOCK_DIFFERENCE:
            raise StatusUnavailable(
                f"the status is as of {as_of.isoformat()} but this host's clock says {now.isoformat()}; nothing is "
                f"signed when they differ by more than {MAX_CLOCK_DIFFERENCE.seconds} s: set the clocks (NTP)"
            )
        policy = signer.issuer.policy
        times = response_times(
            min(as_of, now),  # an answer's this_update is never after its producedAt
            validity=policy.validity,
            refresh=policy.refresh,
            backdate=self._backdate,
            not_after=(signer.not_after, signer.issuer.not_after),
        )
        if times.next_update <= now:
            raise IssuerUnavailable(f"the signer of issuer {signer.issuer.id} expires before an answer could")
        return times


class NativeVerifier:
    """Verifies with the native core; implements `SignatureVerifier`."""

    def verifies(self, certificate: bytes, signature_algorithm: bytes, message: bytes, signature: bytes) -> bool:
        """See `SignatureVerifier.verifies`."""
        try:
            verify(read_certificate(certificate).parts.spki, signature_algorithm, message, signature)
        except ValueError:
            return False
        return True


class NativeRecordVerifier:
    """Verifies records when they are first met; implements `RecordVerifier`."""

    def __init__(self, *, capacity: int = 100_000) -> None:
        """`capacity` records are known to be right (100,000 take about 10 MB); then it starts over."""
        self._capacity = capacity
        self._right: set[bytes] = set()
        self._keys: dict[bytes, PublicKey] = {}

    def verifies(self, certificate: Certificate, profile: SigningProfile, records: Records, variant: int) -> bool:
        """See `RecordVerifier.verifies`."""
        seen = hashlib.blake2b(records.encoded + certificate.serial, digest_size=16, salt=bytes([variant])).digest()
        if seen in self._right:
            return True
        try:
            profile.verify(self._key(certificate.issuer, profile), records, variant, certificate.serial)
        except (KeyError, ValueError):
            return False
        # What isn't signed must lie where signing put it.
        earliest, latest = records.this_update, records.produced_at + MAX_CLOCK_DIFFERENCE.seconds + 1
        if not earliest * 1_000_000 <= records.as_of_microseconds <= latest * 1_000_000:
            return False
        if len(self._right) >= self._capacity:
            self._right.clear()
        self._right.add(seen)
        return True

    def _key(self, issuer: Issuer, profile: SigningProfile) -> PublicKey:
        key = self._keys.get(profile.id)
        if key is None:
            spki = read_certificate(profile.certificates[0]).parts.spki if profile.certificates else issuer.public_key
            key = self._keys[profile.id] = load_public_key(spki)
        return key


def ca_signer_of(keys: KeyRing, public_key: bytes) -> NativeCASigner | None:
    """The key of this DER SubjectPublicKeyInfo, to issue certificates with; None where it isn't among these."""
    key = keys.get(public_key)
    return None if key is None else NativeCASigner(key)


class NativeCASigner:
    """A CA's key; implements `CASigner`."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key

    def algorithm_for(self, issuer: Issuer) -> bytes:
        """See `CASigner.algorithm_for`."""
        return signature_algorithm_of(issuer, self._key.signature_algorithms)

    def sign(self, message: bytes, signature_algorithm: bytes, /) -> bytes:
        """See `CASigner.sign`."""
        return self._key.sign(message, signature_algorithm)


class NativeCRLSigner:
    """Signs CRLs with CA keys from a `KeyRing`; implements `CRLSigner`."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def use(self, keys: KeyRing) -> None:
        """Sign with these from now on."""
        self._keys = keys

    def can_sign(self, issuer: Issuer) -> bool:
        """Whether this host holds the issuer's key."""
        return self._keys.get(issuer.public_key) is not None

    async def sign_crl(
        self,
        issuer: Issuer,
        *,
        crl_number: int,
        this_update: datetime,
        next_update: datetime,
        entries: CRLBuilder,
    ) -> bytes:
        """See `CRLSigner.sign_crl`."""
        key = self._keys.get(issuer.public_key)
        if key is None:
            raise CRLError(f"issuer {issuer.id}: its key isn't among the CA keys of this host")
        try:
            return await asyncio.to_thread(
                entries.sign,
                key,
                issuer.name,
                issuer.key_identifier,
                crl_number,
                epoch_seconds(this_update),
                epoch_seconds(next_update),
                b"",
                signature_algorithm_of(issuer, key.signature_algorithms),
            )
        except ValueError as error:
            raise SigningFailed(f"CRL of issuer {issuer.id}: {error}") from error
