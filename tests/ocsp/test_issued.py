"""When a host may say by itself that a certificate was never issued: all is known, and asked for a moment ago."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from responder.errors import StatusUnavailable
from responder.ocsp.issued import CURRENT_SECONDS, IssuedSerials
from responder.ocsp.keeper import Keeper
from responder.pki import AnnouncedChange, Floors, Issued, Table
from tests.doubles import MemoryLeases
from tests.ocsp.test_keeper import FakeDeadline, ToldClock

TAG = b"issuer-1"
FIRST, SECOND, THIRD = TAG + b"\x01", TAG + b"\x02", TAG + b"\x03"


@dataclass
class Host:
    """A host with a filter; `until` is that of the filter."""

    leases: MemoryLeases = field(default_factory=MemoryLeases)

    def __post_init__(self) -> None:
        memory = [memoryview(bytearray(1 << 16)) for _ in range(3)]
        Floors.lay_out(memory[0], os.urandom(96))
        Table.lay_out(memory[1], os.urandom(96))
        Issued.lay_out(memory[2], os.urandom(96))
        self.filter = Issued(memory[2])
        self.until = FakeDeadline([])
        self.deadline = FakeDeadline([])
        floors = Floors(memory[0])
        self.issued = IssuedSerials(self.filter, self.until)
        self.keeper = Keeper(
            self.leases,
            floors=floors,
            table=Table(memory[1], floors, owner=1),
            deadline=self.deadline,
            database_clock=ToldClock([]),
            host="host",
            owner="owner:1",
            lease_seconds=300,
            issued=self.issued,
        )

    def advance(self, seconds: float) -> None:
        self.deadline.advance(seconds)
        self.until.advance(seconds)
        self.leases.as_of += timedelta(seconds=seconds)

    def decides(self) -> bool:
        return not self.until.has_passed

    def has(self, name: bytes) -> bool:
        return self.filter.has(name[:8], name[8:])


@pytest.fixture
def host() -> Host:
    host = Host()
    host.advance(100)
    host.leases.issued.append(FIRST)
    return host


async def ready(host: Host) -> None:
    await host.keeper.once()
    assert not await host.issued.complete(host.leases)
    await host.keeper.once()
    assert host.decides()


async def test_it_decides_once_everything_was_read_and_the_changes_since(host: Host) -> None:
    await host.keeper.once()
    assert not host.decides()
    assert not await host.issued.complete(host.leases)
    assert host.has(FIRST)
    assert not host.decides(), "what came meanwhile isn't learned yet"
    await host.keeper.once()
    assert host.decides()
    host.advance(CURRENT_SECONDS + 0.1)
    assert not host.decides(), "the database hasn't been asked since"
    await host.keeper.once()
    assert host.decides()


async def test_what_is_issued_is_known_before_that_is_acknowledged(host: Host) -> None:
    await ready(host)
    host.leases.issued.append(SECOND)
    host.leases.announced.append(AnnouncedChange(TAG, THIRD[8:], 1, 5, 1_780_000_000))  # revoked from the beginning
    host.leases.log.clear()
    await host.keeper.once()
    assert host.has(SECOND)
    assert host.has(THIRD)
    assert host.leases.log[-1] == "acknowledge"
    host.leases.issued.append(TAG + b"\x04")
    host.leases.log.clear()
    await host.keeper.once()
    assert host.leases.log == ["read", "acknowledge"], "whoever registers waits for it"


@pytest.mark.parametrize("cause", ["another history", "a long silence"])
async def test_when_something_may_have_been_missed_all_is_read_again(host: Host, cause: str) -> None:
    await ready(host)
    if cause == "another history":
        host.leases.history = "two"
    else:
        host.advance(1801)
    await host.keeper.once()
    host.leases.issued.append(SECOND)
    await host.keeper.once()
    assert not host.decides()
    await host.issued.complete(host.leases)
    await host.keeper.once()
    assert host.decides()
    assert host.has(SECOND)


async def test_a_doubt_while_all_is_being_read_begins_it_anew(host: Host) -> None:
    await host.keeper.once()

    class Interrupted:
        async def everything_issued(self) -> AsyncGenerator[list[bytes], None]:
            yield [FIRST]
            host.leases.history = "two"
            await host.keeper.once()
            yield [SECOND]

    assert await host.issued.complete(Interrupted()), "at once again"
    await host.keeper.once()
    assert not host.decides()
    assert not await host.issued.complete(host.leases)
    await host.keeper.once()
    assert host.decides()


async def test_a_database_that_is_away_leaves_it_undecided(host: Host) -> None:
    await ready(host)
    host.leases.down = True
    with pytest.raises(StatusUnavailable):
        await host.keeper.once()
    host.advance(CURRENT_SECONDS + 0.1)
    assert not host.decides()
    host.leases.down = False
    await host.keeper.once()
    assert host.decides()


async def test_another_keeper_of_the_same_memory_begins_anew(host: Host) -> None:
    await ready(host)
    IssuedSerials(host.filter, host.until)
    assert not host.decides()
    assert host.has(FIRST), "readers may be looking: what is known stays"
