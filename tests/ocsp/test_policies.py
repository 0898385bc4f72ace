"""What an issuer's policy changes in its answers, read by pyca/cryptography."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from responder.errors import (
    ConfigError,
    MalformedRequest,
    NotAuthoritative,
    Overloaded,
    SignatureRequired,
    StatusUnavailable,
)
from responder.ocsp.live import Budget
from responder.pki import (
    Answer,
    CertIDVariant,
    Certificate,
    CRLReason,
    Issuer,
    NoncePolicy,
    OCSPRequest,
    RequestSignature,
    RevokedInfo,
    StatusChange,
    UnknownSerial,
)
from responder.signing.signers import Signer, make_signer
from responder.signing.single_response import single_status
from tests import der
from tests.doubles import FakeClock, MemoryStatuses
from tests.makers import RSA_PSS, check_signature, digest_of, make_ca, make_responder, make_test_issuer, native, new_key
from tests.makers import ca_of as ca_of_issuer
from tests.makers import name as make_name
from tests.ocsp.chain import SERIAL, Chain, make_chain, status_in

ARCHIVE_CUTOFF = x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.6")
CRL_REFERENCE = x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.3")
EXTENDED_REVOKE = x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.9")
CERT_HASH = x509.ObjectIdentifier("1.3.36.8.3.13")
NONCE = b"\x04\x10" + bytes(16)


def read(answer: Answer) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response(answer.render())


def extensions_of(extensions: x509.Extensions) -> dict[x509.ObjectIdentifier, bytes]:
    """The values of extensions, none of which may be critical."""
    assert not any(extension.critical for extension in extensions)
    return {extension.oid: extension.value.public_bytes() for extension in extensions}


def time(moment: datetime) -> bytes:
    return der.tlv(0x18, moment.strftime("%Y%m%d%H%M%SZ").encode())


def revoke(chain: Chain, serial: int = SERIAL, **info: Any) -> None:
    when = info.pop("revocation_time", chain.clock.now())
    chain.statuses.set(Certificate.numbered(chain.issuer, serial), StatusChange(RevokedInfo(when, **info)))


# --- serials never seen ---


async def test_extended_revoke(chain: Chain) -> None:
    """6960-04."""
    chain.set_policy(unknown_serial=UnknownSerial.revoked, crl_url="http://crl.example/x.crl")
    for nonce in (None, NONCE):
        response = read(await chain.ask(0xDEAD, nonce=nonce))
        assert response.certificate_status is ocsp.OCSPCertStatus.REVOKED
        assert response.revocation_time_utc == datetime(1970, 1, 1, tzinfo=UTC)
        assert response.revocation_reason is x509.ReasonFlags.certificate_hold
        assert extensions_of(response.extensions)[EXTENDED_REVOKE] == der.NULL
        assert not list(response.single_extensions), "no CRL reference, no entry extension"
    # What is pre-signed says the same of itself, so that one profile serves all answers.
    assert EXTENDED_REVOKE in extensions_of(read(await chain.ask(SERIAL)).extensions)
    assert not chain.records.kept.get(Certificate.numbered(chain.issuer, 0xDEAD)), (
        "nothing is kept for serials never seen"
    )


@pytest.mark.parametrize(("policy", "word"), [(UnknownSerial.unknown, "UNKNOWN"), (UnknownSerial.good, "GOOD")])
async def test_other_words_for_a_serial_never_seen(chain: Chain, policy: UnknownSerial, word: str) -> None:
    chain.set_policy(unknown_serial=policy)
    response = await chain.ask(0xDEAD)
    assert status_in(response) == word
    assert not response.cacheable
    assert not list(read(response).extensions)


async def test_one_never_seen_among_others_that_are_known(chain: Chain) -> None:
    answer = await chain.ask(SERIAL, 0xDEAD)
    assert [status.name for status in answer.cert_statuses] == ["GOOD", "UNKNOWN"]


# --- a compromised CA ---


async def test_everything_of_a_compromised_ca_is_revoked(chain: Chain) -> None:
    """6960-10."""
    since = chain.clock.now() - timedelta(days=1)
    chain.statuses.add(Certificate.numbered(chain.issuer, 2))
    revoke(chain, 2, revocation_time=since - timedelta(days=1), revocation_reason=CRLReason.superseded)
    chain.statuses.add(Certificate.numbered(chain.issuer, 3))
    revoke(chain, 3, revocation_reason=CRLReason.superseded)
    await chain.ask(SERIAL)
    chain.set_policy(compromised_at=since, generation=2)
    for serial in (SERIAL, 3, 0xDEAD):
        response = read(await chain.ask(serial))
        assert response.revocation_reason is x509.ReasonFlags.ca_compromise
        assert response.revocation_time_utc == since
    assert read(await chain.ask(2)).revocation_reason is x509.ReasonFlags.superseded, "it was revoked before"


async def test_answers_of_an_earlier_generation_are_not_used(chain: Chain) -> None:
    await chain.ask(SERIAL)
    assert (await chain.ask(SERIAL)).source == "redis"
    chain.set_policy(generation=2)
    chain.clock.advance(timedelta(seconds=1))
    assert (await chain.ask(SERIAL)).source == "live"
    assert (await chain.ask(SERIAL)).source == "redis"


# --- after expiry ---


@pytest.mark.parametrize("retention", [None, timedelta(days=100)])
async def test_an_archive_goes_on_answering_with_its_cutoff(chain: Chain, retention: timedelta | None) -> None:
    """6960-21, ETSI-01."""
    now = chain.clock.now()
    chain.statuses.add(Certificate.numbered(chain.issuer, 7), not_after=now - timedelta(days=10))
    with pytest.raises(NotAuthoritative):
        await chain.ask(7)
    chain.set_policy(archive=True, archive_retention=retention)
    since = chain.issuer.not_before if retention is None else now - retention
    for serial in (SERIAL, 7):
        response = read(await chain.ask(serial))
        assert extensions_of(response.single_extensions) == {ARCHIVE_CUTOFF: time(since)}
    assert (await chain.ask(7)).source == "redis"


async def test_an_archive_ends_with_its_retention(chain: Chain) -> None:
    now = chain.clock.now()
    chain.set_policy(archive=True, archive_retention=timedelta(days=100))
    chain.statuses.add(Certificate.numbered(chain.issuer, 7), not_after=now - timedelta(days=100))
    chain.statuses.add(Certificate.numbered(chain.issuer, 8), not_after=now - timedelta(days=100, seconds=1))
    assert status_in(await chain.ask(7)) == "GOOD"
    with pytest.raises(NotAuthoritative, match="isn't valid at this time"):
        await chain.ask(8)


async def test_a_certificate_outside_its_time_is_never_answered_as_never_issued(chain: Chain) -> None:
    chain.set_policy(unknown_serial=UnknownSerial.revoked)
    chain.statuses.add(Certificate.numbered(chain.issuer, 7), not_after=chain.clock.now() - timedelta(days=1))
    with pytest.raises(NotAuthoritative):
        await chain.ask(7)
    answer = await chain.ask(SERIAL, 7)
    assert [status.name for status in answer.cert_statuses] == ["GOOD", "UNKNOWN"]


# --- more in a SingleResponse ---


async def test_cert_hash_where_the_certificate_is_known(chain: Chain) -> None:
    """CPKI-01."""
    chain.set_policy(cert_hash=True)
    assert not list(read(await chain.ask(SERIAL)).single_extensions)
    certificate = Certificate.numbered(chain.issuer, 7)
    chain.statuses.add(certificate)
    chain.statuses.rows[certificate] = replace(chain.statuses.rows[certificate], certificate_sha256=b"h" * 32)
    sha256 = der.sequence(der.HASHES["sha256"][0], der.NULL)
    assert extensions_of(read(await chain.ask(7)).single_extensions) == {
        CERT_HASH: der.sequence(sha256, der.octet_string(b"h" * 32))
    }


async def test_a_crl_reference_and_the_invalidity_date_of_what_is_revoked(chain: Chain) -> None:
    """6960-19, -22."""
    chain.set_policy(crl_url="http://crl.example/ca.crl")
    assert not list(read(await chain.ask(SERIAL)).single_extensions)
    invalid_from = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    chain.statuses.add(Certificate.numbered(chain.issuer, 7))
    revoke(chain, 7, revocation_reason=CRLReason.keyCompromise, invalidity_date=invalid_from)
    response = read(await chain.ask(7))
    found = {extension.oid: extension.value for extension in response.single_extensions}
    assert set(found) == {CRL_REFERENCE, x509.InvalidityDate.oid}
    assert found[CRL_REFERENCE].public_bytes() == der.sequence(
        der.tlv(0xA0, der.tlv(0x16, b"http://crl.example/ca.crl"))
    )
    date = found[x509.InvalidityDate.oid]
    assert isinstance(date, x509.InvalidityDate)
    assert date.invalidity_date_utc == invalid_from
    assert response.revocation_reason is x509.ReasonFlags.key_compromise, "and never as an extension (BR-07)"


@given(
    st.sampled_from(UnknownSerial),
    st.booleans(),
    st.none() | st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    st.none() | st.timedeltas(timedelta(seconds=1), timedelta(days=400)),
)
def test_no_policy_makes_a_revoked_certificate_good(
    issuer: Issuer, unknown: UnknownSerial, archive: bool, compromised: datetime | None, ago: timedelta | None
) -> None:
    clock = FakeClock()
    policy = replace(issuer.policy, unknown_serial=unknown, archive=archive, compromised_at=compromised)
    certificate = Certificate.numbered(replace(issuer, policy=policy), 5)
    statuses = MemoryStatuses(clock)
    statuses.add(certificate, not_after=None if ago is None else clock.now() - ago)
    status = statuses.set(certificate, StatusChange(RevokedInfo(clock.now())))
    assert single_status(certificate.issuer, status, clock.now()).cert_status.name in {"REVOKED", "UNKNOWN"}


# --- nonces ---


async def test_a_required_nonce(clock: FakeClock, issuer: Issuer, signer: Signer) -> None:
    chain = make_chain(clock, issuer, signer, max_in_flight=1, max_waiting=0)
    chain.statuses.add(Certificate.numbered(issuer, SERIAL))
    chain.set_policy(nonce=NoncePolicy.required)
    with pytest.raises(MalformedRequest, match="with a nonce only"):
        await chain.ask(SERIAL)
    assert NONCE in (await chain.ask(SERIAL, nonce=NONCE)).render()
    # Beyond the budget there is nothing to fall back on.
    budget = chain.live._budget
    assert isinstance(budget, Budget)
    async with budget.spend():
        with pytest.raises(Overloaded):
            await chain.ask(SERIAL, nonce=NONCE)


async def test_absent_parameters_beyond_the_budget_get_null(clock: FakeClock, issuer: Issuer, signer: Signer) -> None:
    chain = make_chain(clock, issuer, signer, max_in_flight=1, max_waiting=0)
    chain.statuses.add(Certificate.numbered(issuer, SERIAL))
    await chain.ask(SERIAL)
    absent = der.sequence(der.HASHES["sha1"][0])
    assert absent in (await chain.ask(SERIAL, variant=CertIDVariant.SHA1_ABSENT)).render()
    async with chain.live._budget.spend():
        answer = await chain.ask(SERIAL, variant=CertIDVariant.SHA1_ABSENT)
        assert answer.source == "redis"
        assert der.sequence(der.HASHES["sha1"][0], der.NULL) in answer.render()
        with pytest.raises(Overloaded):
            await chain.ask(SERIAL, variant=CertIDVariant.SHA512_ABSENT)


# --- algorithms ---


@pytest.fixture
def rsa_beside(chain: Chain) -> Signer:
    """A second signer of the chain's issuer, RSA, that ends sooner than the first."""
    key = new_key("rsa")
    certificate = make_responder(ca_of_issuer(chain.issuer), key, lifetime=timedelta(days=20))
    other = make_signer(chain.issuer, certificate, native(key))
    chain.signers.replace([*chain.signers, other])
    chain.profiles.replace([signer.profile for signer in chain.signers])
    return other


