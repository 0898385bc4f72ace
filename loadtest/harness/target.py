"""Who is asked: a responder, the CAs that it answers for, and, where it runs here, its processes."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509

from responder.errors import CertstatusError, ConfigError
from responder.formats import openssl_index

_TICKS = os.sysconf("SC_CLK_TCK")
_OURS = ("serve-", "keep", "work", "crl", "admin")

Revoke = Callable[["Subject", int], None]


@dataclass(frozen=True)
class Subject:
    """A CA, and its certificates by what they are.

    Attributes:
        ocsp: the URL of its responder.
        crl: the URL of its CRL, where it has one.
    """

    name: str
    issuer: x509.Certificate
    ocsp: str
    crl: str | None
    good: list[int]
    revoked: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """A responder.

    Attributes:
        processes: those whose CPU is counted; none where it runs elsewhere.
        revoke: revokes a certificate, and returns when that is acknowledged; None where that can't be done.
        https: the same over TLS, as scheme and authority.
    """

    name: str
    subjects: list[Subject]
    processes: Callable[[], list[int]] = list
    revoke: Revoke | None = None
    https: str | None = None

    def url(self, subject: Subject, *, tls: bool, crl: bool = False) -> str:
        """What to ask about a subject.

        Raises:
            LookupError: it has none of that kind.
        """
        url = subject.crl if crl else subject.ocsp
        if url is None:
            raise LookupError("a CRL (--crl URL)")
        if not tls or url.startswith("https:"):
            return url
        if self.https is None:
            raise LookupError("an https:// URL")
        return self.https + urllib.parse.urlsplit(url).path

    def cpu_seconds(self) -> float:
        """User and system time of its processes together, until now."""
        return sum(cpu_seconds(pid) for pid in self.processes())


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, 0 when it has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def stolen_seconds() -> float:
    """What a hypervisor has given to others of this machine's cores, since it began."""
    return int(Path("/proc/stat").read_text().split()[8]) / _TICKS


def with_descendants(pid: int) -> list[int]:
    """A process and all that it has started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [pid, *(each for child in children for each in with_descendants(int(child)))]


def where(url: str, *, may_be_others: bool = False) -> tuple[str, int]:
    """The address and port of a URL, which must be this machine's own.

    Args:
        may_be_others: whoever runs this has been asked by the owner of the address.

    Raises:
        ConfigError: it isn't a URL, has no address, or has somebody else's.
    """
    parts = urllib.parse.urlsplit(url)
    try:
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        host = parts.hostname or ""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM) if host else []
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{url}: give a URL such as http://127.0.0.1:8080/ocsp") from error
    except OSError as error:
        raise ConfigError(f"{url}: {host} has no address ({error.strerror})") from error
    if not found:
        raise ConfigError(f"{url}: give a URL such as http://127.0.0.1:8080/ocsp")
    address = str(found[0][4][0])
    if not may_be_others and not is_ours(address):
        raise ConfigError(
            f"{url}: {address} is no address of this machine; a load test of somebody else's takes its owner's "
            "consent: where you have it, give --i-may"
        )
    return address, port


def is_ours(address: str) -> bool:
    """Whether it is of this machine: loopback, or of one of its interfaces."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def processes_of_demo(demo: dict[str, Any]) -> list[int]:
    """The supervisor and its processes, without the embedded servers."""
    children = with_descendants(demo["pid"])[1:]
    return [demo["pid"], *(pid for pid in children if _name_of(pid).startswith(_OURS))]


def of_demo(demo: dict[str, Any], *, https: str | None = None) -> Target:
    """A running `certstatus demo`, as its demo.json describes it; its servers' CPU isn't counted."""

    def revoke(subject: Subject, serial: int) -> None:
        try:
            response = httpx.post(
                f"{demo['admin']}/api/v1/issuers/{subject.name}/revocations",
                json={"serial": hex(serial), "reason": "superseded"},
                headers={"Authorization": f"Bearer {demo['admin_token']}"},
                timeout=30,
                trust_env=False,
            )
        except httpx.HTTPError as error:
            raise CertstatusError(f"{serial:x} can't be revoked: {error}") from error
        if response.status_code != 200:
            raise CertstatusError(f"{serial:x} can't be revoked: {response.status_code} {response.text}")

    subjects = []
    for issuer in demo["issuers"]:
        ca = x509.load_pem_x509_certificate(Path(issuer["certificate"]).read_bytes())
        known = (int(Path(path).stem, 16) for kind in ("good", "revoked", "held") for path in issuer[kind])
        revoked = _revoked_now(demo, issuer["id"])
        good: list[int] = []
        bad: list[int] = []
        for serial in known:
            (bad if serial in revoked else good).append(serial)
        subjects.append(Subject(issuer["id"], ca, issuer["ocsp"], issuer["crl"], good, bad))
    return Target("certstatus", subjects, lambda: processes_of_demo(demo), revoke, https)


