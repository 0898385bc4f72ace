"""Statuses in Postgres: reading them with their version, and changing them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import asyncpg

from responder.deadlines import within
from responder.errors import RevocationRefused
from responder.pki import Certificate, CertificateStatus, RevokedInfo, StatusChange
from responder.storage.audit import audit
from responder.storage.outbox import PostgresOutbox
from responder.storage.postgres import Connection, acquired, translating
from responder.storage.rows import COLUMNS, revocation_columns, status_from

# now() is the start of the transaction, here of the statement: never later than the snapshot that the row is read in.
_STATUS_OF = f"""
SELECT {COLUMNS}, now() AS as_of
FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS asked (issuer_id, serial, position)
LEFT JOIN certificates c ON c.issuer_id = asked.issuer_id AND c.serial = asked.serial
ORDER BY asked.position
"""

READ_SECONDS = 1.5
"""Whoever asks for a status is waiting for an answer: later than this it is tryLater."""

CHANGE_SECONDS = 5.0


class PostgresStatuses(PostgresOutbox):
    """Implements `StatusSource` and `RevocationStore`."""

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
