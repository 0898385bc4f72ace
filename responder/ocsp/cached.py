"""A store of records in front of a source."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from responder import log, metrics
from responder.errors import Overloaded, ResponderError, StatusUnavailable, StoreUnavailable
from responder.interfaces import Clock, RecordStore, RecordVerifier, ResponseSource, SigningProfiles
from responder.pki import (
    Answer,
    CertID,
    CertIDVariant,
    Certificate,
    CertStatus,
    Issuers,
    NoncePolicy,
    OCSPRequest,
    Records,
    SigningProfile,
    StatusVersion,
    from_epoch_seconds,
    refresh_due,
)

_log = log.get("ocsp.cached")

_ATTEMPTS = 3  # each is a later look at the store after it kept something newer than we made


class CachedSource:
    """Answers from a `RecordStore`; asks the inner source on a miss, one flight a certificate, and keeps its records.

    Several CertIDs and nonces pass straight through and are never stored. A store that fails is a miss.
    """

    def __init__(
        self,
        store: RecordStore,
        inner: ResponseSource,
        *,
        issuers: Issuers,
        profiles: SigningProfiles,
        clock: Clock,
        name: str,
        verifier: RecordVerifier | None = None,
    ) -> None:
        """Without `verifier` what the store gives is believed, which is for stores in this process."""
        self._store = store
        self._inner = inner
        self._issuers = issuers
        self._profiles = profiles
        self._clock = clock
        self._name = name
        self._verifier = verifier
        self._may_log = log.OncePerSecond()
        self._flights: dict[tuple[Certificate, CertID], asyncio.Task[Answer]] = {}

    async def respond(self, request: OCSPRequest) -> Answer:
        """See `ResponseSource.respond`."""
        if len(request.cert_ids) != 1:
            return await self._inner.respond(request)
        plain = self._plain(request)
        if plain == request:
            return await self._respond_to_one(request)
        try:
            return await self._inner.respond(request)
        except Overloaded:
            if request.nonce is not None and self._requires_nonce(request.cert_ids[0]):
                raise
            # The fullest answer without the option is better than none (RFC 9919 §3.2.1).
            return await self._respond_to_one(plain)

    def _plain(self, request: OCSPRequest) -> OCSPRequest:
        """The nearest request that can be answered from the store: no nonce, the issuer's own algorithm, and NULL
        parameters of the hash where absent ones were asked for."""
        cert_id = request.cert_ids[0]
        issuer = self._issuers.find(cert_id)
        with_null = cert_id.variant - 16
        if issuer is not None and cert_id.variant not in issuer.policy.variants and with_null in issuer.policy.variants:
            cert_id = replace(cert_id, variant=CertIDVariant(with_null))
        return replace(request, cert_ids=(cert_id,), nonce=None, signature_algorithm=None)

    def _requires_nonce(self, cert_id: CertID) -> bool:
        issuer = self._issuers.find(cert_id)
        return issuer is not None and issuer.policy.nonce is NoncePolicy.required

    async def close(self) -> None:
        """Wait for the flights under way."""
        await asyncio.gather(*self._flights.values(), return_exceptions=True)

    async def _respond_to_one(self, request: OCSPRequest) -> Answer:
        cert_id = request.cert_ids[0]
        issuer = self._issuers.find(cert_id)
        if issuer is None or cert_id.variant not in issuer.policy.variants:
            return await self._inner.respond(request)
        certificate = Certificate(issuer, cert_id.serial_number)
        for _ in range(_ATTEMPTS):
            records, answer = await self._look(certificate, cert_id)
            if answer is not None:
                if answer.refresh_at <= self._clock.now():
                    self._refresh_behind(certificate, request)
                return answer
            answer = await asyncio.shield(self._flight(certificate, request))
            # A flight that began before a change was announced must not answer a request that saw the change.
            if records is None or answer.version is None or not _is_later(records, answer.version):
                return answer
        raise StatusUnavailable("the status changed several times while it was being answered")

    async def _look(self, certificate: Certificate, cert_id: CertID) -> tuple[Records | None, Answer | None]:
        """What the store holds, and what that says: None when it can't be used. Records that aren't as they were signed
        count as none, where that can be told: their profile is known here, and signed them for what is asked."""
        try:
            records = await self._store.get(certificate)
        except StoreUnavailable:
            metrics.STORE_FAILURES.inc(self._name, "get")
            return None, None
        if records is None:
            return None, None
        profile = self._profiles.get(records.profile_id)
        if profile is None or cert_id.variant not in records.variants:
            return records, None
        if not self._is_whole(records, profile, certificate, cert_id):
            return None, None
        return records, self._answer(records, profile, certificate, cert_id)

    def _is_whole(self, records: Records, profile: SigningProfile, certificate: Certificate, cert_id: CertID) -> bool:
        if self._verifier is None or self._verifier.verifies(certificate, profile, records, cert_id.variant):
            return True
        metrics.RECORDS_REFUSED.inc()
        if self._may_log("refused"):
            _log.error("record_does_not_verify", issuer=certificate.issuer.id, serial=hex(certificate.serial_number))
        return False

    def _answer(
        self, records: Records, profile: SigningProfile, certificate: Certificate, cert_id: CertID
    ) -> Answer | None:
        """What these records say, or None when they can't be used: expired, a tombstone, another issuer's."""
        this_update = from_epoch_seconds(records.this_update)
        next_update = from_epoch_seconds(records.next_update)
        if profile.issuer_tag != certificate.issuer.tag or next_update <= self._clock.now():
            return None
        policy = certificate.issuer.policy
        return Answer(
            this_update=this_update,
            next_update=next_update,
            refresh_at=refresh_due(this_update, next_update, policy.refresh),
            max_age=policy.max_age,
            cacheable=True,
            source=self._name,
            cert_statuses=(CertStatus(records.cert_status),),
            records=records,
            profile=profile,
            cert_id=cert_id,
        )

    def _flight(self, certificate: Certificate, request: OCSPRequest) -> asyncio.Task[Answer]:
        key = (certificate, request.cert_ids[0])
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.ensure_future(self._fetch(certificate, request))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    def _landed(self, key: tuple[Certificate, CertID], flight: asyncio.Task[Answer]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # whoever waits has it; a refresh behind has nobody waiting

    async def _fetch(self, certificate: Certificate, request: OCSPRequest) -> Answer:
        answer = await self._inner.respond(request)
        if answer.records is None:
            return answer
        try:
            kept = await self._store.put(certificate, answer.records)
        except StoreUnavailable:
            metrics.STORE_FAILURES.inc(self._name, "put")
            return answer
        if kept.version.change > StatusVersion.of(answer.records).change:
            # Something newer was there: ours must not be answered. Read what it is, or make it again.
            _, newer = await self._look(certificate, request.cert_ids[0])
            return newer or await self._inner.respond(request)
        return answer

    def _refresh_behind(self, certificate: Certificate, request: OCSPRequest) -> None:
        if (certificate, request.cert_ids[0]) in self._flights:
            return
        flight = self._flight(certificate, request)
        flight.add_done_callback(self._tell_of_failed_refresh)

    def _tell_of_failed_refresh(self, flight: asyncio.Task[Answer]) -> None:
        error = None if flight.cancelled() else flight.exception()
        if error is not None and not isinstance(error, ResponderError) and self._may_log("refresh"):
            _log.error("refresh_behind_failed", error=repr(error))


def _is_later(records: Records, version: StatusVersion) -> bool:
    """Whether `records` were made from a later status than `version`. A tombstone stands for its change whenever that
    was read: the moments come from clocks that may step back."""
    held = StatusVersion.of(records)
    return held.change > version.change if records.is_tombstone else held > version
