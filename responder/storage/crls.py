"""Published CRLs, their numbers, and who may build the next."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from responder.errors import CRLError
from responder.pki import CRL, Issuer
from responder.storage.postgres import Row, acquired

_KEPT = 10
"""CRLs of each scope that stay in the database."""


@dataclass(frozen=True, slots=True)
class Published:
    """What health needs to know of a CRL."""

    issuer_id: str
    scope: str
    crl_number: int
    next_update: datetime


class PostgresCRLs:
    """Implements `CRLStore` and `crl.schedule.CRLLeases`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def latest(self, issuer: Issuer, scope: str) -> CRL | None:
        """See `CRLStore.latest`."""
        async with acquired(self._pool) as connection:
            row = await connection.fetchrow(
                "SELECT * FROM crls WHERE issuer_id = $1 AND scope = $2 ORDER BY crl_number DESC LIMIT 1",
                issuer.id,
                scope,
            )
        return None if row is None else _crl(row)

    async def newest(self) -> list[Published]:
        """The newest CRL of each issuer and scope, without its bytes."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch(
                "SELECT DISTINCT ON (issuer_id, scope) issuer_id, scope, crl_number, next_update FROM crls "
                "ORDER BY issuer_id, scope, crl_number DESC"
            )
        return [Published(row["issuer_id"], row["scope"], int(row["crl_number"]), row["next_update"]) for row in rows]

    async def newer_than(self, held: Mapping[tuple[str, str], int]) -> list[CRL]:
        """The newest CRL of each issuer and scope, where its number is higher than the one held."""
        missing = [
            published
            for published in await self.newest()
            if published.crl_number > held.get((published.issuer_id, published.scope), 0)
        ]
        crls = []
        for published in missing:
            async with acquired(self._pool) as connection:
                row = await connection.fetchrow(
                    "SELECT * FROM crls WHERE issuer_id = $1 AND scope = $2 AND crl_number = $3",
                    published.issuer_id,
                    published.scope,
                    published.crl_number,
                )
            if row is not None:
                crls.append(_crl(row))
        return crls

    async def next_number(self, issuer: Issuer, scope: str) -> int:
        """See `CRLStore.next_number`."""
        async with acquired(self._pool) as connection:
            number = await connection.fetchval(
                "INSERT INTO crl_numbers (issuer_id, scope, last) VALUES ($1, $2, 1) "
                "ON CONFLICT (issuer_id, scope) DO UPDATE SET last = crl_numbers.last + 1 RETURNING last",
                issuer.id,
                scope,
            )
        return int(number)

    async def put(self, crl: CRL, *, snapshot: str) -> None:
        """See `CRLStore.put`."""
        async with acquired(self._pool) as connection, connection.transaction():
            # One publisher at a time for this scope, so that the comparison holds until the commit.
            await connection.execute(
                "SELECT FROM crl_numbers WHERE issuer_id = $1 AND scope = $2 FOR UPDATE", crl.issuer_id, crl.scope
            )
            last = await connection.fetchval(
                "SELECT max(crl_number) FROM crls WHERE issuer_id = $1 AND scope = $2", crl.issuer_id, crl.scope
            )
            if last is not None and crl.crl_number <= last:
                raise CRLError(
                    f"issuer {crl.issuer_id}: CRL number {crl.crl_number} isn't higher than {last}, which is published"
                )
            await connection.execute(
                "INSERT INTO crls (issuer_id, scope, crl_number, der, this_update, next_update, snapshot) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7::text::pg_snapshot)",
                crl.issuer_id,
                crl.scope,
                crl.crl_number,
                crl.der,
                crl.this_update,
                crl.next_update,
                snapshot,
            )
            await connection.execute(
                "DELETE FROM crls WHERE issuer_id = $1 AND scope = $2 AND crl_number NOT IN "
                "(SELECT crl_number FROM crls WHERE issuer_id = $1 AND scope = $2 ORDER BY crl_number DESC LIMIT $3)",
                crl.issuer_id,
                crl.scope,
                _KEPT,
            )

    async def lease(self, issuer: Issuer, scope: str, *, owner: str, seconds: int) -> bool:
        """See `CRLLeases.lease`."""
        async with acquired(self._pool) as connection:
            holder = await connection.fetchval(
                """
                INSERT INTO crl_leases AS l (issuer_id, scope, leased_by, leased_until)
                VALUES ($1, $2, $3, now() + $4::interval)
                ON CONFLICT (issuer_id, scope) DO UPDATE
                    SET leased_by = excluded.leased_by, leased_until = excluded.leased_until
                    WHERE l.leased_by = excluded.leased_by OR l.leased_until <= now()
                RETURNING leased_by
                """,
                issuer.id,
                scope,
                owner,
                timedelta(seconds=seconds),
            )
        return holder is not None

    async def release(self, issuer: Issuer, scope: str, *, owner: str) -> None:
        """See `CRLLeases.release`."""
        async with acquired(self._pool) as connection:
            await connection.execute(
                "DELETE FROM crl_leases WHERE issuer_id = $1 AND scope = $2 AND leased_by = $3",
                issuer.id,
                scope,
                owner,
            )

    async def changed_since(self, issuer: Issuer, scope: str) -> datetime | None:
        """See `CRLLeases.changed_since`. Looks back an hour before the CRL: no transaction is that long, and rows
        restored into another cluster carry transaction ids that mean nothing there."""
        async with acquired(self._pool) as connection:
            changed: datetime | None = await connection.fetchval(
                """
                WITH latest AS (
                    SELECT this_update, snapshot FROM crls WHERE issuer_id = $1 AND scope = $2
                    ORDER BY crl_number DESC LIMIT 1
                )
                SELECT min(o.created_at) FROM outbox o, latest
                WHERE o.issuer_id = $1 AND o.kind <> 'issued'
                    AND o.created_at > latest.this_update - interval '1 hour'
                    AND NOT pg_visible_in_snapshot(o.transaction_id, latest.snapshot)
                """,
                issuer.id,
                scope,
            )
        return changed


def _crl(row: Row) -> CRL:
    return CRL(
        issuer_id=row["issuer_id"],
        scope=row["scope"],
        crl_number=int(row["crl_number"]),
        der=row["der"],
        this_update=row["this_update"],
        next_update=row["next_update"],
        sha256=hashlib.sha256(row["der"]).digest(),
    )
