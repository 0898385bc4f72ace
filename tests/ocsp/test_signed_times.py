"""Times as they stand in signed answers, to the second: at the bounds of the programmes, at the ends of certificates,
and at the turns of years and centuries. Read by pyca, and looked at by the linter."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.x509 import ocsp
from hypothesis import example, given
from hypothesis import strategies as st

from responder.errors import IssuerUnavailable
from responder.ocsp.lints import lint
from responder.pki import (
    CertIDVariant,
    Certificate,
    CertificateStatus,
    CertStatus,
    CRLReason,
    RevokedInfo,
    StatusVersion,
)
from responder.signing.answers import NativeSigner
from responder.signing.signers import Signer, Signers
from tests.doubles import FakeClock
from tests.makers import make_ca, make_test_issuer, make_test_signer

HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
AT_ALL = datetime(1971, 1, 1, tzinfo=UTC), datetime(9990, 1, 1, tzinfo=UTC)
ISSUER = make_test_issuer("times", make_ca("ec"))
SIGNER = make_test_signer(ISSUER, "ec")

Signed = ocsp.OCSPResponse


def sign(
    now: datetime,
    *,
    validity: timedelta = 4 * DAY,
    signer_ends: datetime = AT_ALL[1],
    issuer_ends: datetime = AT_ALL[1],
    revoked_at: datetime | None = None,
    backdate: timedelta = timedelta(0),
    version: int = 1,
) -> ocsp.OCSPResponse:
    """The answer of that moment, as it would be pre-signed, by a signer and an issuer that end then."""
    policy = replace(ISSUER.policy, validity=validity, refresh=validity / 3)
    issuer = replace(ISSUER, policy=policy, not_before=AT_ALL[0], not_after=issuer_ends)
    signer = Signer(issuer, SIGNER.key, SIGNER.profile, AT_ALL[0], signer_ends)
    native = NativeSigner(Signers([signer]), FakeClock(now), backdate=backdate)
    certificate = Certificate.numbered(issuer, 5)
    info = None if revoked_at is None else RevokedInfo(revoked_at, CRLReason.superseded)
    kind = CertStatus.GOOD if info is None else CertStatus.REVOKED
    status = CertificateStatus(certificate, kind, StatusVersion(1, version, now), info)
    (records,) = asyncio.run(native.sign([status]))
    der = signer.profile.render(records, CertIDVariant.SHA256, certificate.serial)
    assert lint(der) == []
    return ocsp.load_der_ocsp_response(der)


@pytest.mark.parametrize("validity", [8 * HOUR - SECOND, 8 * HOUR, 16 * HOUR, 7 * DAY - 2 * SECOND, 7 * DAY - SECOND])
def test_an_answer_lives_its_validity_to_the_second(validity: timedelta) -> None:
    """Both ends counted (BR-02, RP-03), the bounds are 8 h and 7 d; the settings allow nothing beyond them."""
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    answer = sign(now, validity=validity)
    assert (answer.this_update_utc, answer.next_update_utc) == (now, now + validity)
    assert 8 * HOUR <= validity + SECOND <= 7 * DAY


moments = st.datetimes(datetime(1972, 1, 1), datetime(9980, 1, 1), timezones=st.just(UTC))


@given(moments, st.timedeltas(8 * HOUR - SECOND, 7 * DAY - SECOND), st.timedeltas(timedelta(0), HOUR), st.booleans())
@example(datetime(2016, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), 8 * HOUR, timedelta(0), False)
@example(datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC), 8 * HOUR, SECOND, True)
@example(datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), 8 * HOUR, timedelta(0), True)
@example(datetime(2100, 2, 28, 23, 59, 59, tzinfo=UTC), DAY, timedelta(0), False)
def test_at_any_moment_what_is_signed_is_that_moment(
    now: datetime, validity: timedelta, backdate: timedelta, is_revoked: bool
) -> None:
    """The year 2050, where CRLs change to GeneralizedTime, and the leap second of 2016, which no clock here shows, are
    like any other."""
    revoked_at = now.replace(microsecond=0) - HOUR if is_revoked else None
    answer = sign(now, validity=validity, backdate=backdate, revoked_at=revoked_at)
    this_update = (now - backdate).replace(microsecond=0)
    assert answer.this_update_utc == this_update
    assert answer.next_update_utc == this_update + validity - timedelta(microseconds=validity.microseconds)
    assert answer.produced_at_utc == now.replace(microsecond=0)
    assert answer.revocation_time_utc == revoked_at


@given(moments, st.integers(1, 3 * 86400), st.integers(1, 3 * 86400))
def test_no_answer_outlives_its_signer_or_its_issuer_by_a_second(now: datetime, signer: int, issuer: int) -> None:
    now = now.replace(microsecond=0)
    ends = now + signer * SECOND, now + issuer * SECOND
    answer = sign(now, validity=2 * DAY, signer_ends=ends[0], issuer_ends=ends[1])
    assert answer.next_update_utc == min(now + 2 * DAY, *ends)


@pytest.mark.parametrize("left", [0, -1])
def test_in_its_last_second_a_signer_signs_nothing_any_more(left: int) -> None:
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    with pytest.raises(IssuerUnavailable):
        sign(now, signer_ends=now + left * SECOND)
    with pytest.raises(IssuerUnavailable):
        sign(now, issuer_ends=now + left * SECOND)
