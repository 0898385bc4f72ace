"""The outbox: changes that wait for their records, and how they are closed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import asyncpg

from responder import log
from responder.errors import StoreUnavailable
from responder.pki import (
    ISSUED_KEPT,
    Certificate,
    CertificateStatus,
    Issuer,
    IssuerPolicy,
    Issuers,
    Pending,
    StatusVersion,
    decode_serial,
)
from responder.storage.postgres import Row, acquired, row_count
from responder.storage.runs import holds_trusted_run

_log = log.get("storage.outbox")

# The oldest, those before that were merely issued; a row that announces many counts for all of them.
_PENDING = """
WITH oldest AS (
    (SELECT 0 AS place, * FROM outbox WHERE closed_at IS NULL AND kind <> 'issued'
        AND (retry_at IS NULL OR retry_at <= now()) ORDER BY id LIMIT $1)
    UNION ALL
    (SELECT 1, * FROM outbox WHERE closed_at IS NULL AND kind = 'issued'
        AND (retry_at IS NULL OR retry_at <= now()) ORDER BY id LIMIT $1)
), counted AS (
    SELECT *, sum(coalesce(cardinality(serials), 1)) OVER (
        ORDER BY place, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS before
    FROM oldest
)
SELECT DISTINCT ON (issuer_id, announced.serial) id, issuer_id, announced.serial, serials IS NOT NULL AS is_together,
    (SELECT epoch FROM installation) AS epoch, number, now() AS as_of,
    (SELECT tag FROM issuers i WHERE i.id = issuer_id) AS tag, created_at < now() - $2::interval AS has_waited
FROM counted, unnest(coalesce(serials, ARRAY[serial])) AS announced (serial)
WHERE coalesce(before, 0) < $1
ORDER BY issuer_id, announced.serial, counted.epoch DESC, number DESC
"""

# The open changes of some certificates up to a version. OFFSET 0 keeps it a look for each certificate, and the array
# keeps what uses it a look for each change: a planner that takes the table for small would go through all of it, each
# time.
_COVERED = """
WITH covered AS MATERIALIZED (
    SELECT o.id
    FROM unnest($1::text[], $2::bytea[], $3::integer[], $4::bigint[]) AS kept (issuer_id, serial, epoch, number),
    LATERAL (
        SELECT id FROM outbox
        WHERE closed_at IS NULL AND serials IS NULL AND issuer_id = kept.issuer_id AND serial = kept.serial
            AND (outbox.epoch, outbox.number) <= (kept.epoch, kept.number)
        OFFSET 0
    ) AS o
)
"""

_CLOSE = f"""
{_COVERED}
UPDATE outbox SET closed_at = now() WHERE id = ANY(ARRAY(SELECT id FROM covered)) AND closed_at IS NULL
"""

# Of many that were issued together (0016_announced_together.sql): closed, and a row of its own for each not done yet.
_CLOSE_TOGETHER = """
WITH ended AS MATERIALIZED (
    SELECT id, issuer_id, epoch, number, serials FROM outbox
    WHERE id = ANY($3::bigint[]) AND serials IS NOT NULL AND closed_at IS NULL
    FOR UPDATE
), closed AS (
    UPDATE outbox SET closed_at = now() WHERE id IN (SELECT id FROM ended)
)
INSERT INTO outbox (issuer_id, serial, epoch, number, kind)
SELECT issuer_id, left_over.serial, epoch, number, 'issued' FROM ended, LATERAL (
    SELECT unnest(serials) AS serial
    EXCEPT SELECT serial FROM unnest($1::text[], $2::bytea[]) AS done (issuer_id, serial)
    WHERE done.issuer_id = ended.issuer_id
) AS left_over
"""

_POSTPONE = f"""
{_COVERED}
UPDATE outbox SET failures = least(failures + 1, 1000),
    retry_at = now() + interval '1 second' * power(2, least(failures, 6))
WHERE id = ANY(ARRAY(SELECT id FROM covered)) AND closed_at IS NULL
"""

_KNOWN_AFTER = timedelta(seconds=2)
"""An issuer that isn't known here by then can't be read."""

_SWEPT_AT_ONCE = 10_000

LONGEST_VALIDITY = timedelta(days=7)
"""No answer lives longer; closed changes are kept for it, since floors are rebuilt from them."""


def renumbering(condition: str) -> str:
    """A statement that gives certificates new versions, and announces them as changed. (The trigger gives the number,
    and announces only what changes a status.)"""
    return f"""
WITH renumbered AS (
    UPDATE certificates SET number = 0 WHERE {condition} RETURNING issuer_id, serial, epoch, number
)
INSERT INTO outbox (issuer_id, serial, epoch, number, kind)
SELECT issuer_id, serial, epoch, number, 'changed' FROM renumbered
"""


class PostgresOutbox:
    """Which changes are open; the part of `RevocationStore` that the relay needs."""

    def __init__(self, pool: asyncpg.Pool, issuers: Issuers) -> None:
        self._pool = pool
        self._issuers = issuers

    async def pending(self, limit: int) -> list[Pending]:
        """See `RevocationStore.pending`. Two relays may take the same rows: doing a change twice is harmless."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch(_PENDING, limit, _KNOWN_AFTER)
            pending = []
            orphans = set()
            foreign = []
            for row in rows:
                issuer = self._issuers.get(row["issuer_id"])
                if issuer is None and row["tag"] is None:
                    orphans.add(row["issuer_id"])
                    continue
                if issuer is None and not row["has_waited"]:
                    continue  # one added a moment ago
                certificate = Certificate.numbered(issuer or _unreadable(row), decode_serial(row["serial"]))
                if certificate.serial != row["serial"]:
                    if not row["is_together"]:
                        foreign.append(row["id"])  # another spelling of a serial, which nobody can ask for
                else:
                    version = StatusVersion(row["epoch"], row["number"], row["as_of"])
                    pending.append(Pending(row["id"], certificate, version))
            if orphans:
                await connection.execute(
                    "DELETE FROM outbox o WHERE closed_at IS NULL AND issuer_id = ANY($1::text[]) "
                    "AND NOT EXISTS (SELECT FROM issuers i WHERE i.id = o.issuer_id)",
                    list(orphans),
                )
            if foreign:
                _log.error("serials_not_minimal", changes=len(foreign), remedy="certstatus db check")
                await connection.execute("UPDATE outbox SET closed_at = now() WHERE id = ANY($1::bigint[])", foreign)
        return pending

    async def pending_count(self) -> int:
        """How many changes wait for their records."""
        async with acquired(self._pool) as connection:
            return int(
                await connection.fetchval(
                    "SELECT coalesce(sum(coalesce(cardinality(serials), 1)), 0) FROM outbox WHERE closed_at IS NULL"
                )
            )

    async def done(
        self, pending: Sequence[Pending], kept: Sequence[CertificateStatus | None], *, run: str = ""
    ) -> None:
        """See `RevocationStore.done`. A newer change of the same certificate stays open."""
        # The status was read after the change was listed, so it has seen the change, whichever number is higher.
        changes = [
            max(change.version.change, change.version.change if status is None else status.version.change)
            for change, status in zip(pending, kept, strict=True)
        ]
        arguments = (
            [change.certificate.issuer.id for change in pending],
            [change.certificate.serial for change in pending],
            [epoch for epoch, _ in changes],
            [number for _, number in changes],
        )
        async with acquired(self._pool) as connection, connection.transaction():
            if run and not await holds_trusted_run(connection, run, complete=False):
                raise StoreUnavailable("the record store was started again, or is another; its changes stay open")
            await connection.execute(_CLOSE, *arguments)
            await connection.execute(_CLOSE_TOGETHER, *arguments[:2], _rows_of(pending))

    async def retry_later(self, pending: Sequence[Pending]) -> None:
        """See `RevocationStore.retry_later`; after 1 s, then twice as long each time, up to 64 s."""
        issuers = [change.certificate.issuer.id for change in pending]
        async with acquired(self._pool) as connection, connection.transaction():
            await connection.execute(_CLOSE_TOGETHER, [], [], _rows_of(pending))
            await connection.execute(
                _POSTPONE,
                issuers,
                [change.certificate.serial for change in pending],
                [change.version.epoch for change in pending],
                [change.version.number for change in pending],
            )

    async def renumber(self, certificate: Certificate, kept: StatusVersion) -> bool:
        """See `RevocationStore.renumber`."""
        async with acquired(self._pool) as connection:
            updated = await connection.execute(
                renumbering(
                    "issuer_id = $1 AND serial = $2 AND $3::bigint = (SELECT epoch FROM installation) "
                    "AND $4 <= (SELECT last_value FROM status_numbers)"
                ),
                certificate.issuer.id,
                certificate.serial,
                kept.epoch,
                min(kept.number, 2**63 - 1),
            )
        return row_count(updated) == 1

    async def sweep(self) -> None:
        """Forget closed changes that no living answer can be older than; and what was merely issued, which no answer is
        older than, once every host has learned of it."""
        async with acquired(self._pool) as connection:
            for kinds, age in (
                ("kind <> 'issued' AND created_at", LONGEST_VALIDITY + timedelta(days=1)),
                ("kind = 'issued' AND closed_at", ISSUED_KEPT),
            ):
                swept = _SWEPT_AT_ONCE
                while swept == _SWEPT_AT_ONCE:
                    done = await connection.execute(
                        "DELETE FROM outbox WHERE id = ANY(ARRAY(SELECT id FROM outbox WHERE closed_at IS NOT NULL "
                        f"AND {kinds} < now() - $1::interval LIMIT $2))",
                        age,
                        _SWEPT_AT_ONCE,
                    )
                    swept = row_count(done)


def _rows_of(pending: Sequence[Pending]) -> list[int]:
    return list({change.outbox_id for change in pending})


def _unreadable(row: Row) -> Issuer:
    """An issuer that is there and can't be read: enough of one to bury its older answers. Nobody else waits for it."""
    return Issuer(
        id=row["issuer_id"],
        tag=row["tag"],
        certificate=b"",
        name=b"",
        public_key=b"",
        cert_id_hashes=(),
        key_identifier=b"",
        not_before=row["as_of"],
        not_after=row["as_of"],
        policy=IssuerPolicy(validity=LONGEST_VALIDITY),
    )
