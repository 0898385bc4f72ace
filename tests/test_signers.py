"""Who may sign for an issuer: everyone else is refused at load, with a sentence (incident I-8)."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from responder.errors import ConfigError, StatusUnavailable
from responder.pki import Issuer, IssuerPolicy, UnknownSerial, make_issuer
from responder.pki.certificates import read_certificate
from responder.signing.delegates import is_renewal_due, issue_responder_certificate
from responder.signing.key_files import make_key_file
from responder.signing.keys import KeyRing, PrivateKey, load_key
from responder.signing.signers import Signers, make_profile, make_signer, require_usable
from tests.makers import (
    CA,
    NOW,
    RSA_PSS,
    Key,
    ca_of,
    ca_signer,
    check_signature,
    make_ca,
    make_responder,
    make_test_issuer,
    native,
    new_key,
    spki,
)

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


def test_what_is_no_certificate_is_refused_as_one(ca: CA, own: Issuer) -> None:
    key = new_key("ec")
    for junk in (b"", b"\x30\x00", make_responder(ca, key)[:-1]):
        with pytest.raises(ConfigError, match="responder certificate of issuer own can't be read"):
            make_signer(own, junk, native(key))


def test_a_delegate_of_a_rekeyed_ca_with_the_same_name_is_refused(own: Issuer) -> None:
    key = new_key("ec")
    with pytest.raises(ConfigError, match="wasn't issued directly"):
        make_signer(own, make_responder(make_ca("ec"), key), native(key))


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_the_responder_id_is_the_sha1_of_the_key_or_the_subject(ca: CA, kind: str) -> None:
    key = new_key(kind)
    delegate = make_responder(ca, key)
    parts = read_certificate(delegate).parts
    subject, key_bits = parts.subject, parts.public_key_bits
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


KINDS = ["ec", "p384", "p521", "bp256", "bp384", "bp512", "rsa", "ed25519", "ed448"]


@pytest.mark.parametrize("ca_kind", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_delegates_we_issue_have_the_profile_of_the_baseline_requirements(ca_kind: str, kind: str) -> None:
    """BR 7.1.2.8 (BR-08)."""
    issuer = make_test_issuer("own", make_ca(ca_kind))
    key = new_key(kind)
    der = issue_responder_certificate(issuer, ca_signer(ca_of(issuer).key), spki(key), now=NOW)
    make_signer(issuer, der, native(key))
    certificate = x509.load_der_x509_certificate(der)
    certificate.verify_directly_issued_by(ca_of(issuer).certificate)
    assert certificate.public_bytes(serialization.Encoding.DER) == der
    found = {extension.oid: extension for extension in certificate.extensions}
    assert set(found) == {
        x509.AuthorityKeyIdentifier.oid,
        x509.SubjectKeyIdentifier.oid,
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.OCSPNoCheck.oid,
    }
    constraints = found[x509.BasicConstraints.oid]
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=False, path_length=None)
    assert bytes.fromhex("0603551d13 0101ff 0402 3000") in der, "cA FALSE is the default, and left out (BR 7.1.2.8.4)"
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
    der = issue_responder_certificate(issuer, ca_signer(ca.key), spki(new_key("ec")), now=late)
    assert x509.load_der_x509_certificate(der).not_valid_after_utc == issuer.not_after
    policy = IssuerPolicy()
    assert is_renewal_due(NOW + timedelta(days=6) - timedelta(seconds=1), policy, NOW)
    assert not is_renewal_due(NOW + timedelta(days=6), policy, NOW)


def key_usage(certificate: str, *, digital_signature: bool, issuer: CA, key: Key) -> bytes:
    """A delegate or a CA whose keyUsage says this."""
    subject = issuer.certificate.subject if certificate == "ca" else x509.Name([])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=9))
        .add_extension(
            x509.KeyUsage(digital_signature, False, not digital_signature, False, False, False, False, False, False),
            True,
        )
    )
    if certificate != "ca":
        builder = builder.add_extension(x509.ExtendedKeyUsage([OCSP_SIGNING]), False)
        builder = builder.add_extension(x509.OCSPNoCheck(), False)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_a_delegate_whose_key_usage_forbids_signing_is_refused(ca: CA, own: Issuer) -> None:
    key = new_key("ec")
    make_signer(own, key_usage("delegate", digital_signature=True, issuer=ca, key=key), native(key))
    with pytest.raises(ConfigError, match="no digitalSignature"):
        make_signer(own, key_usage("delegate", digital_signature=False, issuer=ca, key=key), native(key))


def test_a_ca_without_digital_signature_signs_answers_unless_the_baseline_applies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """BR 7.1.2.10.7; others do it, and clients take it."""
    ca = make_ca("ec")
    der = key_usage("ca", digital_signature=False, issuer=ca, key=ca.key)
    make_signer(make_issuer("own", der), der, native(ca.key))
    captured = capsys.readouterr()
    assert "ca_without_digital_signature" in captured.out + captured.err
    with pytest.raises(ConfigError, match=r"7\.1\.2\.10\.7"):
        make_signer(make_issuer("own", der, IssuerPolicy(baseline=True)), der, native(ca.key))


@pytest.mark.parametrize("days", [-400, 400])
def test_a_delegate_is_refused_outside_its_time(ca: CA, own: Issuer, days: int) -> None:
    delegate = make_responder(ca, new_key("ec"), lifetime=timedelta(days=365))
    require_usable(delegate, own, NOW)
    with pytest.raises(ConfigError, match="which isn't now"):
        require_usable(delegate, own, NOW + timedelta(days=days))


def test_the_profile_is_the_same_with_and_without_the_key(ca: CA, rsa_issuer: Issuer) -> None:
    for policy in ({}, {"rsa_pss": True}, {"responder_id_by_name": True}, {"unknown_serial": UnknownSerial.revoked}):
        for kind in ("ec", "rsa", "ed25519"):
            issuer = make_test_issuer("own", ca, **policy)
            key = new_key(kind)
            delegate = make_responder(ca, key)
            assert make_profile(issuer, delegate) == make_signer(issuer, delegate, native(key)).profile
    with pytest.raises(ConfigError, match="nothing here signs with"):
        weak = make_responder(ca, ec.generate_private_key(ec.SECP224R1()))
        make_profile(make_test_issuer("own", ca), weak)


def test_a_key_for_pss_alone_signs(tmp_path: Path) -> None:
    """id-RSASSA-PSS in the key (RFC 4055 §1.2): read through another library it would be an ordinary RSA key."""
    path = tmp_path / "pss.pem"
    path.touch(mode=0o600)
    command = ["openssl", "genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    ring = KeyRing(tmp_path)
    assert ring.faults == []
    read = load_key(path)
    ca = make_ca("ec")
    issuer = make_test_issuer("own", ca)
    delegate = issue_responder_certificate(issuer, ca_signer(ca.key), read.public_key, now=NOW)
    signer = make_signer(issuer, delegate, read)
    assert signer.profile.signature_algorithm == RSA_PSS
    row = (b"\x05", 0, -1, -1, 1_790_000_000, 1_790_000_600, 1, 1, 1_790_000_000_000_000, b"")
    (records,) = signer.profile.sign_records(signer.key, [row], [1], 1_790_000_000)
    response = ocsp.load_der_ocsp_response(signer.profile.render(records, 1, b"\x05"))
    public = x509.load_der_x509_certificate(delegate).public_key()
    check_signature(public, response.signature, response.tbs_response_bytes, pss=True)
    (tmp_path / "delegate.der").write_bytes(delegate)
    openssl = ["openssl", "x509", "-inform", "DER", "-in", str(tmp_path / "delegate.der"), "-noout", "-text"]
    text = subprocess.run(openssl, check=True, capture_output=True, text=True).stdout
    assert "rsassaPss" in text
    assert "CA:FALSE" in text


def test_the_names_of_a_delegate_are_the_cas_octet_by_octet() -> None:
    """Whatever string type its name is in, and whatever a stricter parser would say of it."""
    ca = make_ca("ec")
    issuer = make_test_issuer("own", ca)
    odd = bytes.fromhex("310b3009060355040613024154") + bytes.fromhex("310f300d060355040a1306412620422a40")
    name = bytes([0x30, len(odd) + 14]) + odd + bytes.fromhex("310c300a06035504030c03434131")
    der = issue_responder_certificate(replace(issuer, name=name), ca_signer(ca.key), spki(new_key("ec")), now=NOW)
    parts = read_certificate(der).parts
    issuer_name, subject = parts.issuer, parts.subject
    assert issuer_name == name
    assert odd in subject
    assert b"OCSP responder own" in subject


def test_key_files_that_have_not_changed_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(3):
        make_key_file(tmp_path, f"{index}.pem")
    first = KeyRing(tmp_path)
    reads: list[Path] = []

    def reading(path: Path) -> PrivateKey:
        reads.append(path)
        return load_key(path)

    monkeypatch.setattr("responder.signing.keys.load_key", reading)
    assert len(KeyRing(tmp_path, before=first)) == 3
    assert reads == []
    (tmp_path / "0.pem").unlink()
    (tmp_path / "1.pem").chmod(0o644)
    make_key_file(tmp_path, "3.pem", "ed25519")
    second = KeyRing(tmp_path, before=first)
    assert len(second) == 2
    assert "chmod 600" in second.faults[0]
    assert sorted(path.name for path in reads) == ["1.pem", "3.pem"]
    with pytest.raises(ConfigError, match="of this name already"):
        make_key_file(tmp_path, "3.pem")
    with pytest.raises(ConfigError, match="can't be made here"):
        make_key_file(tmp_path, "4.pem", "dsa")


def test_a_key_file_is_whole_or_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(ConfigError, match=r"0\.pem: the key can't be written: No space left"):
            make_key_file(tmp_path, "0.pem")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / f"0.pem.{os.getpid()}").write_bytes(b"what a kill left")
    path, spki = make_key_file(tmp_path, "0.pem")
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ring = KeyRing(tmp_path)
    assert ring.get(spki) is ring.of_file(path) is not None
    assert ring.of_file(tmp_path / "1.pem") is None
