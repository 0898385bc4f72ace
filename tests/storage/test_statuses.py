"""Statuses, versions and the outbox on a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from responder.errors import ConfigError, RevocationRefused, StatusUnavailable
from responder.pki import (
    Certificate,
    CertStatus,
    CRLReason,
    IssuedCertificate,
    Issuer,
    Issuers,
    RevokedInfo,
    StatusChange,
    encode_serial,
)
from responder.storage.certificates import PostgresCertificates, register
from responder.storage.issuers import PostgresIssuers
from responder.storage.postgres import Listener, connect
from responder.storage.revoked import PostgresRevoked
from responder.storage.statuses import PostgresStatuses
from tests.makers import make_ca, make_test_issuer
from tests.proxy import Proxy

THEN = datetime(2026, 5, 1, tzinfo=UTC)
REVOKED = StatusChange(RevokedInfo(THEN, CRLReason.keyCompromise))


@dataclass
class World:
    """A migrated database with one issuer."""

    url: str
    pool: asyncpg.Pool
    issuer: Issuer
    issuers: PostgresIssuers
    statuses: PostgresStatuses

    def certificate(self, serial_number: int) -> Certificate:
        return Certificate.numbered(self.issuer, serial_number)

    async def register(self, *serial_numbers: int) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await register(connection, self.issuer, [IssuedCertificate(number) for number in serial_numbers])

    async def sql(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        return await self.pool.fetch(statement, *arguments)

    async def version(self, serial_number: int) -> tuple[int, int]:
        (status,) = await self.statuses.status_of([self.certificate(serial_number)])
        assert status is not None
        return status.version.epoch, status.version.number

    async def close_all(self) -> None:
        while pending := await self.statuses.pending(1000):
            await self.statuses.done(pending, await self.statuses.status_of([change.certificate for change in pending]))


@pytest.fixture
async def world(database: str, issuer: Issuer) -> AsyncIterator[World]:
    pool = await connect(database, pool_size=5, application_name="test")
    issuers = PostgresIssuers(pool)
    await issuers.add(issuer)
    yield World(database, pool, issuer, issuers, PostgresStatuses(pool, Issuers([issuer])))
    await pool.close()


async def test_statuses_come_in_the_order_asked_and_none_where_there_is_none(world: World) -> None:
    await world.register(1, 2)
    asked = [world.certificate(number) for number in (2, 99, 1, 2)]
    found = await world.statuses.status_of(asked)
    assert [status and status.certificate.serial_number for status in found] == [2, None, 1, 2]


@pytest.mark.parametrize(
    "serial_number", [0, 1, 127, 128, 255, 256, -1, -128, -129, 2**159, 2**160 - 1, 2**255, -(2**200)]
)
async def test_serials_of_any_shape_are_kept(world: World, serial_number: int) -> None:
    await world.register(serial_number)
    (status,) = await world.statuses.status_of([world.certificate(serial_number)])
    assert status is not None
    assert status.cert_status is CertStatus.GOOD
    assert await world.statuses.status_of([world.certificate(serial_number + 1)]) == [None]


async def test_a_partition_is_the_hash_of_the_serial(world: World) -> None:
    import hashlib

    await world.register(*range(200))
    for row in await world.sql("SELECT serial, partition FROM certificates"):
        assert row["partition"] == int.from_bytes(hashlib.sha256(row["serial"]).digest()[:2], "big") % 1024


async def test_as_of_is_never_later_than_the_reading(world: World) -> None:
    await world.register(1)
    before = (await world.sql("SELECT clock_timestamp() AS t"))[0]["t"]
    (status,) = await world.statuses.status_of([world.certificate(1)])
    after = (await world.sql("SELECT clock_timestamp() AS t"))[0]["t"]
    assert status is not None
    assert before <= status.version.as_of <= after


WRITES = {
    "an update": "UPDATE certificates SET revoked = true, revoked_at = now() WHERE serial = $1",
    "an update that changes nothing": "UPDATE certificates SET not_after = not_after WHERE serial = $1",
    "a version written by hand": "UPDATE certificates SET number = 0, epoch = 0 WHERE serial = $1",
}


@pytest.mark.parametrize("case", WRITES)
async def test_the_version_rises_whoever_writes(world: World, case: str) -> None:
    await world.register(1)
    before = await world.version(1)
    await world.sql(WRITES[case], encode_serial(1))
    assert await world.version(1) > before


async def test_the_version_rises_in_replica_sessions_and_over_delete_and_insert(world: World) -> None:
    await world.register(1)
    versions = [await world.version(1)]
    async with world.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("UPDATE certificates SET revoked = true, revoked_at = now()")
    versions.append(await world.version(1))
    await world.sql("DELETE FROM certificates")
    await world.register(1)
    versions.append(await world.version(1))
    assert versions == sorted(set(versions))
    kinds = [row["kind"] for row in await world.sql("SELECT kind FROM outbox ORDER BY id")]
    assert kinds == ["issued", "changed", "deleted", "issued"]
    numbers = [row["number"] for row in await world.sql("SELECT number FROM outbox ORDER BY id")]
    assert numbers == sorted(numbers)


async def test_a_raised_epoch_makes_every_later_version_higher(world: World) -> None:
    await world.register(1)
    before = await world.version(1)
    await world.sql("UPDATE installation SET epoch = epoch + 1")
    await world.sql("SELECT setval('status_numbers', 1)")
    await world.sql(WRITES["an update"], encode_serial(1))
    assert await world.version(1) > before


async def test_a_certificate_keeps_its_key_and_truncate_is_refused(world: World) -> None:
    await world.register(1)
    with pytest.raises(asyncpg.RaiseError, match="keeps its issuer and serial"):
        await world.sql("UPDATE certificates SET serial = $1", encode_serial(2))
    with pytest.raises(asyncpg.RaiseError, match="without announcing"):
        await world.sql("TRUNCATE certificates")


async def test_direct_sql_is_announced(world: World) -> None:
    await world.register(1)
    heard = asyncio.Event()
    count = 0

    def hear(channel: str) -> None:
        nonlocal count
        count += 1
        heard.set()

    async with Listener(world.url, ["certstatus_status"], hear):
        await asyncio.wait_for(heard.wait(), 10)  # once for the new connection
        heard.clear()
        await world.sql(WRITES["an update"], encode_serial(1))
        await asyncio.wait_for(heard.wait(), 10)
    assert count == 2


async def test_a_change_is_one_transaction_with_outbox_and_audit(world: World) -> None:
    await world.register(1)
    status = await world.statuses.change(world.certificate(1), lambda _: REVOKED, actor="someone")
    assert status.cert_status is CertStatus.REVOKED
    assert status.revoked_info == REVOKED.revoked_info
    (audit,) = await world.sql("SELECT * FROM audit_log WHERE serial IS NOT NULL")
    assert (audit["actor"], audit["action"], audit["issuer_id"]) == ("someone", "revoke", world.issuer.id)
    assert audit["detail"]["after"]["reason"] == "keyCompromise"
    assert [row["kind"] for row in await world.sql("SELECT kind FROM outbox ORDER BY id")] == ["issued", "changed"]


async def test_a_change_decided_against_or_refused_leaves_nothing(world: World) -> None:
    await world.register(1)
    before = await world.version(1)
    await world.statuses.change(world.certificate(1), lambda _: None, actor="x")

    def refuse(_: object) -> StatusChange:
        raise RevocationRefused(409, "no", "no")

    with pytest.raises(RevocationRefused):
        await world.statuses.change(world.certificate(1), refuse, actor="x")
    with pytest.raises(RevocationRefused) as missing:
        await world.statuses.change(world.certificate(0xABC), lambda _: REVOKED, actor="x")
    assert missing.value.http_status == 404
    assert "0xabc" in missing.value.detail
    assert await world.version(1) == before
    assert not await world.sql("SELECT * FROM audit_log WHERE serial IS NOT NULL")


async def test_two_changes_of_one_certificate_see_each_other(world: World) -> None:
    await world.register(1)
    seen: list[CertStatus] = []

    def revoke(status: object) -> StatusChange:
        seen.append(status.cert_status)  # type: ignore[attr-defined]
        return REVOKED

    await asyncio.gather(*(world.statuses.change(world.certificate(1), revoke, actor="x") for _ in range(4)))
    assert sorted(seen) == [CertStatus.GOOD, CertStatus.REVOKED, CertStatus.REVOKED, CertStatus.REVOKED]


async def test_done_closes_what_is_covered_and_leaves_a_newer_change_open(world: World) -> None:
    await world.register(1)
    await world.close_all()
    await world.statuses.change(world.certificate(1), lambda _: REVOKED, actor="x")
    pending = await world.statuses.pending(10)
    statuses = await world.statuses.status_of([change.certificate for change in pending])
    # In between it changes again.
    await world.statuses.change(world.certificate(1), lambda _: StatusChange(None), actor="x")
    await world.statuses.done(pending, statuses)
    (left,) = await world.statuses.pending(10)
    assert left.version.number > pending[0].version.number
    await world.close_all()
    assert await world.statuses.pending_count() == 0


@pytest.mark.parametrize("at_once", [1, 10_000])
async def test_issued_rows_stay_for_an_hour_and_changed_ones_longer(
    world: World, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("responder.storage.outbox._SWEPT_AT_ONCE", at_once)
    await world.register(1, 2)
    await world.statuses.change(world.certificate(1), lambda _: REVOKED, actor="x")
    await world.close_all()
    assert await world.statuses.pending_count() == 0
    await world.statuses.sweep()
    assert len(await world.sql("SELECT 1 FROM outbox")) == 3
    await world.sql("UPDATE outbox SET created_at = now() - interval '2 hours', closed_at = now() - interval '2 hours'")
    await world.statuses.sweep()
    assert [row["kind"] for row in await world.sql("SELECT kind FROM outbox")] == ["changed"]
    await world.sql("UPDATE outbox SET created_at = now() - interval '9 days'")
    await world.statuses.sweep()
    assert not await world.sql("SELECT 1 FROM outbox")


async def test_pending_names_each_certificate_once_with_its_newest_version(world: World) -> None:
    await world.register(1, 2)
    await world.statuses.change(world.certificate(1), lambda _: REVOKED, actor="x")
    pending = await world.statuses.pending(10)
    assert sorted(change.certificate.serial_number for change in pending) == [1, 2]
    assert {change.version.number for change in pending} == {2, 3}


async def test_changes_of_an_issuer_that_is_gone_are_dropped_and_of_one_not_yet_known_kept(world: World) -> None:
    await world.register(1)
    late = make_test_issuer("late", make_ca("ec", "Late"))
    await world.issuers.add(late)
    await PostgresCertificates(world.pool).register(late, [IssuedCertificate(5)], actor="test")
    await world.issuers.remove(world.issuer.id)
    world.statuses._issuers.replace([])
    assert await world.statuses.pending(10) == []
    assert {row["issuer_id"] for row in await world.sql("SELECT issuer_id FROM outbox")} == {"late"}


async def test_a_snapshot_for_a_crl_is_sorted_stable_and_drops_what_has_expired(world: World) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    revoked = RevokedInfo(THEN, CRLReason.superseded)
    await PostgresCertificates(world.pool).register(
        world.issuer,
        [
            IssuedCertificate(300, revoked),
            IssuedCertificate(2, revoked, not_after=now + timedelta(days=1)),
            IssuedCertificate(3, revoked, not_after=now - timedelta(days=1)),
            IssuedCertificate(4),
        ],
        actor="test",
    )
    async with PostgresRevoked(world.pool).revoked_snapshot(world.issuer, not_expired_at=now) as snapshot:
        # A change after the snapshot isn't in it.
        await world.statuses.change(world.certificate(4), lambda _: REVOKED, actor="x")
        serials = [row[0] async for rows in snapshot.entries for row in rows]
    assert serials == [encode_serial(300), encode_serial(2)] == sorted(serials)
    async with PostgresRevoked(world.pool).revoked_snapshot(world.issuer, not_expired_at=None) as snapshot:
        assert len([row async for rows in snapshot.entries for row in rows]) == 4


async def test_lost_connections_are_status_unavailable_and_come_back(world: World) -> None:
    await world.register(1)
    async with Proxy.of_postgres(world.url) as proxy:
        pool = await connect(proxy.url, pool_size=2, application_name="test")
        statuses = PostgresStatuses(pool, Issuers([world.issuer]))
        assert (await statuses.status_of([world.certificate(1)]))[0] is not None
        proxy.cut()
        proxy.refuse = True
        with pytest.raises(StatusUnavailable):
            await statuses.status_of([world.certificate(1)])
        proxy.refuse = False
        for _ in range(3):
            try:
                assert (await statuses.status_of([world.certificate(1)]))[0] is not None
                break
            except StatusUnavailable:
                continue
        else:
            pytest.fail("the pool doesn't come back")
        await pool.close()


async def test_a_change_whose_confirmation_is_lost_is_unavailable_and_a_repeat_finds_it(world: World) -> None:
    await world.register(1)
    async with Proxy.of_postgres(world.url) as proxy:
        pool = await connect(proxy.url, pool_size=1, application_name="test")
        statuses = PostgresStatuses(pool, Issuers([world.issuer]))

        def revoke_and_cut(_: object) -> StatusChange:
            proxy.cut_on(b"COMMIT")
            return REVOKED

        with pytest.raises(StatusUnavailable):
            await statuses.change(world.certificate(1), revoke_and_cut, actor="x")
        await pool.close()
    repeat = await world.statuses.change(
        world.certificate(1), lambda status: None if status.revoked_info else REVOKED, actor="x"
    )
    assert repeat.cert_status is CertStatus.REVOKED


async def test_a_database_without_schema_names_the_command(empty_database: str, issuer: Issuer) -> None:
    pool = await connect(empty_database, pool_size=1, application_name="test")
    with pytest.raises(ConfigError, match="certstatus db migrate"):
        await PostgresStatuses(pool, Issuers([issuer])).status_of([Certificate.numbered(issuer, 1)])
    await pool.close()


async def test_a_database_that_is_not_there_is_unavailable(world: World) -> None:
    with pytest.raises(StatusUnavailable):
        await connect(world.url.replace("test_", "absent_"), pool_size=1, application_name="test")
    with pytest.raises(StatusUnavailable):
        await connect("postgresql://certstatus@127.0.0.1:1/x", pool_size=1, application_name="test")
