"""What goes through all rows of an issuer, or all changes, has longer than an ordinary statement; else a large
installation could never do it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from responder.pki import ImportedStatus, IssuedCertificate, Issuer, RevokedInfo
from responder.storage import postgres
from responder.storage.certificates import PostgresCertificates
from responder.storage.imports import PostgresImports
from responder.storage.issuers import PostgresIssuers
from responder.storage.runs import PostgresRuns
from tests.makers import NOW

SLOW = """
CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
CREATE TRIGGER slow AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH STATEMENT EXECUTE FUNCTION take_long();
"""


@pytest.fixture
async def pool(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncpg.Pool]:
    monkeypatch.setattr(postgres, "COMMAND_SECONDS", 0.5)
    opened = await postgres.connect(database, pool_size=2, application_name="test")
    yield opened
    await opened.close()


async def see_a_new_run(pool: asyncpg.Pool, issuer: Issuer) -> None:
    await PostgresRuns(pool).see("another", owner="test")


async def recover(pool: asyncpg.Pool, issuer: Issuer) -> None:
    await PostgresRuns(pool).recover(actor="test")


async def import_a_list(pool: asyncpg.Pool, issuer: Issuer) -> None:
    rows = [ImportedStatus(1, RevokedInfo(NOW)), ImportedStatus(3, None)]
    await PostgresImports(pool).run(issuer, rows, dry_run=False, actor="test")


async def register(pool: asyncpg.Pool, issuer: Issuer) -> None:
    await PostgresCertificates(pool).register(issuer, [IssuedCertificate(4)], actor="test")


async def remove(pool: asyncpg.Pool, issuer: Issuer) -> None:
    await PostgresIssuers(pool).remove(issuer.id)


@pytest.mark.parametrize(
    ("table", "work"),
    [
        ("outbox", see_a_new_run),
        ("outbox", recover),
        ("certificates", import_a_list),
        ("certificates", register),
        ("certificates", remove),
    ],
)
async def test_it_is_given_its_time(
    pool: asyncpg.Pool, issuer: Issuer, table: str, work: Callable[[asyncpg.Pool, Issuer], Awaitable[None]]
) -> None:
    issuers = PostgresIssuers(pool)
    await issuers.add(issuer, issued=[IssuedCertificate(1), IssuedCertificate(2, RevokedInfo(NOW))])
    await pool.execute(SLOW.format(table))
    await work(pool, issuer)
