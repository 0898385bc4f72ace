"""Every interface on one page. Small classes implement one and wrap another; `app.py` puts them together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from responder.pki import (
    CRL,
    Answer,
    Certificate,
    CertificateStatus,
    Changes,
    CRLBuilder,
    CRLHead,
    Issuer,
    Kept,
    OCSPRequest,
    Pending,
    Question,
    ReadStatuses,
    Records,
    ResponderCertificate,
    RevokedSnapshot,
    SignedSlice,
    SigningProfile,
    StatusChange,
    StatusVersion,
    Unaware,
)


class Clock(Protocol):
    """The time of day. Tests own it."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""


class ResponseSource(Protocol):
    """Whatever answers OCSP requests."""

    async def respond(self, request: OCSPRequest) -> Answer:
        """Answer exactly this request.

        Raises:
            ResponderError: the answer is an OCSP error; the class says which.
        """


class AnswerSource(Protocol):
    """Whatever answers questions about one issuer of ours. Behaviour is added by wrapping one source in another."""

    async def answer(self, question: Question) -> Answer:
        """Answer exactly this question; raises as `ResponseSource.respond`."""


class RecordStore(Protocol):
    """A cache of records. It may lose an entry at any time; it never goes back to an older one."""

    async def get(self, certificate: Certificate) -> Records | None:
        """The records kept, or None when there are none, none this version can read, or the store isn't known to hold
        everything that it should.

        Raises:
            StoreUnavailable: no answer in time; the caller counts it as a miss.
        """

    async def put(self, certificate: Certificate, records: Records) -> Kept:
        """Keep `records` unless some of a later status are already kept; what is kept then is returned.

        Later means a higher `(version, as_of)`, never a later signing time; of one version, records are later than a
        tombstone. Safe to call from many tasks and processes at once. What is kept expires with `next_update`.

        Raises:
            StoreUnavailable: no confirmation in time, or the records took over 120 s from their read to this put.
        """

    async def put_many(self, batch: Sequence[tuple[Certificate, Records]]) -> list[Kept | None]:
        """`put` for each, in as few round trips as it takes; the results in the same order, None for records that took
        too long or have ended: they are refused, the others of the batch aren't.

        Raises:
            StoreUnavailable: no confirmation in time; some of the batch may be kept, and doing it again is safe.
        """


class StatusSource(Protocol):
    """The authority on status: the primary database, never a replica."""

    async def status_of(self, certificates: Sequence[Certificate]) -> list[CertificateStatus | None]:
        """Status, version and `as_of` from one read, in the order asked; None where there is no such certificate.

        Raises:
            StatusUnavailable: the primary can't be read now.
        """


class RevocationStore(StatusSource, Protocol):
    """Where statuses change, and where the changes wait for their records."""

    async def change(
        self, certificate: Certificate, decide: Callable[[CertificateStatus], StatusChange | None], *, actor: str
    ) -> CertificateStatus:
        """Change one status in one transaction with its outbox and audit rows; durable on return.

        Args:
            decide: called with the row locked; returns the change, or None to leave it, or raises.
            actor: who asks, for the audit log; at most 200 characters.

        Returns:
            The status as committed, read after the commit, with its version.

        Raises:
            RevocationRefused: 404, no such certificate; or whatever `decide` raised.
            StatusUnavailable: the primary can't be reached; nothing is known of the change, asking again is safe.
        """

    async def pending(self, limit: int) -> list[Pending]:
        """The oldest open changes that are to be tried now, each certificate once, those that were merely issued last.
        So many that `limit` is reached: what was announced together comes together."""

    async def done(
        self, pending: Sequence[Pending], kept: Sequence[CertificateStatus | None], *, run: str = ""
    ) -> None:
        """Close these, and each of the same certificate not later than what the store has now (None: row deleted).

        Args:
            run: of the record store that keeps them (`Kept.run`); "" where a store has no runs.

        Raises:
            StoreUnavailable: that run isn't the one in use any more; nothing is closed.
        """

    async def retry_later(self, pending: Sequence[Pending]) -> None:
        """Leave these changes open; `pending` gives them later, and later each time."""

    async def renumber(self, certificate: Certificate, kept: StatusVersion) -> bool:
        """Give a status a new version, where the store keeps a higher one that this database has given: the change then
        comes again, above it. False, and nothing is changed, where this database has never given `kept`."""


