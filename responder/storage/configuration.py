"""Issuers, responder certificates and profiles as a process keeps them: read in one snapshot, and then what changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from responder.storage.postgres import Connection, Row, acquired


@dataclass(frozen=True, slots=True)
class _Table:
    """What is read of a table: which columns, of which rows, and what names a row."""

    name: str
    columns: str
    wanted: str
    names: str
    key: Callable[[Row], Any]


_TABLES = (
    _Table("issuers", "*", "true", "id", lambda row: row["id"]),
    _Table(
        "responder_certificates",
        "issuer_id, certificate, public_key, not_before, not_after, retired_at",
        "retired_at IS NULL",
        "issuer_id, certificate",
        lambda row: (row["issuer_id"], row["certificate"]),
    ),
    _Table("signing_profiles", "id, issuer_id, body", "retired_at IS NULL", "id", lambda row: row["id"]),
)

# Which server's, which database's, and which files: rows of a backup say nothing of when they came here.
_ORIGIN = (
    "SELECT pg_current_snapshot()::text, pg_postmaster_start_time()::text, "
    "(SELECT oid FROM pg_database WHERE datname = current_database()), "
    + ", ".join(f"pg_relation_filenode('{table.name}')" for table in _TABLES)
)


@dataclass(slots=True)
class ConfigurationRows:
    """All rows in use, of one moment. A row that hasn't changed is the same object as before; so is a table."""

    issuers: dict[str, Row] = field(default_factory=dict)
    responder_certificates: dict[tuple[str, bytes], Row] = field(default_factory=dict)
    signing_profiles: dict[bytes, Row] = field(default_factory=dict)


class PostgresConfiguration:
    """Reads what the operator decides."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._rows = ConfigurationRows()
        self._snapshot: str | None = None
        self._origin: tuple[object, ...] = ()

    async def read(self) -> ConfigurationRows:
        """All of it as it is now, in one snapshot.

        Raises:
            StatusUnavailable: the database can't be read; the next call reads what this one would have.
        """
        async with (
            acquired(self._pool) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await connection.fetchrow(_ORIGIN)
            assert row is not None  # it selects no table
            snapshot, *origin = row
            since = self._snapshot if tuple(origin) == self._origin else None
            found = [await self._read(connection, table, since) for table in _TABLES]
        self._rows = ConfigurationRows(*found)
        self._snapshot, self._origin = snapshot, tuple(origin)
        return self._rows

    async def _read(self, connection: Connection, table: _Table, since: str | None) -> dict[Any, Row]:
        if since is None:
            rows = await connection.fetch(f"SELECT {table.columns} FROM {table.name} WHERE {table.wanted}")
            return {table.key(row): row for row in rows}
        changed = await connection.fetch(
            f"SELECT {table.columns}, ({table.wanted}) AS is_wanted FROM {table.name} "
            "WHERE changed_by >= pg_snapshot_xmin($1::text::pg_snapshot) "
            "AND NOT pg_visible_in_snapshot(changed_by, $1::text::pg_snapshot)",
            since,
        )
        kept: dict[Any, Row] = getattr(self._rows, table.name)
        if changed:
            kept = dict(kept)
        for row in changed:
            if row["is_wanted"]:
                kept[table.key(row)] = row
            else:
                kept.pop(table.key(row), None)
        # Rows that were deleted leave no trace but their number.
        if len(kept) != await connection.fetchval(f"SELECT count(*) FROM {table.name} WHERE {table.wanted}"):
            there = await connection.fetch(f"SELECT {table.names} FROM {table.name} WHERE {table.wanted}")
            keys = {table.key(row) for row in there}
            kept = {key: row for key, row in kept.items() if key in keys}
        return kept
