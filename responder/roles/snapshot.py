"""What a process keeps in memory of the operator's choices, and how it is read again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from responder import log
from responder.errors import IssuerUnavailable
from responder.pki import Issuer, SigningProfile, load_profile
from responder.roles.stores import Stores
from responder.signing.keys import KeyRing, PrivateKey
from responder.signing.signers import Profiles, Signer, Signers, make_signer
from responder.storage.configuration import ConfigurationRows, Key
from responder.storage.issuers import issuer_from
from responder.storage.postgres import Row
from responder.troubles import Troubles

_log = log.get("directory")

KEY_FILE_SECONDS = 20.0
"""How old what is known of key files may be where no file has come or gone."""


@dataclass(frozen=True, slots=True)
class _Made:
    """What was made of each row, beside the row: one that hasn't changed is the same object, and isn't made again."""

    rows: ConfigurationRows
    ring: KeyRing
    issuers: Mapping[Key, tuple[Row, Issuer]]
    profiles: Mapping[Key, tuple[Row, SigningProfile]]
    signers: Mapping[Key, tuple[Row, Issuer, PrivateKey, Signer]]
    keyless: Set[str]


class Directory:
    """What a process keeps in memory of the operator's choices: issuers, and the signers whose keys are here."""

    def __init__(self, stores: Stores, *, keys: Path | None) -> None:
        """`keys` is the folder of responder keys; None for a role that signs nothing."""
        self.signers = Signers(current=stores.current)
        self.profiles = Profiles(current=stores.current)
        self.unknown_profiles: list[Signer] = []
        self.troubles = Troubles("signer", stores.troubles)
        self._stores = stores
        self._keys = keys
        self._reported: set[str] = set()
        self._made = _Made(ConfigurationRows(), KeyRing(None), {}, {}, {}, frozenset())

    async def reload(self) -> None:
        """Read issuers, profiles and signers again in one snapshot, and take them all at once. What hasn't changed
        isn't made again; what can't be used is reported once, and left out. Nothing is written.

        Raises:
            StatusUnavailable: the database can't be read; everything stays as it was.
        """
        rows = await self._stores.configuration.read()
        # Much at once, as at the start, takes seconds: the loop goes on meanwhile.
        made = await asyncio.to_thread(self._make, rows)
        before, self._made = self._made, made
        snapshot = self._stores.current.snapshot
        if made.issuers is not before.issuers:
            snapshot = snapshot.with_issuers(issuer for _, issuer in made.issuers.values())
        if made.profiles is not before.profiles:
            snapshot = snapshot.with_profiles(profile for _, profile in made.profiles.values())
        if made.signers is not before.signers or made.profiles is not before.profiles:
            # A profile is distributed before it is used (design §3). One that was retired stays so, and signs nothing.
            signers = [signer for *_, signer in made.signers.values()]
            snapshot = snapshot.with_signers(signer for signer in signers if signer.profile.id in snapshot.profiles)
            self.unknown_profiles = [signer for signer in signers if signer.profile.id not in snapshot.profiles]
        self._stores.current.snapshot = snapshot

    def _make(self, rows: ConfigurationRows) -> _Made:
        """What `rows` and the key files say; a part that neither has changed is the same object as before."""
        before, ring = self._made, self._made.ring
        if self._keys is not None and (ring.directory is None or ring.may_be_outdated(KEY_FILE_SECONDS)):
            ring = KeyRing(self._keys, before=ring)
            self.report(*ring.faults)
        issuers, profiles, signers, keyless = before.issuers, before.profiles, before.signers, before.keyless
        if before.rows.issuers is not rows.issuers:
            issuers = self._make_issuers(rows)
        if before.rows.signing_profiles is not rows.signing_profiles:
            profiles = self._make_profiles(rows)
        if (
            issuers is not before.issuers
            or ring is not before.ring
            or before.rows.responder_certificates is not rows.responder_certificates
        ):
            signers, keyless = self._make_signers(rows, issuers, ring)
        self._tell_keyless(before.keyless, keyless)  # another reading of a row may have mended it
        return _Made(rows, ring, issuers, profiles, signers, keyless)

    def _make_issuers(self, rows: ConfigurationRows) -> dict[Key, tuple[Row, Issuer]]:
        issuers = {}
        for issuer_id, row in rows.issuers.items():
            held = self._made.issuers.get(issuer_id)
            if held is not None and held[0] is row:
                issuers[issuer_id] = held
                continue
            with self.troubles.guarding(str(issuer_id)):
                issuers[issuer_id] = (row, issuer_from(row))
        return issuers

    def _make_profiles(self, rows: ConfigurationRows) -> dict[Key, tuple[Row, SigningProfile]]:
        profiles = {}
        for key, row in rows.signing_profiles.items():
            held = self._made.profiles.get(key)
            with contextlib.suppress(ValueError):  # of a later version beside this one: its records are misses
                profiles[key] = held if held is not None and held[0] is row else (row, load_profile(row["body"]))
        return profiles

    def _make_signers(
        self, rows: ConfigurationRows, issuers: Mapping[Key, tuple[Row, Issuer]], ring: KeyRing
    ) -> tuple[dict[Key, tuple[Row, Issuer, PrivateKey, Signer]], set[str]]:
        """The signers, and the issuers of whose responder keys none is here: nothing can be signed for them."""
        signers = {}
        here: set[str] = set()
        elsewhere: set[str] = set()
        before = self._made
        for key, row in rows.responder_certificates.items():
            issuer, held = issuers.get(row["issuer_id"]), before.signers.get(key)
            if held is not None and held[0] is not row:
                held = None
            private = held[2] if held is not None and ring is before.ring else ring.get(row["public_key"])
            (elsewhere if private is None else here).add(row["issuer_id"])
            if issuer is None or private is None:
                continue
            if held is not None and held[1] is issuer[1] and held[2] is private:
                signers[key] = held
                continue
            with self.troubles.guarding(issuer[1].id):
                signers[key] = (row, issuer[1], private, make_signer(issuer[1], row["certificate"], private))
        return signers, set() if self._keys is None else elsewhere - here

    def _tell_keyless(self, before: Set[str], keyless: Set[str]) -> None:
        for issuer_id in before - keyless:
            self.troubles.mended(issuer_id)
        for issuer_id in keyless:
            if not self.troubles.has(issuer_id):
                self.troubles.failed(
                    issuer_id, IssuerUnavailable(f"none of its responder keys is in {self._keys} on this host")
                )

    async def announce_profiles(self) -> None:
        """Make profiles known that nobody has made known yet: those of a new version of this software."""
        for signer in self.unknown_profiles:
            await self._stores.signer_store.add_profile(signer.issuer.id, signer.profile, signer.key.public_key)

    def report(self, *faults: str) -> None:
        """Log what keeps a key from being used, each once."""
        for fault in faults:
            if fault not in self._reported:
                self._reported.add(fault)
                _log.error("key_left_out", error=fault)
