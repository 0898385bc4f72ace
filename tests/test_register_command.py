"""A CA's issuing step announces each certificate, by the command and by the API of running processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.commandline import CA, Site, make_ca, make_known_ca, open_migrated_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_migrated_site(tmp_path_factory.mktemp("site")) as opened:
        yield opened


@pytest.fixture(scope="module")
def ca(site: Site, tmp_path_factory: pytest.TempPathFactory) -> CA:
    return make_known_ca(site, tmp_path_factory.mktemp("ca"), "--no-crl")


@pytest.fixture(scope="module")
def running(site: Site, ca: CA) -> Iterator[Site]:
    with site.running():
        yield site


def status(site: Site, ca: CA, *which: str) -> str:
    """What the client of OpenSSL says."""
    done = subprocess.run(
        ["openssl", "ocsp", "-issuer", ca.certificate, "-CAfile", ca.certificate, *which, "-url", f"{site.url}/ocsp"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_a_certificate_is_answered_for_when_the_command_ends(running: Site, ca: CA) -> None:
    leaf = ca.issue("leaf")
    assert "unauthorized" in status(running, ca, "-cert", str(leaf))
    assert running.succeed("register", str(leaf)) == "1 registered\n"
    assert f"{leaf}: good" in status(running, ca, "-cert", str(leaf))
    assert running.succeed("register", str(leaf), "--issuer", "example") == "1 known\n"


def test_a_folder_and_who_does_not_belong_there(running: Site, ca: CA, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.pem").write_bytes(ca.issue(name).read_bytes())
    (tmp_path / "notes.txt").write_text("not looked at")
    assert running.succeed("register", str(tmp_path)) == "2 registered\n"
    (tmp_path / "other").mkdir()
    other = make_ca(tmp_path / "other")
    (tmp_path / "stranger.pem").write_bytes(other.issue("stranger").read_bytes())
    (tmp_path / "junk.crt").write_text("junk")
    (tmp_path / "three.cer").write_bytes(ca.issue("three").read_bytes())
    done = running.command("register", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "1 registered, 2 known, 2 refused\n")
    assert "stranger.pem: it was issued by" in done.stderr
    assert "junk.crt: not a certificate" in done.stderr
    told = json.loads(running.command("register", str(tmp_path), "--issuer", "example", "--json").stdout)
    assert (told["registered"], told["known"], told["refused"], len(told["refusals"])) == (0, 3, 2, 2)


def test_lines_from_a_file_and_from_standard_input(running: Site, ca: CA, tmp_path: Path) -> None:
    lines = tmp_path / "issued.ndjson"
    lines.write_text("".join(f'{{"serial": "{number:#x}"}}\n' for number in range(0xA000, 0xA000 + 6000)) + "junk\n")
    done = running.command("register", str(lines), "--issuer", "example")
    assert (done.returncode, done.stdout) == (1, "6,000 registered, 1 refused\n")
    assert "issued.ndjson:6001: it isn't JSON" in done.stderr
    assert "good" in status(running, ca, "-serial", "0xa123")
    piped = subprocess.run(
        [sys.executable, "-m", "responder", "register", "-", "--issuer", "example", "-c",
         str(running.folder / "certstatus.toml")],
        input='{"serial": "0xa000"}\n{"serial": "0xf000"}\n', capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert piped.stdout == "1 registered, 1 known\n"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nowhere.pem"], "there is no such file"),
        (["-"], "--issuer ID is missing"),
        (["."], "no certificates are in this folder"),
        (["-", "--issuer", "nobody"], "the issuers are: example"),
    ],
)
def test_what_can_not_be_meant(site: Site, ca: CA, tmp_path: Path, arguments: list[str], word: str) -> None:
    done = site.command("register", *(str(tmp_path) if each == "." else each for each in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_lines_that_can_not_be_read(site: Site, ca: CA, tmp_path: Path) -> None:
    (tmp_path / "lines.ndjson").symlink_to("/proc/self/mem")
    done = site.command("register", str(tmp_path / "lines.ndjson"), "--issuer", "example")
    assert (done.returncode, done.stdout) == (2, "")
    assert "lines.ndjson: it can't be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_api_takes_lines_as_they_come_and_answers_at_once(running: Site, ca: CA) -> None:
    """Over a connection, in pieces, with a body that is longer than what is kept of others."""
    token = {"Authorization": "Bearer a-token-of-enough-characters", "Content-Type": "application/x-ndjson"}

    def body() -> Iterator[bytes]:
        for number in range(0xC0000, 0xC0000 + 20_000):
            yield b'{"serial": "%#x", "not_after": "2039-01-01T00:00:00Z"}\n' % number

    url = f"{running.admin}/api/v1/issuers/example/certificates"
    answer = httpx.post(url, content=body(), headers=token, timeout=60, trust_env=False)
    total = json.loads(answer.text.splitlines()[-1])
    assert (total["registered"], total["certain"]) == (20_000, True)
    for number in (0xC0000, 0xC0000 + 19_999):
        assert "good" in status(running, ca, "-serial", hex(number))
    shown = httpx.get(f"{url}/0xc0000", headers=token, trust_env=False).json()
    assert (shown["status"], shown["record"]["is_current"]) == ("good", True)
    assert shown["answer"].startswith("good, as it was signed before, until ")
    assert running.succeed("show", "0xc0000", "--issuer", "example").count("as it was signed before") == 1
    metrics = httpx.get(f"{running.admin}/metrics", trust_env=False).text
    assert "certificates_registered_total 20000.0" in metrics
