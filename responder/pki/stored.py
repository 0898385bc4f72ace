"""What stores keep, give and are given, beside statuses and records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from responder._native import SigningProfile
from responder.errors import ResponderError
from responder.pki.status import Certificate, RevokedInfo, StatusVersion
from responder.pki.terms import CertIDVariant, CertStatus


@dataclass(frozen=True, slots=True)
class Kept:
    """What a store holds for a certificate after a put: the highest `(version, as_of)`, and its status; and the name of
    the store's run that said so, for stores that have runs."""

    version: StatusVersion
    cert_status: CertStatus
    run: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of looking for certificates that the table didn't have, by name (issuer's tag and serial). The table
    has what there is of the others.

    Attributes:
        made: those whose records were signed for it.
        refused: those that can't be answered, and why.
    """

    made: frozenset[bytes] = frozenset()
    refused: Mapping[bytes, ResponderError] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Iterable[Fetched]) -> Fetched:
        """All of these together."""
        made, refused = set[bytes](), dict[bytes, ResponderError]()
        for part in parts:
            made |= part.made
            refused |= part.refused
        return cls(frozenset(made), refused)


@dataclass(frozen=True, slots=True)
class StoreRun:
    """The run of the record store that is in use: one server process's time as a primary.

    Attributes:
        complete: readers may trust what they find in it.
        replayed: how many changes had to be put again, since `since`; done at `completed_at`.
        ahead: an (epoch, number) above all that the database has given, when the store has seen one.
    """

    run: str | None
    complete: bool
    replayed: int
    since: datetime
    completed_at: datetime | None
    ahead: tuple[int, int] | None = None

    @property
    def changes_per_second(self) -> float | None:
        """How fast the changes were put again, where there were any."""
        if self.completed_at is None or not self.replayed:
            return None
        return self.replayed / max((self.completed_at - self.since).total_seconds(), 0.001)


@dataclass(frozen=True, slots=True)
class SignedSlice:
    """A slice that was signed: when it is due again, how many certificates it has, and how many seconds that took."""

    partition: int
    due_at: datetime
    certificates: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SigningForecast:
    """What signing ahead of time needs, and has.

    Attributes:
        tasks: that sign at once, on all hosts.
        tasks_needed: so that everything is signed in its turn, by how long each slice took the last time; 0.0 where
            nothing was signed yet.
        signatures_per_second: that this is.
        overdue_seconds: of one task, to sign what is due now.
        seconds_left: until the first answer of what is due now may end unsigned; None where nothing is due.
    """

    tasks: int
    tasks_needed: float
    signatures_per_second: float
    overdue_seconds: float
    seconds_left: float | None

    @property
    def capacity_ratio(self) -> float | None:
        """How many times what is needed can be signed; below 1 answers will end unsigned. None: nothing is needed."""
        return self.tasks / self.tasks_needed if self.tasks_needed else None

    @property
    def catch_up_seconds(self) -> float | None:
        """How long it takes to sign what is due now, at most; None where nobody signs."""
        return self.overdue_seconds / self.tasks if self.tasks else None

    @property
    def alarm(self) -> str | None:
        """Why answers will end before they are signed again; None where they won't."""
        if self.seconds_left is not None and not self.tasks:
            return "slices are due, and nobody signs them; is certstatus work running?"
        ratio, catch_up = self.capacity_ratio, self.catch_up_seconds
        if ratio is not None and ratio < 1:
            return f"pre-signing has {ratio:.2f} of the capacity that it needs; {_MORE_CAPACITY}"
        if self.seconds_left is not None and catch_up is not None and catch_up > self.seconds_left:
            return (
                f"what is due takes {catch_up:,.0f} s to sign, and the first of it ends in {self.seconds_left:,.0f} s; "
                f"until then it is signed when it is asked for; {_MORE_CAPACITY}"
            )
        return None


_MORE_CAPACITY = "more cores or hosts for certstatus work, a longer refresh, or ECDSA keys give it more"


@dataclass(frozen=True, slots=True)
class StatusChange:
    """The new status of a certificate: `revoked_info`, or None for good (released from hold)."""

    revoked_info: RevokedInfo | None


