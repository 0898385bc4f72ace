"""What a process keeps in memory of the operator's choices, and how it is read again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

from responder import log
from responder.errors import IssuerUnavailable
from responder.keyring import KeyRing, PrivateKey
from responder.pki import Issuer, SigningProfile, load_profile
from responder.signers import Profiles, Signer, Signers, make_signer
from responder.storage.configuration import ConfigurationRows, Key
from responder.storage.issuers import issuer_from
from responder.storage.postgres import Row
from responder.stores import Stores
from responder.troubles import Troubles

_log = log.get("directory")

KEY_FILE_SECONDS = 20.0
"""How old what is known of key files may be where no file has come or gone."""


class Directory:
    """What a process keeps in memory of the operator's choices: issuers, and the signers whose keys are here."""

    def __init__(self, stores: Stores, *, keys: Path | None) -> None:
        """`keys` is the folder of responder keys; None for a role that signs nothing."""
        self.signers = Signers()
        self.profiles = Profiles()
        self.unknown_profiles: list[Signer] = []
        self.troubles = Troubles("signer", stores.troubles)
        self._stores = stores
        self._keys = keys
        self._ring = KeyRing(None)
        self._reported: set[str] = set()
        # What was made of each row, by the row: one that hasn't changed is the same object.
        self._rows: ConfigurationRows | None = None
        self._issuers: dict[Key, tuple[Row, Issuer]] = {}
        self._profiles: dict[Key, tuple[Row, SigningProfile]] = {}
        self._signers: dict[Key, tuple[Row, Issuer, PrivateKey, Signer]] = {}
        self._keyless: set[str] = set()

    async def reload(self) -> None:
        """Read issuers, profiles and signers again in one snapshot, and take them all at once. What hasn't changed
        isn't made again; what can't be used is reported once, and left out. Nothing is written.

        Raises:
            StatusUnavailable: the database can't be read; everything stays as it was.
        """
        rows = await self._stores.configuration.read()
        # Much at once, as at the start, takes seconds: the loop goes on meanwhile.
        issuers, profiles, signers = await asyncio.to_thread(self._make, rows)
        known = {profile.id for profile in profiles}
        # From here on without a pause, so that nobody sees the one without the other.
        self._stores.issuers.replace(issuers)
        self.profiles.replace(profiles)
        # A profile is distributed before it is used (design §3). One that was retired stays so, and signs nothing.
        self.signers.replace([signer for signer in signers if signer.profile.id in known])
        self.unknown_profiles = [signer for signer in signers if signer.profile.id not in known]

    def _make(self, rows: ConfigurationRows) -> tuple[list[Issuer], list[SigningProfile], list[Signer]]:
        before, ring = self._rows, self._ring
        if self._keys is not None and (ring.may_be_outdated(KEY_FILE_SECONDS) or before is None):
            ring = KeyRing(self._keys, before=ring)
            self.report(*ring.faults)
        # Dictionaries of the same rows are compared without a look into any of them.
        issuers, profiles, signers, keyless = self._issuers, self._profiles, self._signers, self._keyless
        if before is None or before.issuers != rows.issuers:
            issuers = self._make_issuers(rows)
        if before is None or before.signing_profiles != rows.signing_profiles:
            profiles = self._make_profiles(rows)
        if (
            issuers is not self._issuers
            or ring is not self._ring
            or before is None
            or before.responder_certificates != rows.responder_certificates
        ):
            signers, keyless = self._make_signers(rows, issuers, ring)
        self._tell_keyless(keyless)  # another reading of a row may have mended it
        self._rows, self._ring = rows, ring
        self._issuers, self._profiles, self._signers = issuers, profiles, signers
        return (
            [issuer for _, issuer in issuers.values()],
            [profile for _, profile in profiles.values()],
            [signer for *_, signer in signers.values()],
        )

    def _make_issuers(self, rows: ConfigurationRows) -> dict[Key, tuple[Row, Issuer]]:
        issuers = {}
        for issuer_id, row in rows.issuers.items():
            held = self._issuers.get(issuer_id)
            if held is not None and held[0] is row:
                issuers[issuer_id] = held
                continue
            with self.troubles.guarding(str(issuer_id)):
                issuers[issuer_id] = (row, issuer_from(row))
        return issuers

    def _make_profiles(self, rows: ConfigurationRows) -> dict[Key, tuple[Row, SigningProfile]]:
        profiles = {}
        for key, row in rows.signing_profiles.items():
            held = self._profiles.get(key)
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
        for key, row in rows.responder_certificates.items():
            issuer, private = issuers.get(row["issuer_id"]), ring.get(row["public_key"])
            (elsewhere if private is None else here).add(row["issuer_id"])
            if issuer is None or private is None:
                continue
            held = self._signers.get(key)
            if held is not None and held[0] is row and held[1] is issuer[1] and held[2] is private:
                signers[key] = held
                continue
            with self.troubles.guarding(issuer[1].id):
                signers[key] = (row, issuer[1], private, make_signer(issuer[1], row["certificate"], private))
        return signers, set() if self._keys is None else elsewhere - here

    def _tell_keyless(self, keyless: set[str]) -> None:
        for issuer_id in self._keyless - keyless:
            self.troubles.mended(issuer_id)
        for issuer_id in keyless:
            if not self.troubles.has(issuer_id):
                self.troubles.failed(
                    issuer_id, IssuerUnavailable(f"none of its responder keys is in {self._keys} on this host")
                )
        self._keyless = keyless

    async def announce_profiles(self) -> None:
        """Make profiles known that nobody has made known yet: those of a new version of this software."""
        for signer in self.unknown_profiles:
            await self._stores.issuer_store.add_profile(signer.issuer.id, signer.profile, signer.key.public_key)

    def report(self, *faults: str) -> None:
        """Log what keeps a key from being used, each once."""
        for fault in faults:
            if fault not in self._reported:
                self._reported.add(fault)
                _log.error("key_left_out", error=fault)
