"""Which slices of an issuer's serials are due to be signed again, and what is in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta

import asyncpg

from responder.pki import Certificate, CertificateStatus, Issuer, IssuerPolicy
from responder.storage.postgres import Connection, acquired
from responder.storage.rows import COLUMNS, status_from


class PostgresPartitions:
    """Implements `PartitionStore`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def claim(
        self, owner: str, *, limit: int, lease_seconds: int, except_issuers: Sequence[str] = ()
    ) -> tuple[str, list[int]] | None:
        """See `PartitionStore.claim`; the longest due first, of whichever issuer that is."""
        async with acquired(self._pool) as connection, connection.transaction():
            rows = await connection.fetch(
                """
                SELECT issuer_id, partition FROM partitions
                WHERE due_at <= now() AND (leased_until IS NULL OR leased_until <= now())
                    AND issuer_id <> ALL ($2::text[])
                ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
                """,
                limit,
                list(except_issuers),
            )
            if not rows:
                return None
            issuer_id: str = rows[0]["issuer_id"]
            claimed = [row["partition"] for row in rows if row["issuer_id"] == issuer_id]
            await connection.execute(
                "UPDATE partitions SET leased_by = $3, leased_until = now() + $4::interval "
                "WHERE issuer_id = $1 AND partition = ANY($2::smallint[])",
                issuer_id,
                claimed,
                owner,
                timedelta(seconds=lease_seconds),
            )
        return issuer_id, claimed

    async def statuses(
        self, issuer: Issuer, partitions: Sequence[int], *, chunk: int
    ) -> AsyncIterator[tuple[list[CertificateStatus], int]]:
        """See `PartitionStore.statuses`; each chunk is one statement with its own as_of, found by key."""
        after = (-1, b"")
        while True:
            async with acquired(self._pool) as connection:
                rows = await connection.fetch(
                    f"""
                    SELECT partition, serial, {COLUMNS}, now() AS as_of FROM certificates c
                    WHERE issuer_id = $1 AND partition = ANY($2::smallint[]) AND (partition, serial) > ($3, $4)
                        AND is_minimal_integer(serial)
                        AND (not_before IS NULL OR not_before <= now())
                        AND (not_after IS NULL OR not_after + $6::interval >= now())
                    ORDER BY partition, serial LIMIT $5
                    """,
                    issuer.id,
                    list(partitions),
                    *after,
                    chunk,
                    _archived(issuer.policy),
                )
            if rows:
                found = [status_from(Certificate(issuer, row["serial"]), row) for row in rows]
                after = rows[-1]["partition"], rows[-1]["serial"]
                yield found, after[0]
            if len(rows) < chunk:
                return

    async def finished(self, issuer_id: str, due_at: dict[int, datetime], *, owner: str) -> None:
        """See `PartitionStore.finished`; a slice whose lease went to another is left to that one."""
        async with acquired(self._pool) as connection:
            await connection.execute(
                """
                UPDATE partitions p SET due_at = next.due_at, leased_by = NULL, leased_until = NULL
                FROM unnest($2::smallint[], $3::timestamptz[]) AS next (partition, due_at)
                WHERE p.issuer_id = $1 AND p.partition = next.partition AND p.leased_by = $4
                """,
                issuer_id,
                list(due_at),
                list(due_at.values()),
                owner,
            )

    async def prolong(self, issuer_id: str, partitions: Sequence[int], *, owner: str, lease_seconds: int) -> None:
        """See `PartitionStore.prolong`."""
        async with acquired(self._pool) as connection:
            await connection.execute(
                "UPDATE partitions SET leased_until = now() + $4::interval "
                "WHERE issuer_id = $1 AND partition = ANY($2::smallint[]) AND leased_by = $3",
                issuer_id,
                list(partitions),
                owner,
                timedelta(seconds=lease_seconds),
            )

    async def release(self, issuer_id: str, partitions: Sequence[int], *, owner: str) -> None:
        """See `PartitionStore.release`."""
        async with acquired(self._pool) as connection:
            await connection.execute(
                "UPDATE partitions SET leased_by = NULL, leased_until = NULL "
                "WHERE issuer_id = $1 AND partition = ANY($2::smallint[]) AND leased_by = $3",
                issuer_id,
                list(partitions),
                owner,
            )

    async def end_leases(self, has_ended: Callable[[str], bool]) -> None:
        """Give back what is leased to owners of whom `has_ended` says that they are no more."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch("SELECT DISTINCT leased_by FROM partitions WHERE leased_by IS NOT NULL")
            ended = [row["leased_by"] for row in rows if has_ended(row["leased_by"])]
            await connection.execute(
                "UPDATE partitions SET leased_by = NULL, leased_until = NULL WHERE leased_by = ANY($1::text[])", ended
            )

    async def make_due(self, issuer_id: str) -> None:
        """Have everything of an issuer signed again now; what is being signed at this moment, too."""
        async with acquired(self._pool) as connection:
            await make_due(connection, issuer_id)

    async def overdue(self, issuer_id: str) -> int:
        """How many slices of an issuer are due and not signed yet."""
        async with acquired(self._pool) as connection:
            return int(
                await connection.fetchval(
                    "SELECT count(*) FROM partitions WHERE issuer_id = $1 AND due_at <= now()", issuer_id
                )
            )

    async def is_being_signed(self, issuer_id: str) -> bool:
        """Whether somebody is at a slice of this issuer."""
        async with acquired(self._pool) as connection:
            return bool(
                await connection.fetchval(
                    "SELECT EXISTS (SELECT FROM partitions WHERE issuer_id = $1 AND leased_until > now())", issuer_id
                )
            )

    async def lag(self) -> timedelta:
        """How long the slice that waits longest has been due; zero when none is."""
        async with acquired(self._pool) as connection:
            oldest = await connection.fetchval("SELECT now() - min(due_at) FROM partitions WHERE due_at <= now()")
        return oldest or timedelta(0)


def _archived(policy: IssuerPolicy) -> timedelta:
    """For how long after its end a certificate is answered for, see `CertificateStatus.may_be_answered`."""
    if not policy.archive:
        return timedelta(0)
    return timedelta(days=365_000) if policy.archive_retention is None else policy.archive_retention


async def make_due(connection: Connection, issuer_id: str) -> None:
    """Have everything of an issuer signed again; what is being signed at this moment, too."""
    await connection.execute(
        "UPDATE partitions SET due_at = now(), leased_by = NULL, leased_until = NULL WHERE issuer_id = $1", issuer_id
    )
