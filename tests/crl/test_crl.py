"""CRLs from a real database: numbers, entries, checks, schedule."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from responder.clock import SystemClock
from responder.crl.checks import check_crl
from responder.crl.issuer import FULL, CRLIssuer
from responder.crl.schedule import CRLSchedule, is_due
from responder.errors import CRLError
from responder.host.process import has_ended, process_identity
from responder.pki import (
    CRL,
    CRLBuilder,
    CRLHead,
    ImportedStatus,
    IssuedCertificate,
    Issuer,
    Issuers,
    RevokedInfo,
    encode_serial,
    epoch_seconds,
)
from responder.signing.crls import NativeCRLSigner
from responder.signing.keys import KeyRing
from responder.storage.certificates import PostgresCertificates
from responder.storage.crls import PostgresCRLs
from responder.storage.imports import PostgresImports
from responder.storage.issuers import PostgresIssuers
from responder.storage.postgres import connect
from responder.storage.revoked import PostgresRevoked
from responder.storage.statuses import PostgresStatuses
from responder.storage.troubles import PostgresTroubles
from responder.troubles import Troubles
from tests.makers import ca_of, pem

THEN = datetime(2026, 5, 1, tzinfo=UTC)


def ring_with(directory: Path, *issuers: Issuer) -> KeyRing:
    for issuer in issuers:
        path = directory / f"{issuer.id}.pem"
        path.touch(mode=0o600)
        path.write_bytes(pem(ca_of(issuer).key))
    return KeyRing(directory)


@dataclass
class World:
    """A database with one issuer whose key is here."""

    pool: asyncpg.Pool
    issuer: Issuer
    issuers: PostgresIssuers
    crls: PostgresCRLs
    signer: NativeCRLSigner
    builder: CRLIssuer

    async def revoke(self, serial_number: int, **info: object) -> None:
        await PostgresCertificates(self.pool).register(self.issuer, [IssuedCertificate(serial_number)], actor="test")
        await self.pool.execute(
            "UPDATE certificates SET revoked = true, revoked_at = $2, reason = $3 WHERE serial = $1",
            encode_serial(serial_number),
            THEN,
            info.get("reason"),
        )

    def schedule(self, owner: str = "me") -> CRLSchedule:
        return CRLSchedule(
            self.builder,
            store=self.crls,
            issuers=Issuers([self.issuer]),
            clock=SystemClock(),
            owner=owner,
        )


@pytest.fixture(params=["ec", "rsa"])
async def world(
    request: pytest.FixtureRequest, database: str, issuer: Issuer, rsa_issuer: Issuer, tmp_path: Path
) -> AsyncIterator[World]:
    chosen = issuer if request.param == "ec" else rsa_issuer
    chosen = replace(chosen, policy=replace(chosen.policy, crl_delay=timedelta(0)))
    pool = await connect(database, pool_size=5, application_name="test")
    issuers, crls = PostgresIssuers(pool), PostgresCRLs(pool)
    statuses = PostgresStatuses(pool, Issuers([chosen]))
    await issuers.add(chosen)
    signer = NativeCRLSigner(ring_with(tmp_path, chosen))
    builder = CRLIssuer(revoked=PostgresRevoked(pool), statuses=statuses, signer=signer, store=crls)
    yield World(pool, chosen, issuers, crls, signer, builder)
    await pool.close()


def serials(crl: CRL) -> set[int]:
    return {entry.serial_number for entry in x509.load_der_x509_crl(crl.der)}


async def test_a_crl_lists_what_is_revoked_and_numbers_rise(world: World) -> None:
    first = await world.builder.publish(world.issuer)
    assert serials(first) == set()
    await world.revoke(7, reason=1)
    await world.revoke(300)
    second = await world.builder.publish(world.issuer)
    assert serials(second) == {7, 300}
    assert second.crl_number > first.crl_number
    latest = await world.crls.latest(world.issuer, FULL)
    assert latest is not None
    assert latest.der == second.der


async def test_an_entry_stays_until_it_was_on_a_crl_made_after_its_expiry(world: World) -> None:
    """Requirement 5280-12."""
    await world.revoke(7)
    await world.builder.publish(world.issuer)
    await world.pool.execute("UPDATE certificates SET not_after = now()")
    await asyncio.sleep(1.1)  # thisUpdate counts whole seconds
    after_expiry = await world.builder.publish(world.issuer)
    assert serials(after_expiry) == {7}
    await asyncio.sleep(1.1)
    assert serials(await world.builder.publish(world.issuer)) == set()


@pytest.mark.parametrize("retention", [None, timedelta(days=10)])
async def test_expired_ones_stay_where_the_issuer_archives(world: World, retention: timedelta | None) -> None:
    """Requirement ETSI-02: for as long as OCSP goes on for them, and the CRL says since when it lists them."""
    issuer = replace(world.issuer, policy=replace(world.issuer.policy, archive=True, archive_retention=retention))
    for serial, days in ((7, 1), (8, 9), (9, 11)):
        await world.revoke(serial)
        await world.pool.execute(
            "UPDATE certificates SET not_after = now() - $2::interval WHERE serial = $1",
            encode_serial(serial),
            timedelta(days=days),
        )
    first = await world.builder.publish(issuer)
    await asyncio.sleep(1.1)
    second = await world.builder.publish(issuer)
    assert serials(first) == {7, 8, 9}
    assert serials(second) == ({7, 8, 9} if retention is None else {7, 8})
    for crl, before in ((first, None), (second, first)):
        read = x509.load_der_x509_crl(crl.der)
        (expired,) = (each for each in read.extensions if each.oid.dotted_string == "2.5.29.60")
        assert not expired.critical
        last = issuer.not_before if before is None else before.this_update
        since = issuer.not_before if retention is None else last - retention
        assert isinstance(expired.value, x509.UnrecognizedExtension)
        assert expired.value.value == b"\x18\x0f" + since.strftime("%Y%m%d%H%M%SZ").encode()
    # Without it they leave, once they have been on one CRL more.
    await asyncio.sleep(1.1)
    third = await world.builder.publish(world.issuer)
    assert serials(third) == set()
    assert "2.5.29.60" not in {each.oid.dotted_string for each in x509.load_der_x509_crl(third.der).extensions}


async def test_a_released_hold_leaves_the_crl_and_a_vanished_revocation_stops_it(world: World) -> None:
    await world.revoke(7, reason=6)
    await world.revoke(8)
    first = await world.builder.publish(world.issuer)
    await world.pool.execute(
        "UPDATE certificates SET revoked = false, revoked_at = NULL, reason = NULL WHERE serial = $1", encode_serial(7)
    )
    released = await world.builder.publish(world.issuer)
    assert (serials(first), serials(released)) == ({7, 8}, {8})
    await world.pool.execute("DELETE FROM certificates WHERE serial = $1", encode_serial(8))
    with pytest.raises(CRLError, match="0x8"):
        await world.builder.publish(world.issuer)
    latest = await world.crls.latest(world.issuer, FULL)
    assert latest is not None
    assert latest.der == released.der, "the old one stays"


async def test_numbers_never_repeat_under_concurrency_and_a_lower_one_is_refused(world: World) -> None:
    numbers = await asyncio.gather(*(world.crls.next_number(world.issuer, FULL) for _ in range(20)))
    assert len(set(numbers)) == 20
    crl = await world.builder.publish(world.issuer)
    for number in (crl.crl_number, crl.crl_number - 1):
        with pytest.raises(CRLError, match="isn't higher"):
            await world.crls.put(replace(crl, crl_number=number))


async def test_only_one_builder_at_a_time(world: World) -> None:
    assert await world.crls.lease(world.issuer, FULL, owner="a", seconds=60)
    assert await world.crls.lease(world.issuer, FULL, owner="a", seconds=60)
    assert not await world.crls.lease(world.issuer, FULL, owner="b", seconds=60)
    assert await world.schedule("b").once(frozenset({world.issuer.id})) == 0
    await world.crls.release(world.issuer, FULL, owner="a")
    assert await world.schedule("b").once(frozenset({world.issuer.id})) == 1


async def test_a_change_makes_a_crl_due_also_when_it_commits_after_a_later_one(world: World) -> None:
    here = frozenset({world.issuer.id})
    await PostgresCertificates(world.pool).register(
        world.issuer, [IssuedCertificate(1), IssuedCertificate(2)], actor="test"
    )
    assert await world.schedule().once(here) == 1
    assert await world.schedule().once(here) == 0, "issuing makes no CRL due"
    revoke = "UPDATE certificates SET revoked = true, revoked_at = now() WHERE serial = $1"
    async with world.pool.acquire() as slow:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(revoke, encode_serial(1))  # an earlier number …
        await world.pool.execute(revoke, encode_serial(2))
        assert await world.schedule().once(here) == 1
        await transaction.commit()  # … that commits later
    assert await world.schedule().once(here) == 1
    latest = await world.crls.latest(world.issuer, FULL)
    assert latest is not None
    assert serials(latest) == {1, 2}
    assert await world.schedule().once(here) == 0


async def test_a_lease_ends_with_its_holder(world: World) -> None:
    """The next process of the host takes over what a killed one held; a living one keeps it."""
    mine = process_identity()
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
    await child.wait()
    gone = f"{mine.rpartition(':')[0]}:{child.pid}"
    for owner, is_free in ((gone, True), (mine, False), ("another-host/1-2:77", False)):
        await world.pool.execute("DELETE FROM crl_leases")
        assert await world.crls.lease(world.issuer, FULL, owner=owner, seconds=60)
        await world.crls.end_leases(has_ended)
        assert await world.crls.lease(world.issuer, FULL, owner="somebody", seconds=60) == is_free


async def test_a_change_of_a_long_transaction_makes_a_crl_due(world: World) -> None:
    """However long ago its transaction began, and whatever clock says so."""
    here = frozenset({world.issuer.id})
    assert await world.schedule().once(here) == 1
    await world.revoke(5)
    await world.pool.execute("UPDATE outbox SET created_at = created_at - interval '3 hours'")
    assert await world.schedule().once(here) == 1
    assert await world.schedule().once(here) == 0


async def test_a_crl_from_another_cluster_is_followed_by_one_of_this(world: World) -> None:
    """A restored row's snapshot says nothing of the transactions here; it may seem to have seen them all."""
    here = frozenset({world.issuer.id})
    assert await world.schedule().once(here) == 1
    await world.pool.execute("UPDATE crls SET snapshot = '99999999:99999999:'")
    await world.revoke(5)
    assert await world.schedule().once(here) == 1
    latest = await world.crls.latest(world.issuer, FULL)
    assert latest is not None
    assert serials(latest) == {5}


