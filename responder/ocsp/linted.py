"""Answers are looked at by the rules before anybody gets them: of each batch one, and the first of every signer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

from responder import log, metrics
from responder.errors import SigningFailed
from responder.interfaces import RecordSigner, ResponseSigner, SigningProfiles
from responder.ocsp.lints import Finding, lint
from responder.pki import (
    Answer,
    CertificateStatus,
    CertStatus,
    Issuer,
    Question,
    Records,
    tombstone_for,
)

_log = log.get("ocsp.linted")

_LOOKS_A_TURN = 20

_REMEDY = "certstatus show SERIAL, certstatus issuer show"


class AnswerSigner(RecordSigner, ResponseSigner, Protocol):
    """What signs records and complete answers."""


def rules_for(issuer: Issuer) -> str:
    """The profile of rules that an issuer's answers keep."""
    return "br" if issuer.policy.baseline else "rfc"


class LintedSigner:
    """Wraps what signs. An answer that breaks a rule isn't given, and neither are those that are signed with it and
    break one; `revoked` is given whatever is wrong with it, since silence might be taken for good. Each is logged and
    counted. Implements `RecordSigner` and `ResponseSigner`."""

    def __init__(
        self,
        inner: AnswerSigner,
        profiles: SigningProfiles,
        *,
        pause_seconds: float = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pause_seconds` is how long at least lies between two looks at answers of one issuer; the first of a signer
        is always looked at."""
        self._inner = inner
        self._profiles = profiles
        self._pause_seconds = pause_seconds
        self._monotonic = monotonic
        self._turn = count()
        self._looked: dict[bytes | str, float] = {}
        self._may_log = log.OncePerSecond()

    async def sign(self, statuses: Sequence[CertificateStatus]) -> list[Records]:
        """See `RecordSigner.sign`.

        Raises:
            SigningFailed: as there; or no answer of these may be given by the rules.
        """
        signed = await self._inner.sign(statuses)
        sample = next((records for records in signed if not records.is_tombstone), None)
        if sample is None:
            return signed
        is_first = sample.profile_id not in self._looked
        if not self._is_due(sample.profile_id):
            return signed
        if is_first:
            kinds = {each.cert_status: place for place, each in enumerate(signed) if not each.is_tombstone}
            faulty = any(self._findings(statuses[place], signed[place]) for place in kinds.values())
        else:
            turn = next(self._turn)
            place = turn % len(signed)
            faulty = bool(self._findings(statuses[place], signed[place], turn=turn))
        return await self._without_faulty(statuses, signed) if faulty else signed

    async def sign_response(self, question: Question, statuses: Sequence[CertificateStatus | None]) -> Answer:
        """See `ResponseSigner.sign_response`.

        Raises:
            SigningFailed: as there; or the answer may not be given by the rules.
        """
        answer = await self._inner.sign_response(question, statuses)
        if answer.der is not None and self._is_due(question.issuer.id):
            found = lint(answer.der, profile=rules_for(question.issuer))
            if found:
                self._report(question.issuer, question.certificates[0].serial_number, found)
                if CertStatus.REVOKED not in answer.cert_statuses:
                    raise SigningFailed(_sentence(question.issuer, found))
        return answer

    def _is_due(self, key: bytes | str) -> bool:
        now = self._monotonic()
        if key in self._looked and now - self._looked[key] < self._pause_seconds:
            return False
        self._looked[key] = now
        return True

    def _findings(self, status: CertificateStatus, records: Records, *, turn: int | None = None) -> list[Finding]:
        """What is wrong with any variant of it, or with the one whose turn it is."""
        profile = self._profiles.get(records.profile_id)
        if profile is None or records.is_tombstone:
            return []  # retired in this moment: nobody renders it
        issuer, serial = status.certificate.issuer, status.certificate.serial
        variants = records.variants if turn is None else records.variants[turn % len(records.variants) :][:1]
        return [
            finding
            for variant in variants
            for finding in lint(profile.render(records, variant, serial), profile=rules_for(issuer))
        ]

    async def _without_faulty(self, statuses: Sequence[CertificateStatus], signed: list[Records]) -> list[Records]:
        kept, given = list(signed), 0
        found: list[Finding] = []
        for place, (status, records) in enumerate(zip(statuses, signed, strict=True)):
            if place % _LOOKS_A_TURN == 0:
                await asyncio.sleep(0)  # of a thousand it takes half a second
            if found_here := self._findings(status, records):
                found = found_here
                self._report(status.certificate.issuer, status.certificate.serial_number, found)
                if records.cert_status != CertStatus.REVOKED:
                    kept[place] = tombstone_for(status)
                    continue
            given += 1
        if not given:
            raise SigningFailed(_sentence(statuses[0].certificate.issuer, found))
        return kept

    def _report(self, issuer: Issuer, serial_number: int, found: Sequence[Finding]) -> None:
        metrics.LINTED.inc()
        if self._may_log("breaks"):
            _log.error(
                "answer_breaks_a_rule",
                issuer=issuer.id,
                serial=hex(serial_number),
                rules=[f"{each.id} ({each.source}): {each.says}" for each in found],
                remedy=_REMEDY,
            )


def _sentence(issuer: Issuer, found: Sequence[Finding]) -> str:
    first = found[0]
    return f"answers of issuer {issuer.id} aren't given: {first.id}, {first.says} ({first.source})"
