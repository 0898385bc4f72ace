"""Look-ups of one turn of the loop are one round trip to a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from responder.embedded import EmbeddedValkey
from responder.errors import StoreUnreachable
from responder.pki import Certificate
from responder.signing.signers import Signer
from responder.storage.gathering import GatheringRecords
from responder.storage.redis import RedisRecords
from tests.storage.test_redis import make


@pytest.fixture
async def store(valkey: EmbeddedValkey) -> AsyncIterator[RedisRecords]:
    store = RedisRecords(valkey.url, timeout_seconds=2)
    yield store
    await store.close()


async def round_trips(store: RedisRecords) -> int:
    statistics = await store._redis.info("commandstats")
    return int(statistics.get("cmdstat_mget", {"calls": 0})["calls"])


async def test_a_turns_look_ups_are_one_round_trip_and_each_gets_its_own(store: RedisRecords, signer: Signer) -> None:
    batch = [make(signer, 1, serial_number=number) for number in range(1, 21)]
    await store.put_many(batch)
    asked = [certificate for certificate, _ in batch] * 2 + [Certificate.numbered(signer.issuer, 99)]
    before = await round_trips(store)
    gathering = GatheringRecords(store)
    found = await asyncio.gather(*map(gathering.get, asked))
    assert found == [records for _, records in batch] * 2 + [None]
    assert await round_trips(store) == before + 1
    # What is asked later is asked again: a revocation may have been confirmed in between.
    later, revoked = make(signer, 2, serial_number=1, revoked=True)
    await gathering.put(later, revoked)
    assert await gathering.get(later) == revoked
    assert await round_trips(store) == before + 2


async def test_who_goes_away_takes_nobody_along(store: RedisRecords, signer: Signer) -> None:
    certificate, records = make(signer, 1)
    await store.put(certificate, records)
    gathering = GatheringRecords(store)
    leaves, stays = asyncio.create_task(gathering.get(certificate)), asyncio.create_task(gathering.get(certificate))
    await asyncio.sleep(0)
    leaves.cancel()
    assert await stays == records
    assert leaves.cancelled()


async def test_a_store_that_is_away_is_told_to_each(signer: Signer) -> None:
    away = RedisRecords("unix:///nowhere/socket", timeout_seconds=0.2)
    gathering = GatheringRecords(away)
    asked = [Certificate.numbered(signer.issuer, number) for number in (1, 2, 2)]
    failures = await asyncio.gather(*map(gathering.get, asked), return_exceptions=True)
    assert [type(failure) for failure in failures] == [StoreUnreachable] * 3


async def test_more_than_a_call_may_hold_are_several_calls(store: RedisRecords, signer: Signer) -> None:
    certificates = [Certificate.numbered(signer.issuer, number) for number in range(1, 2502)]
    certificate, records = make(signer, 1, serial_number=2500)
    await store.put(certificate, records)
    before = await round_trips(store)
    found = await store.get_many(certificates)
    assert [index for index, held in enumerate(found) if held is not None] == [2499]
    assert await round_trips(store) == before + 3
    assert await store.get_many([]) == []
