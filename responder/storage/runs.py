"""Which run of the record store may be trusted, and how one comes to be (decision 0006)."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from responder.pki import Seal, StoreRun
from responder.storage.audit import audit
from responder.storage.postgres import LONG_SECONDS, Connection, acquired, row_count

FORGOTTEN = timedelta(seconds=5)
"""A run that no `work` has seen for so long gives way to the one that another sees."""


class PostgresRuns:
    """Implements `StoreRuns` in the one row of `record_store`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def current(self) -> StoreRun:
        """See `StoreRuns.current`."""
        async with acquired(self._pool) as connection:
            return await _current(connection)

    async def see(self, run: str, *, owner: str) -> StoreRun:
        """See `StoreRuns.see`."""
        async with acquired(self._pool) as connection:
            # Not of the key: whoever holds the row for a confirmation isn't waited for.
            seen = await connection.execute(
                "UPDATE record_store SET owner = $2, seen_at = now() WHERE run = $1", run, owner
            )
            if not row_count(seen):
                async with connection.transaction():
                    await self._begin(connection, run, owner)
            return await _current(connection)

    async def _begin(self, connection: Connection, run: str, owner: str) -> None:
        # Confirmations wait for this lock, and see the new run after it.
        row = await connection.fetchrow(
            "SELECT run, owner, seen_at > now() - $1::interval AS is_in_use FROM record_store FOR UPDATE", FORGOTTEN
        )
        assert row is not None  # the migration made it
        if row["run"] is not None and row["is_in_use"] and row["owner"] != owner:
            return
        opened = await connection.execute(
            "UPDATE outbox SET closed_at = NULL, retry_at = NULL, failures = 0 "
            "WHERE closed_at IS NOT NULL AND kind <> 'issued'",
            timeout=LONG_SECONDS,
        )
        await connection.execute(
            """
            UPDATE record_store SET run = $1, complete = false, owner = $2, seen_at = now(), since = now(),
                replayed = $3, completed_at = NULL, replay_to = coalesce((SELECT max(id) FROM outbox), 0)
            """,
            run,
            owner,
            row_count(opened),
        )
        await connection.execute("SELECT pg_notify('certstatus_status', '')")

    async def complete(self, run: str) -> bool:
        """See `StoreRuns.complete`."""
        async with acquired(self._pool) as connection, connection.transaction():
            await connection.execute("SELECT FROM record_store FOR UPDATE")
            done = await connection.execute(
                """
                UPDATE record_store r SET complete = true, completed_at = now()
                WHERE run = $1 AND NOT complete AND NOT EXISTS (
                    SELECT FROM outbox WHERE closed_at IS NULL AND kind <> 'issued' AND id <= r.replay_to
                )
                """,
                run,
            )
        return row_count(done) > 0

    async def seal(self) -> Seal:
        """What records are sealed with."""
        async with acquired(self._pool) as connection:
            return Seal(await connection.fetchval("SELECT seal_key FROM record_store"))

    async def newest_version(self) -> tuple[int, int]:
        """See `StoreRuns.newest_version`."""
        async with acquired(self._pool) as connection:
            row = await connection.fetchrow(
                "SELECT (SELECT epoch FROM installation) AS epoch, (SELECT last_value FROM status_numbers) AS number"
            )
        assert row is not None  # it selects no table
        return row["epoch"], row["number"]

    async def set_ahead(self, version: tuple[int, int] | None) -> None:
        """See `StoreRuns.set_ahead`."""
        epoch, number = version or (None, None)
        async with acquired(self._pool) as connection:
            await connection.execute(
                "UPDATE record_store SET ahead_epoch = $1, ahead_number = $2 "
                "WHERE (ahead_epoch, ahead_number) IS DISTINCT FROM ($1, $2::numeric)",
                epoch,
                number,
            )

    async def recover(self, *, actor: str) -> int:
        """Commits were lost: raise the epoch, so that every version from now on is above every earlier one, have all
        changes put again and everything signed again.

        Returns:
            The new epoch.
        """
        async with acquired(self._pool) as connection, connection.transaction():
            epoch: int = await connection.fetchval("UPDATE installation SET epoch = epoch + 1 RETURNING epoch")
            await connection.execute(
                # Hosts learn of all of them again: transaction ids of before may have been given anew.
                "UPDATE outbox SET closed_at = NULL, retry_at = NULL, failures = 0, "
                "transaction_id = pg_current_xact_id()",
                timeout=LONG_SECONDS,
            )
            await connection.execute("UPDATE partitions SET due_at = now(), leased_by = NULL, leased_until = NULL")
            await connection.execute(
                "UPDATE record_store SET run = NULL, complete = false, ahead_epoch = NULL, ahead_number = NULL"
            )
            await audit(connection, actor, "recover", {"epoch": epoch})
            await connection.execute("SELECT pg_notify('certstatus_status', '')")
        return epoch


async def holds_trusted_run(connection: Connection, run: str, *, complete: bool) -> bool:
    """Whether this is the run in use (and complete, where that is asked), for as long as the transaction lasts: a
    confirmation counts only while readers look there. Before `work` has seen any run readers trust none."""
    row = await connection.fetchrow("SELECT run, complete FROM record_store FOR KEY SHARE")
    assert row is not None  # the migration made it
    if row["run"] is None:
        return True
    return bool(row["run"] == run and (row["complete"] or not complete))


async def _current(connection: Connection) -> StoreRun:
    row = await connection.fetchrow("SELECT * FROM record_store")
    assert row is not None  # the migration made it
    return StoreRun(
        run=row["run"],
        complete=row["complete"],
        replayed=row["replayed"],
        since=row["since"],
        completed_at=row["completed_at"],
        ahead=None if row["ahead_epoch"] is None else (row["ahead_epoch"], int(row["ahead_number"])),
    )
