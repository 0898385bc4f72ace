"""The issuers this installation answers for, as they are now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from responder.pki.issuer import Issuer
from responder.pki.request import CertID
from responder.pki.snapshot import Current


class Issuers:
    """A view of the snapshot's issuers."""

    def __init__(self, issuers: Iterable[Issuer] = (), *, current: Current | None = None) -> None:
        """Without `current`, a snapshot of its own."""
        self._current = current or Current()
        if issuers:
            self.replace(issuers)

    def replace(self, issuers: Iterable[Issuer]) -> None:
        """Take exactly these from now on; the rest of the snapshot stays."""
        self._current.snapshot = self._current.snapshot.with_issuers({issuer.id: issuer for issuer in issuers})

    def find(self, cert_id: CertID) -> Issuer | None:
        """The issuer that a CertID names, by hash algorithm, name hash and key hash together."""
        key = (cert_id.variant.hash_number, cert_id.issuer_name_hash, cert_id.issuer_key_hash)
        return self._current.snapshot.by_hashes.get(key)

    def get(self, issuer_id: str) -> Issuer | None:
        """The issuer of this id."""
        return self._current.snapshot.issuers.get(issuer_id)

    def tagged(self, tag: bytes) -> Issuer | None:
        """The issuer that records name by this tag."""
        return self._current.snapshot.by_tag.get(tag)

    def __iter__(self) -> Iterator[Issuer]:
        return iter(self._current.snapshot.issuers.values())

    def __len__(self) -> int:
        return len(self._current.snapshot.issuers)
