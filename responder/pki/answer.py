"""What is answered: times, answers, and the certificates that sign them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from responder._native import Records, SigningProfile
from responder.pki.certificates import read_certificate
from responder.pki.issuer import Issuer
from responder.pki.numbers import from_epoch_seconds
from responder.pki.question import Question
from responder.pki.status import Certificate, StatusVersion
from responder.pki.terms import CertStatus


@dataclass(frozen=True, slots=True)
class ResponseTimes:
    """The times of one answer, whole seconds, and the moment from which a newer one is due."""

    this_update: datetime
    next_update: datetime
    refresh_at: datetime


def response_times(
    as_of: datetime,
    *,
    validity: timedelta,
    refresh: timedelta,
    backdate: timedelta,
    not_after: Iterable[datetime],
) -> ResponseTimes:
    """The one place where an answer's times come from.

    this_update is the status' moment less `backdate`; next_update is `validity` later, never past any of `not_after`
    (the certificates in `certs`, and the issuer's). A newer answer is due after `refresh`, and by the strictest of
    the programmes: half the validity, 4 days, or 8 hours before next_update.

    Source: requirement BR-02, RP-01, RP-03 (standards §1.8); RFC 6960 §4.2.2.1.
    """
    this_update = (as_of - backdate).replace(microsecond=0)
    next_update = min([this_update + validity, *(moment.replace(microsecond=0) for moment in not_after)])
    return ResponseTimes(this_update, next_update, refresh_due(this_update, next_update, refresh))


def refresh_due(this_update: datetime, next_update: datetime, refresh: timedelta) -> datetime:
    """When a newer answer than this one is due, a whole second; see `response_times`."""
    span = next_update - this_update
    due = min(refresh, timedelta(seconds=span // timedelta(seconds=2)), timedelta(days=4))
    if span >= timedelta(hours=16):
        due = min(due, span - timedelta(hours=8))
    return this_update + max(due, timedelta(0))


@dataclass(frozen=True, slots=True)
class ResponderCertificate:
    """A certificate that may sign for an issuer, DER; `public_key` is its SubjectPublicKeyInfo. One that was retired
    may not; one that is followed by another key's isn't renewed."""

    issuer_id: str
    certificate: bytes
    public_key: bytes
    not_before: datetime
    not_after: datetime
    retired_at: datetime | None = None
    is_followed: bool = False


def signer_key(issuer: Issuer, profile: SigningProfile) -> bytes:
    """DER SubjectPublicKeyInfo of the key that signs under a profile: a delegate's, or the CA's own."""
    return read_certificate(profile.certificates[0]).parts.spki if profile.certificates else issuer.public_key


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: what to render (`records`, `profile`, for one certificate and variant), or a complete `der`.

    `refresh_at` and `max_age` bound what HTTP caches may keep; `cacheable` is False for nonces and several CertIDs.
    `versions` are the certificates answered for and the version of each status, but for those that aren't known.
    """

    this_update: datetime
    next_update: datetime
    refresh_at: datetime
    max_age: timedelta
    cacheable: bool
    source: str
    cert_statuses: tuple[CertStatus, ...] = ()
    records: Records | None = None
    profile: SigningProfile | None = None
    certificate: Certificate | None = None
    variant: int = 0
    der: bytes = b""
    versions: tuple[tuple[Certificate, StatusVersion], ...] = ()

    @classmethod
    def of_records(cls, records: Records, profile: SigningProfile, question: Question, *, source: str) -> Answer:
        """The answer that records are to a question that is plain."""
        this_update, next_update = from_epoch_seconds(records.this_update), from_epoch_seconds(records.next_update)
        # What was made elsewhere may be old; its record is made again as ours are.
        since = from_epoch_seconds(records.produced_at) if records.is_verbatim else this_update
        policy = question.issuer.policy
        return cls(
            this_update=this_update,
            next_update=next_update,
            refresh_at=refresh_due(since, next_update, policy.refresh),
            max_age=policy.max_age,
            cacheable=True,
            source=source,
            cert_statuses=(CertStatus(records.cert_status),),
            records=records,
            profile=profile,
            certificate=question.certificates[0],
            variant=int(question.variants[0]),
            versions=((question.certificates[0], StatusVersion.of(records)),),
        )

    def render(self) -> bytes:
        """The DER OCSPResponse."""
        if self.records is None or self.profile is None or self.certificate is None:
            return self.der
        return self.profile.render(self.records, self.variant, self.certificate.serial)

    @property
    def etag(self) -> str:
        """A name that no other bytes have and that is the same on every host, of an answer that was made from records:
        the signature covers all but the algorithm's name and the certificates, which the profile's name covers. (A hash
        of the body costs more than making it, decision 13.)"""
        assert self.records is not None
        return self.records.profile_id[:4].hex() + self.records.signature(self.variant)[:16].hex()

    @property
    def version(self) -> StatusVersion | None:
        """The version of the status answered, where the answer was made from records."""
        return None if self.records is None else self.versions[0][1]