async def test_what_expired_before_it_was_registered_is_on_one_crl(world: World) -> None:
    """5280-12: imported with an expiry before the last CRL, it was on none."""
    await world.builder.publish(world.issuer)
    expired = datetime.now(UTC) - timedelta(hours=1)
    revoked = RevokedInfo(THEN)
    await PostgresCertificates(world.pool).register(
        world.issuer, [IssuedCertificate(9, revoked, not_after=expired)], actor="test"
    )
    assert serials(await world.builder.publish(world.issuer)) == {9}
    assert serials(await world.builder.publish(world.issuer)) == set()


async def test_nothing_is_published_before_the_first_import(world: World) -> None:
    """An empty CRL of a CA that had another responder would tell everyone for a week that nothing is revoked."""
    here = frozenset({world.issuer.id})
    await world.pool.execute("UPDATE issuers SET crls_started_at = NULL")
    assert await world.schedule().once(here) == 0
    rows = [ImportedStatus(3, RevokedInfo(THEN))]
    imports = PostgresImports(world.pool)
    await imports.run(world.issuer, rows, dry_run=True, actor="test")
    assert await world.schedule().once(here) == 0
    await imports.run(world.issuer, rows, dry_run=False, actor="test")
    assert await world.schedule().once(here) == 1
    latest = await world.crls.latest(world.issuer, FULL)
    assert latest is not None
    assert serials(latest) == {3}