class HostLeases(Protocol):
    """Which hosts may answer until when, and which changes each of them has applied; kept by the authority."""

    async def renew(self, host: str, *, owner: str, seconds: float, is_new: bool) -> None:
        """Let a host answer for so long from now; a new one has applied nothing. It reads the changes after that."""

    def changes(self, since: Changes | None) -> AbstractAsyncContextManager[Changes]:
        """What was announced since then, or everything that a living answer may be older than, from one snapshot."""

    def everything_issued(self) -> AsyncGenerator[Sequence[bytes], None]:
        """The names (issuer's tag and serial) of all certificates, from one snapshot, some at a time."""

    async def acknowledge(self, host: str, changes: Changes) -> bool:
        """Say that these are applied; False: the host has no lease."""

    async def leave(self, host: str) -> None:
        """The host answers nothing any more."""

    async def forget(self, has_ended: Callable[[str], bool]) -> None:
        """End the leases whose owner has ended, by its name."""

    async def unaware(self, certificate: Certificate) -> Unaware:
        """The hosts that may still answer an older status of a certificate than the present one."""

    async def unaware_of(self, issuer: Issuer) -> Unaware:
        """The hosts that haven't heard of what was last issued or changed of an issuer."""


class PartitionStore(Protocol):
    """When each slice is due, who is at it, and what is in it."""

    async def claim(
        self,
        owner: str,
        *,
        limit: int,
        lease_seconds: int,
        except_issuers: Sequence[str] = (),
        only_issuers: Sequence[str] | None = None,
    ) -> tuple[str, list[int]] | None:
        """Some due slices of one issuer, for `owner` alone until the lease ends; None when nothing is due."""

    def statuses(
        self, issuer: Issuer, partitions: Sequence[int], *, chunk: int
    ) -> AsyncIterator[tuple[ReadStatuses, Mapping[int, int]]]:
        """The certificates of these slices that are valid now, slice after slice, in chunks of one statement each; with
        how many of it are in which slice: those before the last are whole."""

    async def finished(self, issuer_id: str, slices: Sequence[SignedSlice], *, owner: str) -> None:
        """Signed; each is due again at its moment."""

    async def prolong(self, issuer_id: str, partitions: Sequence[int], *, owner: str, lease_seconds: int) -> None:
        """Keep these slices for as long again."""

    async def release(self, issuer_id: str, partitions: Sequence[int], *, owner: str) -> None:
        """Give these slices back unsigned."""


class SigningProfiles(Protocol):
    """The profiles that records may name. One is distributed before it is used."""

    def get(self, profile_id: bytes) -> SigningProfile | None:
        """The profile, or None when it is unknown here or retired: a miss, never a guess."""


class RecordSigner(Protocol):
    """Signs pre-produced answers."""

    async def sign(self, statuses: Sequence[CertificateStatus]) -> list[Records]:
        """One `Records` per status, each with the issuer's configured variants; all of one issuer. A status that no
        answer can say gets a tombstone, and is logged and counted; the others of the batch are signed.

        Raises:
            SigningFailed: nothing was signed.
            IssuerUnavailable: no signer for this issuer here.
            StatusUnavailable: clocks too far apart.
        """


class ResponseSigner(Protocol):
    """Signs complete answers: for a nonce, several CertIDs, or a variant that isn't pre-signed."""

    async def sign_response(self, question: Question, statuses: Sequence[CertificateStatus | None]) -> Answer:
        """One SingleResponse for each certificate of the question, in order; a status None stands for never seen.
        Raises as `RecordSigner.sign`."""


SignatureAlgorithms = Callable[[Issuer, datetime], list[bytes]]
"""The DER AlgorithmIdentifiers of an issuer's signers that are valid then; the first signs unless told otherwise."""

