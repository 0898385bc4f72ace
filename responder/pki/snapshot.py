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
        by_tag: the same, as records name them.
        profiles: by id: those that records may name.
        signers: by issuer id, those whose keys are here (`signing.signers.Signer`), the one that lives longest first.
    """

    issuers: Mapping[str, Issuer] = field(default_factory=dict)
    by_hashes: Mapping[HashKey, Issuer] = field(default_factory=dict)
    by_tag: Mapping[bytes, Issuer] = field(default_factory=dict)
    profiles: Mapping[bytes, SigningProfile] = field(default_factory=dict)
    signers: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def with_issuers(self, issuers: Mapping[str, Issuer]) -> Snapshot:
        """This, with exactly these issuers, by id."""
        before = self.issuers
        # Of ten thousand one has changed, as a rule.
        gone = [issuer for issuer_id, issuer in before.items() if issuers.get(issuer_id) is not issuer]
        new = [issuer for issuer_id, issuer in issuers.items() if before.get(issuer_id) is not issuer]
        by_hashes, by_tag = dict(self.by_hashes), dict(self.by_tag)
        for issuer in gone:
            for key in _hash_keys(issuer):
                if by_hashes.get(key) is issuer:
                    del by_hashes[key]
            if by_tag.get(issuer.tag) is issuer:
                del by_tag[issuer.tag]
        for issuer in new:
            by_tag[issuer.tag] = issuer
            by_hashes.update(dict.fromkeys(_hash_keys(issuer), issuer))
        return replace(self, issuers=issuers, by_hashes=by_hashes, by_tag=by_tag)

    def with_profiles(self, profiles: Mapping[bytes, SigningProfile]) -> Snapshot:
        """This, with exactly these profiles, by id."""
        return replace(self, profiles=profiles)

    def with_signers(self, signers: Iterable[Any]) -> Snapshot:
        """This, with exactly these signers; of one issuer the one that lives longest signs."""
        before, by_issuer = self.signers, dict[str, tuple[Any, ...]]()
        for signer in signers:
            issuer_id = signer.issuer.id
            if others := by_issuer.get(issuer_id):
                by_issuer[issuer_id] = tuple(sorted((*others, signer), key=lambda each: each.not_after, reverse=True))
                continue
            held = before.get(issuer_id)  # nearly always the same, and the only one: ten thousand tuples aren't made
            by_issuer[issuer_id] = held if held is not None and held[0] is signer and len(held) == 1 else (signer,)
        return replace(self, signers=by_issuer)


def _hash_keys(issuer: Issuer) -> list[HashKey]:
    return [(algorithm, *hashes) for algorithm, hashes in enumerate(issuer.cert_id_hashes, 1)]


class Current:
    """Where a process keeps its snapshot: one assignment changes everything at once, for everybody who looks."""

    __slots__ = ("snapshot",)

    def __init__(self) -> None:
        self.snapshot = Snapshot()
