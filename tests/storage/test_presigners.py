"""Whether signing keeps up: what the slices took, what is due, and who signs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from responder.ocsp.presign import TURN_SHARE
from responder.pki import Issuer, SignedSlice, SigningForecast
from responder.storage.partitions import PostgresPartitions
from responder.storage.presigners import PostgresPresigners

LATER = datetime(2100, 1, 1, tzinfo=UTC)


async def sign(pool: asyncpg.Pool, issuer: Issuer, *slices: SignedSlice) -> None:
    """As if `me` had."""
    partitions = PostgresPartitions(pool)
    await partitions.make_due(issuer.id, [each.partition for each in slices])
    await partitions.claim("me", limit=1024, lease_seconds=60)
    await partitions.finished(issuer.id, slices, owner="me")


async def test_before_anything_was_signed_nothing_is_known(pool: asyncpg.Pool) -> None:
    presigners = PostgresPresigners(pool)
    await presigners.reckon(TURN_SHARE)
    forecast = await presigners.forecast()
    assert forecast == SigningForecast(0, 0.0, 0.0, 0.0, None)
    assert (forecast.capacity_ratio, forecast.catch_up_seconds, forecast.alarm) == (None, None, None)


async def test_slices_that_were_signed_say_what_all_of_them_need(pool: asyncpg.Pool, issuer: Issuer) -> None:
    presigners = PostgresPresigners(pool)
    await presigners.report("a", 2)
    await presigners.report("b", 3)
    await presigners.report("b", 4)
    await sign(pool, issuer, SignedSlice(3, LATER, 100, 2.0), SignedSlice(4, LATER, 200, 4.0))
    await presigners.reckon(TURN_SHARE)
    forecast = await presigners.forecast()
    period = (TURN_SHARE * issuer.policy.refresh).total_seconds()
    assert forecast.tasks == 6
    assert forecast.tasks_needed == pytest.approx(3.0 * 1024 / period)
    assert forecast.signatures_per_second == pytest.approx(2 * 150 * 1024 / period)
    assert forecast.capacity_ratio == pytest.approx(6 * period / 3072)
    assert (forecast.overdue_seconds, forecast.seconds_left, forecast.alarm) == (0.0, None, None)


async def test_what_is_due_takes_as_long_as_it_took_and_ends_unsigned_at_its_time(
    pool: asyncpg.Pool, issuer: Issuer
) -> None:
    presigners = PostgresPresigners(pool)
    await presigners.report("a", 2)
    await sign(pool, issuer, SignedSlice(3, LATER, 100, 2.0), SignedSlice(4, LATER, 200, 4.0))
    await pool.execute("UPDATE partitions SET due_at = now() - interval '1 hour' WHERE partition IN (4, 5)")
    await presigners.reckon(TURN_SHARE)
    forecast = await presigners.forecast()
    assert forecast.overdue_seconds == pytest.approx(4.0 + 3.0)
    assert forecast.catch_up_seconds == pytest.approx(3.5)
    policy = issuer.policy
    left = (policy.validity - TURN_SHARE * policy.refresh - timedelta(hours=1)).total_seconds()
    assert forecast.seconds_left == pytest.approx(left, abs=5)
    assert forecast.alarm is None


async def test_a_process_that_is_silent_for_minutes_counts_no_more(pool: asyncpg.Pool) -> None:
    presigners = PostgresPresigners(pool)
    await presigners.report("gone", 4)
    await pool.execute("UPDATE presigners SET seen_at = now() - interval '4 minutes'")
    assert (await presigners.forecast()).tasks == 0
    await presigners.report("here", 1)
    assert await pool.fetchval("SELECT array_agg(owner) FROM presigners") == ["here"]


@pytest.mark.parametrize(
    ("forecast", "says"),
    [
        (SigningForecast(2, 1.9, 100.0, 0.0, None), None),
        (SigningForecast(2, 2.5, 100.0, 0.0, None), "pre-signing has 0.80 of the capacity that it needs"),
        (SigningForecast(2, 1.0, 100.0, 100.0, 51.0), None),
        (
            SigningForecast(2, 1.0, 100.0, 100.0, 49.0),
            "what is due takes 50 s to sign, and the first of it ends in 49 s",
        ),
        (SigningForecast(0, 1.0, 100.0, 100.0, 3600.0), "slices are due, and nobody signs them"),
        (SigningForecast(0, 1.0, 100.0, 0.0, None), "pre-signing has 0.00 of the capacity"),
    ],
)
def test_the_alarm_comes_before_an_answer_ends(forecast: SigningForecast, says: str | None) -> None:
    assert (forecast.alarm or "").startswith(says or "")
    assert (forecast.alarm is None) == (says is None)
