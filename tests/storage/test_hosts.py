"""Leases of hosts, and the changes that they have applied, in a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from responder.embedded import EmbeddedValkey
from responder.pki import AnnouncedChange, Certificate, Changes, Unaware, encode_serial
from responder.storage.hosts import PostgresHosts
from responder.storage.runs import PostgresRuns
from tests.storage.site import Site, open_site


@pytest.fixture
async def site(database: str, valkey: EmbeddedValkey, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(database, valkey.url, tmp_path, is_host=False) as opened:
        yield opened


@pytest.fixture
def hosts(site: Site) -> PostgresHosts:
    return PostgresHosts(site.pool)


async def read(hosts: PostgresHosts, since: Changes | None = None) -> tuple[list[AnnouncedChange], Changes]:
    async with hosts.changes(since) as changes:
        return [change async for batch in changes.batches for change in batch], changes


async def join(hosts: PostgresHosts, name: str, *, seconds: float = 60) -> Changes:
    await hosts.renew(name, owner=f"{name}:1", seconds=seconds, is_new=True)
    _, changes = await read(hosts)
    assert await hosts.acknowledge(name, changes)
    return changes


async def catch_up(hosts: PostgresHosts, name: str, since: Changes) -> Changes:
    _, changes = await read(hosts, since)
    assert await hosts.acknowledge(name, changes)
    return changes


async def insert(site: Site, number: int, *, revoked: bool = False) -> Certificate:
    certificate = Certificate.numbered(site.issuer, number)
    await site.sql(
        "INSERT INTO certificates (issuer_id, serial, revoked, revoked_at) VALUES ($1, $2, $3::boolean, "
        "CASE WHEN $3::boolean THEN now() END)",
        site.issuer.id,
        certificate.serial,
        revoked,
    )
    return certificate


async def revoke(site: Site, certificate: Certificate) -> None:
    await site.sql(
        "UPDATE certificates SET revoked = true, revoked_at = now() WHERE issuer_id = $1 AND serial = $2",
        certificate.issuer.id,
        certificate.serial,
    )


async def test_a_host_with_a_lease_is_waited_for_until_it_has_applied_the_change(
    site: Site, hosts: PostgresHosts
) -> None:
    certificate = await insert(site, 1)
    assert await hosts.unaware(certificate) == Unaware(), "nobody answers"
    one, two = await join(hosts, "one"), await join(hosts, "two")
    assert await hosts.unaware(certificate) == Unaware()
    await revoke(site, certificate)
    unaware = await hosts.unaware(certificate)
    assert unaware.owners == ("one:1", "two:1")
    assert unaware.certain_at is not None
    assert timedelta(seconds=50) < unaware.certain_at - datetime.now(UTC) < timedelta(seconds=61)
    await catch_up(hosts, "one", one)
    assert (await hosts.unaware(certificate)).owners == ("two:1",)
    await catch_up(hosts, "two", two)
    assert await hosts.unaware(certificate) == Unaware()


async def test_what_is_announced_is_read_once_and_whatever_wrote_it(site: Site, hosts: PostgresHosts) -> None:
    certificate = await insert(site, 1)
    revoked = await insert(site, 2, revoked=True)
    all_of_it, before = await read(hosts)
    assert [change.serial for change in all_of_it] == [revoked.serial], "what was merely issued has no older answer"
    assert all_of_it[0].issuer_tag == site.issuer.tag
    assert abs(all_of_it[0].created_at - datetime.now(UTC).timestamp()) < 60
    assert (await read(hosts, before))[0] == []
    await revoke(site, certificate)
    changed, then = await read(hosts, before)
    assert [change.serial for change in changed] == [certificate.serial]
    number = await site.pool.fetchval("SELECT number FROM certificates WHERE serial = $1", certificate.serial)
    assert (changed[0].epoch, changed[0].number) == (1, number)
    await site.sql("DELETE FROM certificates")
    deleted, _ = await read(hosts, then)
    assert {change.serial for change in deleted} == {certificate.serial, revoked.serial}


async def test_changes_that_commit_out_of_the_order_of_their_numbers_are_all_seen(
    site: Site, hosts: PostgresHosts
) -> None:
    slow, quick = await insert(site, 1), await insert(site, 2)
    changes = await join(hosts, "one")
    async with site.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "UPDATE certificates SET revoked = true, revoked_at = now() WHERE serial = $1", slow.serial
        )
        await revoke(site, quick)
        first, changes = await read(hosts, changes)
        await hosts.acknowledge("one", changes)
        assert [change.serial for change in first] == [quick.serial]
        await transaction.commit()
    assert (await hosts.unaware(slow)).owners == ("one:1",), "the later number was applied, this one wasn't"
    assert await hosts.unaware(quick) == Unaware()
    second, changes = await read(hosts, changes)
    assert [change.serial for change in second] == [slow.serial]
    await hosts.acknowledge("one", changes)
    assert await hosts.unaware(slow) == Unaware()


async def test_a_lease_that_is_over_is_not_waited_for(site: Site, hosts: PostgresHosts) -> None:
    certificate = await insert(site, 1)
    await join(hosts, "one", seconds=0.3)
    await revoke(site, certificate)
    async with asyncio.timeout(10):
        while (await hosts.unaware(certificate)).owners:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await join(hosts, "two")
    await hosts.leave("two")
    await revoke(site, certificate)
    assert await hosts.unaware(certificate) == Unaware()


async def test_a_host_that_joins_anew_has_applied_nothing(site: Site, hosts: PostgresHosts) -> None:
    """Its memory is empty, whatever one of the same name had before."""
    certificate = await insert(site, 1, revoked=True)
    await join(hosts, "one")
    assert await hosts.unaware(certificate) == Unaware()
    await hosts.renew("one", owner="one:1", seconds=60, is_new=False)
    assert await hosts.unaware(certificate) == Unaware()
    await hosts.renew("one", owner="one:2", seconds=60, is_new=True)
    assert (await hosts.unaware(certificate)).owners == ("one:2",)


async def test_a_change_committed_while_a_host_joins_waits_for_it(site: Site, hosts: PostgresHosts) -> None:
    """The lease is there before the changes are read: what the reading doesn't see, waits."""
    certificate = await insert(site, 1)
    await hosts.renew("one", owner="one:1", seconds=60, is_new=True)
    async with hosts.changes(None) as changes:
        await revoke(site, certificate)
        assert [change async for batch in changes.batches for change in batch] == []
    await hosts.acknowledge("one", changes)
    assert (await hosts.unaware(certificate)).owners == ("one:1",)
    await catch_up(hosts, "one", changes)
    assert await hosts.unaware(certificate) == Unaware()


