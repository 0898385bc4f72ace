"""Taking over another CA's list of statuses: all of it or nothing, by the rules of a revocation, and back again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import asyncpg

from responder.errors import ImportRefused, Remedy
from responder.pki import CRLReason, ImportedStatus, Issuer, decode_serial, encode_serial
from responder.storage import import_rules as rules
from responder.storage.audit import audit
from responder.storage.postgres import LONG_SECONDS, Connection, acquired, row_count
from responder.storage.rows import NUMBERED, NUMBERED_NO_MORE, revocation_columns

MAX_CONFLICTS = 1000
"""How many are named; all are counted."""

KEPT_DAYS = 30
"""How long an import can be taken back."""

_CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Conflict:
    """A certificate of which the list says something that may not be done; what is here was kept.

    `kind`: `kept_revoked` (good in the list), `kept_reason` (a weaker or another reason, or a hold), `kept_date` (a
    later date), `kept_released` (on hold since before it was released here).
    """

    line: int
    serial: str
    kind: str
    list_says: str
    kept: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, or would do: counts of certificates.

    `not_listed` are known here and not in the list; they stay as they are. The `kept_` counts are of conflicts.
    """

    listed: int
    added: int
    newly_revoked: int
    changed: int
    unchanged: int
    not_listed: int = 0
    kept_revoked: int = 0
    kept_reason: int = 0
    kept_date: int = 0
    kept_released: int = 0


@dataclass(frozen=True, slots=True)
class Import:
    """One that was made (`id`; None for a dry run), and the first `MAX_CONFLICTS` of its conflicts."""

    id: int | None
    report: ImportReport
    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True, slots=True)
class Undone:
    """What taking an import back does: certificates that are unknown again, as before again, and good again."""

    issuer_id: str
    removed: int
    restored: int
    good_again: int


