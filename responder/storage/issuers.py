"""Issuers, their policies, their responder certificates and signing profiles, and the registry of certificates."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from responder import log
from responder.errors import ConfigError, Remedy
from responder.interfaces import IssuedCertificate
from responder.pki import (
    Issuer,
    ResponderCertificate,
    SigningProfile,
    encode_serial,
    load_profile,
    make_issuer,
)
from responder.pki.certificates import read_certificate
from responder.storage.audit import audit
from responder.storage.partitions import make_due
from responder.storage.policies import allowed_values, columns_of, policy_from, read_changes
from responder.storage.postgres import LONG_SECONDS, Connection, Row, acquired

_log = log.get("storage.issuers")


@dataclass(frozen=True, slots=True)
class RetiredSigner:
    """What a retirement came to: certificates and signing profiles that were in use before, and how many valid
    certificates of other keys are left to sign with."""

    certificates: int
    profiles: int
    others: int


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
                        await _add_responder_certificate(connection, issuer.id, responder_certificate, profile)
                    await connection.execute(
                        "INSERT INTO crl_numbers (issuer_id, scope, last) VALUES ($1, 'full', $2)",
                        issuer.id,
                        last_crl_number,
                    )
                    if start_crls:
                        await connection.execute("UPDATE issuers SET crls_started_at = now() WHERE id = $1", issuer.id)
                    await _register(connection, issuer, issued)
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
            await _lock(connection, issuer_id)
            assignments = ", ".join(f"{name} = ${index}" for index, name in enumerate(values, start=2))
            due_before = await _due(connection, issuer_id)
            try:
                row = await connection.fetchrow(
                    f"UPDATE issuers SET {assignments} WHERE id = $1 RETURNING *",
                    issuer_id,
                    *values.values(),
                )
            except (asyncpg.CheckViolationError, asyncpg.NumericValueOutOfRangeError) as error:
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
                    await _add_profile(connection, issuer_id, profile, held["public_key"])
            is_due = await _due(connection, issuer_id) != due_before
            certificates = await connection.fetchval(
                "SELECT count(*) FROM certificates WHERE issuer_id = $1 AND (not_after IS NULL OR not_after > now())",
                issuer_id,
                timeout=LONG_SECONDS,
            )
            await audit(connection, actor, "set-policy", changes, issuer_id=issuer_id)
        return PolicyChange(issuer, signs_again=is_due, signatures=certificates * len(issuer.policy.variants))

    async def responder_certificates(self, *, retired: bool = False) -> list[ResponderCertificate]:
        """Those in use, of all issuers; with `retired` the others too."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch(
                "SELECT issuer_id, certificate, public_key, not_before, not_after, retired_at, is_followed "
                "FROM responder_certificates WHERE $1 OR retired_at IS NULL ORDER BY issuer_id, not_after",
                retired,
            )
        return [ResponderCertificate(**dict(row)) for row in rows]

    async def add_responder_certificate(
        self,
        issuer_id: str,
        certificate: bytes,
        *,
        profile: SigningProfile | None = None,
        follows: bytes | None = None,
        actor: str = "renewal",
    ) -> None:
        """Let this certificate (DER) sign for the issuer, under this profile; again is harmless. The key that its key
        `follows` (DER SubjectPublicKeyInfo) isn't certified again.

        Raises:
            ConfigError: its key was retired.
        """
        async with acquired(self._pool) as connection, connection.transaction():
            await _add_responder_certificate(connection, issuer_id, certificate, profile)
            detail = {
                "certificate_sha256": hashlib.sha256(certificate).hexdigest(),
                "follows_another_key": follows is not None,
            }
            await audit(connection, actor, "add-signer", detail, issuer_id=issuer_id)
            if follows is not None:
                await connection.execute(
                    "UPDATE responder_certificates SET is_followed = true WHERE issuer_id = $1 AND public_key = $2",
                    issuer_id,
                    follows,
                )

    async def retire_signer(
        self, issuer: Issuer, public_key: bytes, *, now: bool, even_if_last: bool, actor: str
    ) -> RetiredSigner:
        """Let a key (DER SubjectPublicKeyInfo) sign no more for the issuer, with whichever of its certificates, and
        never again. With `now`, what it has signed isn't answered any more either, and everything of the issuer is
        due to be signed again; a key that was retired without that can still be.

        Raises:
            ConfigError: it isn't a key of the issuer; there is nothing left to retire; or no other valid signer would
                remain and `even_if_last` is false.
        """
        async with acquired(self._pool) as connection, connection.transaction():
            await _lock(connection, issuer.id)
            certificates = await connection.fetch(
                "UPDATE responder_certificates SET retired_at = coalesce(retired_at, now()) "
                "WHERE issuer_id = $1 AND public_key = $2 RETURNING certificate, retired_at = now() AS is_new",
                issuer.id,
                public_key,
            )
            if not certificates:
                raise ConfigError(
                    f"issuer {issuer.id} has no responder certificate of this key; certstatus signer list shows them"
                )
            others = await connection.fetchval(
                "SELECT count(*) FROM responder_certificates "
                "WHERE issuer_id = $1 AND retired_at IS NULL AND not_before <= now() AND not_after > now()",
                issuer.id,
            )
            newly = sum(row["is_new"] for row in certificates)
            if newly and not others and not even_if_last:
                raise ConfigError(
                    f"it is the only valid signer of issuer {issuer.id}; add another first (certstatus signer add)"
                ).offering(Remedy.RETIRE_THE_LAST)
            profiles = await _retire_profiles(connection, issuer, certificates) if now else 0
            if not newly and not profiles:
                if now:
                    raise ConfigError(
                        f"issuer {issuer.id}: this signer is retired already and nothing that it has signed is in use"
                    )
                raise ConfigError(f"issuer {issuer.id}: this signer is retired already").offering(Remedy.REFUSE_ANSWERS)
            detail = {
                "public_key_sha256": hashlib.sha256(public_key).hexdigest(),
                "certificates": newly,
                "now": now,
                "profiles": profiles,
            }
            await audit(connection, actor, "retire-signer", detail, issuer_id=issuer.id)
        return RetiredSigner(certificates=newly, profiles=profiles, others=others)

    async def profiles(self) -> list[SigningProfile]:
        """Those not retired. One of a format that this version doesn't know is left out: its records are misses."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch("SELECT body FROM signing_profiles WHERE retired_at IS NULL")
        profiles = []
        for row in rows:
            try:
                profiles.append(load_profile(row["body"]))
            except ValueError:  # made by a later version beside this one
                continue
        return profiles

    async def add_profile(self, issuer_id: str, profile: SigningProfile, public_key: bytes) -> None:
        """Make a profile of this key (DER SubjectPublicKeyInfo) known to all, before the first record is signed with
        it; again is harmless, and neither a retired key nor an earlier generation gets one."""
        async with acquired(self._pool) as connection, connection.transaction():
            await _lock(connection, issuer_id)
            await _add_profile(connection, issuer_id, profile, public_key)

    async def add_certificates(self, issuer: Issuer, issued: Sequence[IssuedCertificate]) -> None:
        """Register certificates; one that is known already stays as it is. All of them or none."""
        async with acquired(self._pool) as connection, connection.transaction():
            await _register(connection, issuer, issued)


async def _register(connection: Connection, issuer: Issuer, issued: Sequence[IssuedCertificate]) -> None:
    if not issued:
        return
    await connection.execute("CREATE TEMP TABLE issued (LIKE certificates) ON COMMIT DROP")
    await connection.execute(
        "ALTER TABLE issued ALTER partition DROP NOT NULL, ALTER epoch DROP NOT NULL, ALTER number DROP NOT NULL"
    )
    columns = (
        "issuer_id", "serial", "revoked", "revoked_at", "reason", "invalidity_date", "not_before", "not_after",
        "certificate_sha256",
    )  # fmt: skip
    await connection.copy_records_to_table(
        "issued",
        columns=columns,
        records=(_record(issuer, certificate) for certificate in issued),
        timeout=LONG_SECONDS,
    )
    names = ", ".join(columns)
    await connection.execute(
        f"INSERT INTO certificates ({names}) SELECT {names} FROM issued ON CONFLICT DO NOTHING", timeout=LONG_SECONDS
    )


def issuer_from(row: Row) -> Issuer:
    """The issuer that a row of `issuers` says.

    Raises:
        ConfigError: its certificate can't be read.
    """
    return make_issuer(row["id"], row["certificate"], policy_from(row))


def _record(issuer: Issuer, certificate: IssuedCertificate) -> tuple[Any, ...]:
    info = certificate.revoked_info
    return (
        issuer.id,
        encode_serial(certificate.serial_number),
        info is not None,
        None if info is None else info.revocation_time,
        None if info is None or info.revocation_reason is None else int(info.revocation_reason),
        None if info is None else info.invalidity_date,
        certificate.not_before,
        certificate.not_after,
        certificate.certificate_sha256,
    )


async def _due(connection: Connection, issuer_id: str) -> object:
    """When the slices of an issuer are due, to see whether something has changed it."""
    return await connection.fetchval("SELECT max(due_at) FROM partitions WHERE issuer_id = $1", issuer_id)


async def _lock(connection: Connection, issuer_id: str) -> None:
    """Until the transaction ends, nobody else adds or retires a signer of this issuer."""
    await connection.execute("SELECT FROM issuers WHERE id = $1 FOR NO KEY UPDATE", issuer_id)


async def _retire_profiles(connection: Connection, issuer: Issuer, rows: Sequence[asyncpg.Record]) -> int:
    """Refuse what was signed under these certificates; everything is due again. How many profiles that were."""
    # A CA that signs by itself puts no certificate into its answers.
    signed_by = [() if row["certificate"] == issuer.certificate else (row["certificate"],) for row in rows]
    retired = []
    for row in await connection.fetch(
        "SELECT id, body FROM signing_profiles WHERE issuer_id = $1 AND retired_at IS NULL", issuer.id
    ):
        try:
            if load_profile(row["body"]).certificates[:1] in signed_by:
                retired.append(row["id"])
        except ValueError:  # made by a later version beside this one: its signer may be the one that is retired
            retired.append(row["id"])
    await connection.execute("UPDATE signing_profiles SET retired_at = now() WHERE id = ANY($1::bytea[])", retired)
    if retired:
        await make_due(connection, issuer.id)
    return len(retired)


async def _add_responder_certificate(
    connection: Connection, issuer_id: str, certificate: bytes, profile: SigningProfile | None
) -> None:
    parsed = read_certificate(certificate)
    public_key = parsed.parts.spki
    await _lock(connection, issuer_id)
    if await connection.fetchval(
        "SELECT count(*) FROM responder_certificates "
        "WHERE issuer_id = $1 AND public_key = $2 AND retired_at IS NOT NULL",
        issuer_id,
        public_key,
    ):
        raise ConfigError(
            f"issuer {issuer_id}: the key of responder certificate {parsed.serial_number:#x} was retired and never "
            "signs again; make another (certstatus signer add)"
        )
    await connection.execute(
        "INSERT INTO responder_certificates (issuer_id, certificate, public_key, not_before, not_after) "
        "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        issuer_id,
        certificate,
        public_key,
        parsed.not_before,
        parsed.not_after,
    )
    if profile is not None:
        await _add_profile(connection, issuer_id, profile, public_key)


async def _add_profile(connection: Connection, issuer_id: str, profile: SigningProfile, public_key: bytes) -> None:
    await connection.execute(
        "INSERT INTO signing_profiles (id, issuer_id, body) SELECT $1, i.id, $3 FROM issuers i "
        "WHERE i.id = $2 AND i.generation = $5 AND NOT EXISTS ("
        "SELECT FROM responder_certificates "
        "WHERE issuer_id = $2 AND public_key = $4 AND retired_at IS NOT NULL) ON CONFLICT DO NOTHING",
        profile.id,
        issuer_id,
        profile.body,
        public_key,
        profile.generation,
    )
