"""What a process knows of issuers and signers: taken as a whole, from one moment, and one issuer's fault is its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from responder import config
from responder.embedded import EmbeddedValkey
from responder.errors import IssuerUnavailable, SigningFailed, StatusUnavailable
from responder.pki import Issuer, ResponderCertificate, SigningProfile, UnknownSerial
from responder.roles import snapshot as directory_module
from responder.roles.snapshot import Directory
from responder.roles.stores import Stores, open_stores
from responder.signing.delegates import renew_responder_certificates
from responder.signing.key_files import make_following_key
from responder.signing.keys import KeyRing
from responder.signing.signers import make_profile
from tests.doubles import FakeClock
from tests.makers import ca_of, ca_signer, make_ca, make_responder, make_test_issuer, new_key, pem, spki


@dataclass
class World:
    """The stores of one process, and two issuers with delegates whose keys are in `keys`."""

    stores: Stores
    keys: Path
    issuers: list[Issuer]

    def directory(self) -> Directory:
        return Directory(self.stores, keys=self.keys)

    async def add(self, issuer: Issuer, *, with_profile: bool = True) -> bytes:
        key = new_key("ec")
        path = self.keys / f"{issuer.id}.pem"
        path.touch(mode=0o600)
        path.write_bytes(pem(key))
        delegate = make_responder(ca_of(issuer), key)
        profile = make_profile(issuer, delegate) if with_profile else None
        await self.stores.issuer_store.add(issuer, responder_certificate=delegate, profile=profile)
        return delegate


@pytest.fixture
async def world(database: str, valkey: EmbeddedValkey, tmp_path: Path) -> AsyncIterator[World]:
    token, keys = tmp_path / "token", tmp_path / "keys"
    token.touch(mode=0o600)
    token.write_text("0123456789abcdef0123456789abcdef")
    keys.mkdir(mode=0o700)
    loaded = config.load(
        None,
        environ={
            "CERTSTATUS_POSTGRES_URL": database,
            "CERTSTATUS_REDIS_URL": valkey.url,
            "CERTSTATUS_KEYS_DIRECTORY": str(keys),
            "CERTSTATUS_ADMIN_TOKEN_FILE": str(token),
        },
    )
    async with open_stores(loaded, name="test") as stores:
        made = World(stores, keys, [make_test_issuer(name, make_ca("ec", f"CA {name}")) for name in ("one", "two")])
        for issuer in made.issuers:
            await made.add(issuer)
        yield made


def signing(directory: Directory, issuer: Issuer) -> bytes:
    """The profile in use."""
    return directory.signers.for_issuer(issuer, datetime.now(UTC)).profile.id


async def test_a_reload_that_fails_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the second of two readings had failed, issuers were new, and profiles and signers old."""
    directory = world.directory()
    await directory.reload()
    before = list(world.stores.issuers), list(directory.signers)
    await world.stores.issuer_store.set_policy("one", {"unknown_serial": "revoked"}, profile_of=make_profile)

    async def failing(*_: Any) -> Any:
        raise StatusUnavailable("the database went away")

    monkeypatch.setattr("responder.storage.configuration.PostgresConfiguration._read", failing)
    with pytest.raises(StatusUnavailable):
        await directory.reload()
    assert (list(world.stores.issuers), list(directory.signers)) == before
    monkeypatch.undo()
    await directory.reload()
    issuer = world.stores.issuers.get("one")
    assert issuer is not None
    assert issuer.policy.unknown_serial is UnknownSerial.revoked
    signer = directory.signers.for_issuer(issuer, datetime.now(UTC))
    assert signer.issuer is issuer
    assert directory.profiles.get(signer.profile.id) is not None


async def test_what_has_not_changed_is_not_made_again_and_nothing_is_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = world.directory()
    await directory.reload()
    made: list[str] = []

    def counted(name: str) -> Any:
        inner = getattr(directory_module, name)

        def call(*arguments: Any) -> Any:
            made.append(name)
            return inner(*arguments)

        return call

    for name in ("make_signer", "issuer_from", "load_profile"):
        monkeypatch.setattr(directory_module, name, counted(name))
    xmax = await world.stores.runs._pool.fetchval("SELECT pg_current_xact_id_if_assigned()")
    await directory.reload()
    assert made == []
    assert xmax is None
    await world.stores.issuer_store.set_policy("two", {"max_age_seconds": "1"})
    await directory.reload()
    assert made == ["issuer_from", "make_signer"]


async def test_a_signer_whose_profile_nobody_has_made_known_does_not_sign_yet(world: World) -> None:
    late = make_test_issuer("late", make_ca("ec", "Late"))
    await world.add(late, with_profile=False)
    directory = world.directory()
    await directory.reload()
    with pytest.raises(IssuerUnavailable):
        signing(directory, late)
    await directory.announce_profiles()
    await directory.reload()
    assert signing(directory, late)


