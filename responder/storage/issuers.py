"""Issuers, their policies, their responder certificates and signing profiles, and the registry of certificates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from responder.errors import ConfigError
from responder.interfaces import IssuedCertificate
from responder.pki import (
    CertIDVariant,
    Issuer,
    IssuerPolicy,
    NoncePolicy,
    ResponderCertificate,
    SigningProfile,
    UnknownSerial,
    encode_serial,
    load_profile,
    make_issuer,
)
from responder.storage.postgres import Connection, Row, acquired

_POLICY_COLUMNS: Mapping[str, str] = {
    "nonce": "optional or ignore",
    "unknown_serial": "unauthorized or unknown",
    "responder_id_by_name": "true or false",
    "validity_seconds": "28799 to 604799 (8 h to 7 d, both counted inclusively), at least twice refresh_seconds",
    "refresh_seconds": "60 to half of validity_seconds",
    "max_age_seconds": "0 to 86400",
    "hash_algorithms": "some of sha1,sha256,sha384,sha512, separated by commas",
    "crl_validity_seconds": "3600 to 863999 (10 d, counted inclusively), more than crl_interval_seconds",
    "crl_interval_seconds": "60 to 604800, less than crl_validity_seconds",
    "crl_delay_seconds": "0 to 86400",
}
_BOOLEANS = {"true": True, "false": False}


class PostgresIssuers:
    """What the operator decides, in Postgres."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def load(self) -> list[Issuer]:
        """All issuers with their policies."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch("SELECT * FROM issuers ORDER BY id")
        return [make_issuer(row["id"], row["certificate"], _policy(row)) for row in rows]

    async def add(self, issuer: Issuer, *, responder_certificate: bytes | None = None) -> None:
        """Answer for this issuer from now on; with its first responder certificate (DER) in the same transaction.

        Raises:
            ConfigError: its id, or the CA under another id, is there already; or the id isn't one.
        """
        policy = issuer.policy
        async with acquired(self._pool) as connection:
            try:
                async with connection.transaction():
                    await connection.execute(
                        """
                        INSERT INTO issuers (id, tag, certificate, nonce, unknown_serial, responder_id_by_name,
                            validity_seconds, refresh_seconds, max_age_seconds, hash_algorithms,
                            crl_validity_seconds, crl_interval_seconds, crl_delay_seconds)
                        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
                        """,
                        issuer.id,
                        issuer.tag,
                        issuer.certificate,
                        policy.nonce.name,
                        policy.unknown_serial.name,
                        policy.responder_id_by_name,
                        _seconds(policy.validity),
                        _seconds(policy.refresh),
                        _seconds(policy.max_age),
                        [variant.hash_name for variant in policy.variants],
                        _seconds(policy.crl_validity),
                        _seconds(policy.crl_interval),
                        _seconds(policy.crl_delay),
                    )
                    # Each slice in its phase: certificates registered later are signed through the outbox at once.
                    await connection.execute(
                        "INSERT INTO partitions (issuer_id, partition, due_at) "
                        "SELECT $1, p, now() + $2::interval * (p + 1) / 1024 FROM generate_series(0, 1023) AS p",
                        issuer.id,
                        policy.refresh,
                    )
                    if responder_certificate is not None:
                        await _add_responder_certificate(connection, issuer.id, responder_certificate)
            except asyncpg.UniqueViolationError as error:
                raise ConfigError(
                    f"--id {issuer.id}: there is an issuer of this name, or this CA (same name, same key) is known "
                    "under another; certstatus issuer list shows them"
                ) from error
            except asyncpg.CheckViolationError as error:
                raise ConfigError(
                    f"--id {issuer.id}: an id has 1 to 64 lower-case letters, digits and hyphens "
                    f"({error.constraint_name})"
                ) from error

    async def remove(self, issuer_id: str) -> None:
        """Forget an issuer and everything of it. Its answers are refused once every process has heard of it."""
        async with acquired(self._pool) as connection:
            await connection.execute("DELETE FROM issuers WHERE id = $1", issuer_id)

    async def set_policy(self, issuer_id: str, changes: Mapping[str, str]) -> None:
        """Change what is decided for an issuer; all of it or nothing.

        Raises:
            ConfigError: every name or value that can't be, with what it may be.
        """
        values = _read_changes(changes)
        async with acquired(self._pool) as connection:
            assignments = ", ".join(f"{name} = ${index}" for index, name in enumerate(values, start=2))
            try:
                updated = await connection.execute(
                    f"UPDATE issuers SET {assignments} WHERE id = $1",
                    issuer_id,
                    *values.values(),
                )
            except (asyncpg.CheckViolationError, asyncpg.NumericValueOutOfRangeError) as error:
                allowed = "; ".join(f"{name} is {changes[name]}, it may be {_POLICY_COLUMNS[name]}" for name in changes)
                raise ConfigError(f"issuer {issuer_id}: {allowed}") from error
            if updated == "UPDATE 0":
                raise ConfigError(f"{issuer_id}: there is no such issuer; certstatus issuer list shows them")

    async def responder_certificates(self) -> list[ResponderCertificate]:
        """Those not retired, of all issuers."""
        async with acquired(self._pool) as connection:
            rows = await connection.fetch(
                "SELECT issuer_id, certificate, public_key, not_before, not_after FROM responder_certificates "
                "WHERE retired_at IS NULL ORDER BY issuer_id, not_after"
            )
        return [ResponderCertificate(**dict(row)) for row in rows]

    async def add_responder_certificate(self, issuer_id: str, certificate: bytes) -> None:
        """Let this certificate (DER) sign for the issuer; again is harmless."""
        async with acquired(self._pool) as connection:
            await _add_responder_certificate(connection, issuer_id, certificate)

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

    async def add_profile(self, issuer_id: str, profile: SigningProfile) -> None:
        """Make a profile known to all, before the first record is signed with it; again is harmless."""
        async with acquired(self._pool) as connection:
            await connection.execute(
                "INSERT INTO signing_profiles (id, issuer_id, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                profile.id,
                issuer_id,
                profile.body,
            )

    async def add_certificates(self, issuer: Issuer, issued: Sequence[IssuedCertificate]) -> None:
        """Register certificates; one that is known already stays as it is. All of them or none."""
        async with acquired(self._pool) as connection, connection.transaction():
            await connection.execute("CREATE TEMP TABLE issued (LIKE certificates) ON COMMIT DROP")
            await connection.execute(
                "ALTER TABLE issued ALTER partition DROP NOT NULL, ALTER epoch DROP NOT NULL, "
                "ALTER number DROP NOT NULL"
            )
            columns = (
                "issuer_id", "serial", "revoked", "revoked_at", "reason", "invalidity_date", "not_before",
                "not_after", "certificate_sha256",
            )  # fmt: skip
            await connection.copy_records_to_table(
                "issued", columns=columns, records=(_record(issuer, certificate) for certificate in issued)
            )
            names = ", ".join(columns)
            await connection.execute(
                f"INSERT INTO certificates ({names}) SELECT {names} FROM issued ON CONFLICT DO NOTHING"
            )


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


async def _add_responder_certificate(connection: Connection, issuer_id: str, certificate: bytes) -> None:
    parsed = x509.load_der_x509_certificate(certificate)
    await connection.execute(
        "INSERT INTO responder_certificates (issuer_id, certificate, public_key, not_before, not_after) "
        "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        issuer_id,
        certificate,
        parsed.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        parsed.not_valid_before_utc,
        parsed.not_valid_after_utc,
    )


def _policy(row: Row) -> IssuerPolicy:
    return IssuerPolicy(
        nonce=NoncePolicy[row["nonce"]],
        unknown_serial=UnknownSerial[row["unknown_serial"]],
        responder_id_by_name=row["responder_id_by_name"],
        validity=timedelta(seconds=row["validity_seconds"]),
        refresh=timedelta(seconds=row["refresh_seconds"]),
        max_age=timedelta(seconds=row["max_age_seconds"]),
        variants=tuple(sorted(CertIDVariant[name.upper()] for name in row["hash_algorithms"])),
        crl_validity=timedelta(seconds=row["crl_validity_seconds"]),
        crl_interval=timedelta(seconds=row["crl_interval_seconds"]),
        crl_delay=timedelta(seconds=row["crl_delay_seconds"]),
    )


def _read_changes(changes: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    faults = []
    for name, text in changes.items():
        if name not in _POLICY_COLUMNS:
            faults.append(f"{name}: there is nothing of this name to set; it is one of {', '.join(_POLICY_COLUMNS)}")
            continue
        fault = f"{name} is {text!r}, it may be {_POLICY_COLUMNS[name]}"
        if name.endswith("_seconds"):
            if text.isascii() and text.isdigit() and len(text) <= 9:
                values[name] = int(text)
            else:
                faults.append(fault)
        elif name == "responder_id_by_name":
            if text in _BOOLEANS:
                values[name] = _BOOLEANS[text]
            else:
                faults.append(fault)
        elif name == "hash_algorithms":
            values[name] = [part.strip() for part in text.split(",")]
        else:
            values[name] = text
    if faults:
        raise ConfigError(*faults)
    return values


def _seconds(span: timedelta) -> int:
    return span // timedelta(seconds=1)
