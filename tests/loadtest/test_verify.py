"""The suspicious client of the load test: it must see each way in which an answer can be wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from loadtest.harness.asking import Question
from loadtest.harness.target import Subject
from loadtest.harness.verify import Verifier
from responder.operations.judging import Wrong
from tests.answers import CA, DELEGATE, HOUR, NAMED, NOW, OCSP_SIGNING, OTHER, SERIAL, Party, http, ids, party, response

NONCE = b"n" * 32


def question(ca: Party = CA, *, nonce: bytes | None = None, expects: Any = "good") -> Question:
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*ids(ca, hashes.SHA1()), SERIAL, hashes.SHA1())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    request = builder.build().public_bytes(serialization.Encoding.DER)
    subject = Subject("ca", ca.certificate, "http://127.0.0.1/", None, [SERIAL])
    return Question(b"", subject, SERIAL, request, expects)


def check(asked: Question, answer: bytes) -> str:
    return Verifier().check(asked, answer, answered_at=datetime.now(UTC))


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate(), None])
def test_a_right_answer_is_right_by_the_ca_itself_and_by_its_delegate(key: Any) -> None:
    ca = party("Own", key=key)
    delegate = party("Its delegate", ca, uses=[OCSP_SIGNING])
    asked = question(ca)
    assert check(asked, http(response(ca, ca=ca))) == "good"
    assert check(asked, http(response(delegate, ca=ca))) == "good"
    assert check(asked, http(response(delegate, ca=ca, by=NAMED))) == "good"


def test_what_is_right_to_say_depends_on_the_certificate() -> None:
    good, revoked, unknown = (
        http(response(status=each))
        for each in (ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN)
    )
    unauthorized = http(b"\x30\x03\x0a\x01\x06")
    assert check(question(expects="revoked"), revoked) == "revoked"
    for answer, said in ((revoked, "revoked"), (unknown, "unknown"), (unauthorized, "unauthorized")):
        assert check(question(expects="never issued"), answer) == said
    for either in (good, revoked):
        check(question(expects="revoked meanwhile"), either)
    for expects, answer, words in (
        ("good", revoked, "revoked, and it is good"),
        ("good", unknown, "unknown, and it is good"),
        ("good", unauthorized, "unauthorized"),
        ("revoked", good, "good, and it is revoked"),
        ("revoked", unauthorized, "unauthorized"),
        ("never issued", good, "good, and it was never issued"),
    ):
        with pytest.raises(Wrong, match=words):
            check(question(expects=expects), answer)


def test_a_nonce_comes_back() -> None:
    asked = question(nonce=NONCE)
    assert check(asked, http(response(nonce=NONCE))) == "good"
    for wrong in (response(), response(nonce=b"x" * 32)):
        with pytest.raises(Wrong, match="the nonce is missing or another's"):
            check(asked, http(wrong))


WITHOUT_USE = party("Not a responder", CA, uses=[ExtendedKeyUsageOID.SERVER_AUTH])
WITHOUT_ANY = party("No use", CA)
OF_OTHER = party("Delegate of another", OTHER, uses=[OCSP_SIGNING])
EXPIRED = party("Old", CA, uses=[OCSP_SIGNING], until=NOW - HOUR)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lambda: response(serial=99), "another certificate"),
        (lambda: response(algorithm=hashes.SHA256()), "another hash algorithm"),
        (lambda: response(ca=OTHER, signer=DELEGATE), "CertID is of another issuer"),
        (lambda: response(OF_OTHER), "delegate isn't of this CA"),
        (lambda: response(WITHOUT_USE), "may not sign OCSP"),
        (lambda: response(WITHOUT_ANY), "may not sign OCSP"),
        (lambda: response(EXPIRED), "delegate isn't valid now"),
        (lambda: response().replace(ids(DELEGATE, hashes.SHA1())[1], b"k" * 20, 1), "another key than the signer's"),
        (lambda: response(by=NAMED).replace(b"Delegate", b"Selegate", 1), "names another than the signer"),
        (lambda: flipped(response()), "the signature is wrong"),
        (lambda: response(this_update=NOW + HOUR / 2), "in the future"),
        (lambda: response(this_update=NOW - 2 * HOUR, next_update=NOW), "nextUpdate has passed"),
        (lambda: b"\x30\x03\x0a\x01\x03", "tryLater"),
        (lambda: b"junk", "no OCSPResponse"),
        (lambda: b"", "no OCSPResponse"),
    ],
)
def test_each_wrong_answer_is_seen(body: Any, words: str) -> None:
    with pytest.raises(Wrong, match=words):
        check(question(), http(body()))


def flipped(der: bytes) -> bytes:
    """With another signature of the right form."""
    found = ocsp.load_der_ocsp_response(der).signature
    assert der.count(found) == 1
    return der.replace(found, found[:-1] + bytes([found[-1] ^ 1]))


def test_the_form_of_http_counts_too() -> None:
    right = response()
    with pytest.raises(Wrong, match="Content-Type"):
        check(question(), http(right, kind="text/html"))
    with pytest.raises(Wrong, match="HTTP status 503"):
        check(question(), http(right, status="503 Unavailable"))
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(right), right)
    assert check(question(), http(chunked, fields="Transfer-Encoding: chunked\r\n")) == "good"


def crl(
    ca: Party = CA, *, last: datetime = NOW - HOUR, until: datetime = NOW + HOUR, name: Party | None = None
) -> bytes:
    builder = x509.CertificateRevocationListBuilder((name or ca).certificate.subject, last, until)
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_crls_are_looked_at_as_well() -> None:
    asked = Question(b"", question().subject)
    conditional = replace(asked, has_it=True)
    assert check(asked, http(crl(), kind="application/pkix-crl")) == "a CRL"
    assert check(conditional, http(crl())) == "a CRL"
    assert check(conditional, http(b"", status="304 Not Modified")) == "not modified"
    for wrong, words in (
        (http(b"", status="304 Not Modified"), "HTTP status 304"),
        (http(crl(OTHER)), "another CA's"),
        (http(crl(OTHER, name=CA)), "signature is wrong"),
        (http(crl(until=NOW)), "nextUpdate has passed"),
        (http(crl(last=NOW + HOUR / 2)), "in the future"),
        (http(b"junk"), "no CRL"),
    ):
        with pytest.raises(Wrong, match=words):
            check(asked, wrong)
