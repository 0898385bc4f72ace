"""The table and the store's script decide alike what outranks what."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from responder._native import Floors, Table
from responder.embedded import EmbeddedValkey
from responder.pki import StatusVersion, epoch_seconds
from responder.signing.signers import Signer
from responder.storage.redis import RedisRecords
from tests.makers import made_elsewhere
from tests.storage.test_redis import make, now, tombstone


@pytest.fixture
async def store(valkey: EmbeddedValkey) -> AsyncIterator[RedisRecords]:
    store = RedisRecords(valkey.url, timeout_seconds=2)
    yield store
    await store.close()


def empty_table() -> Table:
    memory, floors = memoryview(bytearray(16 * 4096)), memoryview(bytearray(2 * 4096))
    Table.lay_out(memory, os.urandom(96))
    Floors.lay_out(floors, os.urandom(96))
    return Table(memory, Floors(floors), owner=1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    puts=st.lists(
        # an as_of of 90 s ahead is refused by the store; what is 50 s ahead may be the one kept
        st.tuples(
            st.integers(1, 2), st.integers(1, 3), st.sampled_from([-100, -1, 0, 50]), st.sampled_from(["", "t", "v"])
        ),
        min_size=2,
        max_size=10,
    )
)
async def test_both_keep_the_same(store: RedisRecords, signer: Signer, puts: list[tuple[int, int, int, str]]) -> None:
    table, serial_number, start = empty_table(), time.monotonic_ns(), now()
    for epoch, number, seconds, kind in puts:
        as_of = start + timedelta(seconds=seconds)
        if kind == "t":
            certificate, records = tombstone(
                signer.issuer, number, epoch=epoch, as_of=as_of, serial_number=serial_number
            )
        else:
            certificate, records = make(signer, number, epoch=epoch, as_of=as_of, serial_number=serial_number)
        if kind == "v":
            records = made_elsewhere(signer, certificate, records, produced_at=records.produced_at)
        kept = await store.put(certificate, records)
        held = table.put(certificate.issuer.tag, certificate.serial, records, epoch_seconds(now()) * 10**6)
        assert held is not None
        assert StatusVersion.of(held) == kept.version
        assert await store.get(certificate) == table.get(certificate.issuer.tag, certificate.serial)
