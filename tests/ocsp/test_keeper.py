"""What the keeper of a host does, in which order; and what a host answers because of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from responder import metrics
from responder.errors import StatusUnavailable, StoreUnavailable
from responder.ocsp.cached import CachedSource
from responder.ocsp.keeper import Keeper
from responder.ocsp.trusted import FlooredRecords, TrustedSource
from responder.pki import (
    AnnouncedChange,
    Answer,
    Certificate,
    CRLReason,
    Floors,
    Issuer,
    Question,
    RevokedInfo,
    StatusChange,
    Table,
    encode_serial,
)
from responder.signing.signers import Signer
from responder.storage.table import TableRecords
from tests.doubles import FakeClock, MemoryLeases
from tests.ocsp.chain import SERIAL, Chain, make_chain, status_in

LEASE_SECONDS = 300


@dataclass
class FakeDeadline:
    """A deadline with a clock of its own, which notes when it is moved."""

    log: list[str]
    moment: int = 0
    until: int = 0

    @property
    def has_passed(self) -> bool:
        return self.moment >= self.until

    def now(self) -> int:
        return self.moment

    def move_to(self, moment: int) -> None:
        self.log.append("deadline")
        self.until = moment

    def advance(self, seconds: float) -> None:
        self.moment += int(seconds * 1e9)


@dataclass
class ToldClock:
    """What a keeper says of the database's clock."""

    told: list[int]

    def tell(self, nanoseconds: int) -> None:
        self.told.append(nanoseconds)


@dataclass
class Host:
    """A host with its memory, its keeper, and what it answers with."""

    chain: Chain
    leases: MemoryLeases = field(default_factory=MemoryLeases)

    def __post_init__(self) -> None:
        floors, table = memoryview(bytearray(1 << 16)), memoryview(bytearray(1 << 16))
        Floors.lay_out(floors, os.urandom(96))
        Table.lay_out(table, os.urandom(96))
        self.floors = Floors(floors)
        self.table = Table(table, self.floors, owner=1)
        self.deadline = FakeDeadline(self.leases.log)
        self.told: list[int] = []
        self.database_clock = ToldClock(self.told)
        self.keeper = self.another_keeper()
        chain = self.chain
        redis = CachedSource(
            FlooredRecords(chain.records, self.floors),
            chain.live,
            profiles=chain.profiles,
            clock=chain.clock,
            name="redis",
        )
        cached = CachedSource(
            FlooredRecords(TableRecords(self.table, clock=chain.clock), self.floors),
            redis,
            profiles=chain.profiles,
            clock=chain.clock,
            name="table",
        )
        self.source = TrustedSource(cached, lease=self.deadline, floors=self.floors)

    def another_keeper(self) -> Keeper:
        return Keeper(
            self.leases,
            floors=self.floors,
            table=self.table,
            deadline=self.deadline,
            database_clock=self.database_clock,
            host="host",
            owner="owner:1",
            lease_seconds=LEASE_SECONDS,
        )

    async def ask(self) -> Answer:
        return await self.source.answer(self.chain.question(SERIAL))

    def revoke(self) -> None:
        """In the database, and announced."""
        certificate = Certificate.numbered(self.chain.issuer, SERIAL)
        info = RevokedInfo(self.chain.clock.now(), CRLReason.keyCompromise)
        status = self.chain.statuses.set(certificate, StatusChange(info))
        self.announce(status.version.number)

    def announce(self, number: int) -> None:
        tag = self.chain.issuer.tag
        self.leases.announced.append(AnnouncedChange(tag, encode_serial(SERIAL), 1, number, 1_780_000_000))


@pytest.fixture
async def host(clock: FakeClock, issuer: Issuer, signer: Signer) -> Host:
    chain = make_chain(clock, issuer, signer)
    chain.statuses.add(Certificate.numbered(issuer, SERIAL))
    return Host(chain)


async def test_before_its_first_lease_a_host_answers_nothing(host: Host) -> None:
    with pytest.raises(StatusUnavailable, match="hasn't heard"):
        await host.ask()
    await host.keeper.once()
    assert status_in(await host.ask()) == "GOOD"


async def test_the_order_is_lease_changes_deadline_acknowledgement(host: Host) -> None:
    await host.keeper.once()
    assert host.leases.log == ["renew anew", "read", "deadline", "acknowledge"]
    host.leases.log.clear()
    await host.keeper.once()
    assert host.leases.log == ["read"], "nothing was announced, and the lease isn't due"
    host.revoke()
    host.leases.log.clear()
    await host.keeper.once()
    assert host.leases.log == ["read", "acknowledge"], "an announcement between renewals moves no deadline"
    host.deadline.advance(6)
    host.leases.log.clear()
    await host.keeper.once()
    assert host.leases.log == ["renew", "read", "deadline", "acknowledge"]


