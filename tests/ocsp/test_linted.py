"""What breaks a rule is seen before anybody gets it, and isn't given; revoked is, whatever else is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from responder import metrics
from responder.errors import ConfigError, SigningFailed
from responder.ocsp.linted import LintedSigner
from responder.operations.signers import octets_of_right_answer
from responder.pki import (
    Certificate,
    CertificateStatus,
    CertStatus,
    CRLReason,
    Issuer,
    Records,
    RevokedInfo,
    SigningProfile,
    StatusVersion,
)
from responder.signing.answers import NativeSigner
from responder.signing.signers import Signer
from tests.doubles import FakeClock
from tests.makers import make_test_signer
from tests.ocsp.chain import Chain, make_chain


class Spoiling:
    """Profiles as they are, but of some serials what is rendered has lost its nextUpdate's last digit."""

    def __init__(self, chain: Chain, *serial_numbers: int) -> None:
        self.chain, self.spoiled, self.rendered = chain, {bytes([number]) for number in serial_numbers}, 0

    def get(self, profile_id: bytes) -> SigningProfile | None:
        profile = self.chain.profiles.get(profile_id)
        return profile and _Spoiled(self, profile)  # type: ignore[return-value]


class _Spoiled:
    def __init__(self, of: Spoiling, profile: SigningProfile) -> None:
        self.of, self.profile = of, profile

    def render(self, records: Records, variant: int, serial: bytes) -> bytes:
        self.of.rendered += 1
        whole = self.profile.render(records, variant, serial)
        return whole[:-1] if serial in self.of.spoiled else whole


@pytest.fixture
def chain(clock: FakeClock, issuer: Issuer) -> Chain:
    return make_chain(clock, issuer, make_test_signer(issuer, "ec"))


def linted(chain: Chain, profiles: Spoiling, **options: float) -> LintedSigner:
    native = NativeSigner(chain.signers, chain.clock, backdate=timedelta(minutes=5))
    return LintedSigner(native, profiles, monotonic=lambda: chain.clock.now().timestamp(), **options)


def statuses(chain: Chain, *serial_numbers: int, revoked: Sequence[int] = ()) -> list[CertificateStatus]:
    now = chain.clock.now()
    return [
        CertificateStatus(
            Certificate.numbered(chain.issuer, number),
            CertStatus.REVOKED if number in revoked else CertStatus.GOOD,
            StatusVersion(1, number, now),
            RevokedInfo(now, CRLReason.keyCompromise) if number in revoked else None,
        )
        for number in serial_numbers
    ]


def given(signed: Sequence[Records]) -> list[bool]:
    return [not records.is_tombstone for records in signed]


async def test_what_is_right_is_given_and_one_of_each_batch_is_looked_at(chain: Chain) -> None:
    profiles = Spoiling(chain)
    signer = linted(chain, profiles)
    assert all(given(await signer.sign(statuses(chain, *range(1, 51), revoked=[9]))))
    assert profiles.rendered == 4, "the first good and the first revoked answer of a signer, each with both variants"
    for batch in range(5):
        assert all(given(await signer.sign(statuses(chain, *range(1, 51)))))
        assert profiles.rendered == 5 + batch


async def test_of_a_batch_with_a_faulty_one_those_that_are_right_are_given(chain: Chain) -> None:
    profiles = Spoiling(chain, 1, 3)
    signer, before = linted(chain, profiles), metrics.LINTED.value()
    assert given(await signer.sign(statuses(chain, 3, 2, 1))) in ([False, True, False], [True, True, True])
    for _ in range(3):
        signed = await signer.sign(statuses(chain, 1, 2, 3))
    assert metrics.LINTED.value() >= before + 2
    assert given(signed) == [False, True, False]


async def test_where_every_answer_is_faulty_it_is_the_issuers_trouble(chain: Chain) -> None:
    signer = linted(chain, Spoiling(chain, 1, 2))
    with pytest.raises(SigningFailed, match=r"answers of issuer .* aren't given: 6960-15, no OCSPResponse"):
        await signer.sign(statuses(chain, 1, 2))


async def test_revoked_is_given_whatever_is_wrong_with_it(chain: Chain) -> None:
    before = metrics.LINTED.value()
    signer = linted(chain, Spoiling(chain, 1))
    assert given(await signer.sign(statuses(chain, 1, revoked=[1]))) == [True]
    assert metrics.LINTED.value() == before + 1


async def test_between_two_looks_lies_the_pause(chain: Chain) -> None:
    profiles = Spoiling(chain)
    signer = linted(chain, profiles, pause_seconds=1)
    for _ in range(10):
        await signer.sign(statuses(chain, 1))
    assert profiles.rendered == 2
    chain.clock.advance(timedelta(seconds=2))
    await signer.sign(statuses(chain, 1))
    assert profiles.rendered == 3


async def test_tombstones_and_nothing_at_all_are_passed_on(chain: Chain) -> None:
    profiles = Spoiling(chain, 1)
    signer = linted(chain, profiles)
    assert await signer.sign([]) == []
    (status,) = statuses(chain, 1, revoked=[1])
    unsayable = replace(status, revoked_info=RevokedInfo(datetime(1960, 1, 1, tzinfo=UTC), None))
    assert given(await signer.sign([unsayable])) == [False]
    assert profiles.rendered == 0


async def test_a_complete_answer_that_breaks_a_rule_is_not_given(chain: Chain) -> None:
    """A revocation in the future is a row's fault: revoked is said. An issuer's whole fault holds good answers back."""
    profiles = Spoiling(chain)
    signer = linted(chain, profiles)
    chain.statuses.add(Certificate.numbered(chain.issuer, 5))
    (status,) = await chain.statuses.status_of([Certificate.numbered(chain.issuer, 5)])
    assert status is not None
    assert (await signer.sign_response(chain.question(5), [status])).der
    future = RevokedInfo(chain.clock.now() + timedelta(days=1), CRLReason.keyCompromise)
    revoked = replace(status, cert_status=CertStatus.REVOKED, revoked_info=future)
    before = metrics.LINTED.value()
    assert (await signer.sign_response(chain.question(5), [revoked])).cert_statuses == (CertStatus.REVOKED,)
    assert metrics.LINTED.value() == before + 1


@pytest.mark.parametrize("kind", ["ed25519", "ec"])
async def test_an_issuer_under_the_baseline_gives_no_answer_that_it_forbids(
    clock: FakeClock, issuer: Issuer, kind: str
) -> None:
    """As where a row of before is read by a version that knows the rule."""
    chain = make_chain(clock, issuer, make_test_signer(issuer, kind))
    under = replace(issuer, policy=replace(issuer.policy, baseline=True))
    (old,) = chain.signers
    signer = Signer(under, old.key, old.profile, old.not_before, old.not_after)
    chain.signers.replace([signer])
    question = chain.question(5)
    (status,) = statuses(replace(chain, issuer=under), 5)
    answer = linted(chain, Spoiling(chain)).sign_response(replace(question, issuer=under), [status])
    if kind == "ec":
        assert (await answer).der
        assert octets_of_right_answer(signer, clock.now()) > 400
        return
    with pytest.raises(SigningFailed, match="6960-25, signatureAlgorithm"):
        await answer
    with pytest.raises(ConfigError, match="break 6960-25: signatureAlgorithm"):
        octets_of_right_answer(signer, clock.now())
