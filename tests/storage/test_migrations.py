"""The schema is applied once, in order, and never silently over something else."""

from __future__ import annotations

import asyncio

import pytest

from responder.errors import ConfigError
from responder.storage.migrations import migrate, migrations, require_schema
from responder.storage.postgres import connect
from tests.conftest import execute


async def test_a_second_run_does_nothing(empty_database: str) -> None:
    assert await migrate(empty_database) == [migration.name for migration in migrations()]
    assert await migrate(empty_database) == []


async def test_two_at_once_apply_everything_once(empty_database: str) -> None:
    applied = await asyncio.gather(migrate(empty_database), migrate(empty_database))
    assert sorted(name for names in applied for name in names) == [migration.name for migration in migrations()]


async def test_a_file_that_changed_after_it_was_applied_is_refused(database: str) -> None:
    await execute(database, "UPDATE schema_migrations SET sha256 = '\\x00'")
    with pytest.raises(ConfigError, match="other content"):
        await migrate(database)


async def test_nothing_works_on_a_schema_that_is_older_than_it_needs(database: str) -> None:
    pool = await connect(database, pool_size=1, application_name="test")
    try:
        await require_schema(pool)
        await execute(database, "INSERT INTO schema_migrations VALUES (9999, '9999_later', '\\x00')")
        await require_schema(pool)  # other hosts have been upgraded already
        last = migrations()[-1]
        await execute(database, f"DELETE FROM schema_migrations WHERE version = {last.version}")
        with pytest.raises(ConfigError, match=f"{last.name}; run: certstatus db migrate"):
            await require_schema(pool)
    finally:
        await pool.close()


async def test_a_database_of_a_later_version_is_refused(database: str) -> None:
    await execute(database, "INSERT INTO schema_migrations VALUES (9999, '9999_later', '\\x00')")
    with pytest.raises(ConfigError, match="9999"):
        await migrate(database)