class PostgresImports:
    """Brings lists into the database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def run(
        self,
        issuer: Issuer,
        rows: Iterable[ImportedStatus],
        *,
        dry_run: bool,
        actor: str,
        source: str = "",
        source_sha256: bytes = bytes(32),
        force: bool = False,
        doubt: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Import:
        """Compare the list with what is there, and take over what the rules of a revocation allow, in one transaction.

        Args:
            rows: each serial once.
            dry_run: the same, and then nothing is kept.
            source: what the list is called, and the SHA-256 of its octets, for the audit log.
            force: take a list that looks like another CA's.
            doubt: why it may be another CA's; it counts while no certificate of the issuer is known.
            progress: called with how many rows were taken in, a few times.

        Raises:
            ImportRefused: it looks like another CA's list; nothing was changed.
            StatusUnavailable: the database can't be reached; nothing was changed.
        """
        async with self.transaction(keep=not dry_run) as connection:
            done = await self.take(
                connection, issuer, rows, actor, (source, source_sha256), force=force, doubt=doubt, progress=progress
            )
        return Import(None, done.report, done.conflicts) if dry_run else done

    @asynccontextmanager
    async def transaction(self, *, keep: bool) -> AsyncIterator[Connection]:
        """One for all that is taken over together; without `keep` nothing of it stays."""
        async with acquired(self._pool) as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            except BaseException:
                await transaction.rollback()
                raise
            await (transaction.commit() if keep else transaction.rollback())

    async def take(
        self,
        connection: Connection,
        issuer: Issuer,
        rows: Iterable[ImportedStatus],
        actor: str,
        source: tuple[str, bytes],
        *,
        force: bool,
        doubt: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Import:
        """The work of `run`, in a transaction of `transaction`; `source` is its name and the SHA-256 of its octets."""
        # One at a time for an issuer, so that each counts what it did.
        await connection.execute("SELECT FROM issuers WHERE id = $1 FOR NO KEY UPDATE", issuer.id, timeout=LONG_SECONDS)
        await connection.execute(rules.TABLE)
        records = iter(rows)
        while chunk := list(islice(_records(records), _CHUNK)):
            await connection.copy_records_to_table("listed", records=chunk, timeout=LONG_SECONDS)
            if progress is not None:
                progress(len(chunk))
        await connection.execute(rules.INDEX, timeout=LONG_SECONDS)
        await connection.execute("ANALYZE listed", timeout=LONG_SECONDS)
        await connection.execute(rules.DECIDE, issuer.id, timeout=LONG_SECONDS)
        await connection.execute("ANALYZE decided", timeout=LONG_SECONDS)
        counts = await connection.fetchrow(rules.COUNT, issuer.id, timeout=LONG_SECONDS)
        assert counts is not None  # it counts
        if not force and doubt is not None and not counts["known"]:
            raise ImportRefused(doubt).offering(Remedy.TAKE_ALL_THE_SAME)
        if not force:
            await _require_own(connection, issuer, listed=counts["listed"], known=counts["known"], both=counts["both"])
        report = _report(counts)
        conflicts = tuple(map(_conflict, await connection.fetch(rules.CONFLICTS, MAX_CONFLICTS, timeout=LONG_SECONDS)))
        # With the first list CRLs may be published: before it they would have been empty.
        started = await connection.execute(
            "UPDATE issuers SET crls_started_at = now() WHERE id = $1 AND crls_started_at IS NULL", issuer.id
        )
        import_id: int = await connection.fetchval(
            "INSERT INTO imports (issuer_id, actor, source, source_sha256, report, started_crls) "
            "VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
            issuer.id,
            actor,
            *source,
            asdict(report),
            row_count(started) > 0,
        )
        await connection.execute(rules.UPDATE, issuer.id, import_id, timeout=LONG_SECONDS)
        await connection.execute(NUMBERED)
        await connection.execute(rules.INSERT, issuer.id, import_id, timeout=LONG_SECONDS)
        await connection.execute(NUMBERED_NO_MORE)
        detail = {
            "import": import_id,
            "source": source[0],
            "source_sha256": source[1].hex(),
            **asdict(report),
            "conflicts": [asdict(conflict) for conflict in conflicts],
        }
        await audit(connection, actor, "import", detail, issuer_id=issuer.id)
        return Import(import_id, report, conflicts)

    async def undo(self, import_id: int, *, dry_run: bool, actor: str) -> Undone:
        """Take an import back: what it added is unknown again, what it changed is as it was, in one transaction.

        Raises:
            ImportRefused: no such import, or no longer known; taken back already; or something has changed since.
        """
        async with self.transaction(keep=not dry_run) as connection:
            return await self._undo(connection, import_id, actor)

    async def _undo(self, connection: Connection, import_id: int, actor: str) -> Undone:
        row = await connection.fetchrow("SELECT * FROM imports WHERE id = $1 FOR UPDATE", import_id)
        if row is None:
            raise ImportRefused(
                f"there is no import {import_id}; those of the last {KEPT_DAYS} days are known: certstatus import list"
            )
        if row["undone_at"] is not None:
            raise ImportRefused(f"import {import_id} was taken back at {row['undone_at'].isoformat()} already")
        issuer_id = row["issuer_id"]
        await connection.execute("SELECT FROM issuers WHERE id = $1 FOR NO KEY UPDATE", issuer_id, timeout=LONG_SECONDS)
        changed = await connection.fetch(rules.CHANGED_SINCE, issuer_id, import_id, timeout=LONG_SECONDS)
        if changed:
            serials = ", ".join(hex(decode_serial(each["serial"])) for each in changed[:10])
            raise ImportRefused(
                f"import {import_id} can't be taken back: something has changed since for {serials}"
                + (" and more" if len(changed) > 10 else "")
            )
        good_again: int = await connection.fetchval(rules.GOOD_AGAIN, issuer_id, import_id, timeout=LONG_SECONDS)
        restored = await connection.execute(rules.TAKE_BACK, issuer_id, import_id, timeout=LONG_SECONDS)
        await connection.execute(rules.RELEASED_BEFORE, issuer_id, import_id, timeout=LONG_SECONDS)
        removed = await connection.execute(rules.REMOVE, issuer_id, import_id, timeout=LONG_SECONDS)
        if row["started_crls"]:
            # As before the first list; a CRL that was published meanwhile keeps its number.
            await connection.execute("UPDATE issuers SET crls_started_at = NULL WHERE id = $1", issuer_id)
        await connection.execute("UPDATE imports SET undone_at = now() WHERE id = $1", import_id)
        done = Undone(issuer_id, row_count(removed), row_count(restored), good_again)
        await audit(connection, actor, "undo-import", {"import": import_id, **asdict(done)}, issuer_id=issuer_id)
        return done

    async def made(self, limit: int = 100) -> list[dict[str, Any]]:
        """The newest imports first: id, issuer_id, at, actor, source, undone_at and the counts."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch("SELECT * FROM imports ORDER BY id DESC LIMIT $1", limit)
        return [
            {name: row[name] for name in ("id", "issuer_id", "at", "actor", "source", "undone_at")} | row["report"]
            for row in rows
        ]

    async def sweep(self) -> None:
        """Forget what would be needed to take old imports back."""
        async with acquired(self._pool) as connection:
            await connection.execute(
                "DELETE FROM imports WHERE at < now() - make_interval(days => $1)", KEPT_DAYS, timeout=LONG_SECONDS
            )


