"""Taking over another CA's list of statuses: all of it or nothing, and never back to good."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import asyncpg

from responder.interfaces import ImportedStatus
from responder.pki import Issuer, encode_serial
from responder.storage.audit import audit
from responder.storage.postgres import LONG_SECONDS, acquired, row_count

_CHUNK = 10_000

_TABLE = """
CREATE TEMP TABLE listed (
    serial bytea PRIMARY KEY, revoked boolean, revoked_at timestamptz, reason smallint, invalidity_date timestamptz,
    not_before timestamptz, not_after timestamptz
) ON COMMIT DROP
"""

_INSERT = """
INSERT INTO certificates (issuer_id, serial, revoked, revoked_at, reason, invalidity_date, not_before, not_after)
SELECT $1, serial, revoked, revoked_at, reason, invalidity_date, not_before, not_after FROM listed
ON CONFLICT DO NOTHING
"""

_COUNT_INSERTED = """
SELECT count(*) FROM listed l
WHERE NOT EXISTS (SELECT FROM certificates c WHERE c.issuer_id = $1 AND c.serial = l.serial)
"""

_COUNT_KEPT = """
SELECT count(*) FROM listed l JOIN certificates c ON c.issuer_id = $1 AND c.serial = l.serial
WHERE c.revoked AND NOT l.revoked
"""

_REVOKE = """
UPDATE certificates c SET revoked = true, revoked_at = l.revoked_at, reason = l.reason,
    invalidity_date = l.invalidity_date, not_after = coalesce(l.not_after, c.not_after)
FROM listed l WHERE c.issuer_id = $1 AND c.serial = l.serial AND l.revoked AND NOT c.revoked
"""

_CHANGE = """
UPDATE certificates c SET revoked_at = CASE WHEN l.revoked THEN l.revoked_at ELSE c.revoked_at END,
    reason = CASE WHEN l.revoked THEN l.reason ELSE c.reason END,
    invalidity_date = CASE WHEN l.revoked THEN l.invalidity_date ELSE c.invalidity_date END,
    not_before = coalesce(l.not_before, c.not_before), not_after = coalesce(l.not_after, c.not_after)
FROM listed l WHERE c.issuer_id = $1 AND c.serial = l.serial AND (l.revoked AND c.revoked OR NOT l.revoked)
    AND (
        l.revoked AND c.revoked AND (l.revoked_at, l.reason, l.invalidity_date)
            IS DISTINCT FROM (c.revoked_at, c.reason, c.invalidity_date)
        OR coalesce(l.not_after, c.not_after) IS DISTINCT FROM c.not_after
        OR coalesce(l.not_before, c.not_before) IS DISTINCT FROM c.not_before
    )
"""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, or would do: counts of certificates.

    `kept_revoked` are revoked here and good in the list; they stay revoked (release them by hand where that is right).
    """

    listed: int
    added: int
    newly_revoked: int
    changed: int
    unchanged: int
    kept_revoked: int


class PostgresImports:
    """Brings lists into the database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def run(
        self,
        issuer: Issuer,
        rows: Iterable[ImportedStatus],
        *,
        dry_run: bool,
        actor: str,
        progress: Callable[[int], None] | None = None,
    ) -> ImportReport:
        """Compare the list with what is there, and take over what is new, in one transaction.

        Args:
            rows: each serial once.
            dry_run: the same, and then nothing is kept.
            progress: called with how many rows were taken in, a few times.

        Raises:
            StatusUnavailable: the database can't be reached; nothing was changed.
        """
        async with acquired(self._pool) as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.execute(_TABLE)
                listed = 0
                records = iter(rows)
                while chunk := list(islice(_records(records), _CHUNK)):
                    await connection.copy_records_to_table("listed", records=chunk, timeout=LONG_SECONDS)
                    listed += len(chunk)
                    if progress is not None:
                        progress(len(chunk))
                await connection.execute("ANALYZE listed")
                added = int(await connection.fetchval(_COUNT_INSERTED, issuer.id, timeout=LONG_SECONDS))
                kept = int(await connection.fetchval(_COUNT_KEPT, issuer.id, timeout=LONG_SECONDS))
                # Changed rows first: those inserted or revoked below are as the list has them.
                changed = row_count(await connection.execute(_CHANGE, issuer.id, timeout=LONG_SECONDS))
                revoked = row_count(await connection.execute(_REVOKE, issuer.id, timeout=LONG_SECONDS))
                await connection.execute(_INSERT, issuer.id, timeout=LONG_SECONDS)
                # With the first list CRLs may be published: before it they would have been empty.
                await connection.execute(
                    "UPDATE issuers SET crls_started_at = now() WHERE id = $1 AND crls_started_at IS NULL", issuer.id
                )
                report = ImportReport(
                    listed=listed,
                    added=added,
                    newly_revoked=revoked,
                    changed=changed,
                    unchanged=max(0, listed - added - revoked - changed - kept),
                    kept_revoked=kept,
                )
                await audit(connection, actor, "import", asdict(report), issuer_id=issuer.id)
            except BaseException:
                await transaction.rollback()
                raise
            if dry_run:
                await transaction.rollback()
            else:
                await transaction.commit()
        return report


def _records(rows: Iterator[ImportedStatus]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        info = row.revoked_info
        yield (
            encode_serial(row.serial_number),
            info is not None,
            None if info is None else info.revocation_time,
            None if info is None or info.revocation_reason is None else int(info.revocation_reason),
            None if info is None else info.invalidity_date,
            row.not_before,
            row.not_after,
        )
