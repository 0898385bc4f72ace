"""A store of records in front of a source."""

from __future__ import annotations

import asyncio

from responder import log, metrics
from responder.errors import Overloaded, ResponderError, StatusUnavailable, StoreUnavailable
from responder.interfaces import AnswerSource, Clock, RecordStore, RecordVerifier, SigningProfiles
from responder.pki import (
    Answer,
    CertIDVariant,
    Certificate,
    NoncePolicy,
    Question,
    Records,
    SigningProfile,
    StatusVersion,
)

_log = log.get("ocsp.cached")

_Key = tuple[Certificate, CertIDVariant]

_ATTEMPTS = 3  # each is a later look at the store after it kept something newer than we made


class CachedSource:
    """Answers from a `RecordStore`; asks the inner source on a miss, one flight a certificate, and keeps its records.

    Several certificates and nonces pass straight through and are never stored. A store that fails is a miss.
    """

    def __init__(
        self,
        store: RecordStore,
        inner: AnswerSource,
        *,
        profiles: SigningProfiles,
        clock: Clock,
        name: str,
        verifier: RecordVerifier | None = None,
    ) -> None:
        """Without `verifier` what the store gives is believed, which is for stores in this process."""
        self._store = store
        self._inner = inner
        self._profiles = profiles
        self._clock = clock
        self._name = name
        self._verifier = verifier
        self._may_log = log.OncePerSecond()
        self._flights: dict[_Key, asyncio.Task[Answer]] = {}

    async def answer(self, question: Question) -> Answer:
        """See `AnswerSource.answer`."""
        if question.is_plain:
            return await self._answer_plain(question)
        try:
            return await self._inner.answer(question)
        except Overloaded:
            if len(question.certificates) != 1 or question.issuer.policy.nonce is NoncePolicy.required:
                raise
            plain = question.plain()
            if not plain.is_plain:
                raise
            # The fullest answer without the option is better than none (RFC 9919 §3.2.1).
            metrics.NONCES_UNMET.inc(amount=question.nonce is not None)
            return await self._answer_plain(plain)

    async def close(self) -> None:
        """Wait for the flights under way."""
        await asyncio.gather(*self._flights.values(), return_exceptions=True)

    async def _answer_plain(self, question: Question) -> Answer:
        for _ in range(_ATTEMPTS):
            records, answer = await self._look(question)
            if answer is not None:
                if answer.refresh_at <= self._clock.now():
                    self._refresh_behind(question)
                return answer
            answer = await asyncio.shield(self._flight(question))
            # A flight that began before a change was announced must not answer a request that saw the change.
            if records is None or answer.version is None or not _is_later(records, answer.version):
                return answer
        raise StatusUnavailable("the status changed several times while it was being answered")

    async def _look(self, question: Question) -> tuple[Records | None, Answer | None]:
        """What the store holds, and what that says: None when it can't be used. Records that aren't as they were signed
        count as none, where that can be told: their profile is known here, and signed them for what is asked."""
        (certificate,), (variant,) = question.certificates, question.variants
        try:
            records = await self._store.get(certificate)
        except StoreUnavailable:
            metrics.STORE_FAILURES.inc(self._name, "get")
            return None, None
        if records is None:
            return None, None
        profile = self._profiles.get(records.profile_id)
        if profile is None or variant not in records.variants:
            return records, None
        if not self._is_whole(records, profile, certificate):
            return None, None
        answer = Answer.of_records(records, profile, question, source=self._name)
        if profile.issuer_tag != question.issuer.tag or answer.next_update <= self._clock.now():
            return records, None
        return records, answer

    def _is_whole(self, records: Records, profile: SigningProfile, certificate: Certificate) -> bool:
        # All of them: what comes in here may be kept where nobody verifies any more.
        if self._verifier is None or all(
            self._verifier.verifies(certificate, profile, records, each) for each in records.variants
        ):
            return True
        metrics.RECORDS_REFUSED.inc()
        if self._may_log("refused"):
            _log.error("record_does_not_verify", issuer=certificate.issuer.id, serial=hex(certificate.serial_number))
        return False

    def _flight(self, question: Question) -> asyncio.Task[Answer]:
        key = _flight_key(question)
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.ensure_future(self._fetch(question))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    def _landed(self, key: _Key, flight: asyncio.Task[Answer]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # whoever waits has it; a refresh behind has nobody waiting

    async def _fetch(self, question: Question) -> Answer:
        answer = await self._inner.answer(question)
        if answer.records is None:
            return answer
        try:
            kept = await self._store.put(question.certificates[0], answer.records)
        except StoreUnavailable:
            metrics.STORE_FAILURES.inc(self._name, "put")
            return answer
        if kept.version.change > StatusVersion.of(answer.records).change:
            # Something newer was there: ours must not be answered. Read what it is, or make it again.
            _, newer = await self._look(question)
            return newer or await self._inner.answer(question)
        return answer

    def _refresh_behind(self, question: Question) -> None:
        if _flight_key(question) in self._flights:
            return
        flight = self._flight(question)
        flight.add_done_callback(self._tell_of_failed_refresh)

    def _tell_of_failed_refresh(self, flight: asyncio.Task[Answer]) -> None:
        error = None if flight.cancelled() else flight.exception()
        if error is not None and not isinstance(error, ResponderError) and self._may_log("refresh"):
            _log.error("refresh_behind_failed", error=repr(error))


def _flight_key(question: Question) -> _Key:
    return question.certificates[0], question.variants[0]


def _is_later(records: Records, version: StatusVersion) -> bool:
    """Whether `records` were made from a later status than `version`. A tombstone stands for its change whenever that
    was read: the moments come from clocks that may step back."""
    held = StatusVersion.of(records)
    return held.change > version.change if records.is_tombstone else held > version