async def test_numbers_and_entries_of_an_earlier_responder_go_on(world: World) -> None:
    issued = [IssuedCertificate(serial, RevokedInfo(THEN)) for serial in (7, 8)]
    await world.issuers.remove(world.issuer.id)
    await world.issuers.add(world.issuer, issued=issued, last_crl_number=1000)
    crl = await world.builder.publish(world.issuer)
    assert (crl.crl_number, serials(crl)) == (1001, {7, 8})


class Failing(CRLIssuer):
    """Fails for some issuers, in a way that isn't even ours; `slow` ones take until they are let go."""

    def __init__(self, inner: CRLIssuer, failing: set[str], slow: dict[str, asyncio.Event] | None = None) -> None:
        self.inner, self.failing, self.slow, self.tries = inner, failing, slow or {}, 0

    async def publish(self, issuer: Issuer) -> CRL:
        if issuer.id in self.failing:
            self.tries += 1
            raise ZeroDivisionError("a bug that one issuer's data brings out")
        if issuer.id in self.slow:
            await self.slow[issuer.id].wait()
        return await self.inner.publish(issuer)


async def test_one_issuers_trouble_delays_no_others_crl(
    world: World, issuer: Issuer, rsa_issuer: Issuer, tmp_path: Path
) -> None:
    other = rsa_issuer if world.issuer == issuer else issuer
    both = frozenset({world.issuer.id, other.id})
    await world.issuers.add(other)
    world.signer.use(ring_with(tmp_path, issuer, rsa_issuer))
    now = [0.0]
    troubles = Troubles("crl", PostgresTroubles(world.pool, host="here"), monotonic=lambda: now[0])
    builder = Failing(world.builder, {world.issuer.id})
    schedule = CRLSchedule(
        builder,
        store=world.crls,
        issuers=Issuers([world.issuer, other]),
        clock=SystemClock(),
        owner="me",
        troubles=troubles,
    )
    assert await schedule.once(both) == 1
    assert await schedule.once(both) == 0
    assert builder.tries == 1, "it is left alone for a while"
    await troubles.tell()
    (told,) = await PostgresTroubles(world.pool, host="elsewhere").all()
    assert (told.issuer_id, told.task, told.host) == (world.issuer.id, "crl", "here")
    assert "ZeroDivisionError" in told.error
    now[0] += 100
    assert await schedule.once(both) == 0
    assert builder.tries == 2
    # It is mended; a slow one meanwhile keeps nobody waiting.
    builder.failing.clear()
    now[0] += 100
    builder.slow[other.id] = let_go = asyncio.Event()
    await world.pool.execute("DELETE FROM crls WHERE issuer_id = $1", other.id)
    slow, quick = sorted(await schedule.begin(both), key=lambda task: other.id not in task.get_name())
    assert await quick
    assert not slow.done()
    assert await schedule.begin(both) == [], "it isn't begun twice"
    let_go.set()
    assert await slow
    await troubles.tell()
    assert await PostgresTroubles(world.pool, host="elsewhere").all() == []