async def test_a_preferred_algorithm_is_signed_with_where_that_is_allowed(chain: Chain, rsa_beside: Signer) -> None:
    """6960-24."""
    own, other = (signer.profile.signature_algorithm for signer in chain.signers)
    assert other == rsa_beside.profile.signature_algorithm
    await chain.ask(SERIAL)

    async def ask(*preferred: bytes) -> Answer:
        return await chain.source.respond(replace(chain.request(SERIAL), preferred=preferred))

    assert (await ask(other)).source == "redis", "not allowed: it isn't signed for because a client asks"
    chain.set_policy(honour_preferred=True)
    await chain.ask(SERIAL)
    sha1_with_rsa = bytes.fromhex("300d06092a864886f70d0101050500")
    same: list[list[bytes]] = [[own], [own, other], [sha1_with_rsa], [sha1_with_rsa, own]]
    for wishes in same:
        assert (await ask(*wishes)).source == "redis"
    others: list[list[bytes]] = [[other], [sha1_with_rsa, other, own]]
    for wishes in others:
        answer = await ask(*wishes)
        assert (answer.source, answer.cacheable) == ("live", False)
        response = read(answer)
        assert response.signature_algorithm_oid._name == "sha256WithRSAEncryption"
        check_signature(response.certificates[0].public_key(), response.signature, response.tbs_response_bytes)
    async with chain.live._budget.spend():
        assert status_in(await ask(other)) == "GOOD"


