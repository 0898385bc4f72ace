"""A host's table is filled from what a real Valkey holds."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from responder.clock import SystemClock
from responder.embedded import EmbeddedValkey
from responder.ocsp.warming import Sampled, Warmer
from responder.pki import Certificate, Floors, Issuers, Records, Table
from responder.signing.signers import Profiles, Signer
from responder.signing.verifiers import NativeRecordVerifier
from responder.storage.redis import RedisRecords
from responder.storage.redis_connections import Trust
from tests.storage.test_redis import make, tombstone

COUNT = 2500


@pytest.fixture
async def store(valkey: EmbeddedValkey) -> AsyncIterator[RedisRecords]:
    store = RedisRecords(valkey.url, timeout_seconds=2)
    await store._redis.flushdb()
    yield store
    await store.close()


@pytest.fixture
def table() -> Table:
    memory, floors = memoryview(bytearray(1 << 20)), memoryview(bytearray(1 << 16))
    Table.lay_out(memory, os.urandom(96))
    Floors.lay_out(floors, os.urandom(96))
    return Table(memory, Floors(floors), owner=1)


def warmer(store: RedisRecords, table: Table, signer: Signer) -> Warmer:
    return Warmer(
        store,
        table,
        sampled=Sampled(Issuers([signer.issuer]), Profiles([signer.profile]), NativeRecordVerifier()),
        clock=SystemClock(),
    )


async def fill_store(store: RedisRecords, signer: Signer) -> list[tuple[Certificate, Records]]:
    batch = [make(signer, 1, serial_number=number) for number in range(1, COUNT + 1)]
    await store.put_many([*batch, tombstone(signer.issuer, 2, serial_number=10**6)])
    await store._redis.set(b"somebody else's", b"value")
    await store.newest((1, 1))
    await store.require_writable()
    return batch


async def test_everything_that_lives_comes_into_the_table(store: RedisRecords, table: Table, signer: Signer) -> None:
    batch = await fill_store(store, signer)
    assert await warmer(store, table, signer).fill() == COUNT
    for certificate, records in batch[::50]:
        assert table.get(certificate.issuer.tag, certificate.serial) == records
    assert await warmer(store, table, signer).fill() == 0, "the same again is nothing new"


async def test_it_stops_when_there_is_no_room(store: RedisRecords, table: Table, signer: Signer) -> None:
    await fill_store(store, signer)
    filled = await warmer(store, table, signer).fill(has_room=lambda filled: filled < 500)
    assert 500 <= filled < COUNT


async def test_a_store_with_damaged_records_or_of_another_run_fills_nothing(
    valkey: EmbeddedValkey, store: RedisRecords, table: Table, signer: Signer
) -> None:
    untrusted = RedisRecords(valkey.url, timeout_seconds=2, trust=Trust("another"))
    await fill_store(store, signer)
    assert await warmer(untrusted, table, signer).fill() == 0
    await untrusted.close()
    async for names, values in store.everything():
        for name, value in zip(names, values, strict=True):
            if value is not None and len(value) > 100:
                await store._redis.set(b"cs2:" + name, value[:-1] + bytes([value[-1] ^ 1]))
    assert await warmer(store, table, signer).fill() == 0
    away = RedisRecords("unix:///nowhere/socket", timeout_seconds=0.1)
    assert await warmer(away, table, signer).fill() == 0
