"""What the table lacks is read from a real Valkey, many at once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from responder import metrics
from responder.clock import SystemClock
from responder.embedded import EmbeddedValkey
from responder.ocsp.fetching import Fetcher
from responder.ocsp.live import Budget
from responder.ocsp.making import Maker
from responder.ocsp.warming import Sampled
from responder.pki import Certificate, Floors, Issuers, Seal, Table
from responder.signing.answers import NativeSigner
from responder.signing.signers import Profiles, Signer, Signers
from responder.signing.verifiers import NativeRecordVerifier
from responder.storage.redis import RedisRecords
from responder.storage.table import TableRecords
from tests.doubles import MemoryStatuses
from tests.storage.test_redis import make

SEAL = Seal(b"s" * 32)


@pytest.fixture
async def store(valkey: EmbeddedValkey) -> AsyncIterator[RedisRecords]:
    store = RedisRecords(valkey.url, timeout_seconds=2, seal=SEAL)
    await store._redis.flushdb()
    yield store
    await store.close()


def make_table() -> Table:
    memory, floors = memoryview(bytearray(1 << 20)), memoryview(bytearray(1 << 16))
    Table.lay_out(memory, os.urandom(96))
    Floors.lay_out(floors, os.urandom(96))
    return Table(memory, Floors(floors), owner=1)


def fetcher(store: RedisRecords, table: Table, signer: Signer, *issued: int) -> Fetcher:
    sampled = Sampled(Issuers([signer.issuer]), Profiles([signer.profile]), NativeRecordVerifier())
    clock, issuers = SystemClock(), Issuers([signer.issuer])
    statuses = MemoryStatuses(clock)
    for serial in issued:
        statuses.add(Certificate.numbered(signer.issuer, serial))
    maker = Maker(
        statuses,
        issuers=issuers,
        signer=NativeSigner(Signers([signer]), clock, backdate=timedelta(minutes=5)),
        records=store,
        table=TableRecords(table, clock=clock),
        clock=clock,
        budget=Budget(max_in_flight=1, max_waiting=1),
    )
    return Fetcher(store, table, sampled=sampled, maker=maker, clock=clock)


async def test_what_is_there_comes_into_the_table_and_the_rest_does_not(store: RedisRecords, signer: Signer) -> None:
    batch = [make(signer, 5, serial_number=number) for number in range(1, 1500)]
    await store.put_many(batch)
    table, tag = make_table(), signer.issuer.tag
    names = [tag + certificate.serial for certificate, _ in batch]
    await store._redis.set(b"cs2:" + names[7], SEAL.close(names[8], batch[7][1].encoded))
    await fetcher(store, table, signer).fetch([*names, names[0], tag + b"\x7f\xff\xff", b"short", bytes(8) + b"\1"])
    for index, (certificate, records) in enumerate(batch):
        assert table.get(tag, certificate.serial) == (None if index == 7 else records)
    assert table.get(tag, b"\x7f\xff\xff") is None


async def test_a_store_that_is_away_or_holds_what_does_not_verify_has_nothing(
    store: RedisRecords, signer: Signer
) -> None:
    certificate, records = make(signer, 5)
    name, table = certificate.issuer.tag + certificate.serial, make_table()
    away = RedisRecords("unix:///nowhere/socket", timeout_seconds=0.1)
    failures = metrics.STORE_FAILURES.value("redis", "get")
    await fetcher(away, table, signer).fetch([name])
    assert metrics.STORE_FAILURES.value("redis", "get") == failures + 1
    await away.close()
    # Sealed, and signed by nobody: the first of its profile is looked at.
    encoded = records.encoded[:-1] + bytes([records.encoded[-1] ^ 1])
    await store._redis.set(b"cs2:" + name, SEAL.close(name, encoded))
    await fetcher(store, table, signer).fetch([name])
    assert table.get(certificate.issuer.tag, certificate.serial) is None
    await store.put(*make(signer, 6))
    await fetcher(store, table, signer).fetch([name])
    assert table.get(certificate.issuer.tag, certificate.serial) is not None


async def test_what_is_in_neither_is_made_and_then_in_both(store: RedisRecords, signer: Signer) -> None:
    tag, table = signer.issuer.tag, make_table()
    names = [tag + Certificate.numbered(signer.issuer, serial).serial for serial in range(5, 9)]
    outcome = await fetcher(store, table, signer, 5, 6, 7).fetch(names)
    assert outcome.made == set(names[:3])
    assert list(outcome.refused) == names[3:]
    fresh = make_table()
    assert (await fetcher(store, fresh, signer).fetch(names[:3])).made == frozenset()
    for name in names[:3]:
        assert fresh.get(tag, name[8:]) == table.get(tag, name[8:]) is not None
