"""Another CA's list: taken by the rules of a revocation, told where it may not be, and taken back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from responder.errors import ImportRefused, RevocationRefused
from responder.ocsp.revoke import RevocationRequest, decide
from responder.pki import Certificate, CRLReason, ImportedStatus, IssuedCertificate, Issuer, Issuers, RevokedInfo
from responder.storage.certificates import PostgresCertificates
from responder.storage.imports import Import, ImportReport, PostgresImports
from responder.storage.issuers import PostgresIssuers
from responder.storage.postgres import connect
from responder.storage.rows import NUMBERED, NUMBERED_NO_MORE
from responder.storage.statuses import PostgresStatuses

THEN = datetime(2026, 5, 1, tzinfo=UTC)
EARLIER, LATER = THEN - timedelta(days=9), THEN + timedelta(days=9)
LIST = [
    ImportedStatus(1, None, not_after=LATER, line=1),
    ImportedStatus(2, RevokedInfo(THEN, CRLReason.superseded), line=2),
    ImportedStatus(3, RevokedInfo(THEN, CRLReason.keyCompromise, EARLIER), line=3),
]


class World:
    """A database with one issuer, and lists brought into it."""

    def __init__(self, pool: asyncpg.Pool, issuer: Issuer) -> None:
        self.pool, self.issuer = pool, issuer
        self.issuers, self.imports = PostgresIssuers(pool), PostgresImports(pool)
        self.statuses = PostgresStatuses(pool, Issuers([issuer]))

    async def take(self, *rows: ImportedStatus, **options: Any) -> Import:
        return await self.imports.run(self.issuer, rows, **{"dry_run": False, "actor": "test", **options})

    async def info(self, *serial_numbers: int) -> list[RevokedInfo | None]:
        found = await self.statuses.status_of([Certificate.numbered(self.issuer, number) for number in serial_numbers])
        assert all(status is not None for status in found)
        return [status.revoked_info for status in found if status is not None]

    async def set(self, serial_number: int, info: RevokedInfo | None) -> None:
        await PostgresCertificates(self.pool).register(
            self.issuer, [IssuedCertificate(serial_number, info)], actor="test"
        )

    async def rows(self) -> list[tuple[object, ...]]:
        """Everything but the versions."""
        columns = "serial, revoked, revoked_at, reason, invalidity_date, not_before, not_after, released_at"
        return [tuple(row) for row in await self.pool.fetch(f"SELECT {columns} FROM certificates ORDER BY serial")]


@pytest.fixture
async def world(database: str, issuer: Issuer) -> AsyncIterator[World]:
    pool = await connect(database, pool_size=5, application_name="test")
    made = World(pool, issuer)
    await made.issuers.add(issuer, start_crls=False)
    yield made
    await pool.close()


async def test_an_import_counts_what_it_does_and_a_dry_run_does_nothing(world: World) -> None:
    counted: list[int] = []
    dry = await world.take(*LIST, dry_run=True, progress=counted.append)
    assert dry == Import(None, ImportReport(listed=3, added=3, newly_revoked=0, changed=0, unchanged=0))
    assert sum(counted) == 3
    for table in ("certificates", "imports", "changed_by_import"):
        assert await world.pool.fetchval(f"SELECT count(*) FROM {table}") == 0
    assert await world.pool.fetchval("SELECT count(*) FROM audit_log WHERE action = 'import'") == 0
    done = await world.take(*LIST)
    assert done.id is not None
    assert (done.report, done.conflicts) == (dry.report, ())
    again = await world.take(*LIST)
    assert again.report == ImportReport(listed=3, added=0, newly_revoked=0, changed=0, unchanged=3)
    assert await world.pool.fetchval("SELECT count(*) FROM outbox") == 3, "what is unchanged isn't announced again"
    assert await world.info(1, 2, 3) == [row.revoked_info for row in LIST]


async def test_a_list_that_breaks_off_changes_nothing(world: World) -> None:
    def rows() -> Iterator[ImportedStatus]:
        yield from LIST
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        await world.imports.run(world.issuer, rows(), dry_run=False, actor="x")
    assert await world.pool.fetchval("SELECT count(*) FROM certificates") == 0


def _info(reason: CRLReason | None, at: datetime = THEN, invalid: datetime | None = None) -> RevokedInfo:
    return RevokedInfo(at, reason, invalid)


HOLD, COMPROMISE, SUPERSEDED = CRLReason.certificateHold, CRLReason.keyCompromise, CRLReason.superseded

# What is here, what the list says, what is here then, and what is told.
CASES: dict[str, tuple[RevokedInfo | None, RevokedInfo | None, RevokedInfo | None, str | None]] = {
    "good, revoked": (None, _info(SUPERSEDED), _info(SUPERSEDED), None),
    "good, on hold": (None, _info(HOLD), _info(HOLD), None),
    "good, good": (None, None, None, None),
    "revoked, the same": (_info(SUPERSEDED), _info(SUPERSEDED), _info(SUPERSEDED), None),
    "revoked, good": (_info(SUPERSEDED), None, _info(SUPERSEDED), "kept_revoked"),
    "on hold, good": (_info(HOLD), None, _info(HOLD), "kept_revoked"),
    "on hold, revoked": (_info(HOLD), _info(SUPERSEDED), _info(SUPERSEDED), None),
    "on hold, revoked later": (_info(HOLD), _info(SUPERSEDED, LATER), _info(SUPERSEDED), "kept_date"),
    "on hold, revoked for no stated reason": (_info(HOLD), _info(None), _info(None), None),
    "compromised, superseded": (_info(COMPROMISE), _info(SUPERSEDED), _info(COMPROMISE), "kept_reason"),
    "compromised, superseded in 2030": (
        _info(COMPROMISE),
        _info(SUPERSEDED, datetime(2030, 12, 31, tzinfo=UTC)),
        _info(COMPROMISE),
        "kept_reason",
    ),
    "compromised, no stated reason": (_info(COMPROMISE), _info(None), _info(COMPROMISE), "kept_reason"),
    "compromised, on hold": (_info(COMPROMISE), _info(HOLD), _info(COMPROMISE), "kept_reason"),
    "superseded, on hold": (_info(SUPERSEDED), _info(HOLD), _info(SUPERSEDED), "kept_reason"),
    "superseded, compromised": (_info(SUPERSEDED), _info(COMPROMISE), _info(COMPROMISE), None),
    "superseded, compromised earlier": (
        _info(SUPERSEDED),
        _info(COMPROMISE, EARLIER),
        _info(COMPROMISE, EARLIER),
        None,
    ),
    "superseded, compromised later": (_info(SUPERSEDED), _info(COMPROMISE, LATER), _info(COMPROMISE), "kept_date"),
    "no stated reason, superseded": (_info(None), _info(SUPERSEDED), _info(None), "kept_reason"),
    "an earlier date": (_info(SUPERSEDED), _info(SUPERSEDED, EARLIER), _info(SUPERSEDED, EARLIER), None),
    "a later date": (_info(SUPERSEDED), _info(SUPERSEDED, LATER), _info(SUPERSEDED), "kept_date"),
    "a time of compromise": (
        _info(COMPROMISE),
        _info(COMPROMISE, THEN, EARLIER),
        _info(COMPROMISE, THEN, EARLIER),
        None,
    ),
    "a later time of compromise": (
        _info(COMPROMISE, THEN, EARLIER),
        _info(COMPROMISE, THEN, THEN),
        _info(COMPROMISE, THEN, EARLIER),
        "kept_date",
    ),
    "no time of compromise any more": (
        _info(COMPROMISE, THEN, EARLIER),
        _info(COMPROMISE),
        _info(COMPROMISE, THEN, EARLIER),
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_list_obeys_the_rules_of_a_revocation(world: World, case: str) -> None:
    here, listed, expected, kind = CASES[case]
    await world.set(7, here)
    done = await world.take(ImportedStatus(7, listed, line=5))
    assert await world.info(7) == [expected]
    told = [(conflict.line, conflict.serial, conflict.kind) for conflict in done.conflicts]
    assert told == ([] if kind is None else [(5, "0x7", kind)])
    assert done.report.unchanged == (1 if expected == here else 0)
    assert done.report.newly_revoked == (1 if here is None and expected is not None else 0)
    if kind is not None:
        assert getattr(done.report, kind) == 1
        detail = await world.pool.fetchval("SELECT detail FROM audit_log WHERE action = 'import'")
        assert detail["conflicts"][0]["serial"] == "0x7"
        assert detail["conflicts"][0]["kept"] != detail["conflicts"][0]["list_says"]


async def test_a_reason_of_zero_is_no_reason(world: World) -> None:
    await world.set(7, _info(None))
    await world.pool.execute("UPDATE certificates SET reason = 0")
    assert (await world.take(ImportedStatus(7, _info(None)))).report.unchanged == 1


INFOS = st.none() | st.builds(
    RevokedInfo,
    st.sampled_from([EARLIER, THEN, LATER]),
    st.sampled_from([None, HOLD, COMPROMISE, SUPERSEDED, CRLReason.cessationOfOperation]),
    st.sampled_from([None, EARLIER, THEN]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(here=INFOS, listed=INFOS)
async def test_a_list_does_what_the_api_would_let_it_do_and_never_weakens(
    world: World, here: RevokedInfo | None, listed: RevokedInfo | None
) -> None:
    await world.pool.execute("DELETE FROM certificates")
    await world.set(7, here)
    (before,) = await world.statuses.status_of([Certificate.numbered(world.issuer, 7)])
    assert before is not None
    done = await world.take(ImportedStatus(7, listed))
    (after,) = await world.info(7)
    if here is not None:
        assert after is not None
        assert after.revocation_time <= here.revocation_time
        if here.revocation_reason not in {HOLD, after.revocation_reason}:
            assert after.revocation_reason is COMPROMISE
        if here.invalidity_date is not None:
            assert after.invalidity_date is not None
            assert after.invalidity_date <= here.invalidity_date
    if listed is None:
        assert after == here
        return
    asked = RevocationRequest(
        listed.revocation_reason or CRLReason.unspecified, listed.revocation_time, listed.invalidity_date
    )
    try:
        allowed = decide(asked)(before)
    except RevocationRefused:
        assert done.report.kept_reason or done.report.kept_date
    else:
        if not done.report.kept_date:
            assert after == (here if allowed is None else allowed.revoked_info)


async def test_a_release_is_not_undone_by_a_list_from_before_it(world: World) -> None:
    await world.set(7, _info(HOLD))
    await world.pool.execute("UPDATE certificates SET revoked = false, revoked_at = NULL, reason = NULL")
    done = await world.take(ImportedStatus(7, _info(HOLD), line=3))
    assert await world.info(7) == [None]
    (conflict,) = done.conflicts
    assert conflict.kind == "kept_released"
    assert "released at" in conflict.kept
    # A hold since then is another one, and a revocation is none.
    again = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    await world.take(ImportedStatus(7, _info(HOLD, again)))
    assert await world.info(7) == [_info(HOLD, again)]
    await world.set(8, _info(HOLD))
    await world.pool.execute("UPDATE certificates SET revoked = false, revoked_at = NULL, reason = NULL")
    await world.take(ImportedStatus(8, _info(COMPROMISE)), ImportedStatus(7, None))
    assert await world.info(7, 8) == [None, _info(COMPROMISE)]


async def test_what_is_not_in_the_list_is_counted(world: World) -> None:
    await world.take(*LIST)
    assert (await world.take(LIST[0])).report.not_listed == 2


async def test_two_at_once_count_what_each_did(world: World) -> None:

    both = await asyncio.gather(world.take(*LIST), world.take(*LIST))
    assert sorted(done.report.added for done in both) == [0, 3]


async def test_another_cas_list_is_noticed(world: World, rsa_issuer: Issuer) -> None:
    long = 2**100
    theirs = [ImportedStatus(long + number, None) for number in range(5)]
    await world.issuers.add(rsa_issuer)
    await world.imports.run(rsa_issuer, theirs, dry_run=False, actor="x")
    with pytest.raises(ImportRefused, match=f"known of {rsa_issuer.id}"):
        await world.take(*LIST, *theirs[:1])
    await world.take(*LIST)
    with pytest.raises(ImportRefused, match=r"none of the 3 certificates known of"):
        await world.take(ImportedStatus(long * 7, None))
    with pytest.raises(ImportRefused, match="none of the 3"):
        await world.take()
    assert await world.pool.fetchval("SELECT count(*) FROM certificates") == 8
    assert (await world.take(*theirs, force=True)).report.added == 5
    # Small serials are everywhere.
    await world.imports.run(rsa_issuer, [*theirs, ImportedStatus(1, None)], dry_run=False, actor="x")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    here=st.dictionaries(st.integers(1, 8), INFOS, max_size=8),
    listed=st.dictionaries(st.integers(1, 12), INFOS, max_size=12),
)
async def test_an_import_taken_back_leaves_everything_as_it_was(
    world: World, here: dict[int, RevokedInfo | None], listed: dict[int, RevokedInfo | None]
) -> None:
    await world.pool.execute("DELETE FROM certificates")
    for number, info in here.items():
        await world.set(number, info)
    await world.pool.execute(
        "UPDATE certificates SET revoked = false, revoked_at = NULL, reason = NULL, invalidity_date = NULL "
        "WHERE reason = 6"
    )
    before = await world.rows()
    done = await world.take(*(ImportedStatus(number, info, None, LATER) for number, info in listed.items()), force=True)
    assert done.id is not None
    dry = await world.imports.undo(done.id, dry_run=True, actor="x")
    undone = await world.imports.undo(done.id, dry_run=False, actor="x")
    assert dry == undone
    assert (undone.removed, undone.good_again) == (done.report.added, done.report.newly_revoked)
    assert undone.restored == done.report.newly_revoked + done.report.changed
    assert await world.rows() == before
    with pytest.raises(ImportRefused, match="was taken back at"):
        await world.imports.undo(done.id, dry_run=False, actor="x")


async def test_what_has_changed_since_is_not_taken_back(world: World) -> None:
    await world.take(*LIST)
    done = await world.take(*LIST[:2], ImportedStatus(9, None))
    assert done.id is not None
    await world.statuses.change(Certificate.numbered(world.issuer, 9), decide(RevocationRequest(COMPROMISE)), actor="x")
    before = await world.rows()
    with pytest.raises(ImportRefused, match="something has changed since for 0x9"):
        await world.imports.undo(done.id, dry_run=False, actor="x")
    assert await world.rows() == before
    with pytest.raises(ImportRefused, match="no import 4711"):
        await world.imports.undo(4711, dry_run=False, actor="x")


async def test_an_import_taken_back_is_unsaid_by_answers_and_crls(world: World) -> None:
    first = await world.take(*LIST)
    assert await world.pool.fetchval("SELECT crls_started_at IS NOT NULL FROM issuers")
    await world.pool.execute("UPDATE outbox SET closed_at = now()")
    assert first.id is not None
    await world.imports.undo(first.id, dry_run=False, actor="x")
    assert await world.pool.fetchval("SELECT crls_started_at IS NULL FROM issuers"), "as before the first list"
    kinds = await world.pool.fetch("SELECT kind FROM outbox WHERE closed_at IS NULL")
    assert [row["kind"] for row in kinds] == ["deleted"] * 3
    actions = [row["action"] for row in await world.pool.fetch("SELECT action FROM audit_log ORDER BY id")]
    assert actions == ["add-issuer", "import", "undo-import"]
    (made,) = await world.imports.made()
    assert made["undone_at"] is not None
    assert made["added"] == 3
    await world.pool.execute("UPDATE imports SET at = now() - interval '31 days'")
    await world.imports.sweep()
    assert await world.imports.made() == []


async def test_ten_thousand_rows_are_one_import(world: World) -> None:
    rows = [ImportedStatus(number, None if number % 3 else _info(SUPERSEDED)) for number in range(10_500)]
    assert (await world.take(*rows)).report.added == 10_500
    done = await world.take(*(ImportedStatus(number, _info(COMPROMISE)) for number in range(10_500)))
    assert (done.report.newly_revoked, done.report.changed) == (7000, 3500)
    assert done.id is not None
    undone = await world.imports.undo(done.id, dry_run=False, actor="x")
    assert (undone.removed, undone.restored, undone.good_again) == (0, 10_500, 7000)
    assert await world.info(3, 4) == [_info(SUPERSEDED), None]


async def test_versions_of_an_import_are_those_that_the_trigger_would_give(world: World) -> None:
    """Taken one after the other as the rows are inserted, by serial, from the one sequence of all versions."""
    await world.set(500, None)
    before = await world.pool.fetchval("SELECT number FROM certificates")
    await world.pool.execute("UPDATE installation SET epoch = 7")
    await world.take(*(ImportedStatus(number, None) for number in (9, 1, 300, 5, 77)), force=True)
    versions = await world.pool.fetch("SELECT epoch, number FROM certificates WHERE epoch = 7 ORDER BY serial")
    assert [tuple(each) for each in versions] == [(7, before + 1 + index) for index in range(5)]
    announced = await world.pool.fetch("SELECT serial, epoch, number FROM outbox WHERE epoch = 7 ORDER BY number")
    stored = await world.pool.fetch("SELECT serial, epoch, number FROM certificates WHERE epoch = 7 ORDER BY number")
    assert announced == stored


async def test_nobody_else_may_say_which_version_a_row_has(world: World) -> None:
    await world.take(*LIST)
    last = await world.pool.fetchval("SELECT max(number) FROM certificates")
    insert = "INSERT INTO certificates (issuer_id, serial, epoch, number) VALUES ($1, $2, 9, 999)"
    await world.pool.execute(insert, world.issuer.id, b"\x11")
    async with world.pool.acquire() as connection, connection.transaction():
        # As an import leaves its transaction.
        await connection.execute(NUMBERED)
        await connection.execute(NUMBERED_NO_MORE)
        await connection.execute(insert, world.issuer.id, b"\x12")
    async with world.pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute(NUMBERED)
        await connection.execute(insert, world.issuer.id, b"\x13")
    numbers = await world.pool.fetch("SELECT epoch, number FROM certificates WHERE number > $1 ORDER BY serial", last)
    assert [tuple(each) for each in numbers] == [(1, last + 1), (1, last + 2), (1, last + 3)]
