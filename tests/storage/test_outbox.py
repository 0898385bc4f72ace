"""What was issued together is announced together, and each of it is signed, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from responder.embedded import EmbeddedValkey
from responder.ocsp.presign import Relay
from responder.ocsp.revoke import RevocationRequest
from responder.pki import Certificate, CRLReason, IssuedCertificate, encode_serial
from responder.storage.certificates import PostgresCertificates
from responder.storage.listing import PostgresListing
from tests.storage.site import Site, open_site

COUNT = 1100
ROWS = "SELECT coalesce(cardinality(serials), 1) AS count FROM outbox WHERE kind = 'issued' AND closed_at IS NULL"


@pytest.fixture
async def site(database: str, valkey: EmbeddedValkey, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(database, valkey.url, tmp_path) as opened:
        yield opened


async def issue(site: Site, *serial_numbers: int) -> None:
    registry = PostgresCertificates(site.pool)
    await registry.register(site.issuer, [IssuedCertificate(number) for number in serial_numbers], actor="test")


async def open_rows(site: Site) -> list[int]:
    return sorted(row["count"] for row in await site.pool.fetch(ROWS))


async def revoke(site: Site, serial_number: int) -> None:
    outcome = await site.revoker().revoke(
        Certificate.numbered(site.issuer, serial_number), RevocationRequest(CRLReason.keyCompromise), actor="test"
    )
    assert outcome.certain


def relay_of(site: Site, batch: int) -> Relay:
    return Relay(site.statuses, signer=site.native, records=site.records, clock=site.clock, batch=batch)


async def test_more_than_a_hundred_are_announced_together(site: Site) -> None:
    await issue(site, *range(1, 101))
    assert await open_rows(site) == [1] * 100
    await site.relay_all()
    await issue(site, *range(1000, 1000 + COUNT))
    assert await open_rows(site) == [100, 500, 500]
    assert await site.statuses.pending_count() == COUNT
    pending = await site.statuses.pending(COUNT)
    assert sorted(change.certificate.serial_number for change in pending) == [*range(1000, 1000 + COUNT)]
    await site.relay_all()
    assert await site.statuses.pending_count() == 0
    for serial_number in range(1000, 1000 + COUNT):
        assert await site.status_in_store(serial_number) == "good"


@pytest.mark.parametrize(("limit", "counts"), [(1, 500), (500, 500), (501, 1000), (1000, 1000), (1500, 1500)])
async def test_what_was_announced_together_comes_together_until_there_is_enough(
    site: Site, limit: int, counts: int
) -> None:
    await issue(site, *range(1, 1501))
    assert len(await site.statuses.pending(limit)) == counts


async def test_a_revocation_waits_for_nothing_that_was_merely_issued(site: Site) -> None:
    await issue(site, 1)
    await site.relay_all()
    await issue(site, *range(2, 60), *range(1000, 1000 + COUNT))
    await revoke(site, 1)
    await relay_of(site, 1).once()
    assert await site.status_in_store(1) == "revoked"
    assert await site.statuses.pending_count() == COUNT + 58


async def test_one_that_was_revoked_before_it_was_signed_is_signed_as_revoked(site: Site) -> None:
    await issue(site, *range(1, 301))
    await revoke(site, 7)
    assert await site.statuses.pending_count() == 301
    assert len(await site.statuses.pending(1000)) == 300, "each once"
    await site.relay_all()
    assert await site.status_in_store(7) == "revoked"
    assert await site.status_in_store(8) == "good"
    assert await site.statuses.pending_count() == 0


async def test_one_that_was_deleted_before_it_was_signed_gets_no_answer(site: Site) -> None:
    await issue(site, *range(1, 301))
    await site.sql("DELETE FROM certificates WHERE serial = $1", b"\x07")
    await site.relay_all()
    assert await site.status_in_store(7) in ("nothing", "tombstone of unknown")
    assert await site.status_in_store(8) == "good"


async def test_one_that_the_store_does_not_keep_is_tried_again_alone(site: Site) -> None:
    await issue(site, *range(1, 301))
    await site.relay_all()
    held = await site.records.get(Certificate.numbered(site.issuer, 7))
    assert held is not None
    forged = held.encoded[:1] + (2**31).to_bytes(4, "big") + held.encoded[5:]
    later = encode_serial(5007)
    await site.records._redis.set(b"cs2:" + site.issuer.tag + later, forged)
    await issue(site, *range(5000, 5300))
    assert await site.relay.once() == 299
    left = await site.pool.fetch("SELECT serial, serials, failures FROM outbox WHERE closed_at IS NULL")
    assert [tuple(row) for row in left] == [(later, None, 1)]
    await site.records._redis.delete(b"cs2:" + site.issuer.tag + later)
    await site.sql("UPDATE outbox SET retry_at = NULL")
    await site.relay_all()
    assert await site.status_in_store(5007) == "good"
    assert await site.statuses.pending_count() == 0


async def test_where_none_is_kept_each_is_tried_again_alone(site: Site) -> None:
    await issue(site, *range(1, 301))
    pending = await site.statuses.pending(500)
    await site.statuses.done([], [])
    await site.statuses.retry_later(pending)
    assert await open_rows(site) == [1] * 300
    assert await site.statuses.pending(500) == [], "they wait"
    await site.sql("UPDATE outbox SET retry_at = NULL")
    await site.relay_all()
    assert await site.statuses.pending_count() == 0


async def test_two_relays_that_take_the_same_leave_nothing_open(site: Site) -> None:
    await issue(site, *range(1, 301))
    first, second = await site.statuses.pending(500), await site.statuses.pending(500)
    for pending in (first[:200], second[100:]):
        statuses = await site.statuses.status_of([change.certificate for change in pending])
        await site.statuses.done(pending, statuses)
    assert await site.statuses.pending_count() == 0


async def test_what_is_open_is_shown_of_each(site: Site) -> None:
    await issue(site, *range(1, 301))
    listing = PostgresListing(site.pool)
    assert (await listing.upkeep(Certificate.numbered(site.issuer, 300))).open_changes == 1
    await site.relay_all()
    assert (await listing.upkeep(Certificate.numbered(site.issuer, 300))).open_changes == 0


async def test_versions_rise_with_the_serials_and_are_each_its_own(site: Site) -> None:
    await issue(site, *reversed(range(1, 301)))
    rows = await site.pool.fetch("SELECT number FROM certificates ORDER BY serial")
    numbers = [row["number"] for row in rows]
    assert numbers == sorted(set(numbers))
    await site.sql("INSERT INTO certificates (issuer_id, serial) VALUES ('site-ec', $1)", b"\x40\x01")
    assert await site.pool.fetchval("SELECT max(number) FROM certificates") > numbers[-1], "the trigger numbers again"
