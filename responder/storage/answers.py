"""Answers that were made elsewhere, in Postgres, for offline issuers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import asyncpg

from responder.errors import ImportRefused
from responder.pki import (
    CertIDVariant,
    Certificate,
    CertificateStatus,
    CRLReason,
    ImportedAnswer,
    ImportedStatus,
    Issuer,
    OfflineOutlook,
    RevokedInfo,
    SigningProfile,
    load_profile,
    signer_key,
)
from responder.storage.imports import Import, PostgresImports
from responder.storage.outbox import renumbering
from responder.storage.postgres import LONG_SECONDS, Connection, acquired, translating
from responder.storage.rows import COLUMNS, revocation_columns, status_from
from responder.storage.signers import insert_profile, lock_issuer

KEPT_DAYS = 30
"""How long an answer that has ended is kept: until then its end is told as one."""

_PUT = """
INSERT INTO imported_answers (
    issuer_id, serial, variant, profile_id, revoked_at, reason, this_update, ends_at, response
)
SELECT $1, * FROM unnest(
    $2::bytea[], $3::smallint[], $4::bytea[], $5::timestamptz[], $6::smallint[], $7::timestamptz[], $8::timestamptz[],
    $9::bytea[]
)
ON CONFLICT (issuer_id, serial, variant) DO UPDATE SET (
    profile_id, revoked_at, reason, this_update, ends_at, response, imported_at
) = (
    excluded.profile_id, excluded.revoked_at, excluded.reason, excluded.this_update, excluded.ends_at,
    excluded.response, now()
)
"""

# A new version, so that what a store, a table or a cache of ours holds of the answer before is never given again.
_RENUMBER = renumbering("issuer_id = $1 AND serial = ANY ($2)")

# What an offline issuer says of its certificates: of each the answers of its present status, as far as their signer
# isn't retired.
_SAID = """
SELECT c.issuer_id, c.serial, min(a.ends_at) AS ends_at,
    coalesce(bool_or(a.ends_at - now() < (a.ends_at - a.this_update) / 4), false) AS is_ending,
    array_remove(array_agg(a.variant ORDER BY a.variant), NULL) AS variants
FROM issuers i JOIN certificates c ON c.issuer_id = i.id
LEFT JOIN (imported_answers a JOIN signing_profiles p ON p.id = a.profile_id AND p.retired_at IS NULL)
    ON a.issuer_id = c.issuer_id AND a.serial = c.serial
    AND (a.revoked_at IS NOT NULL) = (c.revoked OR i.compromised_at IS NOT NULL)
WHERE i.offline AND (c.not_after IS NULL OR c.not_after > now())
GROUP BY c.issuer_id, c.serial
"""

_OUTLOOK = f"""
SELECT issuer_id, count(*) AS certificates, count(*) FILTER (WHERE ends_at IS NULL OR ends_at <= now()) AS without,
    count(*) FILTER (WHERE ends_at > now() AND is_ending) AS ending,
    min(ends_at) FILTER (WHERE ends_at > now()) AS first_end
