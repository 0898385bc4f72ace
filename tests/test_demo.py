"""The demo as its users meet it: started as a program, judged by other people's programs."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from typer.testing import CliRunner

from responder.__main__ import app
from responder.demo.checks import ask_openssl

pytestmark = pytest.mark.server

START_SECONDS = 120.0


def wait_for(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still waiting for {what}"
        time.sleep(0.05)


@dataclass
class Demo:
    """A running demo and what its demo.json says."""

    process: subprocess.Popen[str]
    directory: Path
    said: dict[str, Any]

    @property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.said["http"], trust_env=False)

    def issuer(self, issuer_id: str) -> dict[str, Any]:
        return next(issuer for issuer in self.said["issuers"] if issuer["id"] == issuer_id)

    def admin(self, method: str, path: str, *, token: str | None = None, **options: Any) -> httpx.Response:
        return httpx.request(
            method,
            self.said["admin"] + path,
            headers={"Authorization": f"Bearer {token or self.said['admin_token']}"},
            trust_env=False,
            timeout=20,
            **options,
        )

    def revoke(self, issuer_id: str, path: str, reason: str, **more: Any) -> httpx.Response:
        body = {"serial": hex(certificate(path).serial_number), "reason": reason, **more}
        return self.admin("POST", f"/api/v1/issuers/{issuer_id}/revocations", json=body)

    def metric(self, name: str) -> float:
        text = self.admin("GET", "/metrics").text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}(\{{| )", line))


def certificate(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


def start(directory: Path, *options: str) -> Demo:
    with (directory.parent / "demo-stderr").open("a") as stderr:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "responder",
                "demo",
                "--state-dir",
                str(directory),
                "--http",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--certificates",
                "60",
                "--workers",
                "2",
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    announcement = directory / "demo.json"

    def is_announced() -> bool:
        # One that a killed demo left behind is of another process.
        return announcement.exists() and bool(json.loads(announcement.read_text())["pid"] == process.pid)

    wait_for(lambda: process.poll() is not None or is_announced(), "demo.json")
    assert process.poll() is None, (directory.parent / "demo-stderr").read_text()
    return Demo(process, directory, json.loads(announcement.read_text()))


def stop(demo: Demo) -> int:
    demo.process.send_signal(signal.SIGTERM)
    try:
        return demo.process.wait(timeout=40)
    finally:
        if demo.process.poll() is None:
            demo.process.kill()
        demo.process.communicate()


def processes_mentioning(text: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if (text.encode() in command or text.encode() in environment) and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = start(tmp_path_factory.mktemp("demo") / "state")
    yield running
    assert stop(running) == 0


ISSUERS = ["demo-ec", "demo-rsa"]
KINDS = {"good": "good", "revoked": "revoked", "held": "revoked", "unissued": "unauthorized"}


def der_request(
    demo: Demo,
    path: str,
    issuer_id: str,
    algorithm: hashes.HashAlgorithm | None = None,
    nonce: bytes | None = None,
) -> bytes:
    issuer = certificate(demo.issuer(issuer_id)["certificate"])
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate(path), issuer, algorithm or hashes.SHA1())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    from cryptography.hazmat.primitives.serialization import Encoding

    return builder.build().public_bytes(Encoding.DER)


def post(demo: Demo, der: bytes, path: str = "/ocsp") -> httpx.Response:
    with demo.client as client:
        return client.post(path, content=der, headers={"Content-Type": "application/ocsp-request"})


def read(response: httpx.Response) -> ocsp.OCSPResponse:
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/ocsp-response"
    return ocsp.load_der_ocsp_response(response.content)


def verify(response: ocsp.OCSPResponse, issuer_path: str) -> None:
    (delegate,) = response.certificates
    delegate.verify_directly_issued_by(certificate(issuer_path))
    key: Any = delegate.public_key()
    algorithm: Any = response.signature_hash_algorithm
    if hasattr(key, "curve"):
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

        key.verify(response.signature, response.tbs_response_bytes, ECDSA(algorithm))
    else:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

        key.verify(response.signature, response.tbs_response_bytes, PKCS1v15(), algorithm)


@pytest.mark.parametrize(("kind", "code"), [("good", 0), ("revoked", 4), ("held", 4), ("unissued", 4)])
def test_query_finds_everything_right_and_says_what_it_is(demo: Demo, kind: str, code: int) -> None:
    issuer = demo.issuer("demo-rsa")
    done = CliRunner().invoke(app, ["query", issuer[kind][0], "--issuer", issuer["certificate"], "--json"])
    assert done.exit_code == code
    told = json.loads(done.output)
    assert told["status"] == {"good": "good", "unissued": "unauthorized"}.get(kind, "revoked")
    assert set(told["checks"].values()) <= {"right"}
    assert ("nonce" in told["checks"]) == (kind != "unissued")


@pytest.mark.parametrize("options", [(), ("-no_nonce",), ("-sha256",), ("-sha256", "-no_nonce")], ids=" ".join)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("issuer_id", ISSUERS)
def test_openssl_gets_the_right_status(demo: Demo, issuer_id: str, kind: str, options: tuple[str, ...]) -> None:
    issuer = demo.issuer(issuer_id)
    # The first good ones are revoked by other tests.
    path = issuer[kind][-1]
    assert ask_openssl(path, issuer["certificate"], issuer["ocsp"], *options) == KINDS[kind]


@pytest.mark.parametrize("kind", ["good", "revoked"])
@pytest.mark.parametrize("nonce", ["--no-nonce", "--nonce"])
@pytest.mark.parametrize("issuer_id", ISSUERS)
def test_ocsptool_gets_the_right_status(demo: Demo, issuer_id: str, kind: str, nonce: str) -> None:
    issuer = demo.issuer(issuer_id)
    done = subprocess.run(
        [
            "ocsptool",
            f"--ask={issuer['ocsp']}",
            f"--load-issuer={issuer['certificate']}",
            f"--load-cert={issuer[kind][-1]}",
            f"--load-trust={issuer['certificate']}",
            nonce,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "Verifying OCSP Response: Success" in output
    assert f"Certificate Status: {kind}" in output


@pytest.mark.parametrize(
    "algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()], ids=lambda h: h.name
)
@pytest.mark.parametrize("kind", ["good", "revoked", "held"])
@pytest.mark.parametrize("issuer_id", ISSUERS)
def test_pyca_reads_and_verifies_every_kind_of_answer(
    demo: Demo, issuer_id: str, kind: str, algorithm: hashes.HashAlgorithm
) -> None:
    issuer = demo.issuer(issuer_id)
    path = issuer[kind][-1]
    response = read(post(demo, der_request(demo, path, issuer_id, algorithm)))
    verify(response, issuer["certificate"])
    assert response.certificate_status.name == KINDS[kind].upper()
    assert response.serial_number == certificate(path).serial_number
    assert response.hash_algorithm.name == algorithm.name
    assert response.responder_key_hash is not None
    assert response.next_update_utc is not None
    if kind == "held":
        assert response.revocation_reason is x509.ReasonFlags.certificate_hold


@pytest.mark.parametrize("size", [1, 16, 32, 128])
def test_a_nonce_comes_back_unchanged_and_is_never_cached(demo: Demo, size: int) -> None:
    nonce = os.urandom(size)
    answer = post(demo, der_request(demo, demo.issuer("demo-ec")["good"][-1], "demo-ec", nonce=nonce))
    response = read(answer)
    assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
    assert answer.headers["cache-control"] == "no-store"


def test_a_nonce_that_is_too_long_is_malformed(demo: Demo) -> None:
    answer = post(demo, der_request(demo, demo.issuer("demo-ec")["good"][-1], "demo-ec", nonce=bytes(129)))
    assert read(answer).response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_get_in_every_spelling_gets_the_bytes_of_post(demo: Demo) -> None:
    der = der_request(demo, demo.issuer("demo-ec")["good"][-1], "demo-ec")
    expected = post(demo, der).content
    text = base64.b64encode(der).decode()
    escaped = urllib.parse.quote(text, safe="")
    spellings = [
        f"/ocsp/{escaped}",
        f"/ocsp/{text}",
        f"/{escaped}",
        f"//{text}",
        f"/ocsp//{text}",
        f"/ocsp/{re.sub('%[0-9A-F]{2}', lambda escape: escape[0].lower(), escaped)}",
        f"/ocsp/{text.rstrip('=')}",
        f"/ocsp/{text.replace('+', '-').replace('/', '_')}",
        f"/ocsp/{text.replace('+', '%20')}",
        f"/ocsp/{escaped}?x=1",
        f"/.well-known/pki/ocsp/{escaped}",
    ]
    for spelling in spellings:
        answer = raw_get(demo, spelling)
        assert answer[0].startswith(b"HTTP/1.1 200"), spelling
        assert answer[1] == expected, spelling
    twice = urllib.parse.quote(escaped, safe="")
    assert raw_get(demo, f"/ocsp/{twice}")[1] in {expected, b"\x30\x03\x0a\x01\x01"}


def raw_get(demo: Demo, target: str, *headers: str, method: str = "GET") -> tuple[bytes, bytes]:
    """Head and body of one request whose target is sent as it is."""
    url = urllib.parse.urlsplit(demo.said["http"])
    lines = [f"{method} {target} HTTP/1.1", f"Host: {url.netloc}", "Connection: close", *headers, "", ""]
    return raw(demo, "\r\n".join(lines).encode())


def raw(demo: Demo, request: bytes) -> tuple[bytes, bytes]:
    async def talk() -> bytes:
        url = urllib.parse.urlsplit(demo.said["http"])
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(request)
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    head, _, body = asyncio.run(talk()).partition(b"\r\n\r\n")
    return head, body


def test_a_serial_in_hex_is_answered_for_people_with_curl(demo: Demo) -> None:
    issuer = demo.issuer("demo-rsa")
    for kind in ("good", "revoked"):
        path = issuer[kind][-1]
        with demo.client as client:
            answer = client.get(f"/.well-known/pki/ocsp/demo-rsa/{certificate(path).serial_number:x}")
        assert read(answer).certificate_status.name == kind.upper()


MALFORMED = {
    "nothing": b"",
    "text": b"hello",
    "half a request": b"\x30\x44\x30\x42",
    "a response": bytes.fromhex("30030a0100"),
    "16 KiB of zeros": bytes(16_384),
    "100 KiB": bytes(100_000),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_bodies_get_exactly_five_octets(demo: Demo, case: str) -> None:
    answer = post(demo, MALFORMED[case])
    assert answer.status_code == 200
    assert answer.content == b"\x30\x03\x0a\x01\x01"
    assert answer.headers["content-type"] == "application/ocsp-response"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "target",
    ["/ocsp", "/ocsp/", "/ocsp/%ZZ", "/ocsp/favicon.ico", "/ocsp/%00", "/ocsp/M%", "/.well-known/pki/ocsp/",
     "/MFkwVzBVMFMwUTAJBgUrDgMCGgUABBT", "/any/url/MFkwVzBVMFMwUTAJBgUrDgMCGgUABBT", "/ocsp/" + "M" * 9000],
)  # fmt: skip
def test_malformed_targets_get_exactly_five_octets(demo: Demo, target: str) -> None:
    head, body = raw_get(demo, target)
    assert head.startswith(b"HTTP/1.1 200"), head
    assert body == b"\x30\x03\x0a\x01\x01"


@pytest.mark.parametrize("target", ["/favicon.ico", "/%ZZ", "/==M", "/ocspx", "/robots.txt", "/api/v1/issuers", "/M"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_path_of_nothing_is_404(demo: Demo, target: str, method: str) -> None:
    head, _ = raw_get(demo, target, "Content-Length: 0", method=method)
    assert head.startswith(b"HTTP/1.1 404"), head
    assert b"cache-control: no-store" in head.lower()


@pytest.mark.parametrize(
    "url", ["/ejbca/publicweb/status/ocsp", "/OCSP", "/OCSP/VCA5", "/retry/ocsp.example.com/ocsp", "/v1/pki/ocsp", "/M"]
)
def test_the_urls_that_are_in_certificates_already_are_answered(demo: Demo, url: str) -> None:
    der = der_request(demo, demo.issuer("demo-ec")["good"][-1], "demo-ec")
    with demo.client as client:
        posted = client.post(url, content=der)
        malformed = client.post(url, content=b"junk", headers={"Content-Type": "application/ocsp-request"})
    assert read(posted).response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    assert malformed.content == b"\x30\x03\x0a\x01\x01"
    text = base64.b64encode(der).decode()
    for spelling in (urllib.parse.quote(text, safe=""), text, base64.urlsafe_b64encode(der).decode().rstrip("=")):
        assert raw_get(demo, f"{url}/{spelling}")[1] == posted.content


def test_trailing_bytes_are_malformed(demo: Demo) -> None:
    der = der_request(demo, demo.issuer("demo-ec")["good"][-1], "demo-ec")
    assert post(demo, der + b"\x00").content == b"\x30\x03\x0a\x01\x01"


def test_an_issuer_that_is_not_ours_is_unauthorized(demo: Demo) -> None:
    issuer = certificate(demo.issuer("demo-ec")["certificate"])
    request = (
        ocsp.OCSPRequestBuilder()
        .add_certificate_by_hash(bytes(20), bytes(20), issuer.serial_number, hashes.SHA1())
        .build()
    )
    from cryptography.hazmat.primitives.serialization import Encoding

    answer = post(demo, request.public_bytes(Encoding.DER))
    assert answer.content == b"\x30\x03\x0a\x01\x06"
    assert answer.headers["cache-control"] == "no-store"


def test_an_authoritative_answer_says_how_long_it_may_be_cached(demo: Demo) -> None:
    der = der_request(demo, demo.issuer("demo-ec")["good"][-1], "demo-ec")
    target = f"/ocsp/{urllib.parse.quote(base64.b64encode(der).decode(), safe='')}"
    with demo.client as client:
        answer = client.get(target)
        cache_control = answer.headers["cache-control"]
        assert re.fullmatch(r"max-age=(\d+),public,no-transform,must-revalidate", cache_control)
        assert 0 < int(cache_control.split("=")[1].split(",")[0]) <= 3600
        etag = answer.headers["etag"]
        for candidate in (etag, f'"other", {etag}', f"W/{etag}", "*"):
            again = client.get(target, headers={"If-None-Match": candidate})
            assert again.status_code == 304
            assert again.content == b""
            assert again.headers["etag"] == etag
        assert client.get(target, headers={"If-None-Match": '"other"'}).status_code == 200
        assert client.get(target, headers={"If-Modified-Since": answer.headers["last-modified"]}).status_code == 304
        head = client.head(target)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == answer.headers["content-length"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/ocsp", "/crl/demo-ec.crl"])
def test_other_methods_are_405_with_allow(demo: Demo, method: str, path: str) -> None:
    with demo.client as client:
        answer = client.request(method, path)
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


def test_http_1_0_without_host_is_answered_and_closed(demo: Demo) -> None:
    der = der_request(demo, demo.issuer("demo-ec")["good"][-1], "demo-ec")
    head, body = raw(demo, b"POST /ocsp HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(der) + der)
    assert b" 200" in head.split(b"\r\n")[0]
    assert b"transfer-encoding" not in head.lower()
    assert body == post(demo, der).content


@pytest.mark.parametrize("issuer_id", ISSUERS)
def test_the_crl_verifies_and_lists_what_is_revoked(demo: Demo, issuer_id: str, tmp_path: Path) -> None:
    issuer = demo.issuer(issuer_id)
    with demo.client as client:
        answer = client.get(f"/crl/{issuer_id}.crl")
        assert answer.headers["content-type"] == "application/pkix-crl"
        assert client.get(f"/crl/{issuer_id}.crl", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
        assert client.get(f"/.well-known/pki/crl/{issuer_id}").content == answer.content
        assert client.head(f"/crl/{issuer_id}.crl").headers["content-length"] == str(len(answer.content))
        assert client.get("/crl/nobody.crl").status_code == 404
    file = tmp_path / "crl.der"
    file.write_bytes(answer.content)
    done = subprocess.run(
        ["openssl", "crl", "-inform", "DER", "-in", str(file), "-CAfile", issuer["certificate"], "-noout"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "verify OK" in done.stdout + done.stderr
    crl = x509.load_der_x509_crl(answer.content)
    listed = {entry.serial_number for entry in crl}
    for kind in ("revoked", "held"):
        assert {certificate(path).serial_number for path in issuer[kind]} <= listed
    assert certificate(issuer["good"][-1]).serial_number not in listed


@pytest.mark.parametrize("issuer_id", ISSUERS)
def test_after_200_every_answer_is_revoked(demo: Demo, issuer_id: str) -> None:
    issuer = demo.issuer(issuer_id)
    path = issuer["good"][0]
    request = der_request(demo, path, issuer_id)
    assert read(post(demo, request)).certificate_status is ocsp.OCSPCertStatus.GOOD
    answer = demo.revoke(issuer_id, path, "superseded")
    assert answer.status_code == 200, answer.text
    assert answer.json()["certain"] is True
    # New connections, so that every worker is asked.
    for _ in range(20):
        assert read(post(demo, request)).certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert ask_openssl(path, issuer["certificate"], issuer["ocsp"]) == "revoked"
    again = demo.revoke(issuer_id, path, "superseded")
    assert again.status_code == 200
    assert again.json()["version"] == answer.json()["version"]
    assert demo.revoke(issuer_id, path, "affiliationChanged").status_code == 409
    upgraded = demo.revoke(issuer_id, path, "keyCompromise")
    assert upgraded.status_code == 200
    assert read(post(demo, request)).revocation_reason is x509.ReasonFlags.key_compromise
    assert upgraded.json()["version"]["number"] > answer.json()["version"]["number"]
    wait_for(lambda: is_listed(demo, issuer_id, path), "the serial on the CRL")


def is_listed(demo: Demo, issuer_id: str, path: str) -> bool:
    with demo.client as client:
        crl = x509.load_der_x509_crl(client.get(f"/crl/{issuer_id}.crl").content)
    return crl.get_revoked_certificate_by_serial_number(certificate(path).serial_number) is not None


def test_hold_and_release(demo: Demo) -> None:
    path = demo.issuer("demo-ec")["good"][1]
    request = der_request(demo, path, "demo-ec")
    assert demo.revoke("demo-ec", path, "certificateHold").status_code == 200
    assert read(post(demo, request)).revocation_reason is x509.ReasonFlags.certificate_hold
    wait_for(lambda: is_listed(demo, "demo-ec", path), "the held serial on the CRL")
    released = demo.revoke("demo-ec", path, "removeFromCRL")
    assert (released.status_code, released.json()["status"]) == (200, "good")
    assert read(post(demo, request)).certificate_status is ocsp.OCSPCertStatus.GOOD
    wait_for(lambda: not is_listed(demo, "demo-ec", path), "the released serial gone from the CRL")


BAD_REVOCATIONS: dict[str, tuple[Any, int, str]] = {
    "no serial": ({"reason": "superseded"}, 422, "serial"),
    "a decimal serial": ({"serial": 4711, "reason": "superseded"}, 422, "hexadecimal"),
    "an unknown reason": ({"serial": "0x1", "reason": "bored"}, 422, "keyCompromise"),
    "an unknown field": ({"serial": "0x1", "why": "x"}, 422, "why"),
    "a date without an offset": ({"serial": "0x1", "revoked_at": "2026-01-01"}, 422, "offset"),
    "a future date": ({"serial": "GOOD", "revoked_at": "2999-01-01T00:00:00Z"}, 422, "later than now"),
    "a list": ([], 422, "object"),
    "a serial never issued": ({"serial": "0x1", "reason": "superseded"}, 404, "0x1"),
}


@pytest.mark.parametrize("case", BAD_REVOCATIONS)
def test_a_bad_revocation_is_a_problem_document_with_a_remedy(demo: Demo, case: str) -> None:
    body, status, word = BAD_REVOCATIONS[case]
    if isinstance(body, dict) and body.get("serial") == "GOOD":
        body = {**body, "serial": hex(certificate(demo.issuer("demo-ec")["good"][-1]).serial_number)}
    answer = demo.admin("POST", "/api/v1/issuers/demo-ec/revocations", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert word in answer.json()["detail"]


def test_the_admin_api_needs_its_token_and_a_known_issuer(demo: Demo) -> None:
    path = "/api/v1/issuers/demo-ec/revocations"
    for token in ("wrong", demo.said["admin_token"][:-1]):
        refused = demo.admin("POST", path, token=token, json={})
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
    missing = demo.admin("POST", "/api/v1/issuers/nobody/revocations", json={})
    assert missing.status_code == 404
    assert "demo-ec" in missing.json()["detail"]


def test_health_and_metrics_move_and_are_summed_over_the_workers(demo: Demo) -> None:
    assert demo.admin("GET", "/livez").text == "ok\n"
    ready = demo.admin("GET", "/readyz")
    assert ready.status_code == 200, ready.text
    assert ready.json()["ready"] is True
    assert set(ready.json()["checks"]) == {
        "postgres",
        "redis",
        "signers",
        "crls",
        "offline",
        "workers",
        "clock",
        "lease",
    }
    before = demo.metric("ocsp_requests_total")
    der = der_request(demo, demo.issuer("demo-ec")["good"][-1], "demo-ec")
    for _ in range(30):  # on new connections, so that both workers count
        post(demo, der)
    assert demo.metric("ocsp_requests_total") == before + 30
    assert demo.metric("crl_next_update_seconds") > 0


def test_private_files_are_private(demo: Demo) -> None:
    private = [demo.directory / "demo.json", demo.directory / "admin-token", *demo.directory.glob("keys/**/*.pem")]
    assert len(private) == 6
    assert {oct(path.stat().st_mode & 0o777) for path in private} == {"0o600"}


def test_a_directory_in_use_is_refused(demo: Demo) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "responder", "demo", "--state-dir", str(demo.directory)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "in use" in done.stderr
    assert "--state-dir" in done.stderr
    assert (demo.directory / "demo.json").exists(), "the running demo's announcement stays"


def test_the_command_line_revokes_by_the_same_path(demo: Demo) -> None:
    path = demo.issuer("demo-rsa")["good"][1]
    command = [sys.executable, "-m", "responder", "revoke", "-c", str(demo.directory / "certstatus.toml")]
    done = subprocess.run(
        [*command, "--issuer", "demo-rsa", "--certificate", path, "--reason", "superseded", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "revoked"
    response = read(post(demo, der_request(demo, path, "demo-rsa")))
    assert response.certificate_status is ocsp.OCSPCertStatus.REVOKED


def test_a_killed_worker_is_replaced(demo: Demo) -> None:
    restarts = demo.metric("process_restarts_total")
    der = der_request(demo, demo.issuer("demo-ec")["good"][-1], "demo-ec")
    workers = children_of(demo.process.pid)
    named = [pid for pid in workers if Path(f"/proc/{pid}/comm").read_text().strip().startswith("serve")] or workers[:1]
    os.kill(named[0], signal.SIGKILL)
    wait_for(lambda: named[0] not in children_of(demo.process.pid), "the killed worker gone")
    for _ in range(10):
        assert read(post(demo, der)).certificate_status is ocsp.OCSPCertStatus.GOOD
    assert demo.metric("process_restarts_total") == restarts + 1, "the supervisor's counts are exported, too"


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def test_once_checks_itself_and_a_second_start_has_the_same_data_and_a_kill_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    command = [sys.executable, "-m", "responder", "demo", "--state-dir", str(directory), "--http", "127.0.0.1:0"]
    command += ["--admin", "127.0.0.1:0", "--certificates", "40", "--workers", "1"]
    done = subprocess.run([*command, "--once", "--json"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert len(checks) >= 12
    assert all(check["ok"] for check in checks)
    assert not (directory / "demo.json").exists()
    assert processes_mentioning(str(directory)) == []
    first = sorted(path.name for path in directory.glob("issuers/*/certificates/*"))
    assert len(first) == 40

    running = start(directory)
    revoked = [path for issuer in running.said["issuers"] for path in issuer["revoked"]]
    assert sorted(path.name for path in directory.glob("issuers/*/certificates/*")) == first
    assert len(revoked) == 12, "10 from the start, 2 that --once revoked"
    issuer = running.issuer("demo-ec")
    for path in issuer["revoked"]:
        assert ask_openssl(path, issuer["certificate"], issuer["ocsp"]) == "revoked"
    assert processes_mentioning(str(directory)) != []
    running.process.kill()
    running.process.communicate()
    wait_for(lambda: processes_mentioning(str(directory)) == [], "every process gone after SIGKILL", 30)

    again = start(directory)
    assert stop(again) == 0
    assert processes_mentioning(str(directory)) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_starting_ends_with_0_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    directory = tmp_path / "state"
    command = [sys.executable, "-m", "responder", "demo", "--state-dir", str(directory), "--http", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "--admin", "127.0.0.1:0"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    wait_for(lambda: (directory / "postgres" / "postmaster.pid").exists(), "postgres starting")
    process.send_signal(number)
    assert process.wait(timeout=60) == 0
    assert processes_mentioning(str(directory)) == []


def test_too_few_certificates_are_refused_with_the_number_needed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "responder", "demo", "--state-dir", str(tmp_path / "x"), "--certificates", "3"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "40" in done.stderr
