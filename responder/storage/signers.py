"""Responder certificates and the signing profiles of their keys."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from responder.errors import ConfigError, Remedy
from responder.pki import Issuer, ResponderCertificate, SigningProfile, load_profile
from responder.pki.certificates import read_certificate
from responder.storage.audit import audit
from responder.storage.partitions import make_due
from responder.storage.postgres import Connection, acquired


@dataclass(frozen=True, slots=True)
class RetiredSigner:
    """What a retirement came to: certificates and signing profiles that were in use before, and how many valid
    certificates of other keys are left to sign with."""

    certificates: int
    profiles: int
    others: int


class PostgresSigners:
    """What may sign, in Postgres."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

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
            await insert_responder_certificate(connection, issuer_id, certificate, profile)
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
            await lock_issuer(connection, issuer.id)
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
            await lock_issuer(connection, issuer_id)
            await insert_profile(connection, issuer_id, profile, public_key)


async def lock_issuer(connection: Connection, issuer_id: str) -> None:
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


async def insert_responder_certificate(
    connection: Connection, issuer_id: str, certificate: bytes, profile: SigningProfile | None
) -> None:
    """Let a certificate (DER) sign, in the transaction under way; again is harmless.

    Raises:
        ConfigError: its key was retired.
    """
    parsed = read_certificate(certificate)
    public_key = parsed.parts.spki
    await lock_issuer(connection, issuer_id)
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
        await insert_profile(connection, issuer_id, profile, public_key)


async def insert_profile(connection: Connection, issuer_id: str, profile: SigningProfile, public_key: bytes) -> None:
    """Make a profile of this key known, in the transaction under way; neither a retired key nor an earlier generation
    gets one."""
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