async def test_rsa_pss_where_it_was_chosen(clock: FakeClock, rsa_issuer: Issuer, rsa_signer: Signer) -> None:
    chain = make_chain(clock, rsa_issuer, rsa_signer)
    chain.statuses.add(Certificate.numbered(rsa_issuer, SERIAL))
    chain.set_policy(rsa_pss=True)
    answer = await chain.ask(SERIAL)
    assert RSA_PSS in answer.render()
    response = read(answer)
    check_signature(response.certificates[0].public_key(), response.signature, response.tbs_response_bytes, pss=True)


# --- signed requests ---


def signed(chain: Chain, key: Any, *certificates: x509.Certificate, algorithm: bytes | None = None) -> OCSPRequest:
    text = b"the DER of tbsRequest"
    made = native(key)
    ders = tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in certificates)
    signature = RequestSignature(text, algorithm or made.signature_algorithm, made.sign(text), ders)
    return replace(chain.request(SERIAL), signature=signature)


def requestor(chain: Chain, key: Any, serial: int, *, ca: Any = None, days: int = 30) -> x509.Certificate:
    ca = ca or ca_of_issuer(chain.issuer)
    return (
        x509.CertificateBuilder()
        .subject_name(make_name("requestor"))
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(chain.clock.now() - timedelta(days=60))
        .not_valid_after(chain.clock.now() + timedelta(days=days))
        .sign(ca.key, digest_of(ca.key))
    )


