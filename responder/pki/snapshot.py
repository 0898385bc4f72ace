"""All that the operator decides, as a process has it in memory: one immutable value, swapped as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from responder._native import SigningProfile
from responder.pki.issuer import Issuer

HashKey = tuple[int, bytes, bytes]
"""What a CertID names an issuer by: hash algorithm, issuer_name_hash, issuer_key_hash."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Of one reading of the database and the key files.

    Attributes:
        issuers: by id.
        by_hashes: the same, as CertIDs name them.
        profiles: by id: those that records may name.
        signers: by issuer id, those whose keys are here (`signing.signers.Signer`), the one that lives longest first.
    """

    issuers: Mapping[str, Issuer] = field(default_factory=dict)
    by_hashes: Mapping[HashKey, Issuer] = field(default_factory=dict)
    profiles: Mapping[bytes, SigningProfile] = field(default_factory=dict)
    signers: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def with_issuers(self, issuers: Iterable[Issuer]) -> Snapshot:
        """This, with exactly these issuers."""
        by_id = {issuer.id: issuer for issuer in issuers}
        # Of ten thousand one has changed, as a rule.
        gone = [issuer for issuer_id, issuer in self.issuers.items() if by_id.get(issuer_id) is not issuer]
        new = [issuer for issuer_id, issuer in by_id.items() if self.issuers.get(issuer_id) is not issuer]
        by_hashes = dict(self.by_hashes)
        for issuer in gone:
            for key in _hash_keys(issuer):
                if by_hashes.get(key) is issuer:
                    del by_hashes[key]
        for issuer in new:
            by_hashes.update(dict.fromkeys(_hash_keys(issuer), issuer))
        return replace(self, issuers=by_id, by_hashes=by_hashes)

    def with_profiles(self, profiles: Iterable[SigningProfile]) -> Snapshot:
        """This, with exactly these profiles."""
        return replace(self, profiles={profile.id: profile for profile in profiles})

    def with_signers(self, signers: Iterable[Any]) -> Snapshot:
        """This, with exactly these signers; of one issuer the one that lives longest signs."""
        by_issuer: dict[str, tuple[Any, ...]] = {}
        for signer in signers:
            others = by_issuer.get(signer.issuer.id, ())
            # Nearly always there is one.
            by_issuer[signer.issuer.id] = (
                tuple(sorted((*others, signer), key=lambda each: each.not_after, reverse=True)) if others else (signer,)
            )
        return replace(self, signers=by_issuer)


def _hash_keys(issuer: Issuer) -> list[HashKey]:
    return [(algorithm, *hashes) for algorithm, hashes in enumerate(issuer.cert_id_hashes, 1)]


class Current:
    """Where a process keeps its snapshot: one assignment changes everything at once, for everybody who looks."""

    __slots__ = ("snapshot",)

    def __init__(self) -> None:
        self.snapshot = Snapshot()
