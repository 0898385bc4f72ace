"""Building one CRL: number, entries, signature, checks, publication, in this order."""

from __future__ import annotations

import asyncio
import hashlib

from responder import log, metrics
from responder.crl.checks import check_crl
from responder.errors import CRLError
from responder.interfaces import CRLSigner, CRLStore, RevokedSource, StatusSource
from responder.pki import CRL, Certificate, CertStatus, CRLBuilder, Issuer, epoch_seconds, from_epoch_seconds

_log = log.get("crl.issuer")

FULL = "full"
"""The scope of a CRL that holds everything of its issuer."""


class CRLIssuer:
    """Makes and publishes the CRLs of an issuer whose key is here."""

    def __init__(self, *, revoked: RevokedSource, statuses: StatusSource, signer: CRLSigner, store: CRLStore) -> None:
        self._revoked = revoked
        self._statuses = statuses
        self._signer = signer
        self._store = store

    async def publish(self, issuer: Issuer) -> CRL:
        """Build the full CRL from one snapshot, have it checked, and publish it.

        An entry stays until it has been on one CRL issued after its certificate expired (5280-12); with the issuer's
        `archive` for as long as answers go on (ETSI-02).

        Raises:
            CRLError: a check failed, or the number was overtaken; the CRL published before stays.
            StatusUnavailable: the database can't be read.
            SigningFailed: libcrypto refused.
        """
        previous = await self._store.latest(issuer, FULL)
        crl_number = await self._store.next_number(issuer, FULL)
        entries = CRLBuilder()
        last = issuer.not_before if previous is None else previous.this_update
        expired_since = issuer.archived_since(last)
        async with self._revoked.revoked_snapshot(
            issuer,
            not_expired_at=None if previous is None else expired_since or last,
            unseen_by=None if previous is None else previous.snapshot,
        ) as snapshot:
            async for rows in snapshot.entries:
                entries.extend(rows)
        this_update = from_epoch_seconds(epoch_seconds(snapshot.as_of))
        next_update = min(this_update + issuer.policy.crl_validity, issuer.not_after)
        der = await self._signer.sign_crl(
            issuer,
            crl_number=crl_number,
            this_update=this_update,
            next_update=next_update,
            entries=entries,
            expired_since=expired_since,
        )
        crl = CRL(
            issuer_id=issuer.id,
            scope=FULL,
            crl_number=crl_number,
            der=der,
            this_update=this_update,
            next_update=next_update,
            sha256=await asyncio.to_thread(_sha256, der),
            snapshot=snapshot.snapshot,
        )
        removed = await asyncio.to_thread(
            check_crl, crl, issuer=issuer, entries=entries, previous=previous, expired_since=expired_since
        )
        await self._explain(issuer, removed, previous)
        await self._store.put(crl)
        metrics.CRL_PUBLISHED.inc()
        _log.info(
            "crl_published",
            issuer=issuer.id,
            scope=FULL,
            crl_number=crl_number,
            entries=len(entries),
            removed=len(removed),
            bytes=len(der),
        )
        return crl

    async def _explain(self, issuer: Issuer, removed: list[bytes], previous: CRL | None) -> None:
        """Every serial that is gone since the last CRL must be released from hold, expired, or deleted with a trace."""
        if previous is None or not removed:
            return
        certificates = [Certificate(issuer, serial) for serial in removed]
        unexplained = []
        for certificate, status in zip(certificates, await self._statuses.status_of(certificates), strict=True):
            is_released = status is not None and status.cert_status is CertStatus.GOOD
            has_expired = (
                status is not None and status.not_after is not None and status.not_after < previous.this_update
            )
            if not (is_released or has_expired):
                unexplained.append(hex(certificate.serial_number))
        if unexplained:
            raise CRLError(
                f"issuer {issuer.id}: {len(unexplained)} serials of CRL {previous.crl_number} are missing from the new "
                f"one without having been released or expired, first {unexplained[0]}; the old CRL stays"
            )


def _sha256(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()