async def test_a_crl_is_checked_beside_the_event_loop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large one takes seconds, and a loop that is silent for five is ended by the supervisor."""
    threads: list[int] = []

    def checked(*arguments: Any, **options: Any) -> list[bytes]:
        threads.append(threading.get_ident())
        return check_crl(*arguments, **options)

    monkeypatch.setattr("responder.crl.issuer.check_crl", checked)
    await world.builder.publish(world.issuer)
    assert threads
    assert threads[0] != threading.get_ident()


async def test_a_host_without_the_key_publishes_nothing(world: World, tmp_path: Path) -> None:
    assert not NativeCRLSigner(KeyRing(None)).can_sign(world.issuer)
    assert await world.schedule().once(frozenset()) == 0


async def test_ten_crls_are_kept(world: World) -> None:
    for _ in range(12):
        await world.builder.publish(world.issuer)
    assert await world.pool.fetchval("SELECT count(*) FROM crls") == 10
    (newest,) = await world.crls.heads()
    assert newest.crl_number == 12
    assert [crl.crl_number for crl in await world.crls.newer_than({(world.issuer.id, FULL): 11})] == [12]
    assert await world.crls.newer_than({(world.issuer.id, FULL): 12}) == []


FAULTS = {
    "another issuer's key": ("signature", {}),
    "another number": ("CRLNumber", {"crl_number": 99}),
    "another thisUpdate": ("thisUpdate", {"this_update": THEN - timedelta(days=9)}),
    "another nextUpdate": ("nextUpdate", {"next_update": THEN + timedelta(days=900)}),
}


@pytest.mark.parametrize("case", FAULTS)
async def test_a_crl_that_is_not_as_asked_is_not_published(
    world: World, rsa_issuer: Issuer, issuer: Issuer, case: str
) -> None:
    word, changes = FAULTS[case]
    crl = await world.builder.publish(world.issuer)
    judged = world.issuer
    if case == "another issuer's key":
        judged = rsa_issuer if world.issuer == issuer else issuer
    with pytest.raises(CRLError, match=word):
        check_crl(replace(crl, **changes), issuer=judged, entries=CRLBuilder(), previous=None)  # type: ignore[arg-type]


async def test_entries_that_are_not_as_asked_are_not_published(world: World) -> None:
    await world.revoke(7)
    crl = await world.builder.publish(world.issuer)
    then = epoch_seconds(THEN)
    listed = (encode_serial(7), then, -1, -1)
    assert check_crl(crl, issuer=world.issuer, entries=asked(listed), previous=None) == []
    for wrong in (
        [],
        [listed, (encode_serial(8), then, -1, -1)],
        [(encode_serial(7), then, 4, -1)],
        [(encode_serial(7), then + 1, -1, -1)],
        [(encode_serial(7), then, -1, then)],
        [(encode_serial(8), then, -1, -1)],
    ):
        with pytest.raises(CRLError, match="asked for"):
            check_crl(crl, issuer=world.issuer, entries=asked(*wrong), previous=None)
    damaged = replace(crl, der=crl.der[:-1])
    with pytest.raises(CRLError, match="parsed"):
        check_crl(damaged, issuer=world.issuer, entries=asked(listed), previous=None)
    with pytest.raises(CRLError, match="isn't higher"):
        check_crl(crl, issuer=world.issuer, entries=asked(listed), previous=crl)


def asked(*rows: tuple[bytes, int, int, int]) -> CRLBuilder:
    builder = CRLBuilder()
    builder.extend(rows)
    return builder


@given(
    age=st.timedeltas(timedelta(0), timedelta(days=8)),
    change_age=st.none() | st.timedeltas(timedelta(0), timedelta(days=1)),
)
def test_a_crl_is_due_on_its_interval_and_after_a_change(age: timedelta, change_age: timedelta | None) -> None:
    from tests.makers import make_ca, make_test_issuer

    global _ISSUER
    _ISSUER = _ISSUER or make_test_issuer("due", make_ca("ec"))
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    policy = _ISSUER.policy
    changed_at = None if change_age is None else now - change_age
    latest = CRLHead("due", FULL, 1, now - age, now - age + policy.crl_validity, changed_at)
    expected = age >= policy.crl_interval or (change_age is not None and change_age >= policy.crl_delay)
    assert is_due(latest, _ISSUER, now) == expected
    assert is_due(None, _ISSUER, now)


_ISSUER: Issuer | None = None


def test_keys_that_others_may_read_or_that_are_no_keys_are_named_and_the_others_used(
    tmp_path: Path, issuer: Issuer
) -> None:
    ring_with(tmp_path, issuer)
    (tmp_path / "open.pem").write_bytes(pem(ca_of(issuer).key))
    (tmp_path / "open.pem").chmod(0o644)
    (tmp_path / "junk.key").write_text("junk")
    (tmp_path / "junk.key").chmod(0o600)
    (tmp_path / "README").write_text("not a key, and not taken for one")
    ring = KeyRing(tmp_path)
    assert len(ring) == 1
    assert ring.get(issuer.public_key) is not None
    assert len(ring.faults) == 2
    assert "chmod 600" in " ".join(ring.faults)
