"""Changing a status, and knowing that no store will answer the old one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from responder import log, metrics
from responder.errors import RevocationRefused, StatusUnavailable, StoreUnavailable
from responder.interfaces import RecordStore, RevocationStore
from responder.pki import (
    Certificate,
    CertificateStatus,
    CRLReason,
    RevokedInfo,
    StatusChange,
    StatusVersion,
    tombstone_for,
)

_log = log.get("ocsp.revoke")

_RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Outcome:
    """A status as committed. `obstacle`: what kept it from being certain; `work` will bring it about."""

    status: CertificateStatus
    obstacle: str = ""

    @property
    def certain(self) -> bool:
        """Whether every worker answers it from now on."""
        return not self.obstacle


@dataclass(frozen=True, slots=True)
class RevocationRequest:
    """What is asked: `removeFromCRL` releases from hold; without `revoked_at` it is now."""

    reason: CRLReason
    revoked_at: datetime | None = None
    invalidity_date: datetime | None = None


class Revoker:
    """Revokes, holds and releases. A repeat of the same request waits for the same, and changes nothing."""

    def __init__(self, store: RevocationStore, records: RecordStore, *, wait_seconds: float) -> None:
        self._store = store
        self._records = records
        self._wait_seconds = wait_seconds

    async def revoke(self, certificate: Certificate, request: RevocationRequest, *, actor: str) -> Outcome:
        """Change the status in the database, then bury every older answer in the record store.

        Returns:
            `certain` is False when the record store didn't confirm within `wait_seconds`.

        Raises:
            RevocationRefused: no such certificate (404), a conflict with what it is now (409), a bad value (422).
            StatusUnavailable: the database can't be reached; asking again is safe.
        """
        try:
            status = await self._store.change(certificate, decide(request), actor=actor)
        except RevocationRefused:
            metrics.REVOCATIONS.inc("refused")
            raise
        outcome = Outcome(status, await self._bury_older(status))
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

    async def _bury_older(self, status: CertificateStatus) -> str:
        """Put a tombstone unless the store already holds this status or a later one like it; what was in the way, or
        nothing."""
        deadline = asyncio.get_running_loop().time() + self._wait_seconds
        while True:
            try:
                if await self._is_kept(status):  # the store bounds its own time
                    return ""
                return "the record store keeps a later version of another status; see certstatus db recover"
            except StoreUnavailable as error:
                metrics.STORE_FAILURES.inc("redis", "put")
                obstacle = str(error)
            except StatusUnavailable as error:
                return str(error)  # the change is committed all the same
            if asyncio.get_running_loop().time() + _RETRY_SECONDS >= deadline:
                return obstacle
            await asyncio.sleep(_RETRY_SECONDS)
            # The store refuses what was read long ago: `as_of` is read again with the status.
            try:
                (fresh,) = await self._store.status_of([status.certificate])
            except StatusUnavailable as error:
                return str(error)  # the change is committed all the same
            if fresh is None:
                return "the certificate was deleted meanwhile"
            status = fresh

    async def _is_kept(self, status: CertificateStatus) -> bool:
        # Records of the same change stay; anything older is buried.
        kept = await self._records.put(status.certificate, tombstone_for(status))
        if _covers(kept.version, kept.cert_status, status):
            # Asked after the put: a store that readers have turned to since then is another's to confirm.
            if await self._store.is_trusted(kept.run):
                return True
            raise StoreUnavailable("the record store isn't known to hold every change yet")
        _log.error(
            "store_keeps_another_status",
            issuer=status.certificate.issuer.id,
            serial=hex(status.certificate.serial_number),
            kept=kept.cert_status.name,
            ours=status.cert_status.name,
        )
        return False


def _covers(version: StatusVersion, cert_status: int, status: CertificateStatus) -> bool:
    return version.change >= status.version.change and cert_status == status.cert_status


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
