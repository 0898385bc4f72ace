"""CAs whose answers are made elsewhere: `openssl ocsp` signs them, we give them as they came."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

from tests.commandline import CA, Site, make_ca, open_migrated_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_migrated_site(tmp_path_factory.mktemp("site")) as opened:
        yield opened


@pytest.fixture(scope="module")
def root(site: Site, tmp_path_factory: pytest.TempPathFactory) -> CA:
    """An offline root of P-384, and two certificates of it."""
    made = make_ca(tmp_path_factory.mktemp("root"), ("ec", "-pkeyopt", "ec_paramgen_curve:P-384"))
    for name in ("one", "two"):
        made.issue(name)
    text = site.succeed("issuer", "add", "--id", "root", "--certificate", made.certificate, "--offline")
    assert "offline: nothing is signed for it here" in text
    assert "2 added" in site.succeed("import", "openssl-index", str(made.folder / "index.txt"), "--issuer", "root")
    return made


@pytest.fixture(scope="module")
def running(site: Site, root: CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """After a first day at the root."""
    with site.running():
        assert status_of(post(site, request(root, "one", hashes.SHA1()))) == "UNAUTHORIZED"
        made = hold_root_day(site, root, tmp_path_factory.mktemp("day"))
        assert site.succeed("import", "ocsp-response", *map(str, made)) == "issuer root: 4 answers taken\n"
        for name in ("one", "two"):
            asked = request(root, name, hashes.SHA1())
            eventually(lambda asked=asked: status_of(post(site, asked)), "GOOD")  # type: ignore[misc]
        yield site


def serial_of(root: CA, name: str) -> int:
    return x509.load_pem_x509_certificate((root.folder / f"{name}.pem").read_bytes()).serial_number


def request(root: CA, name: str, algorithm: hashes.HashAlgorithm, nonce: bytes | None = None) -> bytes:
    ca = x509.load_pem_x509_certificate(Path(root.certificate).read_bytes())
    leaf = x509.load_pem_x509_certificate((root.folder / f"{name}.pem").read_bytes())
    builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, ca, algorithm)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(serialization.Encoding.DER)


def post(site: Site, octets: bytes) -> httpx.Response:
    return httpx.post(
        f"{site.url}/ocsp", content=octets, headers={"Content-Type": "application/ocsp-request"}, trust_env=False
    )


def get(site: Site, octets: bytes, **headers: str) -> httpx.Response:
    path = base64.b64encode(octets).decode().replace("/", "%2F").replace("+", "%2B").replace("=", "%3D")
    return httpx.get(f"{site.url}/ocsp/{path}", headers=headers, trust_env=False)


def status_of(answer: httpx.Response) -> str:
    read = ocsp.load_der_ocsp_response(answer.content)
    if read.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return read.response_status.name
    return read.certificate_status.name


def eventually(said: Callable[[], object], wanted: object) -> None:
    deadline = time.monotonic() + 20
    while (now := said()) != wanted:
        assert time.monotonic() < deadline, now
        time.sleep(0.1)


def hold_root_day(site: Site, root: CA, folder: Path, *options: str, **variables: str) -> list[Path]:
    """What the offline CA's people do with what is printed."""
    (folder / "day.sh").write_text(site.succeed("root-day", "--issuer", "root", *options))
    subprocess.run(
        ["sh", "day.sh"], cwd=folder, timeout=60, check=True, capture_output=True,
        env={**os.environ, "CA": root.certificate, "KEY": str(root.folder / "ca.key"), "OUT": "out", **variables},
    )  # fmt: skip
    return sorted((folder / "out").glob("*.der"))


