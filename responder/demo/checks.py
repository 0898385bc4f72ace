"""`certstatus demo --once`: the running demo judged by the `openssl` program."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from rich.console import Console
from rich.table import Table

from responder.errors import ConfigError

_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Result:
    """One question, what was expected, what came."""

    issuer: str
    check: str
    expected: str
    found: str

    @property
    def ok(self) -> bool:
        """Whether what came is what was expected."""
        return self.found == self.expected


def require_openssl() -> str:
    """The path of the judge.

    Raises:
        ConfigError: it isn't installed.
    """
    path = shutil.which("openssl")
    if path is None:
        raise ConfigError("--once needs the openssl program as its judge; install it: apt-get install openssl")
    return path


def run_checks(demo: dict[str, Any], *, as_json: bool) -> int:
    """Ask, revoke, ask again, and find the serial on the CRL; print a table; 0 when all is as expected."""
    results = [result for issuer in demo["issuers"] for result in _check_issuer(demo, issuer)]
    ok = all(result.ok for result in results)
    if as_json:
        print(json.dumps({"ok": ok, "checks": [{**asdict(result), "ok": result.ok} for result in results]}))
        return 0 if ok else 1
    table = Table("issuer", "check", "expected", "found", "", title="certstatus demo, judged by openssl")
    for result in results:
        table.add_row(result.issuer, result.check, result.expected, result.found, "ok" if result.ok else "FAILED")
    Console().print(table)
    return 0 if ok else 1


def _check_issuer(demo: dict[str, Any], issuer: dict[str, Any]) -> Iterator[Result]:
    def row(check: str, expected: str, found: str) -> Result:
        return Result(issuer["id"], check, expected, found)

    def ask(path: str, *options: str) -> str:
        return ask_openssl(path, issuer["certificate"], issuer["ocsp"], *options)

    victim = issuer["good"][0]
    yield row("a good certificate", "good", ask(victim))
    yield row("the same, SHA-256 CertID, no nonce", "good", ask(victim, "-sha256", "-no_nonce"))
    yield row("a revoked certificate", "revoked", ask(issuer["revoked"][0]))
    yield row("a certificate on hold", "revoked", ask(issuer["held"][0]))
    yield row("a certificate never issued", "unauthorized", ask(issuer["unissued"][0]))
    # Fill the cache with `good`, then revoke, then ask at once.
    yield row("the good one from the cache", "good", ask(victim, "-no_nonce"))
    yield row("revoking it through the admin API", "200", str(_revoke(demo, issuer["id"], victim)))
    yield row("the same certificate, cached answer", "revoked", ask(victim, "-no_nonce"))
    yield row("the same certificate, with a nonce", "revoked", ask(victim))
    serial = _serial(victim)
    yield row("the CRL, verified", "verify OK", _verify_crl(issuer, serial))
    yield row("its serial on the CRL", "listed", _listed(issuer, serial))


def ask_openssl(certificate: str, issuer: str, url: str, *options: str) -> str:
    """What `openssl ocsp` finds: good, revoked, unknown, an OCSP error's name, or what it printed instead."""
    # -sha256 and the like apply to the -cert that follows them.
    done = _openssl("ocsp", "-issuer", issuer, *options, "-cert", certificate, "-url", url, "-CAfile", issuer)
    output = done.stdout + done.stderr
    if "Responder Error:" in output:
        return output.split("Responder Error:")[1].split()[0]
    if "Response verify OK" not in output:
        return f"not verified: {output.strip()[:200]}"
    for line in done.stdout.splitlines():
        path, _, status = line.rpartition(": ")
        if path == certificate:
            return status
    return f"no status: {output.strip()[:200]}"


def _openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [require_openssl(), *arguments], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
    )


def _revoke(demo: dict[str, Any], issuer_id: str, certificate: str) -> int:
    response = httpx.post(
        f"{demo['admin']}/api/v1/issuers/{issuer_id}/revocations",
        json={"serial": hex(_serial(certificate)), "reason": "keyCompromise"},
        headers={"Authorization": f"Bearer {demo['admin_token']}"},
        timeout=_TIMEOUT_SECONDS,
        trust_env=False,
    )
    return response.status_code


def _serial(certificate: str) -> int:
    return x509.load_pem_x509_certificate(Path(certificate).read_bytes()).serial_number


def _verify_crl(issuer: dict[str, Any], serial: int) -> str:
    """Fetch the CRL until the serial is on it, and have openssl verify it."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while _listed(issuer, serial) != "listed" and time.monotonic() < deadline:
        time.sleep(0.2)
    with tempfile.NamedTemporaryFile(suffix=".crl") as file:
        file.write(_fetch_crl(issuer))
        file.flush()
        done = _openssl("crl", "-inform", "DER", "-in", file.name, "-CAfile", issuer["certificate"], "-noout")
    return (done.stdout + done.stderr).strip()


def _listed(issuer: dict[str, Any], serial: int) -> str:
    crl = x509.load_der_x509_crl(_fetch_crl(issuer))
    return "not listed" if crl.get_revoked_certificate_by_serial_number(serial) is None else "listed"


def _fetch_crl(issuer: dict[str, Any]) -> bytes:
    response = httpx.get(issuer["crl"], timeout=_TIMEOUT_SECONDS, trust_env=False)
    response.raise_for_status()
    return response.content