async def test_the_deadline_counts_from_before_the_renewal_and_the_host_forgets_first(host: Host) -> None:
    renew = host.leases.renew

    async def slowly(*arguments: object, **named: object) -> None:
        await renew(*arguments, **named)  # type: ignore[arg-type]
        host.deadline.advance(20)

    host.leases.renew = slowly  # type: ignore[method-assign]
    await host.keeper.once()
    assert LEASE_SECONDS * 0.99e9 < host.deadline.until < LEASE_SECONDS * 1e9


async def test_a_host_without_the_database_answers_until_its_lease_ends(host: Host) -> None:
    await host.keeper.once()
    await host.ask()
    host.leases.down = host.chain.statuses.down = True
    host.deadline.advance(LEASE_SECONDS - 1)
    with pytest.raises(StatusUnavailable):
        await host.keeper.once()
    assert (await host.ask()).source == "table"
    host.deadline.advance(2)
    with pytest.raises(StatusUnavailable, match="hasn't heard"):
        await host.ask()
    host.leases.down = False
    await host.keeper.once()
    assert status_in(await host.ask()) == "GOOD"


@pytest.mark.parametrize("misfortune", ["kept", "lost", "old again", "away", "takes no writes"])
async def test_whatever_becomes_of_the_record_store_an_announced_revocation_is_answered(
    host: Host, misfortune: str
) -> None:
    """The floor alone makes it certain: the store may lose or bring back anything."""
    await host.keeper.once()
    assert status_in(await host.ask()) == "GOOD"
    assert (await host.ask()).source == "table"
    certificate = Certificate.numbered(host.chain.issuer, SERIAL)
    good = host.chain.records.kept[certificate]
    host.revoke()
    await host.keeper.once()
    if misfortune == "lost":
        host.chain.records.kept.clear()
    elif misfortune == "away":
        host.chain.records.fail = "before"
    elif misfortune == "takes no writes":
        host.chain.records.put = _refuse  # type: ignore[method-assign,assignment]
    for _ in range(3):
        if misfortune == "old again":
            host.chain.records.kept[certificate] = good
        assert status_in(await host.ask()) == "REVOKED"


async def _refuse(*_: object) -> None:
    raise StoreUnavailable("READONLY")


async def test_a_nonce_is_not_answered_below_a_floor_either(host: Host) -> None:
    """The database itself says less than was announced: it has lost commits."""
    await host.keeper.once()
    host.announce(99)
    await host.keeper.once()
    plain = host.chain.question(SERIAL)
    for question in (plain, replace(plain, nonce=b"x" * 16)):
        with pytest.raises(StatusUnavailable, match="announced"):
            await host.source.answer(question)


async def test_what_changes_while_it_is_answered_is_answered_anew(host: Host) -> None:
    await host.keeper.once()
    asked: list[Question] = []
    answer = host.chain.live.answer

    async def late(question: Question) -> Answer:
        made = await answer(question)
        asked.append(question)
        if len(asked) == 1:
            host.revoke()
            await host.keeper.once()
        return made

    host.chain.live.answer = late  # type: ignore[method-assign]
    assert status_in(await host.ask()) == "REVOKED"
    assert len(asked) == 2


async def test_a_keeper_that_is_started_again_learns_everything_anew(host: Host) -> None:
    await host.keeper.once()
    host.revoke()
    successor = host.another_keeper()
    host.leases.log.clear()
    await successor.once()
    assert host.leases.log == ["renew anew", "read", "deadline", "acknowledge"]
    assert status_in(await host.ask()) == "REVOKED"


async def test_a_lease_that_was_taken_away_is_asked_for_at_once(host: Host) -> None:
    await host.keeper.once()
    host.revoke()
    host.leases.lease_taken_away = True
    assert await host.keeper.once(), "it looks again at once"
    host.leases.lease_taken_away = False
    host.leases.log.clear()
    await host.keeper.once()
    assert host.leases.log[0] == "renew"


async def test_a_host_that_leaves_answers_nothing_first(host: Host) -> None:
    await host.keeper.once()
    host.leases.log.clear()
    await host.keeper.leave()
    assert host.leases.log == ["deadline", "leave"]
    with pytest.raises(StatusUnavailable, match="hasn't heard"):
        await host.ask()


async def test_changes_without_room_for_a_floor_each_have_everything_older_made_anew(host: Host) -> None:
    await host.keeper.once()
    assert (await host.ask()).source == "live"
    overflown = metrics.FLOORS_OVERFLOWN.value()
    host.leases.as_of = host.chain.clock.now() + timedelta(seconds=1)
    tag = host.chain.issuer.tag
    places = host.floors.places
    host.leases.announced += [AnnouncedChange(tag, encode_serial(2**64 + n), 1, n, 0) for n in range(2 * places)]
    await host.keeper.once()
    assert metrics.FLOORS_OVERFLOWN.value() > overflown
    host.chain.clock.advance(timedelta(seconds=2))
    assert (await host.ask()).source == "live", "neither the table's record nor the store's is of after the changes"
    assert (await host.ask()).source == "table"
