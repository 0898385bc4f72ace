"""What is revoked, all of it at one moment: what a CRL is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg

from responder.pki import Issuer, RevokedSnapshot
from responder.storage.postgres import Connection, Row, acquired

# Times as the native core takes them; what no CRL can say is said as nearly as it can be, since being left out would be
# worse.
_REVOKED = """
SELECT serial,
    floor(greatest(0, least(date_part('epoch', revoked_at), 253402300799)))::bigint,
    coalesce(nullif(reason, 0), -1)::integer,
    CASE WHEN invalidity_date IS NULL THEN -1
        ELSE floor(greatest(0, least(date_part('epoch', invalidity_date), 253402300799))) END::bigint
FROM certificates
WHERE issuer_id = $1 AND revoked AND is_minimal_integer(serial) AND (
    $2::timestamptz IS NULL OR not_after IS NULL OR not_after >= $2 OR serial IN (
        SELECT serial FROM outbox
        WHERE issuer_id = $1 AND kind <> 'issued' AND transaction_id >= pg_snapshot_xmin($3::text::pg_snapshot)
            AND NOT pg_visible_in_snapshot(transaction_id, $3::text::pg_snapshot)
    )
)
ORDER BY serial
"""

_FETCHED_AT_ONCE = 5000


class PostgresRevoked:
    """Implements `RevokedSource`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def revoked_snapshot(
        self, issuer: Issuer, *, not_expired_at: datetime | None, unseen_by: str | None = None
    ) -> AsyncIterator[RevokedSnapshot]:
        """See `RevokedSource.revoked_snapshot`; streamed from a cursor in one transaction."""
        async with (
            acquired(self._pool) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            # The first statement takes the snapshot; now() is before it.
            row = await connection.fetchrow("SELECT now() AS as_of, pg_current_snapshot()::text AS snapshot")
            assert row is not None  # it selects no table
            yield RevokedSnapshot(
                row["as_of"], row["snapshot"], _entries(connection, issuer, not_expired_at, unseen_by)
            )


async def _entries(
    connection: Connection, issuer: Issuer, not_expired_at: datetime | None, unseen_by: str | None
) -> AsyncIterator[Sequence[Row]]:
    cursor = await connection.cursor(_REVOKED, issuer.id, not_expired_at, unseen_by)
    while rows := await cursor.fetch(_FETCHED_AT_ONCE):
        yield rows