def _revoked_now(demo: dict[str, Any], issuer_id: str) -> set[int]:
    """By the operator's API: demo.json tells how it was when the demo started."""
    found: set[int] = set()
    after: str | None = ""
    while after is not None:
        url = f"{demo['admin']}/api/v1/issuers/{issuer_id}/certificates?revoked=true&limit=1000"
        try:
            page = httpx.get(
                url + (f"&after={after}" if after else ""),
                headers={"Authorization": f"Bearer {demo['admin_token']}"},
                timeout=30,
                trust_env=False,
            )
            page.raise_for_status()
        except httpx.HTTPError as error:
            raise CertstatusError(f"the demo doesn't say what is revoked: {error}") from error
        told = page.json()
        found |= {int(each["serial"], 16) for each in told["certificates"]}
        after = told["after"]
    return found


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except FileNotFoundError:
        return ""


def of_url(
    url: str,
    *,
    issuer: Path,
    certificates: Iterable[Path] = (),
    index: Path | None = None,
    crl: str | None = None,
    pid: int | None = None,
    revoke_command: str | None = None,
) -> Target:
    """Any responder, at this URL.

    Args:
        issuer: the CA's certificate, PEM or DER.
        certificates: good ones of that CA.
        index: of `openssl ca`, or as `certstatus export` writes it: its valid and its revoked certificates.
        pid: the responder's process; its descendants count too.
        revoke_command: a shell's, with {serial} where the serial number belongs, in hex.

    Raises:
        ConfigError: a file can't be read, or there is no certificate to ask about.
        ImportRejected: bad lines of the index.
    """
    ca = _certificate(issuer, "--issuer")
    good = [_certificate(path, "--certificate").serial_number for path in certificates]
    revoked: list[int] = []
    if index is not None:
        now = datetime.now(UTC)
        try:
            statuses = list(openssl_index.each(index.read_bytes(), now=now))
        except OSError as error:
            raise ConfigError(f"--index {index}: {error.strerror}") from error
        for status in statuses:
            if status.not_after is None or status.not_after > now:
                (good if status.revoked_info is None else revoked).append(status.serial_number)
    if not good:
        raise ConfigError("no certificate to ask about: give --certificate FILE, or --index FILE with valid ones")

    def revoke(subject: Subject, serial: int) -> None:
        assert revoke_command is not None
        command = ["timeout", "60", "sh", "-c", revoke_command.replace("{serial}", f"{serial:x}")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CertstatusError(f"--revoke-command, {serial:x}: exit code {done.returncode}: {done.stderr.strip()}")

    subject = Subject(issuer.stem, ca, url, crl, good, revoked)
    processes = list if pid is None else lambda: with_descendants(pid)
    return Target(url, [subject], processes, revoke if revoke_command else None)


def _certificate(path: Path, option: str) -> x509.Certificate:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}") from error
    try:
        is_pem = content.lstrip().startswith(b"-----")
        return x509.load_pem_x509_certificate(content) if is_pem else x509.load_der_x509_certificate(content)
    except ValueError as error:
        raise ConfigError(f"{option} {path}: no certificate, neither PEM nor DER ({error})") from error


def wait_until_listening(port: int, *, seconds: float = 30.0) -> None:
    """For a server of this machine that was just started. It isn't connected to: `openssl ocsp` never comes back from a
    connection that ends without a request.

    Raises:
        CertstatusError: nobody listens there.
    """
    wanted = f":{port:04X} "
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
            # number, local address, remote address, state: 0A listens
            lines = table.read_text().splitlines()[1:] if table.exists() else []
            if any(wanted in line[:50] and line.split()[3] == "0A" for line in lines):
                return
        time.sleep(0.05)
    raise CertstatusError(f"nobody listens at port {port}")
