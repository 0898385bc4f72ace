"""What a process keeps in memory of the operator's choices, and how it is read again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from responder import log
from responder.errors import IssuerUnavailable
from responder.pki import Issuer, SigningProfile, load_profile
from responder.roles.stores import Stores
from responder.signing.keys import KeyRing
from responder.signing.signers import Profiles, Signer, Signers, make_signer
from responder.storage.configuration import ConfigurationRows
from responder.storage.issuers import issuer_from
from responder.storage.postgres import Row
from responder.troubles import Troubles

_log = log.get("directory")

_K = TypeVar("_K")
_T = TypeVar("_T")

KEY_FILE_SECONDS = 20.0
"""How old what is known of key files may be where no file has come or gone."""


@dataclass(frozen=True, slots=True)
class _Made:
    """What was made of each row, beside the rows: of one that hasn't changed it is the same object."""

    rows: ConfigurationRows
    ring: KeyRing
    issuers: Mapping[str, Issuer]
    profiles: Mapping[bytes, SigningProfile]
    signers: Mapping[tuple[str, bytes], Signer]
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
            snapshot = snapshot.with_issuers(made.issuers)
        if made.profiles is not before.profiles:
            snapshot = snapshot.with_profiles(made.profiles)
        if made.signers is not before.signers or made.profiles is not before.profiles:
            # A profile is distributed before it is used (design §3). One that was retired stays so, and signs nothing.
            known, signers = snapshot.profiles, made.signers.values()
            snapshot = snapshot.with_signers([signer for signer in signers if signer.profile.id in known])
            self.unknown_profiles = [signer for signer in signers if signer.profile.id not in known]
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

    def _make_issuers(self, rows: ConfigurationRows) -> Mapping[str, Issuer]:
        made = _still_made(self._made.issuers, self._made.rows.issuers, rows.issuers)
        for issuer_id, row in _not_in(made, rows.issuers):
            with self.troubles.guarding(issuer_id):
                made[issuer_id] = issuer_from(row)
        return made

    def _make_profiles(self, rows: ConfigurationRows) -> Mapping[bytes, SigningProfile]:
        made = _still_made(self._made.profiles, self._made.rows.signing_profiles, rows.signing_profiles)
        for key, row in _not_in(made, rows.signing_profiles):
            with contextlib.suppress(ValueError):  # of a later version beside this one: its records are misses
                made[key] = load_profile(row["body"])
        return made

    def _make_signers(
        self, rows: ConfigurationRows, issuers: Mapping[str, Issuer], ring: KeyRing
    ) -> tuple[Mapping[tuple[str, bytes], Signer], set[str]]:
        """The signers, and the issuers of whose responder keys none is here: nothing can be signed for them."""
        before, certificates = self._made, rows.responder_certificates
        made = _still_made(before.signers, before.rows.responder_certificates, certificates)
        is_same_ring = ring is before.ring
        for key in [
            key
            for key, signer in made.items()
            if issuers.get(signer.issuer.id) is not signer.issuer
            or not (is_same_ring or ring.get(certificates[key]["public_key"]) is signer.key)
        ]:
            del made[key]
        elsewhere: set[tuple[str, bytes]] = set()
        for key, row in _not_in(made, certificates):
            issuer, private = issuers.get(row["issuer_id"]), ring.get(row["public_key"])
            if private is None:
                elsewhere.add(key)
            elif issuer is not None:
                with self.troubles.guarding(issuer.id):
                    made[key] = make_signer(issuer, row["certificate"], private)
        if self._keys is None or not elsewhere:
            return made, set()
        here = {row["issuer_id"] for key, row in certificates.items() if key not in elsewhere}
        return made, {certificates[key]["issuer_id"] for key in elsewhere} - here

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


def _still_made(held: Mapping[_K, _T], before: Mapping[_K, Row], rows: Mapping[_K, Row]) -> dict[_K, _T]:
    """What is held of the rows that are as they were before."""
    made = dict(held)
    if rows is before:
        return made
    for key in [key for key, row in before.items() if rows.get(key) is not row]:
        made.pop(key, None)
    return made


def _not_in(made: Mapping[_K, object], rows: Mapping[_K, Row]) -> list[tuple[_K, Row]]:
    """The rows of which nothing is made; `made` has no others."""
    return [] if len(made) == len(rows) else [(key, row) for key, row in rows.items() if key not in made]
