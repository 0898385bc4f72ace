"""Slices are claimed once, come back when a lease ends, and hold what is valid now."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.clock import SystemClock
from responder.embedded import EmbeddedValkey
from responder.ocsp.presign import Presigner, Relay, next_turn, turn_period
from responder.pki import (
    Certificate,
    CertStatus,
    CopiedStatuses,
    IssuedCertificate,
    Issuer,
    IssuerPolicy,
    Issuers,
    ReadStatuses,
    RevokedInfo,
    SignedSlice,
    from_epoch_seconds,
)
from responder.pki.terms import CRLReason
from responder.signing.answers import NativeSigner
from responder.signing.signers import Profiles, Signer, Signers
from responder.storage.certificates import PostgresCertificates
from responder.storage.partitions import PostgresPartitions
from responder.storage.redis import RedisRecords
from responder.storage.statuses import PostgresStatuses
from tests.copied import Row, copied
from tests.doubles import FakeClock
from tests.makers import make_test_signer


async def test_nothing_is_due_at_first_and_everything_within_one_refresh(pool: asyncpg.Pool, issuer: Issuer) -> None:
    partitions = PostgresPartitions(pool)
    assert await partitions.claim("a", limit=64, lease_seconds=60) is None
    assert await partitions.lag() == timedelta(0)
    last = await pool.fetchval("SELECT max(due_at) FROM partitions")
    assert last <= datetime.now(UTC) + issuer.policy.refresh


async def test_two_claimers_share_and_a_lease_that_ended_is_claimed_again(pool: asyncpg.Pool, issuer: Issuer) -> None:
    partitions = PostgresPartitions(pool)
    await partitions.make_due(issuer.id)
    claims = await asyncio.gather(*(partitions.claim(owner, limit=300, lease_seconds=60) for owner in "abcd"))
    slices = [slice_ for claim in claims if claim for slice_ in claim[1]]
    assert len(slices) == len(set(slices))
    while claim := await partitions.claim("e", limit=300, lease_seconds=60):
        slices += claim[1]
    assert sorted(slices) == list(range(1024))
    await pool.execute("UPDATE partitions SET leased_until = now() WHERE partition = 5")
    assert await partitions.claim("f", limit=300, lease_seconds=60) == (issuer.id, [5])
    # The first owner comes late and leaves the lease of the other alone.
    later = datetime.now(UTC) + timedelta(hours=1)
    await partitions.finished(issuer.id, [SignedSlice(5, later)], owner="a")
    assert await pool.fetchval("SELECT leased_by FROM partitions WHERE partition = 5") == "f"
    await partitions.finished(issuer.id, [SignedSlice(5, later)], owner="f")
    assert await pool.fetchval("SELECT due_at FROM partitions WHERE partition = 5") == later


async def test_chunks_hold_each_valid_certificate_once(pool: asyncpg.Pool, issuer: Issuer) -> None:
    now = datetime.now(UTC)
    await PostgresCertificates(pool).register(
        issuer,
        [
            *(IssuedCertificate(number) for number in range(1, 500)),
            IssuedCertificate(1000, not_before=now + timedelta(hours=1)),
            IssuedCertificate(1001, not_after=now - timedelta(hours=1)),
            IssuedCertificate(1002, not_before=now - timedelta(hours=1), not_after=now + timedelta(hours=1)),
        ],
        actor="test",
    )
    chunks = [chunk async for chunk, _ in PostgresPartitions(pool).statuses(issuer, list(range(1024)), chunk=100)]
    assert [len(chunk) for chunk in chunks] == [100] * 5
    serials = [status.certificate.serial_number for chunk in chunks for status in chunk]
    assert sorted(serials) == [*range(1, 500), 1002]


POLICIES = [
    {},
    {"cert_hash": True},
    {"archive": True},
    {"crl_url": "http://crl.example/ca.crl"},
    {"compromised_at": datetime(2026, 5, 1, tzinfo=UTC)},
]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
async def test_a_chunk_is_what_single_reads_say_and_is_signed_like_them(
    pool: asyncpg.Pool, issuer: Issuer, policy: dict[str, Any]
) -> None:
    issuer = replace(issuer, policy=IssuerPolicy(**policy))
    now = datetime.now(UTC)
    revoked = [
        RevokedInfo(now, None, None),
        RevokedInfo(now - timedelta(days=200), CRLReason.keyCompromise, now - timedelta(days=300)),
    ]
    await PostgresCertificates(pool).register(
        issuer,
        [
            IssuedCertificate(number, info, not_before, not_after, digest)
            for number, (info, not_before, not_after, digest) in enumerate(
                itertools.product(
                    [None, *revoked],
                    [None, now - timedelta(days=30)],
                    [None, now + timedelta(days=30)],
                    [None, bytes(range(32))],
                ),
                start=-3,
            )
        ],
        actor="test",
    )
    chunks = [chunk async for chunk, _ in PostgresPartitions(pool).statuses(issuer, list(range(1024)), chunk=10)]
    assert [len(chunk) for chunk in chunks] == [10, 10, 4]
    read = [status for chunk in chunks for status in chunk]
    single = await PostgresStatuses(pool, Issuers([issuer])).status_of([status.certificate for status in read])
    for one, other in zip(read, single, strict=True):
        assert other is not None
        assert one == replace(other, version=replace(other.version, as_of=one.version.as_of))

    signer = replace(make_test_signer(issuer, "ed25519"), issuer=issuer)
    clock = FakeClock(datetime.now(UTC))
    native = NativeSigner(Signers([signer]), clock, backdate=timedelta(minutes=5))
    for chunk in chunks:
        as_read, as_single = await native.sign(chunk), await native.sign(list(chunk))
        assert [records.encoded for records in as_read] == [records.encoded for records in as_single]
        assert chunk.names() == [issuer.tag + status.certificate.serial for status in chunk]


@given(
    st.tuples(st.none() | st.integers(-3, 3), st.none() | st.integers(-3, 3)),
    st.integers(0, 1_999_999),
    st.booleans(),
)
def test_what_is_good_now_is_what_may_be_answered_and_is_not_revoked(
    issuer: Issuer, signer: Signer, ends: tuple[int | None, int | None], microsecond: int, revoked: bool
) -> None:
    """Around the second of notAfter, which counts in."""
    start = 1_780_000_000
    not_before, not_after = (None if end is None else (start + end) * 1_000_000 for end in ends)
    row = Row(revoked_at=start * 1_000_000 if revoked else None, not_before=not_before, not_after=not_after)
    statuses = ReadStatuses(issuer, CopiedStatuses(copied(row)))
    now = from_epoch_seconds(start) + timedelta(microseconds=microsecond)
    (made,) = signer.profile.sign_goods(
        signer.key, statuses.copied, [1], start, start + 60, start * 1_000_000 + microsecond
    )
    assert (made is not None) == (statuses[0].may_be_answered(now) and not revoked)


def test_the_next_turn_is_after_now_within_one_period_and_in_phase() -> None:
    policy = IssuerPolicy()
    period = turn_period(policy)
    assert timedelta(hours=24) < period < policy.refresh
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    turns = [next_turn(partition, now, period) for partition in range(1024)]
    assert all(now < turn <= now + period for turn in turns)
    assert len({(turn - now) // (period / 16) for turn in turns}) >= 16, "spread over the period"
    assert next_turn(7, turns[7], period) - turns[7] == period


async def test_presigning_fills_the_store_and_the_relay_brings_changes(
    pool: asyncpg.Pool, issuer: Issuer, valkey: EmbeddedValkey, signer: Signer
) -> None:
    issuers, clock = Issuers([issuer]), SystemClock()
    statuses, partitions = PostgresStatuses(pool, issuers), PostgresPartitions(pool)
    native = NativeSigner(Signers([signer]), clock, backdate=timedelta(minutes=5))
    records = RedisRecords(valkey.url, timeout_seconds=2)
    presigner = Presigner(
        partitions, issuers=issuers, signer=native, records=records, clock=clock, owner="me", slices=512
    )
    await PostgresCertificates(pool).register(
        issuer, [IssuedCertificate(number) for number in range(1, 301)], actor="test"
    )
    assert not await presigner.once()
    await partitions.make_due(issuer.id)
    seen: list[tuple[int, int]] = []
    while await presigner.once(lambda slices, signed: seen.append((slices, signed))):
        pass
    assert sum(slices for slices, _ in seen) == 1024
    assert sum(signed for _, signed in seen) == 300
    certificate = Certificate.numbered(issuer, 17)
    held = await records.get(certificate)
    assert held is not None
    assert Profiles([signer.profile]).get(held.profile_id) == signer.profile

    relay = Relay(statuses, signer=native, records=records, clock=clock)
    while await relay.once():
        pass
    await pool.execute("UPDATE certificates SET revoked = true, revoked_at = now() WHERE serial = '\\x11'")
    await pool.execute("DELETE FROM certificates WHERE serial = '\\x12'")
    assert await relay.once() == 2
    held = await records.get(certificate)
    assert held is not None
    assert held.cert_status == CertStatus.REVOKED
    assert held.variants == (1, 2)
    gone = await records.get(Certificate.numbered(issuer, 0x12))
    assert gone is not None
    assert gone.is_tombstone
    assert await statuses.pending_count() == 0
    await records.close()


async def test_without_a_signer_the_relay_buries_the_old_answer(
    pool: asyncpg.Pool, issuer: Issuer, valkey: EmbeddedValkey, signer: Signer
) -> None:
    clock = SystemClock()
    records = RedisRecords(valkey.url, timeout_seconds=2)
    statuses = PostgresStatuses(pool, Issuers([issuer]))
    await PostgresCertificates(pool).register(issuer, [IssuedCertificate(1)], actor="test")
    keyless = NativeSigner(Signers(), clock, backdate=timedelta(minutes=5))
    relay = Relay(statuses, signer=keyless, records=records, clock=clock)
    assert await relay.once() == 1
    held = await records.get(Certificate.numbered(issuer, 1))
    assert held is not None
    assert held.is_tombstone
    await records.close()
