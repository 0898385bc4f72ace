"""The schema, as plain SQL files applied in order under a lock."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources

import asyncpg

from responder.errors import ConfigError
from responder.storage.postgres import CONNECT_SECONDS, acquired, translating

_LOCK = 0x63657274  # "cert": one number for all installations of this schema in a database


@dataclass(frozen=True, slots=True)
class Migration:
    """One file `NNNN_name.sql`."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> bytes:
        """What the file said when it was applied."""
        return hashlib.sha256(self.sql.encode()).digest()


def migrations() -> list[Migration]:
    """All files of this version, in order."""
    folder = resources.files("responder.storage") / "schema"
    found = [path for path in folder.iterdir() if path.name.endswith(".sql")]
    return [
        Migration(int(path.name[:4]), path.name.removesuffix(".sql"), path.read_text())
        for path in sorted(found, key=lambda path: path.name)
    ]


async def migrate(url: str, *, password: str | None = None) -> list[str]:
    """Apply what is missing, each file in a transaction of its own. Safe to run at once from several hosts.

    Returns:
        The names applied, in order.

    Raises:
        ConfigError: an applied file has changed since, or the database is newer than this version.
        StatusUnavailable: the database can't be reached.
    """
    with translating():
        connection: asyncpg.Connection = await asyncpg.connect(url, password=password, timeout=CONNECT_SECONDS)
        try:
            # Until the connection closes.
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL, "
                "sha256 bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            rows = await connection.fetch("SELECT version, name, sha256 FROM schema_migrations")
            missing = _missing({row["version"]: (row["name"], row["sha256"]) for row in rows}, migrations())
            for migration in missing:
                async with connection.transaction():
                    await connection.execute(migration.sql)
                    await connection.execute(
                        "INSERT INTO schema_migrations (version, name, sha256) VALUES ($1, $2, $3)",
                        migration.version,
                        migration.name,
                        migration.sha256,
                    )
        finally:
            await connection.close()
    return [migration.name for migration in missing]


async def require_schema(pool: asyncpg.Pool) -> None:
    """The database has all that this version needs. One that is newer is taken: hosts are upgraded one by one.

    Raises:
        ConfigError: something is missing.
        StatusUnavailable: the database can't be reached.
    """
    async with acquired(pool) as connection:
        applied = {row["version"] for row in await connection.fetch("SELECT version FROM schema_migrations")}
    missing = [migration.name for migration in migrations() if migration.version not in applied]
    if missing:
        raise ConfigError(f"the database's schema lacks {', '.join(missing)}; run: certstatus db migrate")


def _missing(applied: dict[int, tuple[str, bytes]], known: list[Migration]) -> list[Migration]:
    newer = applied.keys() - {migration.version for migration in known}
    if newer:
        raise ConfigError(
            f"the database has schema version {max(newer)}, which this version doesn't know; "
            "install the version of certstatus that made it, or a later one"
        )
    for migration in known:
        if migration.version in applied and applied[migration.version][1] != migration.sha256:
            raise ConfigError(
                f"schema file {migration.name} was applied with other content than this version has; "
                "install the version of certstatus that the database was made with"
            )
    return [migration for migration in known if migration.version not in applied]
