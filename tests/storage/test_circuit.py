"""A record store that can't be reached is left alone for a while; then one call tries whether it is back."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from responder import metrics
from responder.errors import StoreUnavailable, StoreUnreachable
from responder.signing.signers import Signer
from responder.storage.circuit import FAILURES, REST_SECONDS, Circuit, CircuitRecords
from responder.storage.redis import RedisRecords
from tests.killable import KillableValkey
from tests.storage.test_redis import make


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def valkey() -> Iterator[KillableValkey]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        server = KillableValkey(Path(folder))
        server.start()
        yield server
        server.kill()


async def test_a_store_that_is_gone_is_asked_some_times_then_once_a_while_until_it_is_back(
    valkey: KillableValkey, signer: Signer
) -> None:
    seconds, redis = Seconds(), RedisRecords(valkey.url, timeout_seconds=0.5)
    circuit = Circuit("redis", clock=seconds)
    records = CircuitRecords(redis, circuit)
    certificate, made = make(signer, 5)
    await records.put(certificate, made)
    valkey.kill()
    skipped = metrics.STORE_SKIPPED.value("redis")
    for attempt in range(FAILURES):
        assert circuit.is_open == (attempt == FAILURES)
        with pytest.raises(StoreUnreachable, match="can't be reached"):
            await records.get(certificate)
    for call in (records.get(certificate), records.put(certificate, made), records.values_of([b"name"])):
        with pytest.raises(StoreUnreachable, match="isn't asked for a moment"):
            await call
    assert metrics.STORE_SKIPPED.value("redis") - skipped == 3
    seconds.now += REST_SECONDS
    with pytest.raises(StoreUnreachable, match="can't be reached"):
        await records.get(certificate)
    valkey.start()
    with pytest.raises(StoreUnreachable, match="isn't asked for a moment"):
        await records.get(certificate)  # the one that tried has failed
    seconds.now += REST_SECONDS
    assert await records.get_many([certificate]) == [None]
    (kept,) = await records.put_many([(certificate, made)])
    assert kept is not None
    assert await records.get(certificate) == made
    await redis.close()


async def test_half_open_it_lets_one_through() -> None:
    """However that ends: also when nobody waits for it any more."""
    seconds = Seconds()
    circuit = Circuit("redis", clock=seconds)
    for _ in range(FAILURES):
        with pytest.raises(StoreUnreachable), circuit.passing():
            raise StoreUnreachable("gone")
    seconds.now += REST_SECONDS
    hanging = asyncio.Event()

    async def trying() -> None:
        with circuit.passing():
            await hanging.wait()

    trial = asyncio.create_task(trying())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnreachable, match="isn't asked"), circuit.passing():
        pass
    trial.cancel()
    await asyncio.gather(trial, return_exceptions=True)
    hanging.set()
    await trying()
    for _ in range(FAILURES - 1):
        with pytest.raises(StoreUnreachable), circuit.passing():
            raise StoreUnreachable("gone")
    assert not circuit.is_open


async def test_a_store_that_refuses_can_be_reached() -> None:
    circuit = Circuit("redis")
    for _ in range(2 * FAILURES):
        with pytest.raises(StoreUnavailable), circuit.passing():
            raise StoreUnavailable("full")
    assert not circuit.is_open
