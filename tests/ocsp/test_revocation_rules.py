"""What may become of a status, and when a revocation is certain."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from responder.errors import RevocationRefused
from responder.ocsp.revoke import Outcome, RevocationRequest, Revoker, decide
from responder.pki import (
    Certificate,
    CertificateStatus,
    CertStatus,
    CRLReason,
    Issuer,
    RevokedInfo,
    StatusChange,
    StatusVersion,
)
from tests.doubles import FakeClock, MemoryLeases, MemoryStatuses

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=3)
YET_EARLIER = NOW - timedelta(days=9)


def status(certificate: Certificate, revoked_info: RevokedInfo | None) -> CertificateStatus:
    state = CertStatus.GOOD if revoked_info is None else CertStatus.REVOKED
    return CertificateStatus(certificate, state, StatusVersion(1, 5, NOW), revoked_info)


Hold = RevokedInfo(EARLIER, CRLReason.certificateHold)
Superseded = RevokedInfo(EARLIER, CRLReason.superseded)
Compromise = RevokedInfo(EARLIER, CRLReason.keyCompromise)

ALLOWED = {
    "good is revoked now": (
        None,
        RevocationRequest(CRLReason.superseded),
        StatusChange(RevokedInfo(NOW, CRLReason.superseded)),
    ),
    "good is revoked since a given moment": (
        None,
        RevocationRequest(CRLReason.keyCompromise, EARLIER, YET_EARLIER),
        StatusChange(RevokedInfo(EARLIER, CRLReason.keyCompromise, YET_EARLIER)),
    ),
    "unspecified is no reason": (
        None,
        RevocationRequest(CRLReason.unspecified),
        StatusChange(RevokedInfo(NOW, None)),
    ),
    "a repeat changes nothing": (Superseded, RevocationRequest(CRLReason.superseded), None),
    "a repeat with the same date changes nothing": (
        Superseded,
        RevocationRequest(CRLReason.superseded, EARLIER),
        None,
    ),
    "an earlier date": (
        Superseded,
        RevocationRequest(CRLReason.superseded, YET_EARLIER),
        StatusChange(RevokedInfo(YET_EARLIER, CRLReason.superseded)),
    ),
    "an upgrade to keyCompromise keeps the date": (
        Superseded,
        RevocationRequest(CRLReason.keyCompromise),
        StatusChange(RevokedInfo(EARLIER, CRLReason.keyCompromise)),
    ),
    "an upgrade with an earlier date": (
        Superseded,
        RevocationRequest(CRLReason.keyCompromise, YET_EARLIER),
        StatusChange(RevokedInfo(YET_EARLIER, CRLReason.keyCompromise)),
    ),
    "an invalidity date comes later": (
        Compromise,
        RevocationRequest(CRLReason.keyCompromise, invalidity_date=YET_EARLIER),
        StatusChange(RevokedInfo(EARLIER, CRLReason.keyCompromise, YET_EARLIER)),
    ),
    "hold becomes a revocation": (
        Hold,
        RevocationRequest(CRLReason.superseded),
        StatusChange(RevokedInfo(EARLIER, CRLReason.superseded)),
    ),
    "hold is held again": (Hold, RevocationRequest(CRLReason.certificateHold), None),
    "hold is released": (Hold, RevocationRequest(CRLReason.removeFromCRL), StatusChange(None)),
    "good is released": (None, RevocationRequest(CRLReason.removeFromCRL), None),
}

REFUSED = {
    "another reason": (Superseded, RevocationRequest(CRLReason.cessationOfOperation), 409),
    "keyCompromise is not downgraded": (Compromise, RevocationRequest(CRLReason.superseded), 409),
    "a revoked one is not held": (Superseded, RevocationRequest(CRLReason.certificateHold), 409),
    "a revoked one is not released": (Superseded, RevocationRequest(CRLReason.removeFromCRL), 409),
    "a later date": (Superseded, RevocationRequest(CRLReason.superseded, EARLIER + timedelta(seconds=1)), 409),
    "a date in the future": (None, RevocationRequest(CRLReason.superseded, NOW + timedelta(seconds=1)), 422),
    "an invalidity date in the future": (
        None,
        RevocationRequest(CRLReason.keyCompromise, None, NOW + timedelta(seconds=1)),
        422,
    ),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_a_change_that_is_allowed(case: str, issuer: Issuer) -> None:
    before, request, expected = ALLOWED[case]
    assert decide(request)(status(Certificate.numbered(issuer, 7), before)) == expected


@pytest.mark.parametrize("case", REFUSED)
def test_a_change_that_is_refused(case: str, issuer: Issuer) -> None:
    before, request, http_status = REFUSED[case]
    with pytest.raises(RevocationRefused) as refusal:
        decide(request)(status(Certificate.numbered(issuer, 7), before))
    assert refusal.value.http_status == http_status


def test_nothing_is_revoked_before_it_was_issued(issuer: Issuer) -> None:
    """The key may have been lost before: that is what invalidityDate says (RFC 5280 §5.3.2)."""
    held = replace(status(Certificate.numbered(issuer, 7), None), not_before=EARLIER)
    early = EARLIER - timedelta(seconds=1)
    with pytest.raises(RevocationRefused, match="before the certificate's notBefore") as refusal:
        decide(RevocationRequest(CRLReason.keyCompromise, early))(held)
    assert refusal.value.http_status == 422
    allowed = decide(RevocationRequest(CRLReason.keyCompromise, EARLIER, early))(held)
    assert allowed == StatusChange(RevokedInfo(EARLIER, CRLReason.keyCompromise, early))


@pytest.fixture
def statuses(clock: FakeClock) -> MemoryStatuses:
    return MemoryStatuses(clock)


async def revoke(statuses: MemoryStatuses, leases: MemoryLeases, issuer: Issuer, *, wait_seconds: float = 0) -> Outcome:
    revoker = Revoker(statuses, leases, wait_seconds=wait_seconds)
    request = RevocationRequest(CRLReason.keyCompromise)
    return await revoker.revoke(Certificate.numbered(issuer, 7), request, actor="test")


async def test_a_revocation_is_certain_once_every_host_knows(issuer: Issuer, statuses: MemoryStatuses) -> None:
    statuses.add(Certificate.numbered(issuer, 7))
    outcome = await revoke(statuses, MemoryLeases(), issuer)
    assert outcome.certain
    assert outcome.status.cert_status is CertStatus.REVOKED


async def test_a_revocation_is_not_certain_while_a_host_may_answer_what_it_was(
    issuer: Issuer, statuses: MemoryStatuses
) -> None:
    certificate = Certificate.numbered(issuer, 7)
    statuses.add(certificate)
    later = NOW + timedelta(minutes=5)
    leases = MemoryLeases(unaware_hosts=("one:1", "two:2", "three:3"), certain_at=later)
    outcome = await revoke(statuses, leases, issuer)
    assert not outcome.certain
    assert outcome.certain_at == later
    assert "one:1 and 2 more" in outcome.obstacle
    assert statuses.rows[certificate].cert_status is CertStatus.REVOKED, "the change itself is recorded"
    leases.unaware_hosts = ()
    again = await revoke(statuses, leases, issuer)
    assert again.certain
    assert again.status.version.number == outcome.status.version.number, "a repeat changes nothing"


async def test_a_host_that_says_so_within_the_wait_makes_it_certain(issuer: Issuer, statuses: MemoryStatuses) -> None:
    statuses.add(Certificate.numbered(issuer, 7))
    leases = MemoryLeases(unaware_hosts=("one:1",))
    asyncio.get_running_loop().call_later(0.03, lambda: setattr(leases, "unaware_hosts", ()))
    outcome = await revoke(statuses, leases, issuer, wait_seconds=20)
    assert outcome.certain
    assert leases.asked > 1


async def test_a_database_that_goes_away_during_the_wait_leaves_it_uncertain(
    issuer: Issuer, statuses: MemoryStatuses
) -> None:
    statuses.add(Certificate.numbered(issuer, 7))
    outcome = await revoke(statuses, MemoryLeases(down=True), issuer, wait_seconds=20)
    assert not outcome.certain
    assert statuses.rows[Certificate.numbered(issuer, 7)].cert_status is CertStatus.REVOKED


async def test_a_refused_revocation_waits_for_nobody(issuer: Issuer, statuses: MemoryStatuses) -> None:
    leases = MemoryLeases()
    with pytest.raises(RevocationRefused) as refusal:
        await revoke(statuses, leases, issuer)
    assert refusal.value.http_status == 404
    assert not leases.asked


@pytest.mark.parametrize("reason", CRLReason)
@pytest.mark.parametrize("baseline", [True, False])
def test_the_baseline_requirements_forbid_holds_and_a_cas_reasons(
    issuer: Issuer, reason: CRLReason, baseline: bool
) -> None:
    """BR-05 (4.9.13), BR-06 (7.2.2): refused when it is asked."""
    if reason is CRLReason.removeFromCRL:
        return
    under = replace(issuer, policy=replace(issuer.policy, baseline=baseline))
    change = decide(RevocationRequest(reason))
    if baseline and reason in {CRLReason.certificateHold, CRLReason.cACompromise}:
        with pytest.raises(RevocationRefused, match="Baseline Requirements") as refused:
            change(status(Certificate.numbered(under, 1), None))
        assert refused.value.http_status == 422
    else:
        assert change(status(Certificate.numbered(under, 1), None)) is not None