async def test_signed_requests_are_required_and_verified(chain: Chain) -> None:
    """6960-05, -14."""
    key = new_key("ec")
    chain.statuses.add(Certificate.numbered(chain.issuer, 77))
    asker = requestor(chain, key, 77)
    other_key = new_key("ec")
    assert status_in(await chain.source.respond(signed(chain, other_key, asker))) == "GOOD", "not looked at"
    chain.set_policy(require_signature=True)
    with pytest.raises(SignatureRequired) as refusal:
        await chain.ask(SERIAL)
    assert refusal.value.ocsp_status == 5
    assert status_in(await chain.source.respond(signed(chain, key, asker))) == "GOOD"
    foreign = make_ca("ec")
    refused = {
        "signature doesn't verify": signed(chain, other_key, asker),
        "brings its certificate": signed(chain, key),
        "isn't valid now": signed(chain, key, requestor(chain, key, 77, days=-1)),
        "isn't one of": signed(chain, key, requestor(chain, key, 77, ca=foreign)),
        "isn't known here": signed(chain, key, requestor(chain, key, 78)),
    }
    for sentence, request in refused.items():
        with pytest.raises(NotAuthoritative, match=sentence):
            await chain.source.respond(request)
    with pytest.raises(NotAuthoritative, match="signature doesn't verify"):
        await chain.source.respond(signed(chain, key, asker, algorithm=b"\x30\x03\x06\x01\x2a"))
    revoke(chain, 77)
    with pytest.raises(NotAuthoritative, match="is revoked"):
        await chain.source.respond(signed(chain, key, asker))
    chain.statuses.down = True
    with pytest.raises(StatusUnavailable):
        await chain.source.respond(signed(chain, key, asker))


async def test_a_signature_by_a_certificate_that_is_garbage_is_refused(chain: Chain) -> None:
    chain.set_policy(require_signature=True)
    signature = RequestSignature(b"text", b"", b"", (b"\x30\x00",))
    with pytest.raises(NotAuthoritative, match="can't be read"):
        await chain.source.respond(replace(chain.request(SERIAL), signature=signature))


# --- the Baseline Requirements ---


def test_a_delegate_without_nocheck_is_refused_under_the_baseline_requirements() -> None:
    ca, key = make_ca("ec"), new_key("ec")
    issuer = make_test_issuer("own", ca, baseline=True)
    with pytest.raises(ConfigError, match="id-pkix-ocsp-nocheck"):
        make_signer(issuer, make_responder(ca, key, nocheck=False), native(key))
    make_signer(issuer, make_responder(ca, key), native(key))


def test_other_curves_and_eddsa_sign_for_an_issuer() -> None:
    ca = make_ca("p384")
    issuer = make_test_issuer("own", ca)
    for kind in ("p384", "p521", "ed25519", "ed448", "rsa"):
        key = new_key(kind)
        make_signer(issuer, make_responder(ca, key), native(key))
