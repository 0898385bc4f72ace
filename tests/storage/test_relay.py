"""Changes reach the record store whatever else is in the way: other issuers, races, and stores that know better."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from responder.embedded import EmbeddedValkey
from responder.errors import IssuerUnavailable, SigningFailed, StatusUnavailable, StoreUnavailable
from responder.host.process import has_ended, process_identity
from responder.interfaces import RecordSigner
from responder.ocsp.presign import Presigner, Relay
from responder.ocsp.revoke import RevocationRequest
from responder.ocsp.storekeeper import StoreKeeper
from responder.pki import (
    Certificate,
    CertificateStatus,
    CertStatus,
    CRLReason,
    Issuer,
    Records,
    RevokedInfo,
    SignedSlice,
    StatusVersion,
    epoch_seconds,
    tombstone_for,
)
from responder.signing.answers import NativeSigner
from responder.signing.signers import Signers
from responder.storage.runs import PostgresRuns
from responder.storage.troubles import PostgresTroubles
from responder.troubles import Troubles
from tests.doubles import FakeClock
from tests.makers import make_ca, make_test_issuer, make_test_signer
from tests.ocsp.chain import SERIAL, Chain, make_chain, status_in
from tests.storage.site import Site, open_site


@pytest.fixture
async def site(database: str, valkey: EmbeddedValkey, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(database, valkey.url, tmp_path) as opened:
        yield opened


REVOKE = "UPDATE certificates SET revoked = true, revoked_at = now(), reason = 1 WHERE issuer_id = $1 AND serial = $2"


class Failing:
    """A signer that fails for some issuers in some way, and signs for the others."""

    def __init__(self, inner: RecordSigner, failures: dict[str, Exception]) -> None:
        self.inner, self.failures, self.tries = inner, failures, 0

    async def sign(self, statuses: Sequence[CertificateStatus]) -> list[Records]:
        failure = self.failures.get(statuses[0].certificate.issuer.id)
        if failure is not None:
            self.tries += 1
            raise failure
        return await self.inner.sign(statuses)


TROUBLES = {
    "no key": IssuerUnavailable("no valid responder key"),
    "a key that fails": SigningFailed("libcrypto refused"),
    "a bug": ZeroDivisionError("only for this one"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_one_issuers_trouble_keeps_no_other_from_its_revocations(site: Site, trouble: str) -> None:
    """A signer that failed for one issuer left a revocation of another `good` for as long as it was watched."""
    other = make_test_issuer("other", make_ca("ec", "Other CA"))
    await site.add(other, make_test_signer(other, "ec"))
    for issuer in (site.issuer, other):
        for number in (1, 2, 3):
            await site.sql("INSERT INTO certificates (issuer_id, serial) VALUES ($1, $2)", issuer.id, bytes([number]))
    await site.relay_all()
    assert {await site.status_in_store(1, issuer) for issuer in (site.issuer, other)} == {"good"}

    failing = Failing(site.native, {other.id: TROUBLES[trouble]})
    troubles = Troubles("relay", PostgresTroubles(site.pool, host="here"))
    relay = Relay(site.statuses, signer=failing, records=site.records, clock=site.clock, troubles=troubles)
    for issuer in (other, site.issuer):
        await site.sql(REVOKE, issuer.id, b"\x01")
    assert await relay.once() == 2
    assert await site.status_in_store(1) == "revoked"
    assert await site.status_in_store(1, other) == "tombstone of revoked", "never the old answer"
    await troubles.tell()
    (told,) = await PostgresTroubles(site.pool, host="there").all()
    assert (told.issuer_id, told.task) == (other.id, "relay")
    failing.failures.clear()
    await site.sql(REVOKE, other.id, b"\x02")
    assert await relay.once() == 1
    await troubles.tell()
    assert await PostgresTroubles(site.pool, host="there").all() == []


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_one_issuers_trouble_keeps_no_other_from_being_signed_in_its_turn(site: Site, trouble: str) -> None:
    other = make_test_issuer("other", make_ca("ec", "Other CA"))
    await site.add(other, make_test_signer(other, "ec"))
    for issuer in (site.issuer, other):
        await site.sql("INSERT INTO certificates (issuer_id, serial) VALUES ($1, $2)", issuer.id, b"\x01")
    for issuer in (other, site.issuer):
        await site.partitions.make_due(issuer.id)
    failing = Failing(site.native, {other.id: TROUBLES[trouble]})
    now = [0.0]
    presigner = Presigner(
        site.partitions,
        issuers=site.issuers,
        signer=failing,
        records=site.records,
        clock=site.clock,
        owner="me",
        slices=300,
        troubles=Troubles("presign", monotonic=lambda: now[0]),
    )
    turns = 0
    while await presigner.once():
        turns += 1
        assert turns < 20
    assert await site.partitions.overdue(site.issuer.id) <= 1  # its next turn may come at once
    assert await site.partitions.overdue(other.id) > 0
    assert failing.tries == 1, "it is left alone for a while"
    failing.failures.clear()
    now[0] += 100
    while await presigner.once():
        pass
    assert await site.partitions.overdue(other.id) <= 1  # its next turn may come at once


async def test_an_issuer_that_cannot_be_read_keeps_nothing_open(site: Site) -> None:
    """Its changes would have kept a store that was started again from ever being complete."""
    other = make_test_issuer("other", make_ca("ec", "Other CA"))
    await site.add(other, make_test_signer(other, "ec"))
    await site.sql("INSERT INTO certificates (issuer_id, serial) VALUES ('other', $1)", b"\x01")
    await site.relay_all()
    await site.sql(REVOKE, "other", b"\x01")
    site.issuers.replace([site.issuer])
    site.signers.replace([signer for signer in site.signers if signer.issuer == site.issuer])
    assert await site.relay.once() == 0
    assert await site.statuses.pending_count() == 1, "it may have been added a moment ago"
    await site.sql("UPDATE outbox SET created_at = created_at - interval '11 seconds'")
    await site.relay_all()
    assert await site.statuses.pending_count() == 0
    assert await site.status_in_store(1, other) == "tombstone of revoked"


@pytest.mark.parametrize("kind", ["ed25519", "ed448", "p384", "rsa"])
async def test_a_thousand_rows_of_any_kind_of_key(
    database: str, valkey: EmbeddedValkey, tmp_path: Path, kind: str
) -> None:
    count = 1000 if kind.startswith("ed") else 50
    async with open_site(database, valkey.url, tmp_path, kind) as site:
        await site.sql(
            "INSERT INTO certificates (issuer_id, serial) SELECT $1, int4send(16777216 + g) "
            "FROM generate_series(1, $2::integer) g",
            site.issuer.id,
            count,
        )
        await site.relay_all()
        await site.partitions.make_due(site.issuer.id)
        while await site.presigner(slices=512).once():
            pass
        for number in (1, count):
            answer = await site.ask(16777216 + number)
            assert (answer.source, answer.cert_statuses) == ("redis", (CertStatus.GOOD,))


# --- races and recovery ---


async def test_a_deletion_and_an_insertion_at_once(site: Site) -> None:
    """A long DELETE took its numbers at its end, after an INSERT that had waited for it: the relay went round for ever,
    or the certificate had no answer."""
    for number in (1, 2):
        await site.sql("INSERT INTO certificates (issuer_id, serial) VALUES ($1, $2)", site.issuer.id, bytes([number]))
    await site.relay_all()
    has_deleted = asyncio.Event()

    async def delete() -> None:
        async with site.pool.acquire() as connection, connection.transaction():
            await connection.execute("DELETE FROM certificates WHERE serial = $1", b"\x01")
            has_deleted.set()
            await asyncio.sleep(0.5)
            await connection.execute("DELETE FROM certificates WHERE serial = $1", b"\x02")

    async def insert() -> None:
        await has_deleted.wait()
        await site.sql("INSERT INTO certificates (issuer_id, serial) VALUES ($1, $2)", site.issuer.id, b"\x01")

    await asyncio.gather(delete(), insert())
    deleted = await site.pool.fetchval("SELECT number FROM outbox WHERE kind = 'deleted' AND serial = $1", b"\x01")
    assert await site.pool.fetchval("SELECT number FROM certificates WHERE serial = $1", b"\x01") > deleted
    await site.relay_all()
    assert await site.statuses.pending_count() == 0
    assert await site.status_in_store(1) == "good"
    assert await site.status_in_store(2) == "tombstone of unknown"


async def test_a_row_with_a_lower_number_than_its_deletion_gets_a_higher_one(site: Site) -> None:
    """As older versions left them, or where an insertion took its number just before the deletion's lock."""
    await site.sql("INSERT INTO certificates (issuer_id, serial) VALUES ($1, $2)", site.issuer.id, b"\x01")
    await site.relay_all()
    await site.sql("DELETE FROM certificates WHERE serial = $1", b"\x01")
    await site.relay_all()
    assert await site.status_in_store(1) == "tombstone of unknown"
    await site.sql("ALTER TABLE certificates DISABLE TRIGGER ALL")
    await site.sql("INSERT INTO certificates (issuer_id, serial, epoch, number) VALUES ('site-ec', $1, 1, 1)", b"\x01")
    for trigger in (
        "status_version",
        "status_version_of_new",
        "status_issued",
        "status_changed",
        "status_deleted",
        "status_truncated",
    ):
        await site.sql(f"ALTER TABLE certificates ENABLE ALWAYS TRIGGER {trigger}")
    await site.sql(
        "INSERT INTO outbox (issuer_id, serial, epoch, number, kind) VALUES ('site-ec', $1, 1, 1, 'issued')", b"\x01"
    )
    await site.relay_all()
    assert await site.status_in_store(1) == "good"
    assert await site.statuses.pending_count() == 0