FROM ({_SAID}) AS said GROUP BY issuer_id ORDER BY issuer_id
"""


@dataclass(frozen=True, slots=True)
class TakenAnswers:
    """What came of answers of one issuer. `older` weren't taken, since there are newer ones here, nor were `unusable`,
    which say another status than what is kept here by the rules of a revocation."""

    issuer_id: str
    statuses: Import
    taken: int
    older: tuple[ImportedAnswer, ...]
    unusable: tuple[ImportedAnswer, ...]


@dataclass(frozen=True, slots=True)
class SaidElsewhere:
    """The status here of a certificate of an offline issuer, and which answers there are of it.

    Attributes:
        ends_at: when the first of them ends; None where there is none.
    """

    status: CertificateStatus
    ends_at: datetime | None
    variants: tuple[CertIDVariant, ...]


class PostgresAnswers:
    """Implements `ImportedAnswers`."""

    def __init__(self, pool: asyncpg.Pool, imports: PostgresImports) -> None:
        self._pool = pool
        self._imports = imports
        self._profiles: dict[bytes, SigningProfile] = {}

    async def of(
        self, issuer: Issuer, certificates: Sequence[Certificate]
    ) -> Mapping[Certificate, Sequence[ImportedAnswer]]:
        """See `ImportedAnswers.of`."""
        with translating():
            async with acquired(self._pool) as connection:
                rows = await connection.fetch(
                    "SELECT a.*, p.body FROM imported_answers a JOIN signing_profiles p ON p.id = a.profile_id "
                    "WHERE a.issuer_id = $1 AND a.serial = ANY ($2) AND p.retired_at IS NULL ORDER BY a.variant",
                    issuer.id,
                    [certificate.serial for certificate in certificates],
                )
        found: dict[Certificate, list[ImportedAnswer]] = defaultdict(list)
        for row in rows:
            certificate = Certificate(issuer, row["serial"])
            found[certificate].append(
                ImportedAnswer(
                    certificate,
                    CertIDVariant(row["variant"]),
                    self._profile(row["profile_id"], row["body"]),
                    _revoked_info(row),
                    row["this_update"],
                    row["ends_at"],
                    row["response"],
                )
            )
        return found

    def _profile(self, profile_id: bytes, body: bytes) -> SigningProfile:
        if profile_id not in self._profiles:
            self._profiles[profile_id] = load_profile(body)
        return self._profiles[profile_id]

    async def take(
        self,
        answers: Mapping[Issuer, Sequence[ImportedAnswer]],
        *,
        dry_run: bool,
        actor: str,
        source: str,
        source_sha256: bytes,
    ) -> list[TakenAnswers]:
        """Keep these answers and take over the statuses that they say, by the rules of a revocation, all in one
        transaction; a later answer than one that is here already replaces it.

        Args:
            answers: for each certificate all say the same status.

        Raises:
            ImportRefused: an issuer isn't offline, or the key of a signer was retired; nothing was changed.
            StatusUnavailable: the database can't be reached; nothing was changed.
        """
        done = []
        async with self._imports.transaction(keep=not dry_run) as connection:
            for issuer, of_issuer in answers.items():
                taken = await self._take(connection, issuer, of_issuer, actor, (source, source_sha256))
                statuses = replace(taken.statuses, id=None) if dry_run else taken.statuses
                done.append(replace(taken, statuses=statuses))
        return done

    async def _take(
        self,
        connection: Connection,
        issuer: Issuer,
        answers: Sequence[ImportedAnswer],
        actor: str,
        source: tuple[str, bytes],
    ) -> TakenAnswers:
        await lock_issuer(connection, issuer.id)
        if not await connection.fetchval("SELECT offline FROM issuers WHERE id = $1", issuer.id):
            raise ImportRefused(
                f"answers of issuer {issuer.id} are signed here; to give imported ones instead: "
                f"certstatus issuer set {issuer.id} offline=true nonce=ignore"
            )
        for profile in {answer.profile.id: answer.profile for answer in answers}.values():
            await _insert_profile(connection, issuer, profile)
        serials = [answer.certificate.serial for answer in answers]
        newest = {
            (row["serial"], row["variant"]): row["this_update"]
            for row in await connection.fetch(
                "SELECT serial, variant, this_update FROM imported_answers WHERE issuer_id = $1 AND serial = ANY ($2)",
                issuer.id,
                serials,
                timeout=LONG_SECONDS,
            )
        }
        fresh, older = _parted(
            answers,
            lambda each: newest.get((each.certificate.serial, each.variant), each.this_update) <= each.this_update,
        )
        said = {each.certificate: each.revoked_info for each in fresh}
        await connection.execute(_RENUMBER, issuer.id, [each.serial for each in said], timeout=LONG_SECONDS)
        await connection.execute("SELECT pg_notify('certstatus_status', '')")
        rows = [ImportedStatus(certificate.serial_number, info) for certificate, info in said.items()]
        statuses = await self._imports.take(connection, issuer, rows, actor, source, force=True)
        revoked = {
            row["serial"]
            for row in await connection.fetch(
                "SELECT serial FROM certificates WHERE issuer_id = $1 AND serial = ANY ($2) AND revoked",
                issuer.id,
                serials,
                timeout=LONG_SECONDS,
            )
        }
        taken, unusable = _parted(
            fresh, lambda each: (each.certificate.serial in revoked) == (each.revoked_info is not None)
        )
        await _put(connection, issuer, taken)
        return TakenAnswers(issuer.id, statuses, len(taken), tuple(older), tuple(unusable))

    async def outlook(self) -> list[OfflineOutlook]:
        """What each offline issuer that has certificates can say, and for how long."""
        async with acquired(self._pool) as connection:
            return [OfflineOutlook(**dict(row)) for row in await connection.fetch(_OUTLOOK)]

    async def said(self, issuer: Issuer) -> list[SaidElsewhere]:
        """The certificates of an offline issuer that are valid now, those whose answers end first, first."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch(
                f"SELECT {COLUMNS}, now() AS as_of, c.serial, said.ends_at, said.variants FROM ({_SAID}) AS said "
                "JOIN certificates c ON c.issuer_id = said.issuer_id AND c.serial = said.serial "
                "WHERE c.issuer_id = $1 ORDER BY said.ends_at NULLS FIRST, c.serial",
                issuer.id,
            )
        return [
            SaidElsewhere(
                status_from(Certificate(issuer, row["serial"]), row),
                row["ends_at"],
                tuple(map(CertIDVariant, row["variants"])),
            )
            for row in rows
        ]

    async def sweep(self) -> None:
        """Forget answers that have ended long ago."""
        async with acquired(self._pool) as connection:
            await connection.execute(
                "DELETE FROM imported_answers WHERE ends_at < now() - $1::interval", timedelta(days=KEPT_DAYS)
            )


async def _insert_profile(connection: Connection, issuer: Issuer, profile: SigningProfile) -> None:
    await insert_profile(connection, issuer.id, profile, signer_key(issuer, profile))
    if not await connection.fetchval(
        "SELECT count(*) FROM signing_profiles WHERE id = $1 AND retired_at IS NULL", profile.id
    ):
        raise ImportRefused(
            f"issuer {issuer.id}: the key that has signed was retired, or everything that was made before was: "
            "import answers of another signer"
        )


async def _put(connection: Connection, issuer: Issuer, answers: Sequence[ImportedAnswer]) -> None:
    revocations = [revocation_columns(answer.revoked_info) for answer in answers]
    await connection.execute(
        _PUT,
        issuer.id,
        [answer.certificate.serial for answer in answers],
        [int(answer.variant) for answer in answers],
        [answer.profile.id for answer in answers],
        [revoked_at for _, revoked_at, _, _ in revocations],
        [reason for _, _, reason, _ in revocations],
        [answer.this_update for answer in answers],
        [answer.ends_at for answer in answers],
        [answer.response for answer in answers],
        timeout=LONG_SECONDS,
    )


def _parted(
    answers: Sequence[ImportedAnswer], belongs: Callable[[ImportedAnswer], bool]
) -> tuple[list[ImportedAnswer], list[ImportedAnswer]]:
    """Those that do, and those that don't."""
    return [each for each in answers if belongs(each)], [each for each in answers if not belongs(each)]


def _revoked_info(row: asyncpg.Record) -> RevokedInfo | None:
    if row["revoked_at"] is None:
        return None
    return RevokedInfo(row["revoked_at"], None if row["reason"] is None else CRLReason(row["reason"]))
