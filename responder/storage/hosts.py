"""Leases of hosts, and the changes that each of them has applied."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg

from responder.pki import AnnouncedChange, Certificate, Changes, Issuer, Unaware
from responder.storage.postgres import LONG_SECONDS, Connection, acquired, translating

_BATCH = 5000

T = TypeVar("T")

# Transaction ids belong to one history of one server: after a restore or a promotion that lost commits the same id is
# another transaction.
_HISTORY = (
    "(SELECT system_identifier::text FROM pg_control_system()) || ':' || left(pg_walfile_name(pg_current_wal_lsn()), 8)"
)

_CHANGES = """
SELECT i.tag, o.serial, o.epoch, o.number, extract(epoch FROM o.created_at)::bigint AS created_at
FROM outbox o JOIN issuers i ON i.id = o.issuer_id
WHERE o.kind <> 'issued'
"""

_UNSEEN = """
AND o.transaction_id >= pg_snapshot_xmin($1::text::pg_snapshot)
AND NOT pg_visible_in_snapshot(o.transaction_id, $1::text::pg_snapshot)
"""


_ISSUED = """
SELECT i.tag || issued.serial AS name
FROM outbox o JOIN issuers i ON i.id = o.issuer_id, unnest(coalesce(o.serials, ARRAY[o.serial])) AS issued (serial)
WHERE o.kind = 'issued'
"""

_EVERYTHING = "SELECT i.tag || c.serial AS name FROM certificates c JOIN issuers i ON i.id = c.issuer_id"


class PostgresHosts:
    """Implements `HostLeases`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def renew(self, host: str, *, owner: str, seconds: float, is_new: bool) -> None:
        """See `HostLeases.renew`."""
        async with acquired(self._pool) as connection:
            await connection.execute(
                """
                INSERT INTO hosts (id, owner, leased_until)
                VALUES ($1, $2, clock_timestamp() + $3::float8 * interval '1 second')
                ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, leased_until = excluded.leased_until,
                    applied = CASE WHEN $4 THEN NULL ELSE hosts.applied END
                """,
                host,
                owner,
                seconds,
                is_new,
            )

    @asynccontextmanager
    async def changes(self, since: Changes | None) -> AsyncIterator[Changes]:
        """See `HostLeases.changes`."""
        async with (
            acquired(self._pool) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await connection.fetchrow(
                f"SELECT pg_current_snapshot()::text AS snapshot, {_HISTORY} AS history, "
                "clock_timestamp() AS as_of"  # of after the snapshot was taken
            )
            assert row is not None  # it selects no table
            seen = since.snapshot if since is not None and since.history == row["history"] else None
            yield Changes(
                snapshot=row["snapshot"],
                history=row["history"],
                as_of=row["as_of"],
                batches=_batches(connection, _CHANGES, seen, _change),
                issued=_nothing() if seen is None else _batches(connection, _ISSUED, seen, _name),
            )

    async def everything_issued(self) -> AsyncGenerator[Sequence[bytes], None]:
        """See `HostLeases.everything_issued`."""
        async with acquired(self._pool) as connection, connection.transaction(readonly=True):
            async for names in _batches(connection, _EVERYTHING, None, _name):
                yield names

    async def acknowledge(self, host: str, changes: Changes) -> bool:
        """See `HostLeases.acknowledge`."""
        async with acquired(self._pool) as connection:
            found = await connection.fetchval(
                "UPDATE hosts SET applied = $2::text::pg_snapshot, history = $3 WHERE id = $1 RETURNING id",
                host,
                changes.snapshot,
                changes.history,
            )
        return found is not None

    async def leave(self, host: str) -> None:
        """See `HostLeases.leave`."""
        async with acquired(self._pool) as connection:
            await connection.execute("DELETE FROM hosts WHERE id = $1", host)

    async def forget(self, has_ended: Callable[[str], bool]) -> None:
        """See `HostLeases.forget`."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch("SELECT id, owner FROM hosts")
            ended = [row["id"] for row in rows if has_ended(row["owner"])]
            await connection.execute(
                "DELETE FROM hosts WHERE id = ANY($1::text[]) OR leased_until < now() - interval '1 day'", ended
            )

    async def unaware(self, certificate: Certificate) -> Unaware:
        """See `HostLeases.unaware`."""
        return await self._unaware("AND serial = $2 AND kind <> 'issued'", certificate.issuer.id, certificate.serial)

    async def unaware_of(self, issuer: Issuer) -> Unaware:
        """See `HostLeases.unaware_of`."""
        return await self._unaware("", issuer.id)

    async def _unaware(self, which: str, *arguments: str | bytes) -> Unaware:
        with translating():
            async with acquired(self._pool) as connection:
                row = await connection.fetchrow(
                    f"""
                    WITH changed AS (
                        SELECT transaction_id FROM outbox
                        WHERE issuer_id = $1 {which}
                        ORDER BY id DESC LIMIT 1
                    )
                    SELECT array_agg(owner ORDER BY owner) AS owners, max(leased_until) AS certain_at,
                        (SELECT ahead_epoch IS NOT NULL FROM record_store) AS commits_were_lost
                    FROM hosts, changed
                    WHERE leased_until > clock_timestamp() AND NOT (
                        applied IS NOT NULL AND history = {_HISTORY}
                        AND pg_visible_in_snapshot(transaction_id, applied)
                    )
                    """,
                    *arguments,
                )
        assert row is not None  # it aggregates
        return Unaware(tuple(row["owners"] or ()), row["certain_at"], commits_were_lost=row["commits_were_lost"])


async def _nothing() -> AsyncIterator[list[bytes]]:
    yield []


async def _batches(
    connection: Connection, query: str, since: str | None, read: Callable[[asyncpg.Record], T]
) -> AsyncIterator[list[T]]:
    """What a query finds, or what it finds that a snapshot hasn't seen."""
    arguments = () if since is None else (since,)
    batch: list[T] = []
    if since is not None:
        query += _UNSEEN
    async for row in connection.cursor(query, *arguments, prefetch=_BATCH, timeout=LONG_SECONDS):
        batch.append(read(row))
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


def _change(row: asyncpg.Record) -> AnnouncedChange:
    return AnnouncedChange(row["tag"], row["serial"], row["epoch"], row["number"], row["created_at"])


def _name(row: asyncpg.Record) -> bytes:
    name: bytes = row["name"]
    return name
