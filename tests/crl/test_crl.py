"""CRLs from a real database: numbers, entries, checks, schedule."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

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
from responder.interfaces import IssuedCertificate
from responder.pki import CRL, CRLReason, Issuer, Issuers, RevokedCertificate, RevokedInfo, encode_serial
from responder.signing import KeyRing, NativeCRLSigner
from responder.storage.crls import PostgresCRLs
from responder.storage.issuers import PostgresIssuers
from responder.storage.postgres import connect
from responder.storage.statuses import PostgresStatuses
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
        await self.issuers.add_certificates(self.issuer, [IssuedCertificate(serial_number)])
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
            leases=self.crls,
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
    builder = CRLIssuer(revoked=statuses, statuses=statuses, signer=signer, store=crls)
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
            await world.crls.put(replace(crl, crl_number=number), snapshot="1:1:")


async def test_only_one_builder_at_a_time(world: World) -> None:
    assert await world.crls.lease(world.issuer, FULL, owner="a", seconds=60)
    assert await world.crls.lease(world.issuer, FULL, owner="a", seconds=60)
    assert not await world.crls.lease(world.issuer, FULL, owner="b", seconds=60)
    assert await world.schedule("b").once(frozenset({world.issuer.id})) == 0
    await world.crls.release(world.issuer, FULL, owner="a")
    assert await world.schedule("b").once(frozenset({world.issuer.id})) == 1


async def test_a_change_makes_a_crl_due_also_when_it_commits_after_a_later_one(world: World) -> None:
    here = frozenset({world.issuer.id})
    await world.issuers.add_certificates(world.issuer, [IssuedCertificate(1), IssuedCertificate(2)])
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


async def test_a_host_without_the_key_publishes_nothing(world: World, tmp_path: Path) -> None:
    assert not NativeCRLSigner(KeyRing(None)).can_sign(world.issuer)
    assert await world.schedule().once(frozenset()) == 0


async def test_ten_crls_are_kept(world: World) -> None:
    for _ in range(12):
        await world.builder.publish(world.issuer)
    assert await world.pool.fetchval("SELECT count(*) FROM crls") == 10
    (newest,) = await world.crls.newest()
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
        check_crl(replace(crl, **changes), issuer=judged, entries=[], previous=None)  # type: ignore[arg-type]


async def test_entries_that_are_not_as_asked_are_not_published(world: World) -> None:
    await world.revoke(7)
    crl = await world.builder.publish(world.issuer)
    listed = RevokedCertificate(encode_serial(7), RevokedInfo(THEN))
    assert check_crl(crl, issuer=world.issuer, entries=[listed], previous=None) == []
    for wrong in (
        [],
        [listed, RevokedCertificate(encode_serial(8), RevokedInfo(THEN))],
        [RevokedCertificate(encode_serial(7), RevokedInfo(THEN, CRLReason.superseded))],
        [RevokedCertificate(encode_serial(7), RevokedInfo(THEN + timedelta(seconds=1)))],
    ):
        with pytest.raises(CRLError, match="entries differ"):
            check_crl(crl, issuer=world.issuer, entries=wrong, previous=None)
    damaged = replace(crl, der=crl.der[:-1])
    with pytest.raises(CRLError, match="parsed"):
        check_crl(damaged, issuer=world.issuer, entries=[listed], previous=None)
    with pytest.raises(CRLError, match="isn't higher"):
        check_crl(crl, issuer=world.issuer, entries=[listed], previous=crl)


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
    latest = CRL("due", FULL, 1, b"", now - age, now - age + policy.crl_validity, b"")
    changed_at = None if change_age is None else now - change_age
    expected = age >= policy.crl_interval or (change_age is not None and change_age >= policy.crl_delay)
    assert is_due(latest, changed_at, _ISSUER, now) == expected
    assert is_due(None, None, _ISSUER, now)


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