async def test_a_status_read_at_the_moment_of_the_changes_or_later_has_seen_them(
    site: Site, hosts: PostgresHosts
) -> None:
    await insert(site, 1, revoked=True)
    _, changes = await read(hosts)
    committed = await site.pool.fetchval("SELECT max(created_at) FROM outbox")
    assert committed <= changes.as_of <= await site.pool.fetchval("SELECT clock_timestamp()")


async def test_who_has_no_lease_acknowledges_nothing(hosts: PostgresHosts) -> None:
    _, changes = await read(hosts)
    assert not await hosts.acknowledge("nobody", changes)


async def test_what_has_ended_is_forgotten(site: Site, hosts: PostgresHosts) -> None:
    certificate = await insert(site, 1)
    await join(hosts, "dead")
    await join(hosts, "alive")
    await revoke(site, certificate)
    await hosts.forget(lambda owner: owner == "dead:1")
    assert (await hosts.unaware(certificate)).owners == ("alive:1",)
    await site.sql("UPDATE hosts SET leased_until = now() - interval '2 days'")
    await hosts.forget(lambda owner: False)
    assert await site.pool.fetchval("SELECT count(*) FROM hosts") == 0


async def test_another_history_of_the_database_is_read_from_the_beginning(
    site: Site, hosts: PostgresHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a promotion that lost commits the same transaction id is another transaction."""
    certificate = await insert(site, 1, revoked=True)
    changes = await join(hosts, "one")
    monkeypatch.setattr("responder.storage.hosts._HISTORY", "'another server:00000002'")
    assert (await hosts.unaware(certificate)).owners == ("one:1",)
    all_again, anew = await read(hosts, changes)
    assert [change.serial for change in all_again] == [certificate.serial]
    await hosts.acknowledge("one", anew)
    assert await hosts.unaware(certificate) == Unaware()


async def test_after_a_recovery_every_host_learns_everything_again(site: Site, hosts: PostgresHosts) -> None:
    certificate = await insert(site, 1, revoked=True)
    # As a restore leaves it: of a transaction that this server will have much later.
    await site.sql("UPDATE outbox SET transaction_id = '99999999'")
    changes = await join(hosts, "one")
    assert (await hosts.unaware(certificate)).owners == ("one:1",)
    await PostgresRuns(site.pool).recover(actor="test")
    await catch_up(hosts, "one", changes)
    assert await hosts.unaware(certificate) == Unaware()


async def test_many_changes_come_in_batches(site: Site, hosts: PostgresHosts) -> None:
    await site.sql(
        "INSERT INTO certificates (issuer_id, serial, revoked, revoked_at) "
        "SELECT $1, '\\x40'::bytea || int4send(g), true, now() FROM generate_series(1, 12000) g",
        site.issuer.id,
    )
    async with hosts.changes(None) as changes:
        sizes = [len(batch) async for batch in changes.batches]
    assert sum(sizes) == 12000
    assert max(sizes) <= 5000


async def issued_since(hosts: PostgresHosts, since: Changes | None) -> tuple[list[bytes], Changes]:
    async with hosts.changes(since) as changes:
        return [name async for names in changes.issued for name in names], changes


async def everything(hosts: PostgresHosts) -> set[bytes]:
    return {name async for names in hosts.everything_issued() for name in names}


async def test_what_is_issued_is_told_once_also_when_it_was_signed_meanwhile(site: Site, hosts: PostgresHosts) -> None:
    first = await insert(site, 0x1001)
    nothing, seen = await issued_since(hosts, None)
    assert nothing == []
    assert await everything(hosts) == {site.issuer.tag + first.serial}
    second = await insert(site, 0x1002)
    await site.relay_all()
    assert await site.sql("SELECT FROM outbox WHERE closed_at IS NULL") == "SELECT 0"
    names, later = await issued_since(hosts, seen)
    assert names == [site.issuer.tag + second.serial]
    assert (await issued_since(hosts, later))[0] == []
    assert (await issued_since(hosts, replace(seen, history="another")))[0] == []
    assert await everything(hosts) == {site.issuer.tag + each.serial for each in (first, second)}


async def test_very_many_at_once_are_told_like_others_and_wait_for_no_relay(site: Site, hosts: PostgresHosts) -> None:
    _, seen = await issued_since(hosts, None)
    await site.sql(
        "INSERT INTO certificates (issuer_id, serial, revoked, revoked_at) "
        "SELECT 'site-ec', int4send(16777216 + g), g % 1000 = 0, CASE WHEN g % 1000 = 0 THEN now() END "
        "FROM generate_series(1, 10500) g"
    )
    names, later = await issued_since(hosts, seen)
    good = [number for number in range(1, 10_501) if number % 1000]
    assert sorted(names) == [site.issuer.tag + (16_777_216 + number).to_bytes(4, "big") for number in good]
    assert (await issued_since(hosts, later))[0] == []
    assert await site.pool.fetchval("SELECT count(*) FROM outbox WHERE kind = 'issued'") <= 22
    assert await site.statuses.pending_count() == 10, "what is revoked is a change"
    assert await site.partitions.overdue("site-ec") == 1024
    await site.sql("UPDATE outbox SET closed_at = now() - interval '61 minutes' WHERE kind = 'issued'")
    await site.statuses.sweep()
    assert await site.pool.fetchval("SELECT count(*) FROM outbox WHERE kind = 'issued'") == 0


async def test_what_was_issued_is_kept_for_an_hour_after_it_was_signed(site: Site, hosts: PostgresHosts) -> None:
    _, seen = await issued_since(hosts, None)
    for number, age in ((0x1001, "59 minutes"), (0x1002, "61 minutes")):
        certificate = await insert(site, number)
        await site.sql(
            "UPDATE outbox SET closed_at = now() - $1::text::interval, created_at = now() - interval '2 hours' "
            "WHERE serial = $2",
            age,
            certificate.serial,
        )
    open_ = await insert(site, 0x1003)
    await site.sql("UPDATE outbox SET created_at = now() - interval '2 hours' WHERE serial = $1", open_.serial)
    await site.statuses.sweep()
    names, _ = await issued_since(hosts, seen)
    assert {name[8:] for name in names} == {encode_serial(0x1001), encode_serial(0x1003)}


async def test_whoever_registers_knows_which_hosts_have_heard(site: Site, hosts: PostgresHosts) -> None:
    assert await hosts.unaware_of(site.issuer) == Unaware()
    since = await join(hosts, "a")
    await insert(site, 0x1001)
    assert (await hosts.unaware_of(site.issuer)).owners == ("a:1",)
    await catch_up(hosts, "a", since)
    assert (await hosts.unaware_of(site.issuer)).owners == ()
