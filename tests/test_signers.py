"""Who may sign for an issuer: everyone else is refused at load, with a sentence (incident I-8)."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from responder.crl.delegates import is_renewal_due, issue_responder_certificate
from responder.errors import ConfigError, StatusUnavailable
from responder.pki import Issuer, IssuerPolicy, parse_certificate
from responder.signing import Signers, make_signer
from tests.makers import CA, NOW, ca_of, make_ca, make_responder, make_test_issuer, native, new_key, spki

OCSP_SIGNING = ExtendedKeyUsageOID.OCSP_SIGNING


@pytest.fixture(scope="module")
def ca() -> CA:
    return make_ca("ec")


@pytest.fixture(scope="module")
def own(ca: CA) -> Issuer:
    return make_test_issuer("own", ca)


REFUSED = {
    "no extended key usage": ({"usages": []}, "OCSPSigning and nothing else"),
    "another usage": ({"usages": [ExtendedKeyUsageOID.SERVER_AUTH]}, "OCSPSigning and nothing else"),
    "one usage more": ({"usages": [OCSP_SIGNING, ExtendedKeyUsageOID.SERVER_AUTH]}, "OCSPSigning and nothing else"),
    "a CA": ({"is_ca": True}, "must not be a delegated responder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_delegate_that_may_not_sign_is_refused(ca: CA, own: Issuer, case: str) -> None:
    options, sentence = REFUSED[case]
    key = new_key("ec")
    with pytest.raises(ConfigError, match=sentence):
        make_signer(own, make_responder(ca, key, **options), native(key))  # type: ignore[arg-type]


def test_a_delegate_of_another_ca_or_another_key_is_refused_with_all_its_faults(ca: CA, own: Issuer) -> None:
    foreign = make_responder(make_ca("ec"), new_key("ec"), usages=[])
    with pytest.raises(ConfigError) as refusal:
        make_signer(own, foreign, native(new_key("ec")))
    assert len(refusal.value.faults) == 3
    for word in ("isn't of this key", "wasn't issued directly by own", "OCSPSigning"):
        assert word in str(refusal.value)


def test_a_delegate_of_a_rekeyed_ca_with_the_same_name_is_refused(own: Issuer) -> None:
    key = new_key("ec")
    with pytest.raises(ConfigError, match="wasn't issued directly"):
        make_signer(own, make_responder(make_ca("ec"), key), native(key))


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_the_responder_id_is_the_sha1_of_the_key_or_the_subject(ca: CA, kind: str) -> None:
    key = new_key(kind)
    delegate = make_responder(ca, key)
    _, _, subject, _, key_bits = parse_certificate(delegate)
    by_key = make_signer(make_test_issuer("own", ca), delegate, native(key)).profile
    assert by_key.responder_id == b"\xa2\x16\x04\x14" + hashlib.sha1(key_bits).digest()
    by_name = make_signer(make_test_issuer("own", ca, responder_id_by_name=True), delegate, native(key)).profile
    assert by_name.responder_id == b"\xa1" + bytes([len(subject)]) + subject
    assert by_key.certificates == by_name.certificates == (delegate,)
    assert by_key.id != by_name.id


def test_the_ca_itself_may_sign_and_then_sends_no_certificate(ca: CA, own: Issuer) -> None:
    assert make_signer(own, ca.der, native(ca.key)).profile.certificates == ()


def test_a_delegate_without_nocheck_is_taken_with_a_warning(
    ca: CA, own: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    key = new_key("ec")
    make_signer(own, make_responder(ca, key, nocheck=False), native(key))
    captured = capsys.readouterr()
    assert "responder_certificate_without_nocheck" in captured.out + captured.err


def test_the_signer_that_lives_longest_signs_and_none_outside_its_validity(ca: CA, own: Issuer) -> None:
    def signer(days: int):  # type: ignore[no-untyped-def]
        key = new_key("ec")
        return make_signer(own, make_responder(ca, key, lifetime=timedelta(days=days)), native(key))

    short, long = signer(5), signer(50)
    signers = Signers([short, long])
    assert signers.for_issuer(own, NOW) is long
    assert list(signers) == [long, short]
    for moment in (NOW - timedelta(days=2), NOW + timedelta(days=50)):
        with pytest.raises(StatusUnavailable, match="own"):
            signers.for_issuer(own, moment)
    with pytest.raises(StatusUnavailable):
        Signers().for_issuer(own, NOW)


@pytest.mark.parametrize("ca_kind", ["ec", "rsa"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_the_delegates_we_issue_have_the_profile_of_the_baseline_requirements(ca_kind: str, kind: str) -> None:
    """BR 7.1.2.8 (BR-08)."""
    issuer = make_test_issuer("own", make_ca(ca_kind))
    key = new_key(kind)
    der = issue_responder_certificate(issuer, ca_of(issuer).key, spki(key), now=NOW)
    make_signer(issuer, der, native(key))
    certificate = x509.load_der_x509_certificate(der)
    found = {extension.oid: extension for extension in certificate.extensions}
    assert set(found) == {
        x509.AuthorityKeyIdentifier.oid,
        x509.SubjectKeyIdentifier.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.OCSPNoCheck.oid,
    }
    usage = found[x509.KeyUsage.oid]
    assert usage.critical
    assert isinstance(usage.value, x509.KeyUsage)
    assert usage.value.digital_signature
    assert not (usage.value.key_cert_sign or usage.value.crl_sign or usage.value.content_commitment)
    assert not found[x509.OCSPNoCheck.oid].critical
    assert b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x05\x04\x02\x05\x00" in der, "nocheck's value is NULL"
    assert certificate.not_valid_after_utc - NOW == timedelta(days=30)


def test_a_delegate_never_outlives_its_ca_and_is_renewed_in_time() -> None:
    ca = make_ca("ec")
    issuer = make_test_issuer("own", ca)
    late = issuer.not_after - timedelta(days=3)
    der = issue_responder_certificate(issuer, ca.key, spki(new_key("ec")), now=late)
    assert x509.load_der_x509_certificate(der).not_valid_after_utc == issuer.not_after
    policy = IssuerPolicy()
    assert is_renewal_due(NOW + timedelta(days=6) - timedelta(seconds=1), policy, NOW)
    assert not is_renewal_due(NOW + timedelta(days=6), policy, NOW)
