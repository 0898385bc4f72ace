"""Records under compare-and-set on a real Valkey."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from responder import metrics
from responder.embedded import EmbeddedValkey
from responder.errors import StoreUnavailable
from responder.pki import (
    Certificate,
    CertificateStatus,
    CertStatus,
    Issuer,
    Records,
    Seal,
    StatusVersion,
    epoch_seconds,
    tombstone_for,
)
from responder.signing.signers import Signer
from responder.storage.redis import RedisRecords


@pytest.fixture
async def store(valkey: EmbeddedValkey) -> AsyncIterator[RedisRecords]:
    store = RedisRecords(valkey.url, timeout_seconds=2)
    yield store
    await store.close()


def now() -> datetime:
    return datetime.now(UTC)


def make(
    signer: Signer,
    number: int,
    *,
    serial_number: int = 7,
    epoch: int = 1,
    as_of: datetime | None = None,
    revoked: bool = False,
    lives: timedelta = timedelta(days=4),
) -> tuple[Certificate, Records]:
    """Signed records of a status."""
    certificate = Certificate.numbered(signer.issuer, serial_number)
    as_of = as_of or now()
    moment = epoch_seconds(as_of)
    row = (
        certificate.serial,
        int(CertStatus.REVOKED if revoked else CertStatus.GOOD),
        moment - 60 if revoked else -1,
        1 if revoked else -1,
        moment - 300,
        moment - 300 + lives // timedelta(seconds=1),
        epoch,
        number,
        StatusVersion(epoch, number, as_of).as_of_microseconds,
        b"",
    )
    (records,) = signer.profile.sign_records(signer.key, [row], [1, 2], moment)
    return certificate, records


def tombstone(
    issuer: Issuer, number: int, *, epoch: int = 1, as_of: datetime | None = None, serial_number: int = 7
) -> tuple[Certificate, Records]:
    certificate = Certificate.numbered(issuer, serial_number)
    version = StatusVersion(epoch, number, as_of or now())
    return certificate, tombstone_for(CertificateStatus(certificate, CertStatus.REVOKED, version))


async def test_what_is_put_is_got(store: RedisRecords, signer: Signer) -> None:
    certificate, records = make(signer, 5)
    kept = await store.put(certificate, records)
    assert (kept.version, kept.cert_status) == (StatusVersion.of(records), CertStatus.GOOD)
    assert await store.get(certificate) == records
    assert await store.get(Certificate.numbered(signer.issuer, 8)) is None


async def test_put_keeps_revoked_when_a_slower_good_arrives(store: RedisRecords, signer: Signer) -> None:
    certificate, good = make(signer, 5)
    _, revoked = make(signer, 6, revoked=True)
    await store.put(certificate, revoked)
    kept = await store.put(certificate, good)
    assert kept.cert_status is CertStatus.REVOKED
    assert kept.version.number == 6
    assert await store.get(certificate) == revoked


async def test_put_keeps_a_tombstone_when_a_slower_good_arrives_and_gives_way_to_its_own_status(
    store: RedisRecords, signer: Signer
) -> None:
    read_at = now()
    certificate, good = make(signer, 5, as_of=read_at)
    _, grave = tombstone(signer.issuer, 6, as_of=read_at)
    await store.put(certificate, good)
    assert (await store.put(certificate, grave)).cert_status is CertStatus.REVOKED
    assert (await store.put(certificate, good)).version.number == 6
    _, revoked = make(signer, 6, as_of=read_at, revoked=True)
    await store.put(certificate, revoked)
    assert await store.get(certificate) == revoked
    await store.put(certificate, grave)
    assert await store.get(certificate) == revoked, "a tombstone of the same moment doesn't replace its record"


async def test_of_one_version_the_later_reading_wins(store: RedisRecords, signer: Signer) -> None:
    early, late = now() - timedelta(seconds=30), now()
    certificate, older = make(signer, 5, as_of=early)
    _, newer = make(signer, 5, as_of=late)
    for order in ((older, newer), (newer, older)):
        for records in order:
            await store.put(certificate, records)
        assert await store.get(certificate) == newer


async def test_an_epoch_is_higher_than_any_number(store: RedisRecords, signer: Signer) -> None:
    certificate, first = make(signer, 2**40, epoch=1)
    _, second = make(signer, 1, epoch=2)
    await store.put(certificate, second)
    await store.put(certificate, first)
    assert await store.get(certificate) == second


@pytest.mark.parametrize("number", [2**53, 2**53 + 1, 2**63 - 2, 2**32 - 1, 2**32])
async def test_numbers_beyond_what_lua_counts_exactly_are_compared_exactly(
    store: RedisRecords, signer: Signer, number: int
) -> None:
    read_at = now()
    certificate, lower = make(signer, number, as_of=read_at, serial_number=number)
    _, higher = make(signer, number + 1, as_of=read_at, serial_number=number, revoked=True)
    for order in ((lower, higher), (higher, lower)):
        for records in order:
            await store.put(certificate, records)
        assert await store.get(certificate) == higher


async def test_a_record_that_took_over_two_minutes_is_refused_by_the_stores_clock(
    store: RedisRecords, signer: Signer
) -> None:
    certificate, records = make(signer, 5, as_of=now() - timedelta(seconds=125))
    with pytest.raises(StoreUnavailable, match="outdated"):
        await store.put(certificate, records)
    assert await store.get(certificate) is None
    certificate, records = make(signer, 5, as_of=now() - timedelta(seconds=100))
    await store.put(certificate, records)


async def test_a_reading_from_the_future_is_refused_and_a_stored_one_counts_as_lowest(
    store: RedisRecords, signer: Signer, valkey: EmbeddedValkey
) -> None:
    certificate, future = make(signer, 5, as_of=now() + timedelta(seconds=90))
    with pytest.raises(StoreUnavailable):
        await store.put(certificate, future)
    await store._redis.set(b"cs2:" + signer.issuer.tag + certificate.serial, future.encoded)
    _, present = make(signer, 5)
    await store.put(certificate, present)
    assert await store.get(certificate) == present
    # A higher version is kept all the same.
    _, later_version = make(signer, 6, as_of=now() + timedelta(seconds=90), revoked=True)
    await store._redis.set(b"cs2:" + signer.issuer.tag + certificate.serial, later_version.encoded)
    assert (await store.put(certificate, present)).version.number == 6


async def test_a_record_expires_with_its_next_update(store: RedisRecords, signer: Signer) -> None:
    certificate, records = make(signer, 5, lives=timedelta(hours=8))
    await store.put(certificate, records)
    key = b"cs2:" + signer.issuer.tag + certificate.serial
    assert await store._redis.execute_command("EXPIRETIME", key) == records.next_update  # type: ignore[no-untyped-call]
    _, over = make(signer, 6, lives=timedelta(minutes=5))
    with pytest.raises(StoreUnavailable):
        await store.put(certificate, over)


@pytest.mark.parametrize("junk", [b"", b"\x03" * 100, b"\x02", b"\x01", b"\x01" + bytes(10), b"junk" * 50])
async def test_what_cannot_be_read_is_a_miss_and_is_replaced(store: RedisRecords, signer: Signer, junk: bytes) -> None:
    certificate, records = make(signer, 5)
    await store._redis.set(b"cs2:" + signer.issuer.tag + certificate.serial, junk)
    assert await store.get(certificate) is None
    await store.put(certificate, records)
    assert await store.get(certificate) == records


async def test_only_what_this_installation_has_sealed_is_believed(
    store: RedisRecords, signer: Signer, valkey: EmbeddedValkey
) -> None:
    """Not a record that somebody else wrote, one that was damaged, nor one of another certificate."""
    sealed = RedisRecords(valkey.url, timeout_seconds=2, seal=Seal(b"k" * 32))
    other = RedisRecords(valkey.url, timeout_seconds=2, seal=Seal(b"o" * 32))
    refused = metrics.RECORDS_REFUSED.value()
    certificate, records = make(signer, 5)
    another, _ = make(signer, 5, serial_number=77)
    key, key_of_another = (b"cs2:" + each.issuer.tag + each.serial for each in (certificate, another))
    await sealed.put(certificate, records)
    assert await sealed.get(certificate) == records
    assert await other.get(certificate) is None
    value = await store._redis.get(key)
    assert isinstance(value, bytes)
    await store._redis.set(key_of_another, value)
    assert await sealed.get(another) is None
    for index in (30, 70, len(value) - 1):
        await store._redis.set(key, value[:index] + bytes([value[index] ^ 1]) + value[index + 1 :])
        assert await sealed.get(certificate) is None
    await store._redis.set(key, records.encoded)
    assert await sealed.get(certificate) is None
    assert metrics.RECORDS_REFUSED.value() - refused == 6
    # It is made again, from a later reading, and replaces what is there.
    certificate, records = make(signer, 5)
    await sealed.put(certificate, records)
    assert await sealed.get(certificate) == records
    found = [pair async for names, values in sealed.everything() for pair in zip(names, values, strict=True)]
    assert dict(found)[certificate.issuer.tag + certificate.serial] == records.encoded
    assert dict(found)[another.issuer.tag + another.serial] is None
    await sealed.close()
    await other.close()


async def test_put_many_answers_in_order_over_several_pipelines(store: RedisRecords, signer: Signer) -> None:
    batch = [make(signer, number, serial_number=number) for number in range(1, 2500)]
    kept = await store.put_many(batch)
    assert [one and one.version.number for one in kept] == list(range(1, 2500))
    assert await store.get(batch[2400][0]) == batch[2400][1]
    assert await store.put_many([]) == []


async def test_scripts_that_were_flushed_are_loaded_again(store: RedisRecords, signer: Signer) -> None:
    await store.put(*make(signer, 5))
    await store._redis.script_flush()
    assert (await store.put(*make(signer, 6))).version.number == 6


async def test_a_stopped_store_is_unavailable_in_time_and_comes_back(valkey: EmbeddedValkey, signer: Signer) -> None:
    store = RedisRecords(valkey.url, timeout_seconds=0.5)
    certificate, records = make(signer, 5)
    await store.put(certificate, records)
    url = valkey.url
    valkey.stop()
    for attempt in (store.get(certificate), store.ping()):
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(attempt, 10)
    with pytest.raises(StoreUnavailable):
        await store.put(certificate, records)
    await store.close()
    valkey.start()
    assert valkey.url != url
    again = RedisRecords(valkey.url, timeout_seconds=2)
    assert (await again.put(certificate, records)).version.number == 5
    await again.close()


async def test_a_store_that_hangs_is_unavailable_in_time(valkey: EmbeddedValkey, signer: Signer) -> None:
    import os
    import signal

    store = RedisRecords(valkey.url, timeout_seconds=0.2)
    certificate, records = make(signer, 5)
    await store.put(certificate, records)
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(store.get(certificate), 10)
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(store.put(certificate, records), 10)
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    assert await store.get(certificate) == records
    await store.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(puts=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.booleans()), min_size=1, max_size=12))
async def test_any_order_of_puts_ends_with_the_highest_pair(
    store: RedisRecords, signer: Signer, puts: list[tuple[int, int, bool]]
) -> None:
    serial_number = time.monotonic_ns()
    start = now() - timedelta(seconds=10)
    batch = []
    for number, seconds, is_tombstone in puts:
        as_of = start + timedelta(seconds=seconds)
        if is_tombstone:
            batch.append(tombstone(signer.issuer, number, as_of=as_of, serial_number=serial_number))
        else:
            batch.append(make(signer, number, as_of=as_of, serial_number=serial_number))
    best = batch[0][1]
    for certificate, records in batch:
        best = max(best, records, key=rank)
        kept = await store.put(certificate, records)
        assert kept.version == StatusVersion.of(best)
    held = await store.get(batch[0][0])
    assert held is not None
    assert rank(held) == rank(best)


def rank(records: Records) -> tuple[int, int, bool, int]:
    """Of one change, records are later than a tombstone, whatever the clocks said: one that steps back would otherwise
    leave a revoked certificate without an answer."""
    return records.epoch, records.number, not records.is_tombstone, records.as_of_microseconds


async def test_one_record_that_took_too_long_is_refused_alone(store: RedisRecords, signer: Signer) -> None:
    batch = [make(signer, 5, serial_number=1), make(signer, 5, serial_number=2, as_of=now() - timedelta(seconds=130))]
    first, second = await store.put_many(batch)
    assert first is not None
    assert second is None
    assert await store.get(batch[0][0]) == batch[0][1]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (("maxmemory", "100kb"), "maxmemory.*raise its maxmemory"),
        (("min-replicas-to-write", "1"), "NOREPLICAS.*min-replicas-to-write"),
    ],
)
async def test_a_store_that_answers_and_takes_no_writes_is_told_with_the_remedy(
    valkey: EmbeddedValkey, store: RedisRecords, signer: Signer, setting: tuple[str, str], sentence: str
) -> None:
    await store.require_writable()
    name, value = setting
    before = (await store._redis.config_get(name))[name]
    assert before is not None
    await store._redis.config_set(name, value)
    try:
        assert await store.ping()
        with pytest.raises(StoreUnavailable, match=sentence):
            await store.require_writable()
        with pytest.raises(StoreUnavailable, match=sentence):
            await store.put(*make(signer, 1))
    finally:
        await store._redis.config_set(name, before)
    await store.require_writable()


async def test_a_replica_is_told_to_be_one(valkey: EmbeddedValkey, store: RedisRecords) -> None:
    await store._redis.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(StoreUnavailable, match=r"replica"):
            await store.require_writable()
    finally:
        await store._redis.replicaof("NO", "ONE")