def make_answer(root: CA, target: Path, serial: int, *options: str, hash_name: str = "sha1") -> Path:
    """By `openssl ocsp`, from the CA's own index."""
    subprocess.run(
        ["openssl", "ocsp", "-index", str(root.folder / "index.txt"), "-CA", root.certificate, "-issuer",
         root.certificate, f"-{hash_name}", "-serial", hex(serial), "-no_nonce", "-rsigner", root.certificate,
         "-rkey", str(root.folder / "ca.key"), "-rmd", "sha384", "-ndays", "9", "-respout", str(target), *options],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return target


def test_root_day_makes_answers_that_are_given_as_they_are(running: Site, root: CA, tmp_path: Path) -> None:
    made = hold_root_day(running, root, tmp_path)
    one, two = serial_of(root, "one"), serial_of(root, "two")
    assert [each.name for each in made] == sorted(f"{n:#x}-{h}.der" for n in (one, two) for h in ("sha1", "sha256"))
    assert running.succeed("import", "ocsp-response", *map(str, made)) == "issuer root: 4 answers taken\n"
    for algorithm, name in ((hashes.SHA1(), "sha1"), (hashes.SHA256(), "sha256")):
        octets = (tmp_path / "out" / f"{one:#x}-{name}.der").read_bytes()
        asked = request(root, "one", algorithm)
        eventually(lambda asked=asked: get(running, asked).content, octets)  # type: ignore[misc]
        assert post(running, asked).content == octets
        assert post(running, request(root, "one", algorithm, nonce=b"n" * 16)).content == octets
    # Others' clients believe it.
    done = subprocess.run(
        ["openssl", "ocsp", "-issuer", root.certificate, "-CAfile", root.certificate, "-no_nonce", "-cert",
         str(root.folder / "two.pem"), "-url", f"{running.url}/ocsp"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert "two.pem: good" in done.stdout
    assert "Response verify OK" in done.stderr


def test_headers_let_caches_keep_no_answer_longer_than_we_do(running: Site, root: CA) -> None:
    asked = request(root, "one", hashes.SHA256())
    first = get(running, asked)
    read = ocsp.load_der_ocsp_response(first.content)
    modified = datetime.strptime(first.headers["Last-Modified"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    expires = datetime.strptime(first.headers["Expires"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert modified == read.this_update_utc
    assert read.next_update_utc is not None
    assert read.next_update_utc - read.this_update_utc == timedelta(days=90)
    assert expires - datetime.now(UTC) <= timedelta(days=4)
    again = get(running, asked, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = get(running, request(root, "one", hashes.SHA1()))
    assert other.headers["ETag"] != first.headers["ETag"]


def test_what_was_not_made_is_not_answered(running: Site, root: CA) -> None:
    """Another hash, several certificates, a serial that was never issued."""
    assert status_of(post(running, request(root, "one", hashes.SHA384()))) == "UNAUTHORIZED"
    for which in (["-cert", "one.pem", "-cert", "two.pem"], ["-serial", "0xdeadbeef0001"]):
        done = subprocess.run(
            ["openssl", "ocsp", "-issuer", root.certificate, *which, "-url", f"{running.url}/ocsp"],
            cwd=root.folder, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert "Responder Error: unauthorized (6)" in done.stdout


def test_revoked_here_is_good_nowhere(running: Site, root: CA, tmp_path: Path) -> None:
    """The answer on hand says good: it isn't given any more, and isn't again when it comes once more."""
    serial = hex(serial_of(root, "two"))
    asked = request(root, "two", hashes.SHA1())
    assert status_of(get(running, asked)) == "GOOD"
    running.succeed("revoke", serial, "--issuer", "root", "--reason", "keyCompromise")
    assert status_of(get(running, asked)) == "UNAUTHORIZED"
    good = make_answer(root, tmp_path / "good.der", int(serial, 16))
    told = running.succeed("import", "ocsp-response", str(good))
    assert f"the rules of a revocation keep what is here; left out: {serial} (sha1)" in told
    assert status_of(get(running, asked)) == "UNAUTHORIZED"
    ready = httpx.get(f"{running.admin}/readyz?verbose", trust_env=False).text
    told = r"offline issuer root: 1 of \d+ certificates have no answer; certstatus root-day says what to sign"
    assert re.search(told, ready)
    # The next day at the root says so.
    made = hold_root_day(running, root, tmp_path, "--within", "0")
    assert [each.name for each in made] == [f"{serial}-sha1.der", f"{serial}-sha256.der"]
    running.succeed("import", "ocsp-response", str(tmp_path / "out"))
    eventually(lambda: status_of(get(running, asked)), "REVOKED")
    read = ocsp.load_der_ocsp_response(get(running, asked).content)
    assert read.revocation_reason is x509.ReasonFlags.key_compromise
    # An index of before the revocation, though the answer is newer, takes nothing away.
    time.sleep(1.1)
    assert "0 answers taken" in running.succeed(
        "import", "ocsp-response", str(make_answer(root, tmp_path / "good.der", int(serial, 16)))
    )
    time.sleep(0.5)
    assert status_of(get(running, asked)) == "REVOKED"


def test_an_answer_that_says_revoked_revokes(running: Site, root: CA, tmp_path: Path) -> None:
    """A certificate that nobody has told of before, too."""
    root.issue("three")
    root.revoke("three", "-crl_reason", "superseded")
    serial = serial_of(root, "three")
    answer = make_answer(root, tmp_path / "three.der", serial, hash_name="sha256")
    assert running.succeed("import", "ocsp-response", str(answer), "--dry-run").endswith("(dry run)\n")
    assert running.command("show", hex(serial), "--issuer", "root").returncode == 1
    told = json.loads(running.succeed("import", "ocsp-response", str(answer), "--json"))
    (issuer,) = told["issuers"]
    assert (issuer["answers"], issuer["added"]) == (1, 1)
    eventually(lambda: status_of(get(running, request(root, "three", hashes.SHA256()))), "REVOKED")
    assert "superseded" in running.succeed("show", hex(serial), "--issuer", "root")


def test_a_delegate_signs_on_root_day(running: Site, root: CA, tmp_path: Path) -> None:
    """Its certificate ends before the answers would: so do they."""
    with (root.folder / "ca.cnf").open("a") as config:
        config.write("[delegate]\nextendedKeyUsage = OCSPSigning\n")
    root.issue("delegate", "-extensions", "delegate", "-days", "20")
    running.succeed("register", str(root.issue("five")))
    running.succeed("revoke", hex(serial_of(root, "five")), "--issuer", "root", "--reason", "superseded")
    delegate = str(root.folder / "delegate.pem")
    key = str(root.folder / "delegate.key")
    made = hold_root_day(running, root, tmp_path, "--days", "60", SIGNER=delegate, KEY=key, DIGEST="sha256")
    assert len(made) == 2 * len(json.loads(running.succeed("root-day", "--issuer", "root", "--json")))
    running.succeed("import", "ocsp-response", *map(str, made))
    asked = request(root, "one", hashes.SHA1())
    eventually(lambda: len(ocsp.load_der_ocsp_response(get(running, asked).content).certificates), 1)
    rows = {row["serial"]: row for row in json.loads(running.succeed("root-day", "--issuer", "root", "--json"))}
    ends_at = datetime.fromisoformat(rows[hex(serial_of(root, "one"))]["ends_at"])
    assert ends_at == x509.load_pem_x509_certificate(Path(delegate).read_bytes()).not_valid_after_utc
    assert rows[hex(serial_of(root, "five"))]["status"] == "revoked"


def test_an_older_answer_does_not_come_back(running: Site, root: CA, tmp_path: Path) -> None:
    serial = serial_of(root, "one")
    older = make_answer(root, tmp_path / "older.der", serial)
    time.sleep(1.1)
    newer = make_answer(root, tmp_path / "newer.der", serial)
    running.succeed("import", "ocsp-response", str(newer))
    told = running.succeed("import", "ocsp-response", str(older))
    assert told == (
        f"issuer root: 0 answers taken\n  older than the answer that is here; left out: {serial:#x} (sha1)\n"
    )
    eventually(lambda: get(running, request(root, "one", hashes.SHA1())).content, newer.read_bytes())


def test_what_ends_is_told(running: Site, root: CA, tmp_path: Path) -> None:
    """By readiness and metrics, once three quarters of its life are over."""
    before = httpx.get(f"{running.admin}/metrics", trust_env=False).text
    assert 'imported_answers_missing{issuer="root"} 0.0' in before
    assert 'imported_answers_end_seconds{issuer="root"}' in before
    readiness = f"{running.admin}/readyz?verbose"
    said = httpx.get(readiness, trust_env=False).text
    assert re.search(r"\d certificates of 1 issuers have imported answers", said), said
    root.issue("four")
    for old, left, alarm in (
        (timedelta(days=70), timedelta(days=30), None),
        (timedelta(days=20), timedelta(days=6), "answers for 1 end from "),
    ):
        running.succeed("import", "ocsp-response", str(signed_by_pyca(root, tmp_path, old, left)))
        text = httpx.get(readiness, trust_env=False).text
        assert (f"offline issuer root: {alarm}" in text) if alarm else ("offline issuer root" not in text)
    asked = request(root, "four", hashes.SHA1())
    last = signed_by_pyca(root, tmp_path, timedelta(0), timedelta(seconds=3))
    running.succeed("import", "ocsp-response", str(last))
    eventually(lambda: get(running, asked).content, last.read_bytes())
    eventually(lambda: status_of(get(running, asked)), "UNAUTHORIZED")
    assert re.search(r"1 of \d+ certificates have no answer", httpx.get(readiness, trust_env=False).text)
    assert 'missing{issuer="root"} 1.0' in httpx.get(f"{running.admin}/metrics", trust_env=False).text


def signed_by_pyca(root: CA, folder: Path, old: timedelta, left: timedelta) -> Path:
    """Good for `four`, made so long ago, for so long from now."""
    now = datetime.now(UTC).replace(microsecond=0)
    ca = x509.load_pem_x509_certificate(Path(root.certificate).read_bytes())
    leaf = x509.load_pem_x509_certificate((root.folder / "four.pem").read_bytes())
    key = serialization.load_pem_private_key((root.folder / "ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf, ca, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, now - old, now + left, None, None
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, ca)
    target = folder / "pyca.der"
    target.write_bytes(builder.sign(key, hashes.SHA384()).public_bytes(serialization.Encoding.DER))
    return target
