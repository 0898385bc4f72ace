"""A record store that comes back with old values never brings `good` back."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from responder import metrics
from responder.errors import StoreUnavailable
from responder.ocsp.cached import CachedSource
from responder.ocsp.revoke import RevocationRequest
from responder.ocsp.storekeeper import StoreKeeper
from responder.pki import (
    CertIDVariant,
    Certificate,
    CertStatus,
    CRLReason,
    Question,
    Records,
    decode_records,
)
from responder.signing.verifiers import NativeRecordVerifier
from responder.storage.postgres import Listener
from responder.storage.redis import RedisRecords
from responder.storage.redis_connections import Trust
from responder.storage.runs import PostgresRuns, holds_trusted_run
from tests.killable import KillableValkey
from tests.storage.site import Site, open_site
from tests.storage.test_relay import REVOKE


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A socket's path has at most 107 octets."""
    with tempfile.TemporaryDirectory(prefix="cs") as name:
        yield Path(name)


@pytest.fixture
def store(short_folder: Path) -> Iterator[KillableValkey]:
    made = KillableValkey(short_folder / "one")
    made.start()
    yield made
    made.kill()


@pytest.fixture
async def site(database: str, store: KillableValkey, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(database, store.url, tmp_path) as opened:
        await opened.records.close()
        opened.records = RedisRecords(store.url, timeout_seconds=2, trust=Trust())
        yield opened
        await opened.records.close()


def keeper(site: Site, owner: str = "work", records: RedisRecords | None = None) -> StoreKeeper:
    return StoreKeeper(records or site.records, PostgresRuns(site.pool), owner=owner)


async def believing(url: str, certificate: Certificate) -> Records | None:
    """What a store holds, whatever run it is."""
    records = RedisRecords(url, timeout_seconds=2)
    try:
        return await records.get(certificate)
    finally:
        await records.close()


async def reload_trust(site: Site) -> None:
    """What every process does when it is told."""
    state = await PostgresRuns(site.pool).current()
    trust = site.records._trust
    assert trust is not None
    trust.run = state.run if state.complete else None


async def make_complete(site: Site) -> None:
    assert await keeper(site).once()
    await reload_trust(site)


async def register(site: Site, *numbers: int) -> None:
    for number in numbers:
        await site.sql("INSERT INTO certificates (issuer_id, serial) VALUES ('site-ec', $1)", bytes([number]))
    await site.relay_all()


async def test_a_store_killed_and_started_on_an_old_snapshot_answers_no_good(site: Site, store: KillableValkey) -> None:
    """Six of six certificates, revoked and confirmed, were answered good from the snapshot; everything was green."""
    await make_complete(site)
    await register(site, 1, 2, 3)
    assert (await site.ask(1)).source == "redis"
    store.save()
    for number in (1, 2):
        outcome = await site.revoker().revoke(
            Certificate.numbered(site.issuer, number), RevocationRequest(CRLReason.keyCompromise), actor="test"
        )
        assert outcome.certain
    await site.relay_all()
    assert await site.statuses.pending_count() == 0
    store.kill()
    store.start()
    # What the snapshot says is really the old answer; nobody has noticed yet, and readers know all the same.
    held = await believing(store.url, Certificate.numbered(site.issuer, 1))
    assert held is not None
    assert held.cert_status == CertStatus.GOOD
    before = metrics.STORE_UNTRUSTED.value()
    answers = [await site.ask(number) for number in (1, 2, 3)]
    assert [answer.source for answer in answers] == ["live"] * 3
    assert [answer.cert_statuses[0].name for answer in answers] == ["REVOKED", "REVOKED", "GOOD"]
    assert metrics.STORE_UNTRUSTED.value() > before

    # A revocation now is recorded, and not certain before every change is in the store again.
    outcome = await site.revoker().revoke(
        Certificate.numbered(site.issuer, 3), RevocationRequest(CRLReason.keyCompromise), actor="test"
    )
    assert outcome.certain, "the floors of the hosts are enough"
    assert not await keeper(site).once(), "the changes are opened again"
    assert await site.statuses.pending_count() == 3
    assert not await keeper(site).once()
    await site.relay_all()
    assert await keeper(site).once()
    state = await PostgresRuns(site.pool).current()
    assert state.replayed == 2
    assert state.changes_per_second
    await reload_trust(site)
    for number in (1, 2, 3):
        answer = await site.ask(number)
        assert (answer.source, answer.cert_statuses) == ("redis", (CertStatus.REVOKED,))


async def test_another_store_behind_the_address_is_not_believed_either(
    site: Site, store: KillableValkey, short_folder: Path
) -> None:
    """A fail-over to a replica that lags, or a configuration that names an older server."""
    await make_complete(site)
    await register(site, 1)
    store.save()
    other = KillableValkey(short_folder / "two")
    (other.folder / "dump.rdb").write_bytes((store.folder / "dump.rdb").read_bytes())
    other.start()
    try:
        behind = RedisRecords(other.url, timeout_seconds=2, trust=site.records._trust)
        assert await believing(other.url, Certificate.numbered(site.issuer, 1)) is not None
        assert await behind.get(Certificate.numbered(site.issuer, 1)) is None
        # It doesn't take over from one that is in use, and what it keeps confirms nothing.
        assert not await keeper(site, "other", behind).once()
        assert (await PostgresRuns(site.pool).current()).complete
        site.records, first = behind, site.records
        await site.sql(REVOKE, "site-ec", b"\x01")
        with pytest.raises(StoreUnavailable, match="is another"):
            await site.relay.once()
        assert await site.statuses.pending_count() == 1
        # Once nobody sees the first one any more, it does.
        await site.sql("UPDATE record_store SET seen_at = now() - interval '6 seconds'")
        assert not await keeper(site, "other").once()
        await site.relay_all()
        assert await keeper(site, "other").once()
        await reload_trust(site)
        assert (await site.ask(1)).cert_statuses == (CertStatus.REVOKED,)
        # Back to the first one: it has missed what happened meanwhile.
        site.records = first
        assert await site.records.get(Certificate.numbered(site.issuer, 1)) is None
        await behind.close()
    finally:
        other.kill()


async def test_a_keeper_that_finds_nothing_new_tells_nobody(site: Site, database: str) -> None:
    """Each time it is told, every process reads again which run it may trust; that was once a second, for nothing."""
    await make_complete(site)
    told: asyncio.Queue[str] = asyncio.Queue()
    async with Listener(database, ["certstatus_store", "last"], told.put_nowait), asyncio.timeout(10):
        assert [await told.get(), await told.get()] == ["certstatus_store", "last"], "it is connected"
        for _ in range(3):
            assert await keeper(site).once()
        await site.sql("NOTIFY last")
        assert await told.get() == "last", "notifications come in the order of their commits"


async def test_a_promotion_is_another_run_though_the_process_is_the_same(site: Site, store: KillableValkey) -> None:
    before = await site.records.ping()
    await site.records._redis.replicaof("127.0.0.1", "1")
    await site.records._redis.replicaof("NO", "ONE")
    after = await site.records.ping()
    assert before != after
    assert before.partition(":")[0] == after.partition(":")[0]


async def test_a_confirmation_and_a_new_run_at_once(site: Site) -> None:
    """Whoever confirms under the old run and whoever begins a new one wait for each other: a change is either put again
    into the new run, or isn't confirmed."""
    await make_complete(site)
    runs = PostgresRuns(site.pool)
    await site.sql("UPDATE record_store SET seen_at = now() - interval '6 seconds'")
    async with site.pool.acquire() as connection, connection.transaction():
        run = await connection.fetchval("SELECT run FROM record_store FOR KEY SHARE")
        begun = asyncio.create_task(runs.see("another", owner="other"))
        await asyncio.sleep(0.2)
        assert not begun.done()
    assert (await begun).run == "another"
    async with site.pool.acquire() as connection, connection.transaction():
        assert not await holds_trusted_run(connection, run, complete=False)


async def test_a_revocation_does_not_wait_while_a_new_run_begins(site: Site) -> None:
    """All changes are opened again in one transaction: with a million of them that takes 20 s."""
    await make_complete(site)
    await register(site, 1)
    async with site.pool.acquire() as connection, connection.transaction(), asyncio.timeout(10):
        await connection.execute("SELECT FROM record_store FOR UPDATE")
        outcome = await site.revoker().revoke(
            Certificate.numbered(site.issuer, 1), RevocationRequest(CRLReason.keyCompromise), actor="test"
        )
    assert outcome.certain


async def test_a_full_store_says_why_and_stops_nobody(site: Site) -> None:
    await make_complete(site)
    await register(site, 1)
    await site.records._redis.config_set("maxmemory", "100kb")
    outcome = await site.revoker().revoke(
        Certificate.numbered(site.issuer, 1), RevocationRequest(CRLReason.keyCompromise), actor="test"
    )
    assert outcome.certain
    assert (await site.ask(1)).cert_statuses == (CertStatus.REVOKED,), "a store that takes no writes kept good for 30 s"
    with pytest.raises(StoreUnavailable, match="maxmemory"):
        await site.relay.once()
    assert await site.statuses.pending_count() == 1
    await site.records._redis.config_set("maxmemory", "0")
    await site.relay_all()
    assert await site.status_in_store(1) == "revoked"


async def test_a_store_that_has_seen_more_than_the_database_is_an_alarm_until_recovered(site: Site) -> None:
    await make_complete(site)
    await site.sql("SELECT setval('status_numbers', 1000)")
    await register(site, 1)
    await make_complete(site)
    runs = PostgresRuns(site.pool)
    assert (await runs.current()).ahead is None
    # The database is restored from before.
    await site.sql("SELECT setval('status_numbers', 10)")
    await site.sql("UPDATE outbox SET closed_at = now()")
    await keeper(site).once()
    state = await runs.current()
    assert state.ahead == (1, 1001)
    outcome = await site.revoker(wait_seconds=0).revoke(
        Certificate.numbered(site.issuer, 1), RevocationRequest(CRLReason.keyCompromise), actor="test"
    )
    assert not outcome.certain, "the store keeps good, of a version that the database has lost"
    assert await site.relay.once() == 0
    assert await site.statuses.pending_count() == 1
    assert await runs.recover(actor="test") == 2
    assert await site.pool.fetchval("SELECT action FROM audit_log ORDER BY id DESC LIMIT 1") == "recover"
    assert await site.partitions.overdue("site-ec") == 1024
    assert not await keeper(site).once()
    await site.relay_all()
    assert await keeper(site).once()
    assert (await runs.current()).ahead is None
    await reload_trust(site)
    answer = await site.ask(1)
    assert (answer.source, answer.cert_statuses) == ("redis", (CertStatus.REVOKED,))
    assert answer.version is not None
    assert answer.version.epoch == 2


async def test_a_hung_store_is_no_other_run(site: Site, store: KillableValkey) -> None:
    await make_complete(site)
    await register(site, 1)
    assert store.process is not None
    os.kill(store.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable):
            await site.records.ping()
    finally:
        os.kill(store.process.pid, signal.SIGCONT)
    assert (await site.ask(1)).source == "redis"


async def test_flipped_bits_are_a_miss(site: Site) -> None:
    """Of about 195 octets, 80 gave an answer whose signature didn't verify, and was cacheable for an hour."""
    await make_complete(site)
    await register(site, 1)
    certificate = Certificate.numbered(site.issuer, 1)
    key = b"cs2:" + site.issuer.tag + certificate.serial
    right = await site.records._redis.get(key)
    assert isinstance(right, bytes)
    question = Question(site.issuer, (certificate,), (CertIDVariant.SHA1,))
    cached = CachedSource(
        site.records,
        site.live,
        profiles=site.profiles,
        clock=site.clock,
        name="redis",
        verifier=NativeRecordVerifier(capacity=3),
    )
    expected = (await cached.answer(question)).render()
    for _ in range(2):
        assert (await cached.answer(question)).render() == expected
    before = metrics.RECORDS_REFUSED.value()
    live = 0
    for position in range(len(right)):
        flipped = bytearray(right)
        flipped[position] ^= 0x10
        await site.records._redis.set(key, bytes(flipped))
        answer = await cached.answer(question)
        assert answer.cert_statuses == (CertStatus.GOOD,)
        if answer.source == "live":
            live += 1
        else:
            assert answer.render() == expected
    assert live > 100
    assert metrics.RECORDS_REFUSED.value() - before > 60


async def test_a_record_whose_reading_lies_outside_its_dates_is_a_miss(site: Site) -> None:
    await register(site, 1)
    held = await believing(_url(site), Certificate.numbered(site.issuer, 1))
    assert held is not None
    verifier, (profile,) = NativeRecordVerifier(), [signer.profile for signer in site.signers]
    assert verifier.verifies(Certificate.numbered(site.issuer, 1), profile, held, 1)
    for seconds in (-400, 400):
        as_of = held.as_of_microseconds + seconds * 1_000_000
        moved = decode_records(held.encoded[:13] + as_of.to_bytes(8, "big") + held.encoded[21:])
        assert not verifier.verifies(Certificate.numbered(site.issuer, 1), profile, moved, 1)
    assert not verifier.verifies(Certificate.numbered(site.issuer, 2), profile, held, 1)


def _url(site: Site) -> str:
    return f"unix://{site.records._pool.connection_kwargs['path']}"


async def test_a_name_of_a_run_is_its_process_and_its_time_as_a_primary(site: Site) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}:[0-9a-f]{40}", await site.records.ping())
