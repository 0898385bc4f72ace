"""Statuses in Postgres: reading them with their version, changing them, and the outbox of changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg

from responder import log
from responder.deadlines import within
from responder.errors import RevocationRefused, StoreUnavailable
from responder.interfaces import ISSUED_KEPT
from responder.pki import (
    Certificate,
    CertificateStatus,
    Issuer,
    IssuerPolicy,
    Issuers,
    Pending,
    RevokedInfo,
    StatusChange,
    StatusVersion,
    decode_serial,
)
from responder.storage.audit import audit
from responder.storage.postgres import Connection, Row, acquired, row_count, translating
from responder.storage.rows import COLUMNS, revocation_columns, status_from
from responder.storage.runs import holds_trusted_run

_log = log.get("storage.statuses")


# now() is the start of the transaction, here of the statement: never later than the snapshot that the row is read in.
_STATUS_OF = f"""
SELECT {COLUMNS}, now() AS as_of
FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS asked (issuer_id, serial, position)
LEFT JOIN certificates c ON c.issuer_id = asked.issuer_id AND c.serial = asked.serial
ORDER BY asked.position
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
        WHERE closed_at IS NULL AND issuer_id = kept.issuer_id AND serial = kept.serial
            AND (outbox.epoch, outbox.number) <= (kept.epoch, kept.number)
        OFFSET 0
    ) AS o
)
"""

_CLOSE = f"""
{_COVERED}
UPDATE outbox SET closed_at = now() WHERE id = ANY(ARRAY(SELECT id FROM covered)) AND closed_at IS NULL
"""

_POSTPONE = f"""
{_COVERED}
UPDATE outbox SET failures = least(failures + 1, 1000),
    retry_at = now() + interval '1 second' * power(2, least(failures, 6))