async def test_a_change_that_the_store_did_not_keep_stays_open_and_is_tried_again_later(site: Site) -> None:
    """A restored database numbers its changes from before: the store holds a higher version that says good."""
    await site.sql(
        "INSERT INTO certificates (issuer_id, serial) VALUES ('site-ec', $1), ('site-ec', $2)", b"\x01", b"\x02"
    )
    await site.sql("SELECT setval('status_numbers', 1000)")
    await site.sql("UPDATE certificates SET not_after = now() + interval '9 days' WHERE serial = $1", b"\x01")
    store_keeper = StoreKeeper(site.records, PostgresRuns(site.pool), owner="work")
    await store_keeper.once()
    await site.relay_all()
    # The restore.
    await site.sql("SELECT setval('status_numbers', 10)")
    await store_keeper.once()
    outcome = await site.revoker().revoke(
        Certificate.numbered(site.issuer, 1), RevocationRequest(CRLReason.keyCompromise), actor="test"
    )
    assert not outcome.certain
    assert "db recover" in outcome.obstacle
    await site.sql(REVOKE, "site-ec", b"\x02")
    assert await site.relay.once() == 1, "the other change isn't kept waiting"
    assert await site.status_in_store(2) == "revoked"
    assert await site.statuses.pending_count() == 1
    assert await site.relay.once() == 0, "it is left alone for a while"
    row = await site.pool.fetchrow("SELECT retry_at, failures FROM outbox WHERE closed_at IS NULL")
    assert row is not None
    assert row["failures"] == 1
    assert row["retry_at"] > datetime.now(UTC)


