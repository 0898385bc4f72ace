"""Which issuers are in trouble, for whoever looks: one host's process reports, another's shows it."""

from __future__ import annotations

import asyncpg

from responder.pki import ReportedTrouble
from responder.storage.postgres import acquired

FORGOTTEN = "10 minutes"
"""What nobody has reported for so long isn't so any more, or whoever reported it is gone; tasks report each minute."""


class PostgresTroubles:
    """Implements `TroubleStore`."""

    def __init__(self, pool: asyncpg.Pool, *, host: str) -> None:
        self._pool = pool
        self._host = host

    async def report(self, task: str, issuer_id: str, error: str) -> None:
        """See `TroubleStore.report`."""
        async with acquired(self._pool) as connection:
            await connection.execute(
                """
                INSERT INTO troubles AS t (issuer_id, task, host, error)
                SELECT id, $2, $3, $4 FROM issuers WHERE id = $1
                ON CONFLICT (issuer_id, task, host) DO UPDATE SET error = excluded.error, reported_at = now(),
                    since = CASE WHEN t.reported_at > now() - $5::text::interval THEN t.since ELSE now() END
                """,
                issuer_id,
                task,
                self._host,
                error[:1000],
                FORGOTTEN,
            )

    async def clear(self, task: str, issuer_id: str) -> None:
        """See `TroubleStore.clear`."""
        async with acquired(self._pool) as connection:
            await connection.execute(
                "DELETE FROM troubles WHERE issuer_id = $1 AND task = $2 AND host = $3", issuer_id, task, self._host
            )

    async def all(self) -> list[ReportedTrouble]:
        """What is reported now, of all hosts."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch(
                "SELECT issuer_id, task, host, since, error FROM troubles "
                "WHERE reported_at > now() - $1::text::interval ORDER BY issuer_id, task, host",
                FORGOTTEN,
            )
        return [ReportedTrouble(**dict(row)) for row in rows]
