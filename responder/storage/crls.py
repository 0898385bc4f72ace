"""Published CRLs, their numbers, and who may build the next."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta

import asyncpg

from responder.errors import CRLError
from responder.pki import CRL, CRLHead, Issuer
from responder.storage.postgres import Connection, Row, acquired

_KEPT = 10
"""CRLs of each scope that stay in the database."""


_COLUMNS = (
    "issuer_id, scope, crl_number, octet_length(der) AS size, this_update, next_update, sha256, "
    "snapshot::text AS snapshot"
)

_PART_BYTES = 1 << 20
"""As much of a CRL as travels at once: a whole one in one message would keep the event loop for too long."""

_LONG_SECONDS = 120.0
"""For a CRL on its way to or from the database."""

_HEADS = """
WITH latest AS (
    SELECT DISTINCT ON (issuer_id, scope) issuer_id, scope, crl_number, this_update, next_update, snapshot FROM crls
    WHERE $1::text IS NULL OR issuer_id = $1
    ORDER BY issuer_id, scope, crl_number DESC
)
SELECT l.issuer_id, l.scope, l.crl_number, l.this_update, l.next_update, CASE
    -- A snapshot of another cluster says nothing of the transactions of this one: as if everything had changed.
    WHEN pg_snapshot_xmax(l.snapshot) > pg_snapshot_xmax(pg_current_snapshot()) THEN '1970-01-01T00:00:00Z'
    ELSE (
        SELECT min(o.created_at) FROM outbox o
        WHERE o.issuer_id = l.issuer_id AND o.kind <> 'issued' AND o.transaction_id >= pg_snapshot_xmin(l.snapshot)
            AND NOT pg_visible_in_snapshot(o.transaction_id, l.snapshot)
    ) END AS changed_at
FROM latest l
"""


class PostgresCRLs:
    """Implements `CRLStore`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def latest(self, issuer: Issuer, scope: str) -> CRL | None:
        """See `CRLStore.latest`."""
        async with acquired(self._pool) as connection, connection.transaction(isolation="repeatable_read"):
            row = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM crls WHERE issuer_id = $1 AND scope = $2 ORDER BY crl_number DESC LIMIT 1",
                issuer.id,
                scope,
            )
            return None if row is None else await _crl(connection, row)

    async def heads(self, issuer: Issuer | None = None) -> list[CRLHead]:
        """See `CRLStore.heads`; one statement for all."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch(_HEADS, None if issuer is None else issuer.id)
        return [CRLHead(**{**row, "crl_number": int(row["crl_number"])}) for row in rows]

    async def not_started(self) -> set[str]:
        """See `CRLStore.not_started`."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch("SELECT id FROM issuers WHERE crls_started_at IS NULL")
        return {row["id"] for row in rows}

    async def newer_than(self, held: Mapping[tuple[str, str], int]) -> list[CRL]:
        """The newest CRL of each issuer and scope, where its number is higher than the one held."""
        missing = [
            published
            for published in await self.heads()
            if published.crl_number > held.get((published.issuer_id, published.scope), 0)
        ]
        crls = []
        for published in missing:
            async with acquired(self._pool) as connection, connection.transaction(isolation="repeatable_read"):
                row = await connection.fetchrow(
                    f"SELECT {_COLUMNS} FROM crls WHERE issuer_id = $1 AND scope = $2 AND crl_number = $3",
                    published.issuer_id,
                    published.scope,
                    published.crl_number,
                )
                if row is not None:
                    crls.append(await _crl(connection, row))
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

    async def put(self, crl: CRL) -> None:
        """See `CRLStore.put`."""
        async with acquired(self._pool) as connection, connection.transaction():
            await connection.execute("CREATE TEMP TABLE incoming (der bytea) ON COMMIT DROP")
            await connection.copy_to_table("incoming", source=_copy_of(crl.der), format="binary", timeout=_LONG_SECONDS)
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
                "SELECT $1, $2, $3, der, $4, $5, $6::text::pg_snapshot FROM incoming",
                crl.issuer_id,
                crl.scope,
                crl.crl_number,
                crl.this_update,
                crl.next_update,
                crl.snapshot,
                timeout=_LONG_SECONDS,
            )
            await connection.execute(
                "DELETE FROM crls WHERE issuer_id = $1 AND scope = $2 AND crl_number NOT IN "
                "(SELECT crl_number FROM crls WHERE issuer_id = $1 AND scope = $2 ORDER BY crl_number DESC LIMIT $3)",
                crl.issuer_id,
                crl.scope,
                _KEPT,
            )

    async def start(self, issuer_id: str) -> None:
        """Let CRLs of this issuer be published from now on; again is harmless."""
        async with acquired(self._pool) as connection:
            await connection.execute(
                "UPDATE issuers SET crls_started_at = now() WHERE id = $1 AND crls_started_at IS NULL", issuer_id
            )

    async def lease(self, issuer: Issuer, scope: str, *, owner: str, seconds: int) -> bool:
        """See `CRLStore.lease`."""
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
        """See `CRLStore.release`."""
        async with acquired(self._pool) as connection:
            await connection.execute(
                "DELETE FROM crl_leases WHERE issuer_id = $1 AND scope = $2 AND leased_by = $3",
                issuer.id,
                scope,
                owner,
            )

    async def end_leases(self, has_ended: Callable[[str], bool]) -> None:
        """Give back what is leased to owners of whom `has_ended` says that they are no more."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch("SELECT DISTINCT leased_by FROM crl_leases")
            ended = [row["leased_by"] for row in rows if has_ended(row["leased_by"])]
            await connection.execute("DELETE FROM crl_leases WHERE leased_by = ANY($1::text[])", ended)


async def _copy_of(octets: bytes) -> AsyncIterator[bytes]:
    """One row of one bytea in PostgreSQL's binary COPY format, in parts."""
    yield b"PGCOPY\n\xff\r\n\x00" + struct.pack(">iihi", 0, 0, 1, len(octets))
    for start in range(0, len(octets), _PART_BYTES):
        yield octets[start : start + _PART_BYTES]
    yield struct.pack(">h", -1)


async def _crl(connection: Connection, row: Row) -> CRL:
    der = bytearray()
    while len(der) < row["size"]:
        der += await connection.fetchval(
            "SELECT substring(der FROM $4 FOR $5) FROM crls WHERE issuer_id = $1 AND scope = $2 AND crl_number = $3",
            row["issuer_id"],
            row["scope"],
            row["crl_number"],
            len(der) + 1,
            _PART_BYTES,
        )
    return CRL(
        issuer_id=row["issuer_id"],
        scope=row["scope"],
        crl_number=int(row["crl_number"]),
        der=bytes(der),
        this_update=row["this_update"],
        next_update=row["next_update"],
        sha256=row["sha256"],
        snapshot=row["snapshot"],
    )
