"""The last stop: read the authoritative status and sign, within a budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from responder.errors import NotAuthoritative, Overloaded, SigningFailed, StatusUnavailable
from responder.interfaces import Clock, RecordSigner, ResponseSigner, SigningProfiles, StatusSource
from responder.pki import Answer, CertificateStatus, Issuer, Question, Records, UnknownSerial

WAIT_SECONDS = 0.5
"""How long a request waits for its turn; the answer from the store that it falls back to is of use now, not later."""


class Budget:
    """So many at once, so many waiting; one more is turned away at once (slow is worse than down, incident I-11)."""

    def __init__(self, *, max_in_flight: int, max_waiting: int) -> None:
        self._slots = asyncio.Semaphore(max_in_flight)
        self._max_waiting = max_waiting
        self._waiting = 0

    @asynccontextmanager
    async def spend(self) -> AsyncIterator[None]:
        """Hold one place.

        Raises:
            Overloaded: all places are taken, and so is the queue; or none became free in WAIT_SECONDS.
        """
        if self._slots.locked() and self._waiting >= self._max_waiting:
            raise Overloaded("the budget for live signing is spent")
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._slots.acquire()
        except TimeoutError as error:
            raise Overloaded("no place in the budget for live signing became free in time") from error
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()


class LiveSource:
    """Reads status from the authority and signs what was asked."""

    def __init__(
        self,
        statuses: StatusSource,
        *,
        records: RecordSigner,
        responses: ResponseSigner,
        profiles: SigningProfiles,
        clock: Clock,
        budget: Budget,
    ) -> None:
        self._statuses = statuses
        self._records = records
        self._responses = responses
        self._profiles = profiles
        self._clock = clock
        self._budget = budget

    async def answer(self, question: Question) -> Answer:
        """See `AnswerSource.answer`."""
        async with self._budget.spend():
            statuses = await self._statuses.status_of(question.certificates)
            require_authority(question.issuer, statuses, self._clock.now())
            if question.is_plain and statuses[0] is not None:
                return await self._sign_records(question, statuses[0])
            return await self._responses.sign_response(question, statuses)

    async def _sign_records(self, question: Question, status: CertificateStatus) -> Answer:
        (records,) = await self._records.sign([status])
        require_sayable(records, question.issuer)
        if question.variants[0] not in records.variants:
            raise NotAuthoritative("no answer by this hash algorithm was imported")
        profile = self._profiles.get(records.profile_id)
        if profile is None:
            raise StatusUnavailable("the profile just signed with has been retired")
        return Answer.of_records(records, profile, question, source="live")


def require_authority(issuer: Issuer, statuses: Sequence[CertificateStatus | None], now: datetime) -> None:
    """Something must be there to say (RFC 9919 §3.2.3; design §7). Costs no signature.

    Raises:
        NotAuthoritative: no certificate that we know, or none at a time at which we may answer for it.
    """
    policy = issuer.policy
    if any(status is not None and status.may_be_answered(now) for status in statuses):
        return
    if any(status is not None for status in statuses):
        raise NotAuthoritative("the certificate isn't valid at this time")
    if policy.unknown_serial is UnknownSerial.unauthorized and policy.compromised_at is None:
        raise NotAuthoritative("no record of this serial number")


def require_sayable(records: Records, issuer: Issuer) -> None:
    """What was made must be an answer.

    Raises:
        SigningFailed: a tombstone.
        NotAuthoritative: one of an offline issuer: no answer was imported that may be given.
    """
    if records.is_tombstone and issuer.policy.offline:
        raise NotAuthoritative("no answer for it was imported, or it has ended, or the status has changed since")
    if records.is_tombstone:
        raise SigningFailed("a status that no answer can say; certstatus db check lists such rows")