@dataclass(frozen=True, slots=True)
class Pending:
    """A change in the outbox whose records aren't signed yet; `version` is the change's, `as_of` when it was listed.
    `outbox_id` is of the row that announces it, maybe with others that were issued with it."""

    outbox_id: int
    certificate: Certificate
    version: StatusVersion


@dataclass(frozen=True, slots=True)
class RevokedSnapshot:
    """What is revoked at one moment: `entries` sorted by serial octets, some at a time, to be read once, within the
    `async with`. Each is `(serial, revocation_time, reason, invalidity_date)` as `CRLBuilder.extend` takes it.

    `as_of` is not later than the snapshot. `snapshot` names it, so that changes it hasn't seen can be told from those
    it has: changes commit out of the order of their numbers and times.
    """

    as_of: datetime
    snapshot: str
    entries: AsyncIterator[Sequence[Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class AnnouncedChange:
    """A status that changed: nothing below (epoch, number) may be answered. `created_at` in seconds since 1970."""

    issuer_tag: bytes
    serial: bytes
    epoch: int
    number: int
    created_at: int


ISSUED_KEPT = timedelta(hours=1)
"""How long at least the authority tells that a certificate was issued."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What was announced up to a moment, to be read once, within the `async with`.

    `snapshot` and `history` name it, so that what comes later can be told from it. Whoever reads a status at `as_of` or
    later has seen them all. `issued` are names (issuer's tag and serial) of certificates that are new; none where
    nothing was seen before.
    """

    snapshot: str
    history: str
    as_of: datetime
    batches: AsyncIterator[Sequence[AnnouncedChange]]
    issued: AsyncIterator[Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Unaware:
    """Hosts that may answer an older status, by their owners; after `certain_at` they don't any more. Where commits
    were lost, records of a higher version may say what the database doesn't know of."""

    owners: tuple[str, ...] = ()
    certain_at: datetime | None = None
    commits_were_lost: bool = False


@dataclass(frozen=True, slots=True)
class ReportedTrouble:
    """A task that fails for an issuer on a host, since when, and a sentence that says why."""

    issuer_id: str
    task: str
    host: str
    since: datetime
    error: str


@dataclass(frozen=True, slots=True)
class ImportedStatus:
    """One certificate as another CA's list has it, and in which line (0: the list has none)."""

    serial_number: int
    revoked_info: RevokedInfo | None
    not_before: datetime | None = None
    not_after: datetime | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class ImportedAnswer:
    """An answer that was made elsewhere: one OCSPResponse about one certificate.

    Attributes:
        variant: the hash of its CertID, whatever the parameters.
        profile: of whoever signed it; it names the signer and its algorithm, and renders nothing.
        ends_at: its nextUpdate, or the end of the signer's certificate where that comes before it.
        response: DER, as it came.
    """

    certificate: Certificate
    variant: CertIDVariant
    profile: SigningProfile
    revoked_info: RevokedInfo | None
    this_update: datetime
    ends_at: datetime
    response: bytes

    @property
    def cert_status(self) -> CertStatus:
        """Good or revoked: one that knows nothing isn't imported."""
        return CertStatus.GOOD if self.revoked_info is None else CertStatus.REVOKED


@dataclass(frozen=True, slots=True)
class OfflineOutlook:
    """What an offline issuer has to say, and for how long; counts of certificates that are valid now.

    Attributes:
        without: those of which nothing can be said: no answer, or none of their present status.
        ending: those of whose answers one has less than a quarter of its life left.
        first_end: when the first of the answers in use ends.
    """

    issuer_id: str
    certificates: int
    without: int
    ending: int
    first_end: datetime | None

    @property
    def alarm(self) -> str | None:
        """What has to be signed elsewhere; None where nothing has."""
        parts = []
        if self.without:
            parts.append(f"{self.without:,} of {self.certificates:,} certificates have no answer")
        if self.ending and self.first_end is not None:
            parts.append(f"answers for {self.ending:,} end from {self.first_end.isoformat(timespec='minutes')} on")
        return f"offline issuer {self.issuer_id}: {', '.join(parts)}; {_ROOT_DAY}" if parts else None


_ROOT_DAY = "certstatus root-day says what to sign"


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate to register: what was issued, and what is known of it."""

    serial_number: int
    revoked_info: RevokedInfo | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    certificate_sha256: bytes | None = None
