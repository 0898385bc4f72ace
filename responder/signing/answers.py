"""OCSP answers are signed here: records and complete responses; libcrypto does the cryptography."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from responder import log, metrics
from responder._native import PrivateKey, SingleRow, StatusRow
from responder.errors import IssuerUnavailable, SigningFailed, StatusUnavailable
from responder.interfaces import Clock
from responder.pki import (
    Answer,
    CertificateStatus,
    CertStatus,
    Question,
    ReadStatuses,
    Records,
    ResponseTimes,
    epoch_microseconds,
    epoch_seconds,
    response_times,
    tombstone_for,
)
from responder.signing.signers import Signer, Signers
from responder.signing.single_response import revocation_fields, single_status

_log = log.get("signing")

_Made = TypeVar("_Made", Records, Records | None)

# A P-256 signature takes about 30 µs, a hop to a thread and back more; RSA-2048 takes about 800 µs
# (docs/decisions/0003).
_INLINE_SIGNATURES = {"ecdsa-p256": 4, "ed25519": 4}

MAX_CLOCK_DIFFERENCE = timedelta(seconds=60)
"""Nothing is signed when this host and the database differ by more (design §4.8)."""


def signs_at_once(key: PrivateKey) -> bool:
    """Whether a key signs in less than a hop to a thread and back takes."""
    return key.is_local and key.name in _INLINE_SIGNATURES


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
        if not isinstance(statuses, ReadStatuses):
            return await self._sign_each(statuses, now)
        signer = self._signers.for_issuer(statuses.issuer, now)
        if not signer.issuer.policy.says_no_more_than_good:
            return await self._sign_each(statuses, now)
        # Of most that are signed again nothing is said but that they are good: without an object for each.
        this_update, next_update = self._seconds(signer, statuses.as_of, now)
        variants = [int(variant) for variant in signer.issuer.policy.variants]
        made = await self._timed(
            signer,
            len(statuses),
            len(variants),
            partial(
                signer.profile.sign_goods,
                signer.key,
                statuses.copied,
                variants,
                this_update,
                next_update,
                epoch_microseconds(now),
            ),
        )
        left = [index for index, records in enumerate(made) if records is None]
        others = iter(await self._sign_each([statuses[index] for index in left], now) if left else ())
        return [next(others) if records is None else records for records in made]

    async def _sign_each(self, statuses: Sequence[CertificateStatus], now: datetime) -> list[Records]:
        signer = self._signers.for_issuer(statuses[0].certificate.issuer, now)
        issuer = signer.issuer  # as it was when the signer's profile was made: policy and profile go together
        rows, unsayable = self._rows(signer, statuses, now)
        variants = [int(variant) for variant in issuer.policy.variants]
        records = await self._timed(
            signer,
            len(rows),
            len(variants),
            partial(signer.profile.sign_records, signer.key, rows, variants, epoch_seconds(now)),
        )
        if not unsayable:
            return records
        signed = iter(records)
        return [unsayable.get(index) or next(signed) for index in range(len(statuses))]

    async def _timed(self, signer: Signer, count: int, variants: int, sign: Callable[[], list[_Made]]) -> list[_Made]:
        """Sign for up to `count` certificates: at once where a hop to a thread would cost more."""
        started = time.perf_counter()
        if signer.key.is_local and count * variants <= _INLINE_SIGNATURES.get(signer.key.name, 0):
            made = sign()
        else:
            made = await asyncio.to_thread(sign)
        signatures = variants * sum(records is not None for records in made)
        if signatures:
            metrics.observe_signatures(signer.key.name, signatures, time.perf_counter() - started)
        return made

    def _rows(
        self, signer: Signer, statuses: Sequence[CertificateStatus], now: datetime
    ) -> tuple[list[StatusRow], dict[int, Records]]:
        """What the native core is given to sign, and the tombstones of what can't be signed, by their place."""
        rows: list[StatusRow] = []
        unsayable: dict[int, Records] = {}
        # The rows of a statement have one as_of, and so one set of times.
        as_of: datetime | None = None
        this_update = next_update = microseconds = 0

        for index, status in enumerate(statuses):
            version = status.version
            if version.as_of != as_of:
                as_of = version.as_of
                this_update, next_update = self._seconds(signer, as_of, now)
                microseconds = version.as_of_microseconds
            fault = status.fault
            if fault is not None:
                unsayable[index] = tombstone_for(status)
                self._report(status, fault)
                continue
            single = single_status(signer.issuer, status, now)
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
        return rows, unsayable

    def _seconds(self, signer: Signer, as_of: datetime, now: datetime) -> tuple[int, int]:
        """this_update and next_update."""
        times = self._times(signer, as_of, now)
        return epoch_seconds(times.this_update), epoch_seconds(times.next_update)

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
        question: Question,
        statuses: Sequence[CertificateStatus | None],
    ) -> Answer:
        """See `ResponseSigner.sign_response`."""
        now = self._clock.now()
        signer = self._signers.for_issuer(question.issuer, now, question.signature_algorithm)
        issuer = signer.issuer  # policy and profile go together
        # One response, one set of times: the earliest of what was read. A serial we never saw is unknown as of now.
        as_of = min((status.version.as_of for status in statuses if status is not None), default=now)
        times = self._times(signer, as_of, now)
        this_update, next_update = epoch_seconds(times.this_update), epoch_seconds(times.next_update)
        singles = []
        for variant, certificate, status in zip(question.variants, question.certificates, statuses, strict=True):
            if status is not None and status.fault is not None:
                self._report(status, status.fault)
                raise SigningFailed(f"a status that no answer can say: {status.fault}")
            single = single_status(issuer, status, now)
            revocation_time, reason = revocation_fields(single.revoked_info)
            singles.append(
                SingleRow(
                    variant,
                    certificate.serial,
                    single.cert_status,
                    revocation_time,
                    reason,
                    this_update,
                    next_update,
                    single.extensions,
                )
            )
        started = time.perf_counter()
        arguments = (signer.key, singles, epoch_seconds(now), question.nonce)
        if signs_at_once(signer.key):
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
            versions=tuple((status.certificate, status.version) for status in statuses if status is not None),
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
