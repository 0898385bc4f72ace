"""Certificates and their statuses, looked through: page by page, all at one moment, and what is planned for one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from responder.pki import Certificate, CertificateStatus, Issuer
from responder.storage.postgres import LONG_SECONDS, acquired
from responder.storage.rows import COLUMNS, status_from

_FETCHED_AT_ONCE = 5000

_WHERE = """
c.issuer_id = $1 AND ($2::boolean IS NULL OR c.revoked = $2)
AND ($3::timestamptz IS NULL OR c.not_after >= $3) AND ($4::timestamptz IS NULL OR c.not_after < $4)
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which certificates of an issuer; what is None doesn't matter. With a bound of notAfter only those whose end is
    known."""

    revoked: bool | None = None
    not_after_from: datetime | None = None
    not_after_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What is planned for a certificate: when it is signed again, and how many of its changes aren't signed yet."""

    signed_again_at: datetime | None
    open_changes: int


class PostgresListing:
    """Reads statuses for people and for other programs; nothing here answers OCSP."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def page(
        self, issuer: Issuer, selection: Selection, *, after: bytes = b"", limit: int
    ) -> list[CertificateStatus]:
        """The first `limit` in the order of their serials' octets, of those after one.

        Raises:
            StatusUnavailable: the database can't be reached.
        """
        async with acquired(self._pool) as connection:
            rows = await connection.fetch(
                f"SELECT c.serial, {COLUMNS}, now() AS as_of FROM certificates c WHERE {_WHERE} AND c.serial > $5 "
                "ORDER BY c.serial LIMIT $6",
                *_arguments(issuer, selection),
                after,
                limit,
                timeout=LONG_SECONDS,
            )
        return [status_from(Certificate(issuer, row["serial"]), row) for row in rows]

    async def everything(self, issuer: Issuer, selection: Selection) -> AsyncGenerator[list[CertificateStatus], None]:
        """All of them, some at a time, as they are at one moment.

        Raises:
            StatusUnavailable: the database can't be reached.
        """
        async with (
            acquired(self._pool) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            cursor = await connection.cursor(
                f"SELECT c.serial, {COLUMNS}, now() AS as_of FROM certificates c WHERE {_WHERE} ORDER BY c.serial",
                *_arguments(issuer, selection),
                timeout=LONG_SECONDS,
            )
            while rows := await cursor.fetch(_FETCHED_AT_ONCE, timeout=LONG_SECONDS):
                yield [status_from(Certificate(issuer, row["serial"]), row) for row in rows]

    async def upkeep(self, certificate: Certificate) -> Upkeep:
        """What is planned for it.

        Raises:
            StatusUnavailable: the database can't be reached.
        """
        async with acquired(self._pool) as connection:
            row = await connection.fetchrow(
                """
                SELECT (
                    SELECT p.due_at FROM certificates c JOIN partitions p USING (issuer_id, partition)
                    WHERE c.issuer_id = $1 AND c.serial = $2
                ) AS due_at, (
                    SELECT count(*) FROM outbox
                    WHERE issuer_id = $1 AND closed_at IS NULL AND (serial = $2 OR $2 = ANY(serials))
                ) AS open_changes
                """,
                certificate.issuer.id,
                certificate.serial,
            )
        assert row is not None  # it selects no table
        return Upkeep(row["due_at"], row["open_changes"])


def _arguments(issuer: Issuer, selection: Selection) -> tuple[object, ...]:
    return issuer.id, selection.revoked, selection.not_after_from, selection.not_after_until