SignatureVerifier = Callable[[bytes, bytes, bytes, bytes], bool]
"""Whether a key (DER SubjectPublicKeyInfo) made a signature that isn't ours, with an algorithm that we sign with:
called with key, signature algorithm, message and signature."""


class RecordVerifier(Protocol):
    """Tells whether what a store gave is what a signer of ours made."""

    def verifies(self, certificate: Certificate, profile: SigningProfile, records: Records, variant: int) -> bool:
        """Whether the variant's signature is of this certificate's answer, and its dates go together. Cheap for records
        that were asked for before."""


class CASigner(Protocol):
    """A CA's key, for certificates."""

    def algorithm_for(self, issuer: Issuer) -> bytes:
        """The DER AlgorithmIdentifier that it signs certificates of this issuer with."""

    def sign(self, message: bytes, signature_algorithm: bytes, /) -> bytes:
        """The signature as it stands in a BIT STRING.

        Raises:
            SigningFailed: libcrypto refused.
        """


class CRLSigner(Protocol):
    """Signs CRLs with the CA's key. Absent from the serving role."""

    async def sign_crl(
        self,
        issuer: Issuer,
        *,
        crl_number: int,
        this_update: datetime,
        next_update: datetime,
        entries: CRLBuilder,
        expired_since: datetime | None,
    ) -> bytes:
        """The DER CertificateList, its entries as they were added; it says since when expired ones are among them.

        Raises:
            SigningFailed: libcrypto refused.
            CRLError: no CA key for this issuer here.
        """


class RevokedSource(Protocol):
    """What a CRL is made of."""

    def revoked_snapshot(
        self, issuer: Issuer, *, not_expired_at: datetime | None, unseen_by: str | None = None
    ) -> AbstractAsyncContextManager[RevokedSnapshot]:
        """Every revoked certificate whose notAfter is unknown or not before `not_expired_at` (None: all), and those
        that changed after the snapshot `unseen_by`, expired or not.

        Raises:
            StatusUnavailable: the primary can't be read.
        """


class ResponderCertificateStore(Protocol):
    """The certificates that may sign for issuers."""

    async def responder_certificates(self) -> list[ResponderCertificate]:
        """All of them that weren't retired."""

    async def add_responder_certificate(
        self, issuer_id: str, certificate: bytes, *, profile: SigningProfile | None = None, follows: bytes | None = None
    ) -> None:
        """Let one more sign (DER); with the profile that it signs with, which then is known before its first answer;
        and the key (DER SubjectPublicKeyInfo) that its key follows, which isn't certified again.

        Raises:
            ConfigError: its key was retired.
        """


class CRLStore(Protocol):
    """Published CRLs, their numbers, and who builds."""

    async def heads(self, issuer: Issuer | None = None) -> list[CRLHead]:
        """The CRL with the highest number of each scope, of one issuer or of each."""

    async def not_started(self) -> set[str]:
        """The ids of issuers whose first CRL must not be published yet."""

    async def latest(self, issuer: Issuer, scope: str) -> CRL | None:
        """The CRL with the highest number."""

    async def next_number(self, issuer: Issuer, scope: str) -> int:
        """A CRL number never given before for this issuer and scope, higher than all before (5280-05)."""

    async def put(self, crl: CRL) -> None:
        """Publish.

        Raises:
            CRLError: its number isn't higher than the last one's.
        """

    async def lease(self, issuer: Issuer, scope: str, *, owner: str, seconds: int) -> bool:
        """Take or prolong the right to build; False when another holds it."""

    async def release(self, issuer: Issuer, scope: str, *, owner: str) -> None:
        """Give it back."""


class TroubleStore(Protocol):
    """Where the processes of all hosts tell which issuers are in trouble."""

    async def report(self, task: str, issuer_id: str, error: str) -> None:
        """A task of this host fails for an issuer; to be repeated as long as it does."""

    async def clear(self, task: str, issuer_id: str) -> None:
        """It does no longer."""
