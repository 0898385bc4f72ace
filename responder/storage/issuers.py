"""Issuers and what is decided for each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from responder import log
from responder.errors import ConfigError
from responder.pki import IssuedCertificate, Issuer, SigningProfile, make_issuer
from responder.storage.audit import audit
from responder.storage.certificates import register
from responder.storage.policies import allowed_values, columns_of, policy_from, read_changes
from responder.storage.postgres import LONG_SECONDS, Connection, Row, acquired
from responder.storage.signers import insert_profile, insert_responder_certificate, lock_issuer

_log = log.get("storage.issuers")


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """The issuer as it is now; whether everything is due to be signed again, and how many signatures that takes."""

    issuer: Issuer
    signs_again: bool
    signatures: int


class PostgresIssuers:
    """What the operator decides, in Postgres."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def load(self) -> list[Issuer]:
        """All issuers with their policies; one that can't be read is left out, and logged."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch("SELECT * FROM issuers ORDER BY id")
        issuers = []
        for row in rows:
            try:
                issuers.append(issuer_from(row))
            except ConfigError as error:
                _log.error("issuer_left_out", issuer=row["id"], error=str(error))
        return issuers

    async def add(
        self,
        issuer: Issuer,
        *,
        responder_certificate: bytes | None = None,
        profile: SigningProfile | None = None,
        issued: Sequence[IssuedCertificate] = (),
        last_crl_number: int = 0,
        start_crls: bool = True,
        actor: str = "issuer add",
    ) -> None:
        """Answer for this issuer from now on; with its first responder certificate (DER) and what is known of its
        certificates, in one transaction.

        Args:
            profile: what the responder certificate signs with; known, then, before its first answer.
            last_crl_number: of the CRLs that were published elsewhere; ours go on after it (5280-05).
            start_crls: whether the first CRL may be published at once, or only after the first import.

        Raises:
            ConfigError: its id, or the CA under another id, is there already; or the id isn't one.
        """
        policy = issuer.policy
        async with acquired(self._pool) as connection:
            try:
                async with connection.transaction():
                    columns = {
                        "id": issuer.id,
                        "tag": issuer.tag,
                        "certificate": issuer.certificate,
                        **columns_of(policy),
                    }
                    places = ", ".join(f"${index}" for index in range(1, len(columns) + 1))
                    await connection.execute(
                        f"INSERT INTO issuers ({', '.join(columns)}) VALUES ({places})", *columns.values()
                    )
                    # Each slice in its phase: certificates registered later are signed through the outbox at once.
                    await connection.execute(
                        "INSERT INTO partitions (issuer_id, partition, due_at) "
                        "SELECT $1, p, now() + $2::interval * (p + 1) / 1024 FROM generate_series(0, 1023) AS p",
                        issuer.id,
                        policy.refresh,
                    )
                    if responder_certificate is not None:
                        await insert_responder_certificate(connection, issuer.id, responder_certificate, profile)
                    await connection.execute(
                        "INSERT INTO crl_numbers (issuer_id, scope, last) VALUES ($1, 'full', $2)",
                        issuer.id,
                        last_crl_number,
                    )
                    if start_crls:
                        await connection.execute("UPDATE issuers SET crls_started_at = now() WHERE id = $1", issuer.id)
                    await register(connection, issuer, issued)
                    detail = {
                        "certificate_sha256": hashlib.sha256(issuer.certificate).hexdigest(),
                        "last_crl_number": last_crl_number,
                        "certificates": len(issued),
                    }
                    await audit(connection, actor, "add-issuer", detail, issuer_id=issuer.id)
            except asyncpg.UniqueViolationError as error:
                raise ConfigError(
                    f"issuer {issuer.id}: there is one of this name, or this CA (same name, same key) is known "
                    "under another; certstatus issuer list shows them"
                ) from error
            except asyncpg.CheckViolationError as error:
                if error.constraint_name != "issuers_id_check":
                    raise ConfigError(
                        f"issuer {issuer.id}: {error.table_name} can't hold what was given: it breaks "
                        f"{error.constraint_name}"
                    ) from error
                raise ConfigError(
                    f"issuer {issuer.id}: an id has 1 to 64 lower-case letters, digits and hyphens "
                    f"({error.constraint_name})"
                ) from error

    async def remove(self, issuer_id: str, *, actor: str = "issuer remove") -> None:
        """Forget an issuer and everything of it. Its answers are refused once every process has heard of it."""
        async with acquired(self._pool) as connection, connection.transaction():
            await connection.execute("DELETE FROM issuers WHERE id = $1", issuer_id, timeout=LONG_SECONDS)
            await audit(connection, actor, "remove-issuer", {}, issuer_id=issuer_id)

    async def set_policy(
        self,
        issuer_id: str,
        changes: Mapping[str, str],
        *,
        profile_of: Callable[[Issuer, bytes], SigningProfile] | None = None,
        actor: str = "set_policy",
    ) -> PolicyChange:
        """Change what is decided for an issuer; all of it or nothing. The profiles that its responder certificates sign
        with from then on become known in the same transaction, so that policy and profiles take effect together.

        Args:
            profile_of: the profile of a responder certificate (DER) under the new policy; raises ConfigError where it
                can't sign under it.

        Raises:
            ConfigError: every name or value that can't be, with what it may be; or a responder certificate that the
                new policy doesn't allow.
        """
        values = read_changes(changes)
        async with acquired(self._pool) as connection, connection.transaction():
            await lock_issuer(connection, issuer_id)
            assignments = ", ".join(f"{name} = ${index}" for index, name in enumerate(values, start=2))
            due_before = await _due(connection, issuer_id)
            try:
                row = await connection.fetchrow(
                    f"UPDATE issuers SET {assignments} WHERE id = $1 RETURNING *",
                    issuer_id,
                    *values.values(),
                )
            except (asyncpg.CheckViolationError, asyncpg.NumericValueOutOfRangeError) as error:
                if getattr(error, "constraint_name", None) == "offline_signs_nothing":
                    raise ConfigError(
                        f"issuer {issuer_id}: offline=true goes with nonce=ignore and unknown_serial=unauthorized "
                        "alone, since nothing is signed then; set them together"
                    ) from error
                raise ConfigError(f"issuer {issuer_id}: {allowed_values(changes)}") from error
            if row is None:
                raise ConfigError(f"{issuer_id}: there is no such issuer; certstatus issuer list shows them")
            issuer = issuer_from(row)
            if profile_of is not None:
                for held in await connection.fetch(
                    "SELECT certificate, public_key FROM responder_certificates "
                    "WHERE issuer_id = $1 AND retired_at IS NULL AND not_after > now()",
                    issuer_id,
                ):
                    profile = profile_of(issuer, held["certificate"])
                    await insert_profile(connection, issuer_id, profile, held["public_key"])
            is_due = await _due(connection, issuer_id) != due_before
            certificates = await connection.fetchval(
                "SELECT count(*) FROM certificates WHERE issuer_id = $1 AND (not_after IS NULL OR not_after > now())",
                issuer_id,
                timeout=LONG_SECONDS,
            )
            await audit(connection, actor, "set-policy", changes, issuer_id=issuer_id)
        return PolicyChange(issuer, signs_again=is_due, signatures=certificates * len(issuer.policy.variants))


def issuer_from(row: Row) -> Issuer:
    """The issuer that a row of `issuers` says.

    Raises:
        ConfigError: its certificate can't be read.
    """
    return make_issuer(row["id"], row["certificate"], policy_from(row))


async def _due(connection: Connection, issuer_id: str) -> object:
    """When the slices of an issuer are due, to see whether something has changed it."""
    return await connection.fetchval("SELECT max(due_at) FROM partitions WHERE issuer_id = $1", issuer_id)
