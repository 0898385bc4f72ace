"""`certstatus loadtest`, in short: what it asks, verifies and reports; nothing is said of how fast."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from loadtest.common import ca_certificate, new_ca_key
from loadtest.harness import scenario
from loadtest.harness.command import loadtest
from responder.errors import ConfigError
from tests.loadtest.test_client import Server

MIXED = """
title = "All kinds"
about = "In one."
different = 60
connections = 4
[site]
certificates = 40
[[requests]]
method = "GET"
share = 4
[[requests]]
hash = "sha256"
[[requests]]
nonce = true
[[requests]]
certificates = "revoked"
[[requests]]
certificates = "never issued"
[[requests]]
asks = "crl"
[[requests]]
asks = "crl"
if_none_match = true
"""

OVER_TLS = """
title = "TLS"
about = "A little."
tls = true
connections = 4
loops = ["open"]
[site]
certificates = 40
[[requests]]
"""

STORM = """
title = "Storm"
about = "Small."
connections = 4
loops = ["open"]
revocations_per_second = 10
[site]
certificates = 40
[[requests]]
certificates = "revoked meanwhile"
"""


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtest", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.mark.server
def test_a_responder_is_started_asked_verified_and_reported(tmp_path: Path) -> None:
    paths = []
    for name, text in (("mixed", MIXED), ("over_tls", OVER_TLS), ("storm", STORM)):
        paths.append(tmp_path / f"my_{name}.toml")
        paths[-1].write_text(text)
    done = run("--seconds", "1", "--rate", "40", "--verify", "2", "--wrk", "--report", tmp_path / "report", *paths)
    assert "my_storm · open loop:" in done.stderr
    assert re.search(r"my_mixed +closed by wrk ", done.stdout)
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    assert "</html>" in (tmp_path / "report" / "report.html").read_text()
    assert document["is_right"] is True
    loops = {(run["scenario"], loop["loop"], loop["client"]): loop for run in document["runs"] for loop in run["loops"]}
    assert set(loops) == {
        ("my_mixed", "closed", "certstatus"),
        ("my_mixed", "closed", "wrk"),
        ("my_mixed", "open", "certstatus"),
        ("my_over_tls", "open", "certstatus"),
        ("my_storm", "open", "certstatus"),
    }
    for loop in loops.values():
        assert loop["answered"] >= 20
        assert sum(loop["verified"].values()) > 10
    # Of one with few answers it may be 0: no tick has fallen on them.
    assert any(loop["cpu_microseconds_an_answer"] > 0 for loop in loops.values())
    seen = set().union(*(loop["verified"] for (name, _, _), loop in loops.items() if name == "my_mixed"))
    assert seen == {"good", "revoked", "unauthorized", "a CRL", "not modified"}
    assert loops["my_storm", "open", "certstatus"]["revocations"]["acknowledged"] > 1
    assert loops["my_over_tls", "open", "certstatus"]["answered"] <= 40


@pytest.mark.server
def test_others_answer_the_same_beside_it(tmp_path: Path) -> None:
    document = json.loads(run("--against", "nginx,openssl,cfssl", "--rounds", "1", "--seconds", "1", "--json").stdout)
    ours, nginx, openssl, cfssl = document["against"]
    assert [each["name"].split()[0] for each in document["against"]] == ["certstatus", "nginx", "OpenSSL", "cfssl"]
    assert ours["cpu_by_certstatus"] is None
    for other in (nginx, openssl, cfssl):
        assert other["cpu_by_certstatus"] > 0
        assert set(other["rounds"][0]["verified"]) == {"good"}
    assert document["is_right"] is True
    assert document["runs"] == []


def test_a_responder_that_answers_wrongly_is_found_out(tmp_path: Path) -> None:
    issuer = tmp_path / "ca.der"
    issuer.write_bytes(ca_certificate("CA", new_ca_key(tmp_path)))
    lie = b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: 5\r\n\r\n\x30\x03\x0a\x01\x06"
    with Server(lie).listening() as (host, port):
        done = run("hot", "tls", "crl", "storm", "--url", f"http://{host}:{port}/", "--issuer", issuer, "--certificate",
                   issuer, "--seconds", "1", "--rate", "100", code=1)  # fmt: skip
    assert "× unauthorized" in done.stdout
    for words in ("needs an https:// URL", "needs a CRL (--crl URL)", "needs a way to revoke (--revoke-command)"):
        assert words in done.stdout


def test_nobody_there_is_a_sentence_and_exit_code_three(tmp_path: Path) -> None:
    issuer = tmp_path / "ca.der"
    issuer.write_bytes(ca_certificate("CA", new_ca_key(tmp_path)))
    done = run("hot", "--url", "http://127.0.0.1:1/", "--issuer", issuer, "--certificate", issuer, code=3)
    assert "certstatus: nobody answers at 127.0.0.1 port 1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hot", "--url", "http://192.0.2.1/", "--issuer", "ca.pem"], "192.0.2.1 is no address of this machine"),
        (["hot", "--url", "http://127.0.0.1/"], "--url goes with --issuer FILE"),
        (["hot", "--issuer", "ca.pem"], "go with --url"),
        (["hot", "--url", "http://127.0.0.1/", "--issuer", "x", "--demo", "y"], "give one of --url and --demo"),
        (["--against", "apache"], "--against apache: known are nginx, openssl, cfssl"),
        (["--against", "nginx", "--demo", "x"], "leave --url and --demo out"),
        (["hot", "--demo", "nowhere"], "--demo nowhere: no demo is running with this folder"),
        (["hott"], "hott: neither a scenario"),
        (["hot", "--seconds", "1000"], "equal to 590"),
    ],
)
def test_what_cant_be_done_is_told_before_anything_is_asked(arguments: list[str], words: str) -> None:
    app = typer.Typer()
    app.command()(loadtest)
    done = CliRunner().invoke(app, arguments)
    told = str(done.exception) if isinstance(done.exception, ConfigError) else done.output
    assert words in " ".join(told.replace("│", " ").split())


def test_the_command_is_of_certstatus_too() -> None:
    command = [sys.executable, "-m", "responder", "loadtest", "--help"]
    told: Any = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "--against" in told
    assert len(scenario.names()) == 8
