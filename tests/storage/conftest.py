"""A database of one issuer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from responder.pki import Issuer
from responder.storage.issuers import PostgresIssuers
from responder.storage.postgres import connect


@pytest.fixture
async def pool(database: str, issuer: Issuer) -> AsyncIterator[asyncpg.Pool]:
    pool = await connect(database, pool_size=4, application_name="test")
    await PostgresIssuers(pool).add(issuer)
    yield pool
    await pool.close()
