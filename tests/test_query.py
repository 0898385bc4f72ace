"""`certstatus query`: an OCSP client for people, asked of responders that are right and of those that aren't."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from typer.testing import CliRunner

from loadtest.common import tls_files
from responder.__main__ import app
from responder.errors import CertstatusError
from responder.operations.explaining import REQUEST, RESPONSE, explain
from tests.answers import CA, DELEGATE, HOUR, NOW, OCSP_SIGNING, OTHER, SERIAL, Party, http, party, response
from tests.loadtest.test_client import Server

PEM = serialization.Encoding.PEM
REVOKED = ocsp.OCSPCertStatus.REVOKED


class Asked:
    """A responder that says this to everybody, and a certificate to ask it about."""

    def __init__(self, folder: Path, answer: bytes) -> None:
        self.folder, self.answer = folder, answer

    def query(self, *options: str) -> tuple[int, str]:
        """The exit code and what was said."""
        with Server(self.answer).listening() as (host, port):
            leaf = party("leaf", CA, serial=SERIAL, responder=f"http://{host}:{port}/ocsp")
            (self.folder / "leaf.pem").write_bytes(leaf.certificate.public_bytes(PEM))
            (self.folder / "ca.pem").write_bytes(CA.certificate.public_bytes(PEM))
            return run(
                str(self.folder / "leaf.pem"), "--issuer", str(self.folder / "ca.pem"), "--timeout", "2", *options
            )


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["query", *arguments])
    if isinstance(done.exception, CertstatusError):
        return -1, str(done.exception)
    return done.exit_code, done.output


def test_a_good_certificate_is_exit_code_zero_and_all_is_told(tmp_path: Path) -> None:
    code, told = Asked(tmp_path, http(response())).query("--no-nonce", "--get")
    assert code == 0
    for words in (
        r"certificate +0x1234, CN=leaf",
        r"asked +http://127.0.0.1:\d+/ocsp by GET, sha1, without a nonce",
        r"status +good",
        r"thisUpdate .* \d:\d\d:\d\d ago",
        r"nextUpdate .* in \d:\d\d:\d\d",
        r"signed by +CN=Delegate, until .* \(ecdsa-with-SHA256\)",
        r"signature +right",
    ):
        assert re.search(words, told), words
    assert "nonce  " not in told.replace("without a nonce", "")


def test_the_response_is_kept_where_it_is_wanted(tmp_path: Path) -> None:
    answer, kept = response(), tmp_path / "response.der"
    assert Asked(tmp_path, http(answer)).query("--no-nonce", "--save", str(kept))[0] == 0
    assert kept.read_bytes() == answer
    code, told = Asked(tmp_path, http(answer)).query("--no-nonce", "--save", str(tmp_path / "no" / "folder"))
    assert (code, "--save" in told, "No such file" in told) == (-1, True, True)


def test_what_is_revoked_is_exit_code_four_with_when_and_why(tmp_path: Path) -> None:
    code, told = Asked(tmp_path, http(response(status=REVOKED))).query("--no-nonce")
    assert code == 4
    assert re.search(r"status +revoked\nrevoked +\S+ \S+, no reason given", told)


OF_OTHER = party("Delegate of another", OTHER, uses=[OCSP_SIGNING])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http(response(OF_OTHER)), r"signer +the delegate isn't of this CA"),
        (http(response(next_update=NOW - HOUR / 2)), r"times +nextUpdate has passed"),
        (http(response(algorithm=hashes.SHA256())), r"CertID +the CertID has another hash algorithm"),
        (http(response(serial=7)), r"status +unreadable\nform +it is about another certificate"),
        (http(b"junk"), r"status +unreadable\nform +no OCSPResponse"),
        (http(response(), kind="text/plain"), r"HTTP +Content-Type isn't application/ocsp-response"),
        (http(b"\x30\x03\x0a\x01\x03"), r"status +tryLater"),
        (http(b"\x30\x03\x0a\x01\x06", status="500 x"), r"HTTP 500\nstatus +unauthorized"),
    ],
)
def test_a_good_that_isnt_right_is_exit_code_four(tmp_path: Path, answer: bytes, words: str) -> None:
    code, told = Asked(tmp_path, answer).query("--no-nonce")
    assert code == 4
    assert re.search(words, told), told


def test_a_nonce_that_doesnt_come_back_is_told(tmp_path: Path) -> None:
    code, told = Asked(tmp_path, http(response())).query()
    assert code == 4
    assert "nonce        the nonce is missing or another's" in told


def test_json_has_all_of_it(tmp_path: Path) -> None:
    answer = response(status=REVOKED)
    code, told = Asked(tmp_path, http(answer)).query("--no-nonce", "--json")
    assert code == 4
    document = json.loads(told)
    assert document["status"] == "revoked"
    assert document["response"] == answer.hex()
    assert set(document["checks"].values()) == {"right"}
    assert document["serial"] == "0x1234"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http(b"<html>", status="502 Bad Gateway", kind="text/html"), "HTTP status 502, and no OCSPResponse"),
        (b"SSH-2.0-x\r\n", "http://127.0.0.1"),
        (http(b"x" * 1_000_001), "an answer of more than 1,000,000 octets"),
    ],
)
def test_what_is_no_responder_is_told(tmp_path: Path, answer: bytes, words: str) -> None:
    code, told = Asked(tmp_path, answer).query()
    assert code == -1
    assert words in told


def test_what_lacks_is_named(tmp_path: Path) -> None:
    leaf = tmp_path / "leaf.der"
    leaf.write_bytes(party("leaf", CA).certificate.public_bytes(serialization.Encoding.DER))
    ca = tmp_path / "ca.pem"
    ca.write_bytes(CA.certificate.public_bytes(PEM) + DELEGATE.certificate.public_bytes(PEM))
    for arguments, words in (
        ([str(leaf)], "the certificate's issuer isn't known: give it with --issuer FILE"),
        ([str(leaf), "--issuer", str(ca)], "names no responder (authorityInfoAccess): give --url URL"),
        ([str(leaf), "--hash", "md5"], "--hash md5: it is one of sha1, sha256, sha384, sha512"),
        ([str(tmp_path / "none.pem")], "none.pem: No such file"),
        ([__file__], "no certificate, neither PEM nor DER"),
        (["host:port"], "host:port: neither a file nor HOST:PORT"),
        ([str(leaf), "--issuer", str(ca), "--url", "http://127.0.0.1:1/"], "http://127.0.0.1:1/"),
    ):
        code, told = run(*arguments)
        assert code == -1
        assert words in told


def test_a_tls_server_shows_its_certificate_and_its_issuer(tmp_path: Path) -> None:
    with Server(http(response())).listening() as (host, port):
        leaf = party("server", CA, serial=SERIAL, responder=f"http://{host}:{port}/")
        context = server_context(tmp_path, leaf, CA)
        with Server(b"", context=context).listening() as (tls_host, tls_port):
            code, told = run(f"{tls_host}:{tls_port}", "--no-nonce")
    assert code == 0, told
    assert "0x1234, CN=server" in told


def server_context(folder: Path, *chain: Party) -> ssl.SSLContext:
    key = chain[0].key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "chain.pem").write_bytes(b"".join(each.certificate.public_bytes(PEM) for each in chain) + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain.pem")
    return context


def test_a_server_alone_is_its_own_issuer_where_it_signed_itself(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_files(tmp_path))
    with Server(b"", context=context).listening() as (host, port):
        code, told = run(f"{host}:{port}")
    assert (code, told) == (-1, "the certificate names no responder (authorityInfoAccess): give --url URL")


@pytest.mark.parametrize(("octets", "field"), [(response(status=REVOKED, nonce=b"n" * 32), RESPONSE)])
def test_the_walk_names_each_field_where_openssl_finds_it(octets: bytes, field: Any, tmp_path: Path) -> None:
    lines = list(explain(octets, field))
    for words in (
        "responseStatus ENUMERATED: successful",
        "SingleResponse",
        "serialNumber INTEGER: 4660",
        "revoked [1]",
        "revocationTime GeneralizedTime: 20",
        "nonce (1.3.6.1.5.5.7.48.1.2)",
        "responderID byKey [2]",
    ):
        assert any(words in line for line in lines), words
    path = tmp_path / "response.der"
    path.write_bytes(octets)
    # openssl looks into the OCTET STRING when it is told where that is.
    inside = next(line for line in lines if "response OCTET STRING" in line).split()[0]
    command = ["openssl", "asn1parse", "-inform", "DER", "-in", str(path), "-strparse", inside]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = {int(line.split(":")[0]) for line in done.stdout.splitlines()}
    begins = int(next(line for line in lines if "BasicOCSPResponse" in line).split()[0])
    ours = {int(line.split()[0]) - begins for line in lines if int(line.split()[0]) >= begins}
    assert ours <= theirs
    assert {each for each in theirs if each < max(ours)} <= ours, "all but the inside of certificates"


def test_the_walk_of_a_request_and_of_what_is_none() -> None:
    builder = ocsp.OCSPRequestBuilder().add_certificate(DELEGATE.certificate, CA.certificate, hashes.SHA256())
    request = builder.add_extension(x509.OCSPNonce(b"x" * 8), False).build().public_bytes(serialization.Encoding.DER)
    told = "\n".join(explain(request, REQUEST))
    for words in ("requestList SEQUENCE", "algorithm OID: SHA-256", "requestExtensions [2]", "extnID OID: nonce"):
        assert words in told
    assert "?" not in told
    assert "no DER" in "\n".join(explain(request[:-1], REQUEST))
    assert list(explain(b"", RESPONSE)) == []
