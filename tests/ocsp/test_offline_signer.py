"""Which imported answers become records, until when, and what stands in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from responder.errors import NotAuthoritative
from responder.operations.issuers import OFFLINE
from responder.pki import (
    Answer,
    CertIDVariant,
    Certificate,
    CertificateStatus,
    CertStatus,
    CRLReason,
    ImportedAnswer,
    Issuer,
    Question,
    Records,
    RevokedInfo,
    SigningProfile,
    StatusVersion,
    epoch_seconds,
)
from responder.signing.offline import OfflineSigner, imported_profile
from responder.signing.signers import Signer
from tests.doubles import FakeClock
from tests.makers import NOW

DAY = timedelta(days=1)
SHA1, SHA256 = CertIDVariant.SHA1, CertIDVariant.SHA256
REVOKED = RevokedInfo(NOW - DAY, CRLReason.superseded)


class Kept:
    """Answers, as a database keeps them; and what signs for other issuers, which is asked for nothing here."""

    def __init__(self, *answers: ImportedAnswer) -> None:
        self.answers = answers

    async def of(
        self, issuer: Issuer, certificates: Sequence[Certificate]
    ) -> Mapping[Certificate, Sequence[ImportedAnswer]]:
        found: dict[Certificate, list[ImportedAnswer]] = {}
        for answer in self.answers:
            found.setdefault(answer.certificate, []).append(answer)
        return found

    async def sign(self, statuses: Sequence[CertificateStatus]) -> list[Records]:
        raise AssertionError("nothing is signed")

    async def sign_response(self, question: Question, statuses: Sequence[CertificateStatus | None]) -> Answer:
        raise AssertionError("nothing is signed")


@pytest.fixture
def offline(issuer: Issuer) -> Issuer:
    return replace(issuer, policy=OFFLINE)


def profile_of(signer: Signer, name: bytes = b"\xa2\x04\x04\x02id") -> SigningProfile:
    return imported_profile(
        signer.issuer, signature_algorithm=signer.profile.signature_algorithm, responder_id=name, certificates=()
    )


def answer_of(offline: Issuer, signer: Signer, variant: CertIDVariant = SHA1, **changed: object) -> ImportedAnswer:
    made = ImportedAnswer(
        Certificate.numbered(offline, 7), variant, profile_of(signer), None, NOW - DAY, NOW + 90 * DAY, b"\x30\x01A"
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def status_of(offline: Issuer, info: RevokedInfo | None = None, **changed: object) -> CertificateStatus:
    made = CertificateStatus(
        Certificate.numbered(offline, 7),
        CertStatus.GOOD if info is None else CertStatus.REVOKED,
        StatusVersion(1, 5, NOW),
        info,
    )
    return replace(made, **changed)  # type: ignore[arg-type]


async def signed(status: CertificateStatus, *answers: ImportedAnswer) -> Records:
    kept = Kept(*answers)
    (records,) = await OfflineSigner(kept, kept, answers=kept, clock=FakeClock(NOW)).sign([status])
    return records


async def test_a_record_lives_no_longer_than_one_of_ours(offline: Issuer, signer: Signer) -> None:
    """Or it might come back when nobody remembers the revocation any more."""
    records = await signed(status_of(offline), answer_of(offline, signer))
    assert records.is_verbatim
    assert records.this_update == epoch_seconds(NOW - DAY)
    assert records.next_update == epoch_seconds(NOW + offline.policy.validity)
    assert records.produced_at == epoch_seconds(NOW)
    assert StatusVersion.of(records) == StatusVersion(1, 5, NOW)
    soon = await signed(status_of(offline), answer_of(offline, signer, ends_at=NOW + DAY))
    assert soon.next_update == epoch_seconds(NOW + DAY)


async def test_an_answer_of_another_status_is_never_given(offline: Issuer, signer: Signer) -> None:
    good, revoked = answer_of(offline, signer), answer_of(offline, signer, SHA256, revoked_info=REVOKED)
    for status, answer in ((status_of(offline, REVOKED), good), (status_of(offline), revoked)):
        buried = await signed(status, answer)
        assert buried.is_tombstone
        assert StatusVersion.of(buried) == status.version
    assert (await signed(status_of(offline, REVOKED), good, revoked)).variants == (SHA256,)
    both = await signed(status_of(offline, REVOKED), revoked)
    assert (both.cert_status, both.revocation_reason) == (CertStatus.REVOKED, CRLReason.superseded)


async def test_a_compromised_ca_says_good_of_nothing(offline: Issuer, signer: Signer) -> None:
    compromised = replace(offline, policy=replace(OFFLINE, compromised_at=NOW - DAY))
    status = replace(status_of(offline), certificate=Certificate.numbered(compromised, 7))
    assert (await signed(status, answer_of(compromised, signer))).is_tombstone
    revoked = answer_of(compromised, signer, revoked_info=REVOKED)
    assert (await signed(status, revoked)).cert_status == CertStatus.REVOKED


async def test_what_has_ended_or_comes_later_is_not_given(offline: Issuer, signer: Signer) -> None:
    ended = answer_of(offline, signer, ends_at=NOW)
    later = answer_of(offline, signer, this_update=NOW + timedelta(seconds=1))
    for answer in (ended, later):
        assert (await signed(status_of(offline), answer)).is_tombstone
    assert (await signed(status_of(offline))).is_tombstone


async def test_a_record_has_the_answers_of_the_newest_s_signer(offline: Issuer, signer: Signer) -> None:
    other = profile_of(signer, b"\xa2\x04\x04\x02ot")
    newer = answer_of(offline, signer, this_update=NOW - timedelta(hours=1))
    same = answer_of(offline, signer, SHA256, ends_at=NOW + DAY)
    records = await signed(status_of(offline), same, newer)
    assert records.variants == (SHA1, SHA256)
    assert (records.this_update, records.next_update) == (epoch_seconds(newer.this_update), epoch_seconds(NOW + DAY))
    assert (await signed(status_of(offline), replace(same, profile=other), newer)).variants == (SHA1,)


async def test_nothing_is_signed_for_a_question(offline: Issuer, signer: Signer) -> None:
    kept = Kept(answer_of(offline, signer))
    source = OfflineSigner(kept, kept, answers=kept, clock=FakeClock(NOW))
    certificate = Certificate.numbered(offline, 7)
    with pytest.raises(NotAuthoritative, match="one certificate each"):
        await source.sign_response(Question(offline, (certificate,) * 2, (SHA1, SHA1)), [status_of(offline)] * 2)


async def test_what_no_answer_can_say_is_a_tombstone(offline: Issuer, signer: Signer) -> None:
    wrong = status_of(offline, RevokedInfo(NOW.replace(year=1960)))
    assert wrong.fault is not None
    assert (await signed(wrong, answer_of(offline, signer, revoked_info=REVOKED))).is_tombstone
