"""When a CRL is built again: on its interval, after a change, well before nextUpdate; by one host at a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from responder import log, metrics
from responder.crl.issuer import FULL, CRLIssuer
from responder.errors import CertstatusError
from responder.interfaces import Clock, CRLStore
from responder.pki import CRL, Issuer, Issuers

_log = log.get("crl.schedule")

_LEASE_SECONDS = 600


class CRLLeases(Protocol):
    """Who builds, and whether there is something new to build."""

    async def lease(self, issuer: Issuer, scope: str, *, owner: str, seconds: int) -> bool:
        """Take or prolong the right to build; False when another holds it."""

    async def release(self, issuer: Issuer, scope: str, *, owner: str) -> None:
        """Give it back."""

    async def changed_since(self, issuer: Issuer, scope: str) -> datetime | None:
        """When the oldest change was made that the latest CRL hasn't seen; None when it has seen all."""


class CRLSchedule:
    """Publishes the CRLs that are due."""

    def __init__(
        self,
        builder: CRLIssuer,
        *,
        store: CRLStore,
        leases: CRLLeases,
        issuers: Issuers,
        clock: Clock,
        owner: str,
    ) -> None:
        self._builder = builder
        self._store = store
        self._leases = leases
        self._issuers = issuers
        self._clock = clock
        self._owner = owner

    async def once(self, can_sign: frozenset[str]) -> int:
        """Publish what is due of the issuers named; how many were published. A failure is logged and tried again."""
        published = 0
        for issuer in self._issuers:
            if issuer.id not in can_sign:
                continue
            try:
                published += await self._publish_if_due(issuer)
            except CertstatusError as error:
                metrics.CRL_FAILURES.inc()
                _log.error("crl_not_published", issuer=issuer.id, scope=FULL, error=str(error))
        return published

    async def _publish_if_due(self, issuer: Issuer) -> bool:
        if not await self._is_due(issuer):
            return False
        if not await self._leases.lease(issuer, FULL, owner=self._owner, seconds=_LEASE_SECONDS):
            return False
        try:
            # Another host may have built it between the look and the lease.
            if not await self._is_due(issuer):
                return False
            await self._builder.publish(issuer)
            return True
        finally:
            await self._leases.release(issuer, FULL, owner=self._owner)

    async def _is_due(self, issuer: Issuer) -> bool:
        latest = await self._store.latest(issuer, FULL)
        changed_at = None if latest is None else await self._leases.changed_since(issuer, FULL)
        return is_due(latest, changed_at, issuer, self._clock.now())


def is_due(latest: CRL | None, changed_at: datetime | None, issuer: Issuer, now: datetime) -> bool:
    """Whether a new CRL must be built at `now`.

    Args:
        changed_at: when the oldest change was made that `latest` hasn't seen.
    """
    if latest is None:
        return True
    policy = issuer.policy
    if changed_at is not None and now >= changed_at + policy.crl_delay:
        return True
    # The interval leaves slack before nextUpdate (incident I-12); an issuer near its end is the exception.
    due = min(latest.this_update + policy.crl_interval, latest.next_update - timedelta(minutes=10))
    return now >= due and latest.next_update < issuer.not_after