async def _require_own(connection: Connection, issuer: Issuer, *, listed: int, known: int, both: int) -> None:
    """Raises ImportRefused for a list that looks like another CA's."""
    if known and not both:
        raise ImportRefused(
            f"none of the {known:,} certificates known of {issuer.id} is among the {listed:,} of the list, so it looks "
            "like another CA's"
        ).offering(Remedy.TAKE_ALL_THE_SAME)
    foreign = await connection.fetchrow(rules.FOREIGN, issuer.id, timeout=LONG_SECONDS)
    if foreign is not None:
        raise ImportRefused(
            f"{foreign['count']:,} of the {listed:,} serial numbers in the list are known of {foreign['issuer_id']}, "
            f"and not of {issuer.id}, so it looks like the other's"
        ).offering(Remedy.TAKE_ALL_THE_SAME)


def _report(counts: asyncpg.Record) -> ImportReport:
    added = counts["listed"] - counts["both"]
    kept = {name: counts[name] for name in ("kept_revoked", "kept_reason", "kept_date", "kept_released")}
    return ImportReport(
        listed=counts["listed"],
        added=added,
        newly_revoked=counts["newly_revoked"],
        changed=counts["changed"],
        unchanged=counts["both"] - counts["newly_revoked"] - counts["changed"],
        not_listed=counts["known"] - counts["both"],
        **kept,
    )


def _conflict(row: asyncpg.Record) -> Conflict:
    was = _described(row["revoked"], row["revoked_at"], row["reason"], row["invalidity_date"])
    if row["was_released_at"] is not None and not row["revoked"]:
        was += f", released at {_rfc3339(row['was_released_at'])}"
    return Conflict(
        line=row["line"],
        serial=hex(decode_serial(row["serial"])),
        kind=row["kind"],
        list_says=_described(
            row["list_revoked"], row["list_revoked_at"], row["list_reason"], row["list_invalidity_date"]
        ),
        kept=was,
    )


def _described(revoked: bool, revoked_at: datetime | None, reason: int | None, invalidity_date: datetime | None) -> str:
    if not revoked or revoked_at is None:
        return "good"
    name = "" if reason is None else f" for {CRLReason(reason).name}"
    since = "" if invalidity_date is None else f", invalid since {_rfc3339(invalidity_date)}"
    return f"revoked{name} at {_rfc3339(revoked_at)}{since}"


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _records(rows: Iterator[ImportedStatus]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        yield (
            encode_serial(row.serial_number),
            row.line,
            *revocation_columns(row.revoked_info),
            row.not_before,
            row.not_after,
        )
