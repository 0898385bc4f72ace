"""Fixtures: real servers once a test process, a fresh database and an empty record store for each test."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import asyncpg
import pytest

from responder.embedded import EmbeddedPostgres, EmbeddedValkey
from responder.pki import Issuer
from responder.signing.signers import Signer
from responder.storage.migrations import migrate
from tests.doubles import FakeClock
from tests.makers import make_ca, make_test_issuer, make_test_signer

_names = itertools.count()

_SERVERS = {"postgres", "valkey", "database", "empty_database", "site", "demo", "store", "world", "pool"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a server among their fixtures are marked; what a whole file marks stays."""
    for item in items:
        if _SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    """An ECDSA P-256 issuer, valid around the fake clock's time."""
    return make_test_issuer("test-ec", make_ca("ec"))


@pytest.fixture(scope="session")
def rsa_issuer() -> Issuer:
    return make_test_issuer("test-rsa", make_ca("rsa"))


@pytest.fixture(scope="session")
def signer(issuer: Issuer) -> Signer:
    """A delegated P-256 signer of `issuer`."""
    return make_test_signer(issuer, "ec")


@pytest.fixture(scope="session")
def rsa_signer(rsa_issuer: Issuer) -> Signer:
    return make_test_signer(rsa_issuer, "rsa")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), durable=False)
    server.start()
    try:
        asyncio.run(_make_template(server))
        yield server
    finally:
        server.stop()


async def _make_template(server: EmbeddedPostgres) -> None:
    await execute(server.url, "CREATE DATABASE migrated")
    await migrate(server.url_for("migrated"))


async def execute(url: str, *statements: str) -> None:
    """Run statements outside a transaction."""
    connection: asyncpg.Connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """The URL of a database of this test's own, with the schema."""
    name = f"test_{next(_names)}"
    await execute(postgres.url, f"CREATE DATABASE {name} TEMPLATE migrated")
    yield postgres.url_for(name)
    await execute(postgres.url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def empty_database(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """The URL of a database of this test's own, without the schema."""
    name = f"empty_{next(_names)}"
    await execute(postgres.url, f"CREATE DATABASE {name}")
    yield postgres.url_for(name)
    await execute(postgres.url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A record store of this test's own, which it may stop and start."""
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"), durable=False)
    server.start()
    yield server
    server.stop()


BACKDATE = timedelta(minutes=5)
