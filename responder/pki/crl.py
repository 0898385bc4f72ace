"""Certificate revocation lists, as they are published."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class CRL:
    """A published CRL: DER, and what a server says of it. `scope` is `full` until shards and deltas come; `snapshot`
    names what the database had seen when it was made."""

    issuer_id: str
    scope: str
    crl_number: int
    der: bytes
    this_update: datetime
    next_update: datetime
    sha256: bytes
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class CRLHead:
    """A published CRL without its bytes; `changed_at` is when the oldest change was made that it hasn't seen."""

    issuer_id: str
    scope: str
    crl_number: int
    this_update: datetime
    next_update: datetime
    changed_at: datetime | None = None
