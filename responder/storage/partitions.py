"""Which slices of an issuer's serials are due to be signed again, and what is in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta

import asyncpg

from responder.pki import CopiedStatuses, Issuer, IssuerPolicy, ReadStatuses, SignedSlice
from responder.storage.postgres import LONG_SECONDS, Connection, acquired, quoted
from responder.storage.rows import COPIED_COLUMNS

# A planner without statistics, as after many were registered, would read and sort the whole range for each chunk of it.
# Until the connection is given back.
_IN_ORDER = "SET enable_bitmapscan = off; SET enable_sort = off; SET jit = off"


class PostgresPartitions:
    """Implements `PartitionStore`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def claim(
        self,
        owner: str,
        *,
        limit: int,
        lease_seconds: int,
        except_issuers: Sequence[str] = (),
        only_issuers: Sequence[str] | None = None,
    ) -> tuple[str, list[int]] | None:
        """See `PartitionStore.claim`; the longest due first, of whichever issuer that is."""
        async with acquired(self._pool) as connection, connection.transaction():
            rows = await connection.fetch(
                """
                SELECT issuer_id, partition FROM partitions
                WHERE due_at <= now() AND (leased_until IS NULL OR leased_until <= now())
                    AND issuer_id <> ALL ($2::text[]) AND ($3::text[] IS NULL OR issuer_id = ANY ($3))
                ORDER BY due_at, issuer_id, partition LIMIT $1 FOR UPDATE SKIP LOCKED
                """,
                limit,
                list(except_issuers),
                only_issuers,
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
    ) -> AsyncIterator[tuple[ReadStatuses, Mapping[int, int]]]:
        """See `PartitionStore.statuses`; each chunk is one statement with its own as_of, found by key."""
        for first, last in _runs(partitions):
            after: tuple[int, bytes] | None = (first, b"")
            while after is not None:
                copied = await self._copied(issuer, after, last, chunk)
                if copied:
                    yield ReadStatuses(issuer, copied), copied.sizes()
                after = copied.last if len(copied) == chunk else None

    async def _copied(self, issuer: Issuer, after: tuple[int, bytes], last: int, chunk: int) -> CopiedStatuses:
        """The next rows after a slice and a serial, up to the last slice, by COPY: of a million rows nothing is made
        that isn't needed.

        COPY takes no arguments. What stands in its text is ours: an issuer's id has no quotes, the rest is numbers.
        """
        partition, serial = after
        octets = bytearray()

        async def take(data: bytes) -> None:
            octets.extend(data)

        async with acquired(self._pool) as connection:
            await connection.execute(_IN_ORDER)
            await connection.copy_from_query(
                f"""
                SELECT {COPIED_COLUMNS} FROM certificates c
                WHERE issuer_id = {quoted(issuer.id)} AND (partition, serial) > ({partition}, '\\x{serial.hex()}')
                    AND partition <= {last} AND is_minimal_integer(serial)
                    AND (not_before IS NULL OR not_before <= now())
                    AND (not_after IS NULL OR not_after + '{_archived(issuer.policy).total_seconds():.0f} s' >= now())
                ORDER BY partition, serial LIMIT {chunk}
                """,
                output=take,
                format="binary",
            )
        return CopiedStatuses(bytes(octets))

    async def finished(self, issuer_id: str, slices: Sequence[SignedSlice], *, owner: str) -> None:
        """See `PartitionStore.finished`; a slice whose lease went to another is left to that one."""
        async with acquired(self._pool) as connection:
            await connection.execute(
                """
                UPDATE partitions p SET due_at = next.due_at, leased_by = NULL, leased_until = NULL,
                    certificates = next.certificates, signing_seconds = next.seconds
                FROM unnest($3::smallint[], $4::timestamptz[], $5::integer[], $6::real[])
                    AS next (partition, due_at, certificates, seconds)
                WHERE p.issuer_id = $1 AND p.leased_by = $2 AND p.partition = next.partition
                """,
                issuer_id,
                owner,
                [each.partition for each in slices],
                [each.due_at for each in slices],
                [each.certificates for each in slices],
                [each.seconds for each in slices],
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

    async def make_due(self, issuer_id: str, partitions: Sequence[int] | None = None) -> datetime:
        """Have everything of an issuer, or these slices, signed again now; what is being signed at this moment, too.

        Returns:
            Since when they are due: a slice that is due later has been signed.
        """
        async with acquired(self._pool) as connection:
            return await make_due(connection, issuer_id, partitions)

    async def unsigned(self, issuer_id: str, since: datetime) -> set[int]:
        """The slices of an issuer that are due since then, or longer."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch(
                "SELECT partition FROM partitions WHERE issuer_id = $1 AND due_at <= $2", issuer_id, since
            )
        return {row["partition"] for row in rows}

    async def sizes(self, issuer: Issuer) -> dict[int, int]:
        """How many certificates are in each slice; none for one without."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch(
                "SELECT partition, count(*) AS size FROM certificates WHERE issuer_id = $1 GROUP BY partition",
                issuer.id,
                timeout=LONG_SECONDS,
            )
        return {row["partition"]: row["size"] for row in rows}

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


def _runs(partitions: Sequence[int]) -> list[tuple[int, int]]:
    """The same slices as ranges, first and last: what is in a range is read in order from an index."""
    runs: list[tuple[int, int]] = []
    for partition in sorted(partitions):
        if runs and runs[-1][1] == partition - 1:
            runs[-1] = runs[-1][0], partition
        else:
            runs.append((partition, partition))
    return runs


def _archived(policy: IssuerPolicy) -> timedelta:
    """For how long after its end a certificate is answered for, see `CertificateStatus.may_be_answered`."""
    if not policy.archive:
        return timedelta(0)
    return timedelta(days=365_000) if policy.archive_retention is None else policy.archive_retention


async def make_due(connection: Connection, issuer_id: str, partitions: Sequence[int] | None = None) -> datetime:
    """Have everything of an issuer, or these slices, signed again; what is being signed at this moment, too. Since when
    they are due."""
    since: datetime = await connection.fetchval(
        """
        WITH made AS (
            UPDATE partitions SET due_at = now(), leased_by = NULL, leased_until = NULL
            WHERE issuer_id = $1 AND ($2::smallint[] IS NULL OR partition = ANY ($2))
        )
        SELECT now()
        """,
        issuer_id,
        partitions,
    )
    return since