@pytest.mark.parametrize("epoch", [2, 2**31, 2**32 - 1])
async def test_a_store_with_a_version_that_no_database_gave_stops_nobody(site: Site, epoch: int) -> None:
    """Whoever can write to the store can claim any version: the change stays open, the others go on."""
    await site.sql(
        "INSERT INTO certificates (issuer_id, serial) VALUES ('site-ec', $1), ('site-ec', $2)", b"\x01", b"\x02"
    )
    await site.relay_all()
    certificate = Certificate.numbered(site.issuer, 1)
    held = await site.records.get(certificate)
    assert held is not None
    key = b"cs2:" + site.issuer.tag + certificate.serial
    for number in (held.number, 2**64 - 1):
        forged = held.encoded[:1] + epoch.to_bytes(4, "big") + number.to_bytes(8, "big") + held.encoded[13:]
        await site.records._redis.set(key, forged)
        await site.sql(REVOKE, "site-ec", b"\x01")
        await site.sql(REVOKE, "site-ec", b"\x02")
        assert await site.relay.once() >= 1
        left = await site.pool.fetch("SELECT serial FROM outbox WHERE closed_at IS NULL")
        assert {row["serial"] for row in left} == {b"\x01"}
        assert await site.status_in_store(2) == "revoked"
    await site.records._redis.delete(key)
    await site.sql("UPDATE outbox SET retry_at = NULL")
    await site.relay_all()
    assert await site.status_in_store(1) == "revoked"


