"""Changing a status, and knowing that no host answers the old one any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from responder import log, metrics
from responder.errors import RevocationRefused, StatusUnavailable
from responder.interfaces import HostLeases, RevocationStore
from responder.pki import Certificate, CertificateStatus, CRLReason, RevokedInfo, StatusChange, Unaware

_log = log.get("ocsp.revoke")

_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.005, 0.1


@dataclass(frozen=True, slots=True)
class Outcome:
    """A status as committed. `obstacle`: what kept it from being certain; it will be at `certain_at`, where that is
    known, or when the host is heard of again."""

    status: CertificateStatus
    obstacle: str = ""
    certain_at: datetime | None = None

    @property
    def certain(self) -> bool:
        """Whether every host answers it from now on."""
        return not self.obstacle


@dataclass(frozen=True, slots=True)
class RevocationRequest:
    """What is asked: `removeFromCRL` releases from hold; without `revoked_at` it is now."""

    reason: CRLReason
    revoked_at: datetime | None = None
    invalidity_date: datetime | None = None


class Revoker:
    """Revokes, holds and releases. A repeat of the same request waits for the same, and changes nothing."""

    def __init__(self, store: RevocationStore, hosts: HostLeases, *, wait_seconds: float) -> None:
        self._store = store
        self._hosts = hosts
        self._wait_seconds = wait_seconds

    async def revoke(self, certificate: Certificate, request: RevocationRequest, *, actor: str) -> Outcome:
        """Change the status in the database, then wait until every host knows.

        Returns:
            `certain` is False when a host that may still answer hasn't said so within `wait_seconds`.

        Raises:
            RevocationRefused: no such certificate (404), a conflict with what it is now (409), a bad value (422).
            StatusUnavailable: the database can't be reached; asking again is safe.
        """
        try:
            status = await self._store.change(certificate, decide(request), actor=actor)
        except RevocationRefused:
            metrics.REVOCATIONS.inc("refused")
            raise
        outcome = await self._until_certain(status)
        metrics.REVOCATIONS.inc("done" if outcome.certain else "pending")
        _log.info(
            "status_changed",
            issuer=certificate.issuer.id,
            serial=hex(certificate.serial_number),
            result=status.cert_status.name.lower(),
            reason=None if request.reason is None else request.reason.name,
            actor=actor,
            certain=outcome.certain,
            **({"obstacle": outcome.obstacle} if outcome.obstacle else {}),
        )
        return outcome

    async def _until_certain(self, status: CertificateStatus) -> Outcome:
        clock = asyncio.get_running_loop().time
        deadline, pause = clock() + self._wait_seconds, _FIRST_PAUSE_SECONDS
        while True:
            try:
                unaware = await self._hosts.unaware(status.certificate)
            except StatusUnavailable as error:
                return Outcome(status, str(error))  # the change is committed all the same
            if unaware.commits_were_lost:
                return Outcome(status, "the database has lost commits that answers were made of; certstatus db recover")
            if not unaware.owners:
                return Outcome(status)
            if clock() + pause >= deadline:
                return Outcome(status, _obstacle(unaware), unaware.certain_at)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)


def _obstacle(unaware: Unaware) -> str:
    first, others = unaware.owners[0], len(unaware.owners) - 1
    who = first if not others else f"{first} and {others} more"
    return f"{who} may still answer what it was, and hasn't said that it knows"


_FORBIDDEN_BY_BASELINE = {
    CRLReason.certificateHold: "4.9.13: no suspension",
    CRLReason.cACompromise: "7.2.2: not for subscriber certificates",
}


def decide(request: RevocationRequest) -> Callable[[CertificateStatus], StatusChange | None]:
    """The rule what may become of a status; called with the row locked. Now is when the row was read, by the database's
    clock: hosts whose clocks are wrong would else write revocations of the future.

    A repeat changes nothing. Allowed beyond a first revocation: hold to revoked, release from hold, an upgrade to
    keyCompromise, and an earlier date (BR-06). All else is a conflict.
    """

    def change(status: CertificateStatus) -> StatusChange | None:
        current, now = status.revoked_info, status.version.as_of
        _require_past(request, now)
        _require_after_issuance(request, status)
        if status.certificate.issuer.policy.baseline and request.reason in _FORBIDDEN_BY_BASELINE:
            raise RevocationRefused(
                422,
                f"{request.reason.name} isn't possible here",
                f"issuer {status.certificate.issuer.id} obeys the Baseline Requirements, which forbid "
                f"{request.reason.name} ({_FORBIDDEN_BY_BASELINE[request.reason]}); revoke for another reason",
            )
        if request.reason is CRLReason.removeFromCRL:
            return _release(status)
        # unspecified is the same as no reason (RFC 5280 §5.3.1).
        reason = None if request.reason is CRLReason.unspecified else request.reason
        if current is None:
            return StatusChange(RevokedInfo(request.revoked_at or now, reason, request.invalidity_date))
        was, date = current.revocation_reason, current.revocation_time
        if was is not reason and was is not CRLReason.certificateHold and reason is not CRLReason.keyCompromise:
            raise RevocationRefused(
                409,
                "already revoked for another reason",
                f"the certificate is revoked since {date.isoformat()} for {_name(was)}; only an upgrade to "
                "keyCompromise or an earlier date is possible now",
            )
        if request.revoked_at is not None and request.revoked_at > date:
            raise RevocationRefused(
                409,
                "already revoked since an earlier date",
                f"the certificate is revoked since {date.isoformat()}; the date can only be moved back, not to "
                f"{request.revoked_at.isoformat()}",
            )
        new = RevokedInfo(request.revoked_at or date, reason, request.invalidity_date or current.invalidity_date)
        return None if new == current else StatusChange(new)

    return change


def _require_past(request: RevocationRequest, now: datetime) -> None:
    for name, moment in (("revoked_at", request.revoked_at), ("invalidity_date", request.invalidity_date)):
        if moment is not None and moment > now:
            raise RevocationRefused(
                422,
                f"{name} is in the future",
                f"{name} {moment.isoformat()} is later than now ({now.isoformat(timespec='seconds')}); leave it out, "
                "or give the past moment it happened",
            )


def _require_after_issuance(request: RevocationRequest, status: CertificateStatus) -> None:
    if request.revoked_at is not None and status.not_before is not None and request.revoked_at < status.not_before:
        raise RevocationRefused(
            422,
            "revoked_at is before the certificate",
            f"revoked_at {request.revoked_at.isoformat()} is before the certificate's notBefore "
            f"({status.not_before.isoformat()}); give that or a later moment, and the earlier one as invalidity_date",
        )


def _release(status: CertificateStatus) -> StatusChange | None:
    if status.revoked_info is None:
        return None
    if status.revoked_info.revocation_reason is not CRLReason.certificateHold:
        raise RevocationRefused(
            409,
            "not on hold",
            "the certificate is revoked for good, for "
            f"{_name(status.revoked_info.revocation_reason)}; only one on certificateHold can be released",
        )
    return StatusChange(None)


def _name(reason: CRLReason | None) -> str:
    return "no stated reason" if reason is None else reason.name