BREAK = {
    "its certificate isn't one": "UPDATE issuers SET certificate = 'junk' WHERE id = 'one'",
    "its delegate isn't one": "UPDATE responder_certificates SET certificate = 'junk' WHERE issuer_id = 'one'",
    "its delegate is another CA's": (
        "UPDATE responder_certificates SET certificate = (SELECT certificate FROM issuers WHERE id = 'two') "
        "WHERE issuer_id = 'one'"
    ),
}


@pytest.mark.parametrize("case", BREAK)
async def test_one_issuer_that_cannot_be_read_keeps_no_other_from_it(world: World, case: str) -> None:
    await world.stores.runs._pool.execute(BREAK[case])
    directory = world.directory()
    await directory.reload()
    assert signing(directory, world.issuers[1])
    with pytest.raises(IssuerUnavailable):
        signing(directory, world.issuers[0])
    await directory.troubles.tell()
    assert {trouble.issuer_id for trouble in await world.stores.troubles.all()} == {"one"}


async def test_a_key_that_is_gone_or_opened_to_others_signs_no_more(world: World) -> None:
    directory = world.directory()
    await directory.reload()
    assert signing(directory, world.issuers[0])
    (world.keys / "one.pem").chmod(0o644)
    (world.keys / "two.pem").unlink()
    await directory.reload()
    for issuer in world.issuers:
        with pytest.raises(IssuerUnavailable):
            signing(directory, issuer)


async def test_an_issuer_whose_keys_are_elsewhere_is_in_trouble_here_until_they_come(world: World) -> None:
    directory = world.directory()
    await directory.reload()
    assert not directory.troubles.has("one")
    kept = (world.keys / "one.pem").read_bytes()
    (world.keys / "one.pem").unlink()
    for _ in range(2):
        await directory.reload()
        await directory.troubles.tell()
    (trouble,) = await world.stores.reported_troubles()
    assert (trouble.issuer_id, trouble.task) == ("one", "signer")
    assert f"none of its responder keys is in {world.keys}" in trouble.error
    await world.stores.issuer_store.set_policy("one", {"max_age_seconds": "5"})
    await directory.reload()
    assert directory.troubles.has("one"), "another reading of its row mends nothing"
    (world.keys / "again.pem").touch(mode=0o600)
    (world.keys / "again.pem").write_bytes(kept)
    await directory.reload()
    await directory.troubles.tell()
    assert await world.stores.reported_troubles() == []
    assert signing(directory, world.issuers[0])
    # A role without keys says nothing of them.
    keyless = Directory(world.stores, keys=None)
    await keyless.reload()
    assert not keyless.troubles.has("one")


async def test_a_renewal_makes_a_new_key_where_the_old_one_is(world: World) -> None:
    directory = world.directory()
    await directory.reload()
    issuer = replace(world.issuers[0])

    def new_key_for(issuer: Issuer, public_key: bytes) -> bytes | None:
        return make_following_key(world.keys, issuer.id, public_key)

    def files() -> set[str]:
        return {path.name for path in world.keys.iterdir() if path.is_file()}

    async def rows() -> list[ResponderCertificate]:
        found = await world.stores.signer_store.responder_certificates()
        return [row for row in found if row.issuer_id == issuer.id]

    (old,) = await rows()
    clock = FakeClock(old.not_after)
    clock.advance(-issuer.policy.validity)

    async def renew(profile_of: Callable[[Issuer, bytes], SigningProfile] = make_profile) -> int:
        return await renew_responder_certificates(
            world.stores.signer_store,
            issuers=type(world.stores.issuers)([issuer]),
            ca_key=lambda public_key: ca_signer(ca_of(issuer).key),
            clock=clock,
            new_key=new_key_for,
            profile_of=profile_of,
        )

    def fail(issuer: Issuer, certificate: bytes) -> SigningProfile:
        raise SigningFailed("the token is out")

    before = files()
    for _ in range(3):
        assert await renew(fail) == 0
    (made,) = files() - before
    assert await rows() == [old]
    assert await renew() == 1
    assert files() == before | {made}, "the key of the attempts that failed is taken"
    new = next(row for row in await rows() if row.public_key != old.public_key)
    assert KeyRing(world.keys).get(new.public_key) is not None
    assert await renew() == 0, "the old key has been followed"
    # Where the key is elsewhere, it is certified again.
    elsewhere = new_key("ec")
    delegate = make_responder(ca_of(issuer), elsewhere)
    await world.stores.signer_store.add_responder_certificate(issuer.id, delegate)
    assert await renew() == 1
    assert files() == before | {made}
    assert len([row for row in await rows() if row.public_key == spki(elsewhere)]) == 2
    await directory.reload()
    assert directory.unknown_profiles == []