async def test_closing_a_batch_looks_at_no_other_open_change(
    database: str, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """It went through all that were open, twice a batch: 100,000 changes took twice as long each as 20,000, and a
    million would have taken an hour."""
    count, batch = 20_000, 100
    async with open_site(database, valkey.url, tmp_path, is_host=False) as site:
        await site.sql(
            "INSERT INTO certificates (issuer_id, serial, revoked, revoked_at) "
            r"SELECT 'site-ec', '\x40'::bytea || int4send(g), true, now() FROM generate_series(1, $1) AS g",
            count,
        )
        await site.sql("ANALYZE outbox")
        before = await rows_read(site, "outbox", updated=0)
        relay = Relay(site.statuses, signer=site.native, records=site.records, clock=site.clock, batch=batch)
        assert await relay.once() == batch
        assert await relay.once() == batch
        assert await rows_read(site, "outbox", updated=2 * batch) - before < 20 * batch


async def rows_read(site: Site, table: str, *, updated: int) -> int:
    """What statements have read of a table, once as many rows were updated or deleted as should be."""
    await site.pool.expire_connections()  # a connection tells its counts when it ends
    async with asyncio.timeout(10):
        while True:
            row = await site.pool.fetchrow(
                "SELECT seq_tup_read + idx_tup_fetch AS read, n_tup_upd + n_tup_del AS changed "
                "FROM pg_stat_user_tables WHERE relname = $1",
                table,
            )
            assert row is not None
            if row["changed"] >= updated:
                return int(row["read"])
            await asyncio.sleep(0.1)
            await site.pool.expire_connections()


async def test_an_update_that_changes_nothing_is_no_change(site: Site) -> None:
    await site.sql("INSERT INTO certificates (issuer_id, serial) VALUES ('site-ec', $1), ('site-ec', '\\x02')", b"\x01")
    await site.relay_all()
    await site.sql("UPDATE certificates SET not_after = not_after, revoked = false")
    assert await site.statuses.pending_count() == 0
    # One of two.
    await site.sql("UPDATE certificates SET not_after = CASE serial WHEN $1 THEN now() + interval '1 day' END", b"\x01")
    assert await site.statuses.pending_count() == 1


async def test_slices_are_finished_one_by_one_and_their_lease_is_prolonged(site: Site) -> None:
    """Two workers that each took longer than a lease signed everything, and finished nothing."""
    await site.sql(
        "INSERT INTO certificates (issuer_id, serial) SELECT 'site-ec', int4send(16777216 + g) "
        "FROM generate_series(1, 300) g"
    )
    await site.relay_all()
    await site.partitions.make_due("site-ec")
    seen: list[tuple[int, int]] = []
    lease_ends_in: list[timedelta] = []

    class Later(FakeClock):
        """A minute and more passes with each look."""

        def now(self) -> datetime:
            self.advance(timedelta(seconds=61))
            return super().now()

    class Watching(NativeSigner):
        async def sign(self, statuses: Sequence[CertificateStatus]) -> list[Records]:
            left = await site.pool.fetchval("SELECT count(*) FROM partitions WHERE leased_by = 'me'")
            seen.append((left, await site.partitions.overdue("site-ec")))
            lease_ends_in.append(await site.pool.fetchval("SELECT min(leased_until) - now() FROM partitions"))
            await site.sql("UPDATE partitions SET leased_until = now() + interval '1 second' WHERE leased_by = 'me'")
            return await super().sign(statuses)

    presigner = Presigner(
        site.partitions,
        issuers=site.issuers,
        signer=Watching(site.signers, site.clock, backdate=timedelta(minutes=5)),
        records=site.records,
        clock=Later(datetime.now(UTC)),
        owner="me",
        slices=1024,
        chunk=20,
    )
    assert await presigner.once()
    assert min(lease_ends_in) > timedelta(seconds=200)
    lefts = [left for left, _ in seen]
    assert lefts == sorted(lefts, reverse=True)
    assert lefts[0] == 1024
    assert lefts[-1] < 200
    assert all(0 <= overdue - left <= 1 for left, overdue in seen), "what is signed is finished"
    assert await site.partitions.overdue("site-ec") <= 1  # its next turn may come at once


async def test_what_is_made_due_while_it_is_being_signed_stays_due(site: Site) -> None:
    await site.partitions.make_due("site-ec")
    claim = await site.partitions.claim("a", limit=64, lease_seconds=300)
    assert claim is not None
    await site.partitions.make_due("site-ec")
    later = datetime.now(UTC) + timedelta(hours=32)
    await site.partitions.finished("site-ec", [SignedSlice(p, later) for p in claim[1]], owner="a")
    assert await site.partitions.overdue("site-ec") == 1024


async def test_slices_of_a_process_that_is_no_more_are_free(site: Site) -> None:
    mine = process_identity()
    gone = mine.rpartition(":")[0] + ":999999999"
    await site.partitions.make_due("site-ec")
    for owner in (gone, mine):
        assert await site.partitions.claim(owner, limit=512, lease_seconds=300)
    await site.partitions.end_leases(has_ended)
    assert await site.pool.fetchval("SELECT count(*) FROM partitions WHERE leased_by IS NULL") == 512


async def test_a_profile_of_an_earlier_generation_does_not_come_back(site: Site) -> None:
    """A process read the issuer before its CA was compromised, and tells its profile after it."""
    await site.sql("UPDATE issuers SET compromised_at = now() WHERE id = 'site-ec'")
    signer = next(iter(site.signers))
    await site.signer_store.add_profile("site-ec", signer.profile, signer.key.public_key)
    assert await site.signer_store.profiles() == []


async def test_clocks_that_step_back_leave_no_certificate_without_an_answer(site: Site) -> None:
    """A tombstone from a clock half a minute ahead gives way to the records of its own change."""
    await site.sql("INSERT INTO certificates (issuer_id, serial) VALUES ('site-ec', $1)", b"\x01")
    await site.relay_all()
    certificate = Certificate.numbered(site.issuer, 1)
    (status,) = await site.statuses.status_of([certificate])
    assert status is not None
    ahead = StatusVersion(1, status.version.number + 1, status.version.as_of + timedelta(seconds=30))
    await site.records.put(certificate, tombstone_for(CertificateStatus(certificate, CertStatus.REVOKED, ahead)))
    await site.sql(REVOKE, "site-ec", b"\x01")
    assert (await site.ask(1)).cert_statuses == (CertStatus.REVOKED,)
    await site.relay_all()
    assert await site.status_in_store(1) == "revoked"


async def test_clocks_that_step_back_take_no_published_time_back(site: Site) -> None:
    """Signed again by clocks that have stepped back, an answer of the same status is the one that is published already;
    a status that changes is published at once, whatever its time is."""
    await site.sql("INSERT INTO certificates (issuer_id, serial) VALUES ('site-ec', $1)", b"\x01")
    await site.relay_all()
    certificate = Certificate.numbered(site.issuer, 1)
    published = (await site.ask(1)).this_update
    (status,) = await site.statuses.status_of([certificate])
    assert status is not None
    for seconds in (1, 40, 3600, 86400):
        back = FakeClock(site.clock.now() - timedelta(seconds=seconds))
        earlier = replace(status, version=replace(status.version, as_of=back.now()))
        signed = await NativeSigner(site.signers, back, backdate=timedelta(minutes=5)).sign([earlier])
        if seconds > 60:
            with pytest.raises(StoreUnavailable, match="outdated"):
                await site.records.put(certificate, signed[0])
        else:
            await site.records.put(certificate, signed[0])
        assert (await site.ask(1)).this_update >= published
    back = FakeClock(site.clock.now() - timedelta(seconds=40))
    revoked = replace(
        status,
        cert_status=CertStatus.REVOKED,
        revoked_info=RevokedInfo(back.now(), CRLReason.keyCompromise),
        version=StatusVersion(1, status.version.number + 1, back.now()),
    )
    signed = await NativeSigner(site.signers, back, backdate=timedelta(minutes=5)).sign([revoked])
    await site.records.put(certificate, signed[0])
    assert await site.status_in_store(1) == "revoked"


# --- the chain on doubles ---


@pytest.fixture
def chain(clock: FakeClock, issuer: Issuer) -> Chain:
    return make_chain(clock, issuer, make_test_signer(issuer, "ec"))


async def test_a_tombstone_from_a_clock_ahead_is_no_obstacle(clock: FakeClock, chain: Chain) -> None:
    certificate = Certificate.numbered(chain.issuer, SERIAL)
    status = chain.statuses.add(certificate)
    ahead = StatusVersion(1, status.version.number, clock.now() + timedelta(seconds=30))
    chain.records.kept[certificate] = tombstone_for(CertificateStatus(certificate, CertStatus.GOOD, ahead))
    assert status_in(await chain.ask(SERIAL)) == "GOOD"


@pytest.mark.parametrize("seconds", [0, 1, 30, 59])
async def test_this_update_is_never_after_produced_at(clock: FakeClock, chain: Chain, seconds: int) -> None:
    """Without a backdate and with a database clock ahead, records couldn't be signed and answers were wrong."""
    native = NativeSigner(chain.signers, clock, backdate=timedelta(0))
    as_of = clock.now() + timedelta(seconds=seconds)
    status = CertificateStatus(Certificate.numbered(chain.issuer, 1), CertStatus.GOOD, StatusVersion(1, 1, as_of))
    (records,) = await native.sign([status])
    assert records.this_update == records.produced_at == epoch_seconds(clock.now())
    with pytest.raises(StatusUnavailable, match="clocks"):
        await native.sign(
            [CertificateStatus(status.certificate, CertStatus.GOOD, StatusVersion(1, 1, as_of + timedelta(seconds=61)))]
        )


async def test_without_any_signer_it_is_the_issuers_trouble(clock: FakeClock, chain: Chain) -> None:
    with pytest.raises(IssuerUnavailable):
        await NativeSigner(Signers(), clock, backdate=timedelta(0)).sign(
            [chain.statuses.add(Certificate.numbered(chain.issuer, 1))]
        )
