"""Real caches in front, nginx and Varnish with the configuration that is shipped in deploy/: what is authoritative
comes from them, what isn't never does, nothing is mixed up, and nothing is sent after its end (RFC 9919 §6, I-1)."""

from __future__ import annotations

import base64
import http.client
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from loadtest.common import request_for
from loadtest.first_figures import running_demo
from loadtest.harness.site import free_port
from responder.pki import encode_serial
from tests import der

DEPLOY = Path(__file__).parents[1] / "deploy"
SUCCESSFUL = ocsp.OCSPResponseStatus.SUCCESSFUL
UNAUTHORIZED = ocsp.OCSPResponseStatus.UNAUTHORIZED
TRY_LATER = ocsp.OCSPResponseStatus.TRY_LATER
PER_MINUTE = 600

Connect = Callable[[str], "Client"]


@dataclass(frozen=True)
class Seen:
    """An answer, and whether the cache has given it by itself."""

    body: bytes
    status: int
    headers: dict[str, str]

    @property
    def is_hit(self) -> bool:
        return self.headers.get("x-cache") == "HIT"

    @property
    def ocsp(self) -> ocsp.OCSPResponse:
        return ocsp.load_der_ocsp_response(self.body)


class Client:
    """One connection, on which nothing is spelled otherwise than it was said."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)

    def close(self) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> Seen:
        kind = {} if body is None else {"Content-Type": "application/ocsp-request"}
        self._connection.request(method, path, body, {**kind, **(headers or {})})
        reply = self._connection.getresponse()
        return Seen(reply.read(), reply.status, {name.lower(): value for name, value in reply.getheaders()})

    def get(self, request: bytes, *, escaped: bool = True, headers: dict[str, str] | None = None) -> Seen:
        text = base64.b64encode(request).decode()
        return self.ask("GET", "/ocsp/" + (quote(text, safe="") if escaped else text), headers=headers)

    def post(self, request: bytes, *, headers: dict[str, str] | None = None) -> Seen:
        return self.ask("POST", "/ocsp", request, headers=headers)


@dataclass(frozen=True)
class Origin:
    """The demo behind the cache."""

    demo: dict[str, Any]

    @property
    def ca(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(Path(self.demo["issuers"][0]["certificate"]).read_bytes())

    def good(self) -> list[int]:
        paths = self.demo["issuers"][0]["good"]
        return [x509.load_pem_x509_certificate(Path(path).read_bytes()).serial_number for path in paths]

    def asked(self) -> float:
        """How many OCSP requests it has answered."""
        text = httpx.get(f"{self.demo['admin']}/metrics", trust_env=False).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if "ocsp_requests_total{" in line)

    def register(self, serial_number: int) -> None:
        reply = httpx.post(
            f"{self.demo['admin']}/api/v1/issuers/{self.demo['issuers'][0]['id']}/certificates",
            json={"serial": hex(serial_number)},
            headers={"Authorization": f"Bearer {self.demo['admin_token']}"},
            trust_env=False,
        )
        assert reply.status_code == 201, reply.text

    def run(self, *arguments: str) -> str:
        """A command of its operator."""
        done = subprocess.run(
            [sys.executable, "-m", "responder", *arguments, "-c", f"{self.demo['state_dir']}/certstatus.toml"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with running_demo(certificates=40, environ={"CERTSTATUS_LIMITS_PER_MINUTE": str(PER_MINUTE)}) as demo:
        yield Origin(demo)


def _shipped(name: str, *replacements: tuple[str, str]) -> str:
    """A file of deploy/, on these ports and in these folders."""
    text = (DEPLOY / name).read_text()
    for old, new in replacements:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@contextmanager
def _running(command: list[str], url: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(url, trust_env=False)
                break
            except httpx.TransportError:
                assert process.poll() is None, process.stdout and process.stdout.read().decode()
                assert time.monotonic() < deadline, "it doesn't start"
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


@contextmanager
def _nginx(folder: Path, upstream: str) -> Iterator[str]:
    port = free_port()
    site = _shipped(
        "nginx-cache.conf",
        ("/var/cache/nginx/certstatus", str(folder / "cache")),
        ("127.0.0.1:2560", upstream),
        ("listen 80 reuseport", f"listen 127.0.0.1:{port}"),
    )
    (folder / "site.conf").write_text(site)
    temporary = "".join(
        f"{each}_temp_path {folder}/{each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"{'user root;' if os.getuid() == 0 else ''} daemon off; worker_processes 2; pid {folder}/pid;"
        f"error_log {folder}/error.log; events {{}} http {{ access_log off; {temporary} include {folder}/site.conf; }}"
    )
    with _running(
        [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(folder / "nginx.conf")], f"http://127.0.0.1:{port}"
    ):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _varnish(folder: Path, upstream: str) -> Iterator[str]:
    port, (host, upstream_port) = free_port(), upstream.split(":")
    vcl = _shipped(
        "varnish.vcl", ('.host = "127.0.0.1"', f'.host = "{host}"'), ('.port = "2560"', f'.port = "{upstream_port}"')
    )
    (folder / "site.vcl").write_text(vcl)
    command = [
        shutil.which("varnishd") or "/usr/sbin/varnishd", "-F", "-j", "none", "-n", str(folder / "run"),
        "-a", f"127.0.0.1:{port}", "-f", str(folder / "site.vcl"), "-s", "malloc,32m",
        "-p", "thread_pool_min=5", "-p", "thread_pools=1",
    ]  # fmt: skip
    with _running(command, f"http://127.0.0.1:{port}"):
        yield f"http://127.0.0.1:{port}"


CACHES: dict[str, Callable[[Path, str], AbstractContextManager[str]]] = {"nginx": _nginx, "varnish": _varnish}


@dataclass(frozen=True)
class Cache:
    """One that runs, and the cable between it and the origin."""

    url: str
    cable: list[str]

    @property
    def number(self) -> int:
        """One that no other has."""
        return int(self.cable[-3])

    def plug(self) -> AbstractContextManager[None]:
        """The cable is whole, within it."""
        return _running(self.cable, f"http://127.0.0.1:{self.number}")


@pytest.fixture(scope="module", params=CACHES)
def unplugged(
    request: pytest.FixtureRequest, origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cache]:
    parts, port = urlsplit(origin.demo["http"]), free_port()
    cable = [sys.executable, "-m", "tests.cable", str(port), parts.hostname or "", str(parts.port)]
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        with Cache("", cable).plug():
            url = stack.enter_context(CACHES[request.param](folder, f"127.0.0.1:{port}"))
        yield Cache(url, cable)


@pytest.fixture
def cache(unplugged: Cache) -> Iterator[Cache]:
    with unplugged.plug():
        yield unplugged


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connections, closed at the end."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(closing(Client(url)))


def eventually(what: str, holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def test_what_is_authoritative_is_answered_by_the_cache_alone(cache: Cache, origin: Origin, connect: Connect) -> None:
    client, request = connect(cache.url), request_for(origin.ca, origin.good()[0])
    first = client.get(request)
    assert (first.is_hit, first.ocsp.certificate_status) == (False, ocsp.OCSPCertStatus.GOOD)
    before = origin.asked()
    for _ in range(20):
        again = client.get(request)
        assert (again.is_hit, again.body) == (True, first.body)
        assert again.headers["etag"] == first.headers["etag"]
        assert "max-age=" in again.headers["cache-control"]
    unchanged = client.get(request, headers={"If-None-Match": first.headers["etag"]})
    assert (unchanged.status, unchanged.body) == (304, b"")
    assert client.ask("HEAD", "/ocsp/" + quote(base64.b64encode(request).decode(), safe="")).status == 200
    assert origin.asked() == before, "nobody has asked the origin"


def test_every_spelling_of_a_request_comes_through(cache: Cache, origin: Origin, connect: Connect) -> None:
    """Base64 with slashes, two in a row as well, is neither decoded nor merged."""
    client = connect(cache.url)
    made = [request_for(origin.ca, number) for number in range(0x40_0000, 0x40_4000)]
    with_two = next(each for each in made if b"//" in base64.b64encode(each))
    assert client.get(with_two, escaped=False).ocsp.response_status is UNAUTHORIZED
    for number in origin.good()[:5]:
        for escaped in (False, True):
            answer = client.get(request_for(origin.ca, number), escaped=escaped)
            assert answer.ocsp.serial_number == number


def test_of_posts_for_several_each_gets_its_own(cache: Cache, origin: Origin, connect: Connect) -> None:
    """Let's Encrypt, 2019: a cache answered POSTs that had waited for 100 Continue with another's answer."""
    numbers = origin.good()[:3]
    clients = [connect(cache.url), connect(cache.url)]
    for turn in range(120):
        number, client = numbers[turn % 3], clients[turn % 2]
        request = request_for(origin.ca, number)
        if turn % 4 == 3:
            answer = client.get(request)
        else:
            answer = client.post(request, headers={"Expect": "100-continue"} if turn % 2 else None)
            assert not answer.is_hit
        assert answer.ocsp.serial_number == number, turn


def test_unauthorized_is_never_kept(cache: Cache, origin: Origin, connect: Connect) -> None:
    """A certificate that is issued a moment later is answered for at once."""
    number = 0x7000_0000 + cache.number
    client, request = connect(cache.url), request_for(origin.ca, number)
    for _ in range(3):
        answer = client.get(request)
        assert (answer.ocsp.response_status, answer.is_hit) == (UNAUTHORIZED, False)
        assert "no-store" in answer.headers["cache-control"]
    origin.register(number)
    assert client.get(request).ocsp.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert client.get(request).is_hit


def test_a_crl_is_kept_too(cache: Cache, origin: Origin, connect: Connect) -> None:
    client, path = connect(cache.url), urlsplit(origin.demo["issuers"][0]["crl"]).path
    first = client.ask("GET", path)
    assert x509.load_der_x509_crl(first.body).is_signature_valid(origin.ca.public_key())  # type: ignore[arg-type]
    again = client.ask("GET", path)
    assert (again.is_hit, again.body) == (True, first.body)
    assert client.ask("GET", path, headers={"If-None-Match": first.headers["etag"]}).status == 304
    assert client.ask("GET", "/crl/nobody.crl").status == 404
    assert not client.ask("GET", "/crl/nobody.crl").is_hit


def test_what_has_ended_is_never_sent(unplugged: Cache, origin: Origin, connect: Connect) -> None:
    """max-age ends long before nextUpdate does; after it a cache has nothing to say when it can't ask."""
    name = origin.demo["issuers"][0]["id"]
    origin.run("issuer", "set", name, "max_age_seconds=2")
    client, request = connect(unplugged.url), request_for(origin.ca, origin.good()[7])
    with unplugged.plug():
        eventually("that is what it says", lambda: "max-age=2" in client.post(request).headers["cache-control"])
        assert client.get(request).ocsp.response_status is SUCCESSFUL
        kept = time.monotonic()
        assert client.get(request).is_hit
    is_cut = False
    while time.monotonic() < kept + 7:
        asked = time.monotonic()
        answer = client.get(request)
        if answer.status == 200:
            assert answer.is_hit
            assert asked < kept + 3, "it has ended a second ago"
        else:
            is_cut = True
            assert answer.status in (502, 503, 504)
        time.sleep(0.2)
    assert is_cut
    origin.run("issuer", "set", name, "max_age_seconds=3600")


def test_try_later_is_never_kept(cache: Cache, origin: Origin, connect: Connect) -> None:
    """What costs more than this client may cost, which is the cache as well: two certificates at once."""
    single = ocsp.load_der_ocsp_request(request_for(origin.ca, 5))
    hashed = {"name_hash": single.issuer_name_hash, "key_hash": single.issuer_key_hash}
    numbers = origin.good()[:2]
    request = der.request(*(der.cert_id("sha1", serial=encode_serial(number), **hashed) for number in numbers))
    direct, client = connect(origin.demo["http"]), connect(cache.url)
    for _ in range(PER_MINUTE):
        if direct.get(request).ocsp.response_status is TRY_LATER:
            break
    answer = client.get(request)
    assert (answer.ocsp.response_status, answer.is_hit) == (TRY_LATER, False)
    eventually("it is asked again", lambda: client.get(request).ocsp.response_status is SUCCESSFUL)
    time.sleep(2)  # and so much is there again for the next cache
