"""Rows that an older schema let in, and that no answer or CRL can say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from responder.storage.postgres import LONG_SECONDS, Row, acquired

# The condition of the index certificates_unsayable, word for word.
_UNSAYABLE = """
NOT (
    is_minimal_integer(serial) AND is_sayable(revoked_at) AND is_sayable(invalidity_date)
    AND is_calendar_time(not_before) AND is_calendar_time(not_after)
)
"""


@dataclass(frozen=True, slots=True)
class UnsayableRow:
    """A row, what is wrong with it, and what to do about it; `serial` in hexadecimal, as the row has it."""

    issuer_id: str
    serial: str
    fault: str
    remedy: str


class PostgresChecks:
    """Looks for rows that can't be served."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def unsayable(self, limit: int = 1000) -> list[UnsayableRow]:
        """The first of them, in the order of issuers and serials."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch(
                f"""
                SELECT issuer_id, serial, is_minimal_integer(serial) AS minimal, revoked_at::text,
                    invalidity_date::text, not_before::text, not_after::text, is_sayable(revoked_at) AS revoked_at_ok,
                    is_sayable(invalidity_date) AS invalidity_date_ok, is_calendar_time(not_before) AS not_before_ok,
                    is_calendar_time(not_after) AS not_after_ok
                FROM certificates WHERE {_UNSAYABLE} ORDER BY issuer_id, serial LIMIT $1
                """,
                limit,
            )
            issuers = await connection.fetch(
                "SELECT id, compromised_at::text FROM issuers WHERE NOT is_sayable(compromised_at) ORDER BY id"
            )
        return [_describe(row) for row in rows] + [
            UnsayableRow(
                row["id"],
                "",
                f"compromised_at is {row['compromised_at']}, which no answer can say",
                f"certstatus issuer set {row['id']} compromised_at=1970-01-01T00:00:00Z, or a later time",
            )
            for row in issuers
        ]

    async def now(self) -> datetime:
        """The database's clock."""
        async with acquired(self._pool) as connection:
            moment: datetime = await connection.fetchval("SELECT clock_timestamp()")
        return moment

    async def count(self) -> int:
        """How many there are."""
        async with acquired(self._pool) as connection:
            return int(
                await connection.fetchval(
                    f"SELECT (SELECT count(*) FROM certificates WHERE {_UNSAYABLE}) "
                    "+ (SELECT count(*) FROM issuers WHERE NOT is_sayable(compromised_at))"
                )
            )

    async def validate(self) -> int:
        """Have the database vouch for every row; only when there are no bad ones. How many constraints that were."""
        async with acquired(self._pool) as connection:
            pending = await connection.fetch(
                "SELECT conrelid::regclass::text AS in_table, quote_ident(conname) AS name FROM pg_constraint "
                "WHERE contype = 'c' AND NOT convalidated AND connamespace = current_schema()::regnamespace"
            )
            for table, name in pending:
                await connection.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}", timeout=LONG_SECONDS)
        return len(pending)


def _describe(row: Row) -> UnsayableRow:
    issuer_id, serial = row["issuer_id"], row["serial"].hex()
    where = f"WHERE issuer_id = '{issuer_id}' AND serial = '\\x{serial}'"
    if not row["minimal"]:
        return UnsayableRow(
            issuer_id,
            serial,
            "the serial has leading octets that a DER INTEGER hasn't, so nobody can ask for it",
            f"register the certificate under its minimal serial, then: DELETE FROM certificates {where}",
        )
    columns = ("revoked_at", "invalidity_date", "not_before", "not_after")
    bad = [name for name in columns if not row[f"{name}_ok"]]
    remedies = {
        "revoked_at": "revoked_at = '1970-01-01Z'",
        "invalidity_date": "invalidity_date = NULL",
        "not_before": "not_before = NULL",
        "not_after": "not_after = NULL",
    }
    return UnsayableRow(
        issuer_id,
        serial,
        "; ".join(f"{name} is {row[name]}, which no answer can say" for name in bad),
        f"UPDATE certificates SET {', '.join(remedies[name] for name in bad)} {where}",
    )