WHERE id = ANY(ARRAY(SELECT id FROM covered)) AND closed_at IS NULL
"""

READ_SECONDS = 1.5
"""Whoever asks for a status is waiting for an answer: later than this it is tryLater."""

CHANGE_SECONDS = 5.0

_KNOWN_AFTER = timedelta(seconds=2)
"""An issuer that isn't known here by then can't be read."""

_SWEPT_AT_ONCE = 10_000

LONGEST_VALIDITY = timedelta(days=7)
"""No answer lives longer; closed changes are kept for it, since floors are rebuilt from them."""


class PostgresStatuses:
    """Implements `StatusSource` and `RevocationStore`."""

    def __init__(self, pool: asyncpg.Pool, issuers: Issuers) -> None:
        self._pool = pool
        self._issuers = issuers

    async def status_of(self, certificates: Sequence[Certificate]) -> list[CertificateStatus | None]:
        """See `StatusSource.status_of`; one statement for all, and no longer than READ_SECONDS, whatever the database
        does."""
        with translating():
            return await within(READ_SECONDS, self._status_of(certificates))

    async def _status_of(self, certificates: Sequence[Certificate]) -> list[CertificateStatus | None]:
        async with acquired(self._pool, seconds=READ_SECONDS) as connection:
            return await _read(connection, certificates)

    async def change(
        self,
        certificate: Certificate,
        decide: Callable[[CertificateStatus], StatusChange | None],
        *,
        actor: str,
    ) -> CertificateStatus:
        """See `RevocationStore.change`; no longer than CHANGE_SECONDS."""
        with translating():
            return await within(CHANGE_SECONDS, self._change(certificate, decide, actor=actor))

    async def _change(
        self,
        certificate: Certificate,
        decide: Callable[[CertificateStatus], StatusChange | None],
        *,
        actor: str,
    ) -> CertificateStatus:
        issuer_id, serial = certificate.issuer.id, certificate.serial
        async with acquired(self._pool) as connection:
            async with _refusing_unsayable(certificate), connection.transaction():
                row = await connection.fetchrow(
                    f"SELECT {COLUMNS}, now() AS as_of FROM certificates c "
                    "WHERE issuer_id = $1 AND serial = $2 FOR UPDATE",
                    issuer_id,
                    serial,
                )
                if row is None:
                    raise _unknown(certificate)
                before = status_from(certificate, row)
                change = decide(before)
                if change is not None:
                    await _write(connection, certificate, change.revoked_info)
                    await audit(
                        connection,
                        actor,
                        "release" if change.revoked_info is None else "revoke",
                        {"before": _describe(before.revoked_info), "after": _describe(change.revoked_info)},
                        issuer_id=issuer_id,
                        serial=serial,
                    )
            # After the commit, so that version and as_of are what any later reader sees.
            (status,) = await _read(connection, [certificate])
        if status is None:
            raise _unknown(certificate)
        return status

    async def pending(self, limit: int) -> list[Pending]:
        """See `RevocationStore.pending`. Two relays may take the same rows: doing a change twice is harmless."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch(
                """
                SELECT DISTINCT ON (issuer_id, serial) id, issuer_id, serial, (SELECT epoch FROM installation) AS epoch,
                    number, now() AS as_of, (SELECT tag FROM issuers i WHERE i.id = issuer_id) AS tag,
                    created_at < now() - $2::interval AS has_waited
                FROM (
                    SELECT * FROM outbox WHERE closed_at IS NULL AND (retry_at IS NULL OR retry_at <= now())
                    ORDER BY id LIMIT $1
                ) AS oldest
                ORDER BY issuer_id, serial, oldest.epoch DESC, number DESC
                """,
                limit,
                _KNOWN_AFTER,
            )
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
            return int(await connection.fetchval("SELECT count(*) FROM outbox WHERE closed_at IS NULL"))

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

    async def retry_later(self, pending: Sequence[Pending]) -> None:
        """See `RevocationStore.retry_later`; after 1 s, then twice as long each time, up to 64 s."""
        async with acquired(self._pool) as connection:
            await connection.execute(
                _POSTPONE,
                [change.certificate.issuer.id for change in pending],
                [change.certificate.serial for change in pending],
                [change.version.epoch for change in pending],
                [change.version.number for change in pending],
            )

    async def renumber(self, certificate: Certificate, kept: StatusVersion) -> bool:
        """See `RevocationStore.renumber`."""
        async with acquired(self._pool) as connection:
            # The trigger gives the number, and announces only what changes a status.
            updated = await connection.execute(
                """
                WITH renumbered AS (
                    UPDATE certificates SET number = 0 WHERE issuer_id = $1 AND serial = $2
                        AND $3::bigint = (SELECT epoch FROM installation)
                        AND $4 <= (SELECT last_value FROM status_numbers)
                    RETURNING issuer_id, serial, epoch, number
                )
                INSERT INTO outbox (issuer_id, serial, epoch, number, kind)
                SELECT issuer_id, serial, epoch, number, 'changed' FROM renumbered
                """,
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


@asynccontextmanager
async def _refusing_unsayable(certificate: Certificate) -> AsyncIterator[None]:
    """A row of before schema version 4 that can't be changed as it is."""
    try:
        yield
    except asyncpg.CheckViolationError as error:
        raise RevocationRefused(
            409,
            "the row can't be written",
            f"the row of {certificate.serial_number:#x} breaks {error.constraint_name}; certstatus db check says what "
            "to do about it",
        ) from error


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


async def _read(connection: Connection, certificates: Sequence[Certificate]) -> list[CertificateStatus | None]:
    rows = await connection.fetch(
        _STATUS_OF,
        [certificate.issuer.id for certificate in certificates],
        [certificate.serial for certificate in certificates],
    )
    return [
        None if row["number"] is None else status_from(certificate, row)
        for certificate, row in zip(certificates, rows, strict=True)
    ]


async def _write(connection: Connection, certificate: Certificate, info: RevokedInfo | None) -> None:
    await connection.execute(
        "UPDATE certificates SET revoked = $3, revoked_at = $4, reason = $5, invalidity_date = $6 "
        "WHERE issuer_id = $1 AND serial = $2",
        certificate.issuer.id,
        certificate.serial,
        *revocation_columns(info),
    )


def _describe(info: RevokedInfo | None) -> dict[str, str | None]:
    if info is None:
        return {"status": "good"}
    reason, invalidity = info.revocation_reason, info.invalidity_date
    return {
        "status": "revoked",
        "revoked_at": info.revocation_time.isoformat(),
        "reason": None if reason is None else reason.name,
        "invalidity_date": None if invalidity is None else invalidity.isoformat(),
    }


def _unknown(certificate: Certificate) -> RevocationRefused:
    return RevocationRefused(
        404,
        "no such certificate",
        f"issuer {certificate.issuer.id} has no certificate with serial {certificate.serial_number:#x} here; "
        "check the serial, or register the certificate first (certstatus import)",
    )
