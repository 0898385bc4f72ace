"""Who signs slices, and whether that is enough."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from responder.pki import SigningForecast
from responder.storage.postgres import LONG_SECONDS, acquired

SEEN_FOR = timedelta(minutes=3)
"""A process that hasn't told that it signs for longer doesn't count."""

# A slice that was never signed is taken for as large as the others of its issuer.
_RECKON = """
WITH by_issuer AS (
    SELECT $1::float * i.refresh_seconds AS period, i.validity_seconds, cardinality(i.hash_algorithms) AS variants,
        sum(p.certificates) * count(*) / nullif(count(p.certificates), 0) AS certificates,
        sum(p.signing_seconds) * count(*) / nullif(count(p.signing_seconds), 0) AS seconds,
        coalesce(sum(p.signing_seconds) FILTER (WHERE p.due_at <= now()), 0)
            + avg(p.signing_seconds) * count(*) FILTER (WHERE p.due_at <= now() AND p.signing_seconds IS NULL)
            AS overdue,
        min(p.due_at) FILTER (WHERE p.due_at <= now()) AS first_due
    FROM partitions p JOIN issuers i ON i.id = p.issuer_id GROUP BY i.id
)
UPDATE signing_need SET (tasks_needed, signatures_per_second, overdue_seconds, first_expiry) = (
    SELECT coalesce(sum(seconds / period), 0), coalesce(sum(certificates * variants / period), 0),
        coalesce(sum(overdue), 0), min(first_due + make_interval(secs => validity_seconds - period))
    FROM by_issuer
)
"""


class PostgresPresigners:
    """Keeps who signs, and what all of them have to do."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def report(self, owner: str, tasks: int) -> None:
        """This process signs, so many slices at once; to be repeated more often than SEEN_FOR."""
        async with acquired(self._pool) as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO presigners (owner, tasks) VALUES ($1, $2) "
                "ON CONFLICT (owner) DO UPDATE SET tasks = excluded.tasks, seen_at = now()",
                owner,
                tasks,
            )
            await connection.execute("DELETE FROM presigners WHERE seen_at < now() - $1::interval", SEEN_FOR)

    async def reckon(self, turn_share: float) -> None:
        """Add up what there is to do; it goes through every slice of every issuer.

        Args:
            turn_share: a slice is signed after so much of its issuer's refresh.
        """
        async with acquired(self._pool) as connection:
            await connection.execute(_RECKON, turn_share, timeout=LONG_SECONDS)

    async def forecast(self) -> SigningForecast:
        """What was reckoned last, and who signs now."""
        async with acquired(self._pool) as connection:
            row = await connection.fetchrow(
                """
                SELECT coalesce((SELECT sum(tasks) FROM presigners WHERE seen_at >= now() - $1::interval), 0)::int
                    AS tasks, *, extract(epoch FROM first_expiry - now())::float AS seconds_left
                FROM signing_need
                """,
                SEEN_FOR,
            )
        assert row is not None  # there is always one
        return SigningForecast(
            row["tasks"],
            row["tasks_needed"],
            row["signatures_per_second"],
            row["overdue_seconds"],
            row["seconds_left"],
        )
