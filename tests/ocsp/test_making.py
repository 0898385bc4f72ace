"""What has no records anywhere, made for many at once: as the chain would for one, and in one read and one put."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import timedelta

import pytest

from responder import metrics
from responder.errors import NotAuthoritative, Overloaded, SigningFailed, StatusUnavailable
from responder.ocsp.live import Budget
from responder.ocsp.making import MOST, Maker
from responder.pki import (
    Certificate,
    CertStatus,
    CRLReason,
    Floors,
    RevokedInfo,
    StatusChange,
    StatusVersion,
    Table,
    UnknownSerial,
    encode_serial,
    epoch_seconds,
)
from responder.signing.answers import NativeSigner
from responder.storage.table import TableRecords
from tests.ocsp.chain import Chain


class Making:
    """A maker on the stores of a chain, and a table."""

    def __init__(self, chain: Chain, *, max_in_flight: int = 8, max_waiting: int = 8) -> None:
        self.chain = chain
        memory, floors = memoryview(bytearray(1 << 18)), memoryview(bytearray(1 << 16))
        Floors.lay_out(floors, os.urandom(96))
        Table.lay_out(memory, os.urandom(96))
        self.floors = Floors(floors)
        self.table = Table(memory, self.floors, owner=1)
        self.maker = Maker(
            chain.statuses,
            issuers=chain.issuers,
            signer=NativeSigner(chain.signers, chain.clock, backdate=timedelta(minutes=5)),
            records=chain.records,
            table=TableRecords(self.table, clock=chain.clock),
            clock=chain.clock,
            budget=Budget(max_in_flight=max_in_flight, max_waiting=max_waiting),
        )

    def add(self, *serials: int, after: timedelta | None = None) -> list[bytes]:
        """Issue these; their names."""
        for serial in serials:
            not_before = None if after is None else self.chain.clock.now() + after
            self.chain.statuses.add(Certificate.numbered(self.chain.issuer, serial), not_before=not_before)
        return [self.name(serial) for serial in serials]

    def name(self, serial: int) -> bytes:
        return self.chain.issuer.tag + encode_serial(serial)

    def has(self, serial: int) -> bool:
        return self.table.get(self.chain.issuer.tag, encode_serial(serial)) is not None


@pytest.fixture
def making(chain: Chain) -> Making:
    return Making(chain)


async def test_many_are_read_at_once_signed_and_kept_in_both_stores(making: Making) -> None:
    serials = range(100, 100 + MOST)
    names = making.add(*serials)
    outcome = await making.maker.make([*names, names[0]])
    assert outcome.made == set(names)
    assert not outcome.refused
    assert (making.chain.statuses.reads, making.chain.records.puts) == (1, MOST)
    for serial in serials:
        kept = making.chain.records.kept[Certificate.numbered(making.chain.issuer, serial)]
        assert kept == making.table.get(making.chain.issuer.tag, encode_serial(serial))
        assert (await making.chain.ask(serial)).source == "redis"


async def test_a_certificate_is_made_once_however_many_ask(making: Making) -> None:
    names = making.add(100, 101, 102)
    outcomes = await asyncio.gather(*(making.maker.make(some) for some in (names[:2], names[1:], names)))
    assert [outcome.made >= set(some) for outcome, some in zip(outcomes, (names[:2], names[1:], names), strict=True)]
    assert making.chain.records.puts == 3
    # Whoever looked in Redis before these were put comes after they have landed.
    assert (await making.maker.make(names)).made == frozenset()
    assert making.chain.statuses.reads == 2


async def test_who_stops_waiting_stops_nobody_else(making: Making) -> None:
    names = making.add(100)
    first, second = (asyncio.ensure_future(making.maker.make(names)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).made == set(names)


async def test_what_may_not_be_answered_is_refused_one_by_one(making: Making) -> None:
    good, early = making.add(100), making.add(101, after=timedelta(days=1))
    unsayable = making.add(102)
    row = Certificate.numbered(making.chain.issuer, 102)
    before_1970 = RevokedInfo(making.chain.clock.now() - timedelta(days=36500))
    making.chain.statuses.rows[row] = replace(
        making.chain.statuses.rows[row], cert_status=CertStatus.REVOKED, revoked_info=before_1970
    )
    outcome = await making.maker.make([*early, making.name(103), *unsayable, *good, b"nobody's", b"short"])
    assert outcome.made == set(good)
    assert {name: type(error) for name, error in outcome.refused.items()} == {
        early[0]: NotAuthoritative,
        making.name(103): NotAuthoritative,
        unsayable[0]: SigningFailed,
    }
    assert [making.has(serial) for serial in range(100, 104)] == [True, False, False, False]


async def test_serials_that_are_answered_though_nobody_issued_them_are_left_to_the_chain(making: Making) -> None:
    making.chain.set_policy(unknown_serial=UnknownSerial.unknown)
    outcome = await making.maker.make([making.name(103)])
    assert (outcome.made, dict(outcome.refused)) == (frozenset(), {})


async def test_an_authority_that_is_away_refuses_all_and_the_next_is_asked_anew(making: Making) -> None:
    names = making.add(100, 101)
    making.chain.statuses.down = True
    outcome = await making.maker.make(names)
    assert [type(outcome.refused[name]) for name in names] == [StatusUnavailable] * 2
    making.chain.statuses.down = False
    assert (await making.maker.make(names)).made == set(names)


async def test_the_budget_is_for_batches(chain: Chain) -> None:
    making = Making(chain, max_in_flight=1, max_waiting=1)
    names = making.add(*range(100, 100 + 3 * MOST))
    outcome = await making.maker.make(names)
    assert len(outcome.made) == 2 * MOST
    assert {type(error) for error in outcome.refused.values()} == {Overloaded}
    assert set(names) == outcome.made | set(outcome.refused)


async def test_a_store_that_fails_keeps_nobody_from_an_answer(making: Making) -> None:
    failures = metrics.STORE_FAILURES.value("redis", "put")
    names = making.add(100)
    making.chain.records.fail = "before"
    assert (await making.maker.make(names)).made == set(names)
    assert making.has(100)
    assert metrics.STORE_FAILURES.value("redis", "put") == failures + 1


async def test_where_the_store_keeps_something_newer_nothing_is_made(making: Making) -> None:
    """As if the certificate was revoked, and its records put, between our read and our put."""
    names = making.add(100)
    certificate = Certificate.numbered(making.chain.issuer, 100)
    await making.chain.ask(100)
    ours = making.chain.records.kept.pop(certificate)
    making.chain.statuses.set(certificate, StatusChange(RevokedInfo(making.chain.clock.now())))
    await making.chain.ask(100)
    revoked = making.chain.records.kept.pop(certificate)
    assert revoked.number > ours.number
    making.chain.statuses.rows[certificate] = replace(
        making.chain.statuses.rows[certificate],
        cert_status=CertStatus.GOOD,
        revoked_info=None,
        version=StatusVersion.of(ours),
    )
    making.chain.records.before_put = lambda: making.chain.records.kept.update({certificate: revoked})
    outcome = await making.maker.make(names)
    assert (outcome.made, dict(outcome.refused)) == (frozenset(), {})
    assert not making.has(100)


@pytest.mark.parametrize("moment", ["before_read_returns", "before_put", "after_put"])
async def test_never_good_after_an_announced_revocation(making: Making, moment: str) -> None:
    names = making.add(100)
    certificate = Certificate.numbered(making.chain.issuer, 100)

    def announce() -> None:
        status = making.chain.statuses.set(
            certificate, StatusChange(RevokedInfo(making.chain.clock.now(), CRLReason.superseded))
        )
        now = epoch_seconds(making.chain.clock.now())
        version = status.version
        making.floors.raise_to(
            certificate.issuer.tag,
            certificate.serial,
            version.epoch,
            version.number,
            now + 86400,
            now,
            version.as_of_microseconds,
        )

    source = making.chain.statuses if moment == "before_read_returns" else making.chain.records
    setattr(source, moment, announce)
    await making.maker.make(names)
    assert not making.has(100)
    setattr(source, moment, None)
    await making.maker.make(names)
    records = making.table.get(certificate.issuer.tag, certificate.serial)
    assert records is not None
    assert records.cert_status == CertStatus.REVOKED
