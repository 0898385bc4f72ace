"""What the operator decides, and lists taken over from other CAs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from responder.embedded import EmbeddedPostgres
from responder.errors import ConfigError
from responder.pki import (
    CertIDVariant,
    Certificate,
    CertStatus,
    IssuedCertificate,
    Issuer,
    Issuers,
    NoncePolicy,
    ResponderCertificate,
)
from responder.signing.delegates import issue_responder_certificate, renew_responder_certificates
from responder.signing.signers import Signer, make_profile, make_signer
from responder.storage.certificates import PostgresCertificates
from responder.storage.configuration import PostgresConfiguration
from responder.storage.issuers import PostgresIssuers, issuer_from
from responder.storage.partitions import PostgresPartitions
from responder.storage.policies import SETTINGS
from responder.storage.postgres import connect
from responder.storage.signers import PostgresSigners
from responder.storage.statuses import PostgresStatuses
from tests.conftest import execute
from tests.doubles import FakeClock
from tests.makers import ca_of, ca_signer, make_ca, make_responder, make_test_issuer, native, new_key

THEN = datetime(2026, 5, 1, tzinfo=UTC)
LATER = THEN + timedelta(days=1)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await connect(database, pool_size=3, application_name="test")
    yield pool
    await pool.close()


async def test_an_issuer_comes_back_as_it_was_added(pool: asyncpg.Pool) -> None:
    added = make_test_issuer("ca-1", make_ca("ec"), nonce=NoncePolicy.ignore, max_age=timedelta(seconds=7))
    await PostgresIssuers(pool).add(added)
    (loaded,) = await PostgresIssuers(pool).load()
    assert loaded == added
    assert loaded.policy == added.policy
    assert loaded.cert_id_hashes == added.cert_id_hashes


async def test_one_name_or_one_ca_twice_is_refused(pool: asyncpg.Pool, issuer: Issuer) -> None:
    issuers = PostgresIssuers(pool)
    await issuers.add(issuer)
    for again in (make_test_issuer(issuer.id, make_ca("ec")), make_test_issuer("other-name", ca_of(issuer))):
        with pytest.raises(ConfigError, match="issuer list"):
            await issuers.add(again)
    with pytest.raises(ConfigError, match="lower-case"):
        await issuers.add(make_test_issuer("Upper Case", make_ca("ec")))
    assert len(await issuers.load()) == 1


async def test_same_name_with_another_key_and_same_key_with_another_name_are_other_issuers(
    pool: asyncpg.Pool,
) -> None:
    """Incident I-7."""
    key = new_key("ec")
    three = [
        make_test_issuer("a", make_ca("ec", "One", key=key)),
        make_test_issuer("b", make_ca("ec", "Two", key=key)),
        make_test_issuer("c", make_ca("ec", "One")),
    ]
    issuers = PostgresIssuers(pool)
    for issuer in three:
        await issuers.add(issuer)
        await PostgresCertificates(pool).register(issuer, [IssuedCertificate(7)], actor="test")
    statuses = PostgresStatuses(pool, Issuers(three))
    await pool.execute("UPDATE certificates SET revoked = true, revoked_at = now() WHERE issuer_id = 'a'")
    found = await statuses.status_of([Certificate.numbered(issuer, 7) for issuer in three])
    assert [status and status.cert_status for status in found] == [CertStatus.REVOKED, CertStatus.GOOD, CertStatus.GOOD]
    assert len({hashes for issuer in three for hashes in issuer.cert_id_hashes}) == 12


GOOD_SETTINGS = {
    "nonce": "ignore",
    "unknown_serial": "unknown",
    "responder_id_by_name": "true",
    "validity_seconds": "604799",
    "refresh_seconds": "3600",
    "max_age_seconds": "0",
    "hash_algorithms": "sha256, sha512",
    "crl_delay_seconds": "5",
}


async def test_policies_are_set_by_name(pool: asyncpg.Pool, issuer: Issuer) -> None:
    issuers = PostgresIssuers(pool)
    await issuers.add(issuer)
    await issuers.set_policy(issuer.id, GOOD_SETTINGS)
    (loaded,) = await issuers.load()
    assert loaded.policy.nonce is NoncePolicy.ignore
    assert loaded.policy.variants == (CertIDVariant.SHA256, CertIDVariant.SHA512)
    assert loaded.policy.validity == timedelta(seconds=604799)


async def test_offline_goes_with_what_needs_no_signature(pool: asyncpg.Pool, issuer: Issuer) -> None:
    issuers = PostgresIssuers(pool)
    await issuers.add(issuer)
    with pytest.raises(ConfigError, match="offline=true goes with nonce=ignore and unknown_serial=unauthorized alone"):
        await issuers.set_policy(issuer.id, {"offline": "true"})
    await issuers.set_policy(issuer.id, {"offline": "true", "nonce": "ignore"})
    with pytest.raises(ConfigError, match="offline=true goes with"):
        await issuers.set_policy(issuer.id, {"unknown_serial": "unknown"})
    (loaded,) = await issuers.load()
    assert loaded.policy.offline


EVERY_SETTING = {
    "offline": "false",
    "nonce": "required",
    "unknown_serial": "revoked",
    "require_signature": "true",
    "honour_preferred": "true",
    "responder_id_by_name": "true",
    "rsa_pss": "true",
    "baseline": "false",
    "archive": "true",
    "archive_retention_seconds": "86400",
    "cert_hash": "true",
    "crl_url": "http://crl.example/ca.crl",
    "compromised_at": "2026-05-01T02:00:00+02:00",
    "validity_seconds": "604799",
    "refresh_seconds": "60",
    "max_age_seconds": "0",
    "hash_algorithms": "sha512,sha256",
    "crl_validity_seconds": "863999",
    "crl_interval_seconds": "60",
    "crl_delay_seconds": "1",
    "delegate_lifetime_seconds": "864000",
    "delegate_renewal_seconds": "86400",
}


async def test_every_setting_comes_back_and_can_be_taken_back(pool: asyncpg.Pool, issuer: Issuer) -> None:
    issuers = PostgresIssuers(pool)
    await issuers.add(issuer)
    assert set(EVERY_SETTING) == set(SETTINGS)
    await issuers.set_policy(issuer.id, EVERY_SETTING)
    (loaded,) = await issuers.load()
    unchanged = [name for name in SETTINGS if SETTINGS[name].of(loaded.policy) == SETTINGS[name].of(issuer.policy)]
    assert unchanged == ["offline", "baseline"]
    assert loaded.policy.compromised_at == datetime(2026, 5, 1, tzinfo=UTC)
    # What was read, added under another name, is the same: every column is written.
    await issuers.remove(issuer.id)
    await issuers.add(loaded)
    assert replace((await issuers.load())[0].policy, generation=2) == loaded.policy
    await issuers.set_policy(issuer.id, dict.fromkeys(("crl_url", "compromised_at"), "none"))
    assert (await issuers.load())[0].policy.crl_url is None


async def test_the_baseline_requirements_forbid_other_words_for_serials_never_seen(
    pool: asyncpg.Pool, issuer: Issuer
) -> None:
    issuers = PostgresIssuers(pool)
    await issuers.add(issuer)
    for word in ("revoked", "good"):
        with pytest.raises(ConfigError, match=f"unknown_serial is {word}"):
            await issuers.set_policy(issuer.id, {"baseline": "true", "unknown_serial": word})
    await issuers.set_policy(issuer.id, {"baseline": "true", "unknown_serial": "unknown"})


async def test_a_compromise_retires_every_answer_and_has_everything_signed_again(
    pool: asyncpg.Pool, issuer: Issuer, signer: Signer
) -> None:
    issuers, signers, partitions = PostgresIssuers(pool), PostgresSigners(pool), PostgresPartitions(pool)
    await issuers.add(issuer)
    await signers.add_profile(issuer.id, signer.profile, signer.key.public_key)
    await pool.execute("UPDATE partitions SET due_at = now() + interval '1 day'")
    await issuers.set_policy(issuer.id, {"max_age_seconds": "5"})
    assert await signers.profiles() == [signer.profile]
    assert await partitions.overdue(issuer.id) == 0
    await issuers.set_policy(issuer.id, {"compromised_at": "2026-05-01T00:00:00Z"})
    assert (await issuers.load())[0].policy.generation == 2
    assert await signers.profiles() == []
    assert await partitions.overdue(issuer.id) == 1024
    # A process that hasn't heard of it yet can't bring the old profile back.
    await signers.add_profile(issuer.id, signer.profile, signer.key.public_key)
    assert await signers.profiles() == []


@pytest.mark.parametrize("now", [False, True])
async def test_a_retired_signer_signs_no_more_and_with_now_its_answers_are_refused(
    pool: asyncpg.Pool, issuer: Issuer, signer: Signer, now: bool
) -> None:
    issuers, signers = PostgresIssuers(pool), PostgresSigners(pool)
    ca, key = ca_of(issuer), signer.key.public_key
    (delegate,) = signer.profile.certificates
    await issuers.add(issuer, responder_certificate=delegate)
    # A key has one certificate after the other, and each has a profile of its own.
    renewed = issue_responder_certificate(issuer, ca_signer(ca.key), key, now=datetime.now(UTC))
    other = make_signer(issuer, ca.der, native(ca.key))
    for certificate in (renewed, ca.der):
        await signers.add_responder_certificate(issuer.id, certificate)
    mine = {signer.profile.id, make_signer(issuer, renewed, signer.key).profile.id}
    for each in (signer, make_signer(issuer, renewed, signer.key), other):
        await signers.add_profile(issuer.id, each.profile, each.key.public_key)
    await pool.execute("UPDATE partitions SET due_at = now() + interval '1 day'")

    done = await signers.retire_signer(issuer, key, now=now, even_if_last=False, actor="test")
    assert (done.certificates, done.profiles, done.others) == (2, 2 if now else 0, 1)
    assert [row.certificate for row in await signers.responder_certificates()] == [ca.der]
    assert len(await signers.responder_certificates(retired=True)) == 3
    assert {profile.id for profile in await signers.profiles()} == {other.profile.id} | (set() if now else mine)
    assert await PostgresPartitions(pool).overdue(issuer.id) == (1024 if now else 0)
    assert await last_action(pool) == "retire-signer"
    with pytest.raises(ConfigError, match="retired already"):
        await signers.retire_signer(issuer, key, now=now, even_if_last=False, actor="test")
    if not now:
        # The key turns out to be lost, later.
        done = await signers.retire_signer(issuer, key, now=True, even_if_last=False, actor="test")
        assert (done.certificates, done.profiles) == (0, 2)
        assert [profile.id for profile in await signers.profiles()] == [other.profile.id]


async def last_action(pool: asyncpg.Pool) -> str:
    return str(await pool.fetchval("SELECT action FROM audit_log ORDER BY id DESC LIMIT 1"))


async def test_what_an_operator_does_is_in_the_audit_log(pool: asyncpg.Pool, issuer: Issuer, signer: Signer) -> None:
    issuers, signers = PostgresIssuers(pool), PostgresSigners(pool)
    await issuers.add(issuer, actor="cli:me")
    await signers.add_responder_certificate(issuer.id, signer.profile.certificates[0], actor="cli:me")
    await issuers.set_policy(issuer.id, {"nonce": "ignore"}, actor="cli:me")
    await issuers.remove(issuer.id, actor="cli:me")
    rows = await pool.fetch("SELECT action, actor, issuer_id FROM audit_log ORDER BY id")
    assert [row["action"] for row in rows] == ["add-issuer", "add-signer", "set-policy", "remove-issuer"]
    assert {(row["actor"], row["issuer_id"]) for row in rows} == {("cli:me", issuer.id)}


async def test_a_retired_key_never_signs_again(pool: asyncpg.Pool, issuer: Issuer, signer: Signer) -> None:
    issuers, signers = PostgresIssuers(pool), PostgresSigners(pool)
    ca, key = ca_of(issuer), signer.key.public_key
    (delegate,) = signer.profile.certificates
    await issuers.add(issuer, responder_certificate=delegate)
    await signers.add_responder_certificate(issuer.id, ca.der)
    before = await signers.responder_certificates()
    await signers.retire_signer(issuer, key, now=True, even_if_last=False, actor="test")

    # By hand, by a renewal that read the list before, and by a process that hasn't heard of it yet.
    for certificate in (delegate, issue_responder_certificate(issuer, ca_signer(ca.key), key, now=datetime.now(UTC))):
        with pytest.raises(ConfigError, match="never signs again"):
            await signers.add_responder_certificate(issuer.id, certificate)

    class ReadBefore(PostgresSigners):
        async def responder_certificates(self, *, retired: bool = False) -> list[ResponderCertificate]:
            return before

    shortly_before_its_end = FakeClock(signer.not_after - timedelta(hours=1))
    assert (
        await renew_responder_certificates(
            ReadBefore(pool),
            issuers=Issuers([issuer]),
            ca_key=lambda public_key: ca_signer(ca.key),
            clock=shortly_before_its_end,
        )
        == 0
    )
    await signers.add_profile(issuer.id, signer.profile, key)
    assert await signers.profiles() == []
    assert [row.certificate for row in await signers.responder_certificates()] == [ca.der]


async def test_the_last_signer_is_retired_only_when_that_is_meant(
    pool: asyncpg.Pool, issuer: Issuer, signer: Signer
) -> None:
    issuers, signers = PostgresIssuers(pool), PostgresSigners(pool)
    await issuers.add(issuer, responder_certificate=signer.profile.certificates[0])
    await signers.add_profile(issuer.id, signer.profile, signer.key.public_key)
    with pytest.raises(ConfigError, match="it is the only valid signer"):
        await signers.retire_signer(issuer, signer.key.public_key, now=True, even_if_last=False, actor="test")
    assert len(await signers.responder_certificates()) == 1, "nothing half-applied"
    assert await signers.profiles() == [signer.profile]
    with pytest.raises(ConfigError, match="no responder certificate of this key"):
        await signers.retire_signer(issuer, b"another", now=True, even_if_last=True, actor="test")
    done = await signers.retire_signer(issuer, signer.key.public_key, now=True, even_if_last=True, actor="test")
    assert (done.certificates, done.profiles, done.others) == (1, 1, 0)


async def test_policy_and_profiles_take_effect_together(pool: asyncpg.Pool, issuer: Issuer, signer: Signer) -> None:
    """Between a new policy and the profiles for it, answers said revoked for a certificate never issued without saying
    that this is meant (6960-04)."""
    issuers, configuration = PostgresIssuers(pool), PostgresConfiguration(pool)
    (delegate,) = signer.profile.certificates
    await issuers.add(issuer, responder_certificate=delegate, profile=signer.profile)
    await configuration.read()
    announced: list[object] = []
    async with pool.acquire() as connection:

        def hear(*heard: object) -> None:
            announced.append(heard)

        await connection.add_listener("certstatus_issuers", hear)
        done = await issuers.set_policy(issuer.id, {"unknown_serial": "revoked"}, profile_of=make_profile)
        rows = await configuration.read()
        await connection.fetchval("SELECT 1")
        await connection.remove_listener("certstatus_issuers", hear)
    assert len(announced) == 1, "one change is announced once"
    row = rows.issuers[issuer.id]
    assert row["unknown_serial"] == "revoked"
    assert make_profile(done.issuer, delegate).id in rows.signing_profiles
    assert done.signs_again


@pytest.mark.parametrize(
    ("changes", "is_due"),
    [
        ({"responder_id_by_name": "true"}, True),
        ({"cert_hash": "true"}, True),
        ({"crl_url": "http://crl.example/"}, True),
        ({"offline": "true", "nonce": "ignore"}, True),
        ({"archive": "true"}, True),
        ({"validity_seconds": "500000"}, True),
        ({"hash_algorithms": "sha256"}, True),
        ({"max_age_seconds": "1"}, False),
        ({"nonce": "ignore"}, False),
        ({"unknown_serial": "unknown"}, False),
        ({"crl_delay_seconds": "5"}, False),
    ],
)
async def test_a_policy_that_changes_answers_makes_them_due(
    pool: asyncpg.Pool, issuer: Issuer, changes: dict[str, str], is_due: bool
) -> None:
    issuers = PostgresIssuers(pool)
    await issuers.add(issuer)
    await PostgresCertificates(pool).register(issuer, [IssuedCertificate(number) for number in (1, 2, 3)], actor="test")
    done = await issuers.set_policy(issuer.id, changes, profile_of=make_profile)
    assert done.signs_again == is_due
    assert await PostgresPartitions(pool).overdue(issuer.id) == (1024 if is_due else 0)
    assert done.signatures == 3 * len(done.issuer.policy.variants)
    assert await last_action(pool) == "set-policy"


@pytest.mark.parametrize(("kind", "nocheck", "words"), [("ec", False, "nocheck"), ("ed25519", True, "algorithm")])
async def test_the_baseline_is_refused_where_a_delegate_does_not_meet_it(
    pool: asyncpg.Pool, issuer: Issuer, kind: str, nocheck: bool, words: str
) -> None:
    """It was taken, and from then on every answer was tryLater."""
    issuers = PostgresIssuers(pool)
    lacking = make_responder(ca_of(issuer), new_key(kind), nocheck=nocheck)
    await issuers.add(issuer, responder_certificate=lacking)
    with pytest.raises(ConfigError, match=words):
        await issuers.set_policy(issuer.id, {"baseline": "true"}, profile_of=make_profile)
    assert not (await issuers.load())[0].policy.baseline


async def test_what_changed_is_read_and_what_did_not_is_the_same_object(
    pool: asyncpg.Pool, issuer: Issuer, rsa_issuer: Issuer, signer: Signer
) -> None:
    issuers, configuration = PostgresIssuers(pool), PostgresConfiguration(pool)
    delegates = [make_responder(ca_of(each), new_key("ec")) for each in (issuer, rsa_issuer)]
    for each, delegate in zip((issuer, rsa_issuer), delegates, strict=True):
        await issuers.add(each, responder_certificate=delegate, profile=make_profile(each, delegate))
    first = await configuration.read()
    second = await configuration.read()
    for name in ("issuers", "responder_certificates", "signing_profiles"):
        before, after = getattr(first, name), getattr(second, name)
        assert len(before) == 2
        assert all(after[key] is row for key, row in before.items())
    await issuers.set_policy(issuer.id, {"max_age_seconds": "5"})
    third = await configuration.read()
    assert third.issuers[issuer.id] is not second.issuers[issuer.id]
    assert third.issuers[rsa_issuer.id] is second.issuers[rsa_issuer.id]
    # A transaction that began before the last reading and ends after it isn't missed; what is retired or gone, goes.
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("UPDATE issuers SET max_age_seconds = 7 WHERE id = $1", rsa_issuer.id)
        await issuers.set_policy(issuer.id, {"max_age_seconds": "6"})
        assert (await configuration.read()).issuers[rsa_issuer.id]["max_age_seconds"] != 7
        await transaction.commit()
    assert (await configuration.read()).issuers[rsa_issuer.id]["max_age_seconds"] == 7
    await pool.execute("UPDATE responder_certificates SET retired_at = now() WHERE issuer_id = $1", issuer.id)
    assert len((await configuration.read()).responder_certificates) == 1
    await issuers.remove(rsa_issuer.id)
    last = await configuration.read()
    assert (set(last.issuers), len(last.responder_certificates), len(last.signing_profiles)) == ({issuer.id}, 0, 1)
    # The same as a process that begins now.
    fresh = await PostgresConfiguration(pool).read()
    assert issuer_from(fresh.issuers[issuer.id]).policy == issuer_from(last.issuers[issuer.id]).policy
    assert set(fresh.signing_profiles) == set(last.signing_profiles)


async def test_a_backup_that_comes_back_is_read_as_a_whole(
    postgres: EmbeddedPostgres, database: str, issuer: Issuer
) -> None:
    """Its rows have the transaction ids of when they were first written."""
    pool = await connect(database, pool_size=1, application_name="test")
    name: str = await pool.fetchval("SELECT current_database()")
    issuers, configuration = PostgresIssuers(pool), PostgresConfiguration(pool)

    async def run_alone(*statements: str) -> None:
        end = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"
        await execute(postgres.url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", end, *statements)
        await execute(postgres.url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    try:
        await issuers.add(issuer)
        await configuration.read()
        await run_alone(f"CREATE DATABASE {name}_backup TEMPLATE {name}")
        await issuers.set_policy(issuer.id, {"max_age_seconds": "5"})
        assert (await configuration.read()).issuers[issuer.id]["max_age_seconds"] == 5
        await run_alone(f"DROP DATABASE {name}", f"ALTER DATABASE {name}_backup RENAME TO {name}")
        assert (await configuration.read()).issuers[issuer.id]["max_age_seconds"] == 3600
    finally:
        await pool.close()


BAD_SETTINGS = {
    "colour": "red",
    "nonce": "maybe",
    "validity_seconds": "604800",
    "refresh_seconds": "400000",
    "max_age_seconds": "-1",
    "crl_validity_seconds": "12 hours",
    "crl_interval_seconds": "9999999999",
    "hash_algorithms": "md5",
    "responder_id_by_name": "yes",
    "archive_retention_seconds": "0",
    "crl_url": "ftp://example",
    "compromised_at": "2026-05-01",
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
async def test_a_bad_setting_names_the_value_and_what_is_possible(
    pool: asyncpg.Pool, issuer: Issuer, name: str
) -> None:
    issuers = PostgresIssuers(pool)
    await issuers.add(issuer)
    with pytest.raises(ConfigError) as refusal:
        await issuers.set_policy(issuer.id, {name: BAD_SETTINGS[name]})
    assert name in str(refusal.value)
    assert (await issuers.load())[0].policy == issuer.policy
    with pytest.raises(ConfigError, match="no such issuer"):
        await issuers.set_policy("nobody", {"nonce": "ignore"})


async def test_responder_certificates_and_profiles_are_kept_once(
    pool: asyncpg.Pool, issuer: Issuer, signer: Signer
) -> None:
    issuers, signers = PostgresIssuers(pool), PostgresSigners(pool)
    delegate = make_responder(ca_of(issuer), new_key("ec"))
    await issuers.add(issuer, responder_certificate=delegate)
    await signers.add_responder_certificate(issuer.id, delegate)
    assert [row.certificate for row in await signers.responder_certificates()] == [delegate]
    for _ in range(2):
        await signers.add_profile(issuer.id, signer.profile, signer.key.public_key)
    assert await signers.profiles() == [signer.profile]
    await pool.execute(
        "INSERT INTO signing_profiles (id, issuer_id, body) VALUES ($1, $2, 'of a later version')", bytes(16), issuer.id
    )
    assert await signers.profiles() == [signer.profile]
    await pool.execute("UPDATE signing_profiles SET retired_at = now()")
    assert await signers.profiles() == []


async def test_registering_again_changes_nothing(pool: asyncpg.Pool, issuer: Issuer) -> None:
    issuers = PostgresIssuers(pool)
    await issuers.add(issuer)
    await PostgresCertificates(pool).register(issuer, [IssuedCertificate(1), IssuedCertificate(2)], actor="test")
    await pool.execute("UPDATE certificates SET revoked = true, revoked_at = now() WHERE serial = '\\x01'")
    before = await pool.fetch("SELECT serial, revoked, number FROM certificates ORDER BY serial")
    await PostgresCertificates(pool).register(issuer, [IssuedCertificate(1), IssuedCertificate(2)], actor="test")
    assert await pool.fetch("SELECT serial, revoked, number FROM certificates ORDER BY serial") == before
