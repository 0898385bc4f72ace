"""The HTTP rules of OCSP and CRLs: what a request is for, by method, path, headers and body; and what is answered."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import pytest

from responder.errors import (
    IssuerUnavailable,
    MalformedRequest,
    NotAuthoritative,
    Overloaded,
    ResponderError,
    SigningFailed,
    StatusUnavailable,
)
from responder.pki import CRL, Certificate, Issuer, Issuers, OCSPRequest, encode_serial
from responder.signing.signers import Signer
from responder.web.caching import Response
from responder.web.exchange import (
    CRLName,
    Exchange,
    answered,
    crl_sent,
    no_such_crl,
    refused,
)
from responder.web.manners import MAX_BODY_BYTES
from tests import der
from tests.doubles import FakeClock
from tests.ocsp.chain import make_chain

SERIAL = 0x1A2B
OCSP_TYPE = [(b"content-type", b"application/ocsp-request")]


@pytest.fixture
def exchange(issuer: Issuer) -> Exchange:
    return Exchange(Issuers([issuer]), ocsp_paths=["/legacy/status", "/other"])


@pytest.fixture
def asked(issuer: Issuer) -> bytes:
    name_hash, key_hash = issuer.cert_id_hashes[1]
    return der.request(der.cert_id("sha256", name_hash=name_hash, key_hash=key_hash, serial=encode_serial(SERIAL)))


def test_a_request_is_found_in_the_body_or_in_the_path_wherever_it_is_sent(exchange: Exchange, asked: bytes) -> None:
    text = base64.b64encode(asked).decode()
    for path in ("/", "/ocsp", "/other/x", "/any//path", "/.well-known/pki/ocsp/some-ca"):
        found = exchange.read("POST", path.encode(), [], asked)
        assert isinstance(found, OCSPRequest)
        assert found.cert_ids[0].serial == encode_serial(SERIAL)
    for method in ("GET", "HEAD"):
        for prefix in ("/", "//", "/other/", "/any/path/"):
            for spelled in (text, quote(text, safe=""), text.rstrip("="), text.replace("+", "-").replace("/", "_")):
                assert exchange.read(method, f"{prefix}{spelled}".encode(), [], b"") == found


@pytest.mark.parametrize(
    ("method", "path", "is_ocsp"),
    [
        ("GET", b"/legacy/status", True),
        ("GET", b"/legacy/status/", True),
        ("GET", b"/legacy/status/junk", True),
        ("POST", b"/legacy/status/junk", True),
        ("POST", b"/other", True),
        ("GET", b"/ocsp/junk", False),
        ("GET", b"/legacy/statusjunk", False),
        ("GET", b"/legacy", False),
        ("POST", b"/legacy", False),
        ("POST", b"/", True),
        ("GET", b"/.well-known/pki/ocsp/", True),
        ("HEAD", b"/MEMwQTA/MD0wOzAJBg", True),
    ],
)
def test_what_is_no_request_is_malformed_where_ocsp_is_meant_and_404_elsewhere(
    exchange: Exchange, method: str, path: bytes, is_ocsp: bool
) -> None:
    body = b"junk" if method == "POST" else b""
    if is_ocsp:
        with pytest.raises(MalformedRequest):
            exchange.read(method, path, [], body)
    else:
        response = exchange.read(method, path, [], body)
        assert isinstance(response, Response)
        assert response.status == 404
        assert response.headers["Cache-Control"] == "no-store"


def test_a_body_of_ocsps_media_type_is_meant_whatever_the_path(exchange: Exchange) -> None:
    with pytest.raises(MalformedRequest):
        exchange.read("POST", b"/anything", OCSP_TYPE, b"junk")


def test_a_body_has_at_most_16_kib(exchange: Exchange) -> None:
    with pytest.raises(MalformedRequest, match="longer than 16384"):
        exchange.read("POST", b"/", [], b"\x30" * (MAX_BODY_BYTES + 1))


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", b"/", "GET, HEAD, POST"),
        ("DELETE", b"/ocsp/x", "GET, HEAD, POST"),
        ("TRACE", b"/anything", "GET, HEAD, POST"),
        ("CONNECT", b"/", "GET, HEAD, POST"),
        ("POST", b"/crl/some.crl", "GET, HEAD"),
        ("POST", b"/.well-known/pki/ocsp/some-ca/1a2b", "GET, HEAD"),
    ],
)
def test_other_methods_are_refused_with_those_that_are_possible(
    exchange: Exchange, method: str, path: bytes, allowed: str
) -> None:
    response = exchange.read(method, path, [], b"")
    assert isinstance(response, Response)
    assert (response.status, response.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (b"*", "GET, HEAD, POST, OPTIONS"),
        (b"/ocsp", "GET, HEAD, POST, OPTIONS"),
        (b"/crl/some.crl", "GET, HEAD, OPTIONS"),
    ],
)
def test_what_is_possible_is_told(exchange: Exchange, path: bytes, allowed: str) -> None:
    response = exchange.read("OPTIONS", path, [], b"")
    assert response == (204, {"Allow": allowed, "Cache-Control": "no-store"}, b"")


@pytest.mark.parametrize(
    ("path", "issuer_id"),
    [
        (b"/crl/some-ca.crl", "some-ca"),
        (b"/.well-known/pki/crl/some-ca", "some-ca"),
        (b"/crl/some_ca.crl", ""),
        (b"/crl/", ""),
        (b"/crl", ""),
    ],
)
def test_crls_have_their_paths(exchange: Exchange, path: bytes, issuer_id: str) -> None:
    assert exchange.read("GET", path, [], b"") == CRLName(issuer_id)


def test_a_serial_in_the_path_asks_for_people(exchange: Exchange, issuer: Issuer) -> None:
    path = f"/.well-known/pki/ocsp/{issuer.id}/1a2b".encode()
    found = exchange.read("GET", path, [], b"")
    assert isinstance(found, OCSPRequest)
    assert found.cert_ids[0].serial == encode_serial(SERIAL)
    nobody = exchange.read("GET", b"/.well-known/pki/ocsp/nobody/1a2b", [], b"")
    assert isinstance(nobody, Response)
    assert nobody.status == 404
    greeting = exchange.read("GET", b"/", [], b"")
    assert isinstance(greeting, Response)
    assert (greeting.status, greeting.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")


async def test_an_answer_may_be_kept_and_asked_for_again(clock: FakeClock, issuer: Issuer, signer: Signer) -> None:
    chain = make_chain(clock, issuer, signer)
    for serial_number in (SERIAL, SERIAL + 1):
        chain.statuses.add(Certificate.numbered(issuer, serial_number))
    answer, other, now = await chain.ask(SERIAL), await chain.ask(SERIAL + 1), clock.now()
    sent = answered(answer, b"body", method="GET", headers=[], now=now)
    assert (sent.status, sent.body) == (200, b"body")
    assert sent.headers["Content-Type"] == "application/ocsp-response"
    assert sent.headers["Cache-Control"].startswith("max-age=3600,")
    # Equal on every host for equal octets, and for no others.
    same = answered(await chain.ask(SERIAL), b"", method="GET", headers=[], now=now)
    assert sent.headers["ETag"] == same.headers["ETag"]
    assert sent.headers["ETag"] != answered(other, b"", method="GET", headers=[], now=now).headers["ETag"]
    again = [(b"if-none-match", sent.headers["ETag"].encode())]
    unchanged = answered(answer, b"body", method="GET", headers=again, now=now)
    assert (unchanged.status, unchanged.body, unchanged.headers["ETag"]) == (304, b"", sent.headers["ETag"])
    assert answered(answer, b"body", method="POST", headers=again, now=now).status == 200
    once = answered(replace(answer, cacheable=False), b"body", method="GET", headers=again, now=now)
    assert (once.status, once.headers) == (
        200,
        {"Content-Type": "application/ocsp-response", "Cache-Control": "no-store"},
    )


@pytest.mark.parametrize(
    ("error", "last", "more"),
    [
        (MalformedRequest("x"), 1, {}),
        (SigningFailed("x"), 2, {}),
        (Overloaded("x"), 3, {"Retry-After": "1"}),
        (StatusUnavailable("x"), 3, {"Retry-After": "5"}),
        (IssuerUnavailable("x"), 3, {"Retry-After": "5"}),
        (NotAuthoritative("x"), 6, {}),
    ],
)
def test_an_error_has_five_octets_and_is_not_kept(error: ResponderError, last: int, more: dict[str, str]) -> None:
    response = refused(error)
    assert response == (
        200,
        {"Content-Type": "application/ocsp-response", "Cache-Control": "no-store"} | more,
        b"\x30\x03\x0a\x01" + bytes([last]),
    )


def test_a_crl_is_sent_until_it_ends(clock: FakeClock, issuer: Issuer) -> None:
    now = clock.now()
    crl = CRL(issuer.id, "full", 1, b"\x30\x00", now, now + timedelta(days=7), bytes(32))
    sent = crl_sent(crl, issuer, method="GET", headers=[], now=now)
    assert (sent.status, sent.body, sent.headers["Content-Type"]) == (200, b"\x30\x00", "application/pkix-crl")
    assert sent.headers["ETag"] == f'"{"00" * 32}"'
    again = [(b"if-none-match", sent.headers["ETag"].encode())]
    assert crl_sent(crl, issuer, method="HEAD", headers=again, now=now).status == 304
    assert crl_sent(crl, issuer, method="GET", headers=[], now=crl.next_update) == no_such_crl()
    assert no_such_crl().status == 404
