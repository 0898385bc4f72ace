"""Offline issuers: their answers were made elsewhere, and are given as they came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from responder._native import StatusRow, encode_profile
from responder.errors import NotAuthoritative
from responder.interfaces import Clock, RecordSigner, ResponseSigner
from responder.pki import (
    Answer,
    Certificate,
    CertificateStatus,
    ImportedAnswer,
    Issuer,
    Question,
    Records,
    SigningProfile,
    StatusVersion,
    epoch_seconds,
    load_profile,
    load_public_key,
    signer_key,
    tombstone_for,
)
from responder.signing.single_response import revocation_fields, single_status


class ImportedAnswers(Protocol):
    """Where answers that were made elsewhere are kept."""

    async def of(
        self, issuer: Issuer, certificates: Sequence[Certificate]
    ) -> Mapping[Certificate, Sequence[ImportedAnswer]]:
        """The answers kept of these, but for those whose signer was retired; nothing of one that has none.

        Raises:
            StatusUnavailable: the database can't be read.
        """


class OfflineSigner:
    """Wraps what signs: nothing is signed for an offline issuer. A record is made of the imported answers that say what
    the status is now; where there are none it is a tombstone, since an answer that says something else may never be
    given. Implements `RecordSigner` and `ResponseSigner`."""

    def __init__(
        self, records: RecordSigner, responses: ResponseSigner, *, answers: ImportedAnswers, clock: Clock
    ) -> None:
        """`records` and `responses` are for all other issuers."""
        self._records = records
        self._responses = responses
        self._answers = answers
        self._clock = clock

    async def sign(self, statuses: Sequence[CertificateStatus]) -> list[Records]:
        """See `RecordSigner.sign`."""
        if not statuses or not statuses[0].certificate.issuer.policy.offline:
            return await self._records.sign(statuses)
        issuer = statuses[0].certificate.issuer
        answers = await self._answers.of(issuer, [status.certificate for status in statuses])
        now = self._clock.now()
        return [_records(status, answers.get(status.certificate, ()), now) for status in statuses]

    async def sign_response(self, question: Question, statuses: Sequence[CertificateStatus | None]) -> Answer:
        """See `ResponseSigner.sign_response`.

        Raises:
            NotAuthoritative: an offline issuer; what was imported answers for one certificate, by the hashes imported.
        """
        if question.issuer.policy.offline:
            raise NotAuthoritative("answers of an offline issuer are for one certificate each, and for hashes imported")
        return await self._responses.sign_response(question, statuses)


def imported_profile(
    issuer: Issuer, *, signature_algorithm: bytes, responder_id: bytes, certificates: Sequence[bytes]
) -> SigningProfile:
    """What names whoever signed an answer elsewhere; all parts are DER, as they stand in it.

    Raises:
        ValueError: an algorithm that isn't one of ours, or no DER.
    """
    return load_profile(
        encode_profile(
            issuer_tag=issuer.tag,
            cert_id_hashes=issuer.cert_id_hashes,
            signature_algorithm=signature_algorithm,
            responder_id=responder_id,
            certificates=certificates,
            generation=issuer.policy.generation,
        )
    )


def verify_imported(answer: ImportedAnswer) -> None:
    """Verify an answer as whoever reads its record does.

    Raises:
        ValueError: its signature isn't its signer's, or it doesn't fit into a record.
    """
    version = StatusVersion(1, 1, answer.this_update)
    records = _pack([answer], answer.ends_at, version)
    key = load_public_key(signer_key(answer.certificate.issuer, answer.profile))
    answer.profile.verify(key, records, int(answer.variant), answer.certificate.serial)


def _records(status: CertificateStatus, answers: Sequence[ImportedAnswer], now: datetime) -> Records:
    """What may be said of a certificate: by the newest answer's signer, one answer for each hash.

    They live as long as an answer of ours may at the most, and are made again before: nothing else in a store or a
    table may outlive what is remembered of a revocation (design §4.2).
    """
    if status.fault is not None:
        return tombstone_for(status)
    certificate, version = status.certificate, status.version
    said = single_status(certificate.issuer, status, now)
    usable = [
        each
        for each in answers
        if each.cert_status is said.cert_status and each.this_update <= version.as_of and now < each.ends_at
    ]
    if not usable:
        return tombstone_for(status)
    newest = max(usable, key=lambda each: each.this_update)
    chosen = [each for each in usable if each.profile.id == newest.profile.id]
    ends_at = min(version.as_of + certificate.issuer.policy.validity, *(each.ends_at for each in chosen))
    return _pack([newest, *(each for each in chosen if each is not newest)], ends_at, version)


def _pack(answers: Sequence[ImportedAnswer], ends_at: datetime, version: StatusVersion) -> Records:
    """Records of the answers of one signer for one certificate, the newest first."""
    newest = answers[0]
    revocation_time, reason = revocation_fields(newest.revoked_info)
    row = StatusRow(
        newest.certificate.serial,
        newest.cert_status,
        revocation_time,
        reason,
        epoch_seconds(newest.this_update),
        epoch_seconds(ends_at),
        version.epoch,
        version.number,
        version.as_of_microseconds,
        b"",
    )
    kept = [(int(each.variant), each.response) for each in answers]
    return newest.profile.take_over(row, epoch_seconds(version.as_of), kept)
