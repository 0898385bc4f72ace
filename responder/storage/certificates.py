"""The registry: certificates as they are issued."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from responder.pki import IssuedCertificate, Issuer, encode_serial
from responder.storage.audit import audit
from responder.storage.postgres import LONG_SECONDS, Connection, acquired
from responder.storage.rows import NUMBERED, NUMBERED_NO_MORE, revocation_columns

_ISSUED = """
CREATE TEMP TABLE issued (LIKE certificates) ON COMMIT DROP;
ALTER TABLE issued ALTER partition DROP NOT NULL, ALTER epoch DROP NOT NULL, ALTER number DROP NOT NULL;
"""


class PostgresCertificates:
    """Registers certificates for whoever issues them."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def register(self, issuer: Issuer, issued: Sequence[IssuedCertificate], *, actor: str) -> set[bytes]:
        """Register certificates, all of them or none; one that is known already stays as it is.

        Returns:
            The serials (as `encode_serial` has them) of those that weren't known.

        Raises:
            StatusUnavailable: the database can't be reached; asking again is safe.
        """
        async with acquired(self._pool) as connection, connection.transaction():
            added = await register(connection, issuer, issued)
            if added:
                detail = {"registered": len(added), "known": len(issued) - len(added)}
                serial = next(iter(added)) if len(issued) == 1 else None
                await audit(connection, actor, "register", detail, issuer_id=issuer.id, serial=serial)
        return added


async def register(connection: Connection, issuer: Issuer, issued: Sequence[IssuedCertificate]) -> set[bytes]:
    """Register certificates in the transaction under way; one that is known already stays as it is. The serials of
    those that weren't."""
    if not issued:
        return set()
    await connection.execute(_ISSUED)
    columns = (
        "issuer_id", "serial", "revoked", "revoked_at", "reason", "invalidity_date", "not_before", "not_after",
        "certificate_sha256",
    )  # fmt: skip
    await connection.copy_records_to_table(
        "issued",
        columns=columns,
        records=(_record(issuer, certificate) for certificate in issued),
        timeout=LONG_SECONDS,
    )
    names = ", ".join(columns)
    await connection.execute(NUMBERED)
    added = await connection.fetch(
        f"INSERT INTO certificates ({names}, epoch, number) "
        f"SELECT {names}, (SELECT epoch FROM installation), nextval('status_numbers') FROM issued "
        "ORDER BY serial ON CONFLICT DO NOTHING RETURNING serial",  # in this order, so that nobody deadlocks
        timeout=LONG_SECONDS,
    )
    await connection.execute(NUMBERED_NO_MORE)
    return {row["serial"] for row in added}


def _record(issuer: Issuer, certificate: IssuedCertificate) -> tuple[Any, ...]:
    return (
        issuer.id,
        encode_serial(certificate.serial_number),
        *revocation_columns(certificate.revoked_info),
        certificate.not_before,
        certificate.not_after,
        certificate.certificate_sha256,
    )
