"""The registry: certificates as they are issued."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from responder.pki import IssuedCertificate, Issuer, encode_serial
from responder.storage.postgres import LONG_SECONDS, Connection
from responder.storage.rows import revocation_columns


async def register(connection: Connection, issuer: Issuer, issued: Sequence[IssuedCertificate]) -> None:
    """Register certificates in the transaction under way; one that is known already stays as it is."""
    if not issued:
        return
    await connection.execute("CREATE TEMP TABLE issued (LIKE certificates) ON COMMIT DROP")
    await connection.execute(
        "ALTER TABLE issued ALTER partition DROP NOT NULL, ALTER epoch DROP NOT NULL, ALTER number DROP NOT NULL"
    )
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
    await connection.execute(
        f"INSERT INTO certificates ({names}) SELECT {names} FROM issued ON CONFLICT DO NOTHING", timeout=LONG_SECONDS
    )


def _record(issuer: Issuer, certificate: IssuedCertificate) -> tuple[Any, ...]:
    return (
        issuer.id,
        encode_serial(certificate.serial_number),
        *revocation_columns(certificate.revoked_info),
        certificate.not_before,
        certificate.not_after,
        certificate.certificate_sha256,
    )
