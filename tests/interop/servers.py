"""Judges that are servers: they ask for answers and CRLs, or are given them; `curl` sees what they do with it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from tests.commandline import free_ports
from tests.interop.case import REFUSED, UNAUTHORIZED, Case, Limit, Tells, at_once, every
from tests.interop.commands import run
from tests.interop.world import GOOD, LISTED, REASONS, REVOKED, UNISSUED, World

_NO_STAPLE = "No OCSP response received"

_NGINX = """\
{user}worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
daemon off;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{servers}
}}
"""


@contextmanager
def _running(ports: Sequence[int], *arguments: str | Path) -> Iterator[None]:
    """A server, once it listens on all of these; ended afterwards."""
    process = subprocess.Popen(list(map(str, arguments)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        for port in ports:
            while not _listens(port):
                assert process.poll() is None, "it ended while starting"
                assert time.monotonic() < deadline, "it doesn't listen"
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _ports(names: Iterable[str]) -> dict[str, int]:
    """One for each."""
    wanted = list(names)
    return dict(zip(wanted, free_ports(len(wanted)), strict=True))


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _curl(port: int, *options: str | Path) -> tuple[str, str]:
    """The HTTP status, and what it complains of."""
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}", "--resolve",
         f"localhost:{port}:127.0.0.1", *map(str, options), f"https://localhost:{port}/"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.stdout, done.stderr


@contextmanager
def _nginx(folder: Path, servers: Iterable[tuple[int, Sequence[str]]]) -> Iterator[None]:
    """A server for each port, with these lines beside those that all have."""
    blocks, ports = [], []
    for port, lines in servers:
        ports.append(port)
        inside = "\n".join(f"        {line};" for line in (f"listen 127.0.0.1:{port} ssl", "return 204", *lines))
        blocks.append(f"    server {{\n{inside}\n    }}")
    user = "user root;\n" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(_NGINX.format(user=user, folder=folder, servers="\n".join(blocks)))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with _running(ports, program, "-c", folder / "nginx.conf", "-p", folder):
        yield


def _identity(case: Case, folder: Path) -> tuple[str, str]:
    """Its own certificate, with that of the issuer, which curl looks for there."""
    chain = folder / f"{case.issuer.id}-{case.status}.pem"
    chain.write_bytes(case.leaf.read_bytes() + case.issuer_file.read_bytes())
    return f"ssl_certificate '{chain}'", f"ssl_certificate_key '{case.issuer.folder / 'leaf.key'}'"


class NginxStapling:
    """nginx asks about its own certificate and staples what is good; curl verifies the staple."""

    name = "nginx stapling, `curl --cert-status`"
    what = "SHA-1, without a nonce"
    tells = Tells(states=False)
    limits: Sequence[Limit] = ()

    def cases(self, world: World) -> Sequence[Case]:
        return every(world, digests=["sha1"], nonces=[False])

    def says(self, world: World, cases: Sequence[Case]) -> Iterable[str]:
        with TemporaryDirectory() as name, ExitStack() as stack:
            folder = Path(name)
            ports = _ports(map(str, cases))
            servers = [
                (
                    ports[str(case)],
                    (*_identity(case, folder), "ssl_stapling on", "ssl_stapling_verify on",
                     f"ssl_stapling_responder {world.ocsp}", f"ssl_trusted_certificate '{case.issuer_file}'"),
                )
                for case in cases
            ]  # fmt: skip
            stack.enter_context(_nginx(folder, servers))

            def ask(case: Case) -> str:
                status, complaint = _curl(ports[str(case)], "--cert-status", "--cacert", case.issuer_file)
                if status == "204":
                    return GOOD
                return REFUSED if _NO_STAPLE in complaint else complaint

            list(at_once(ask, cases))  # it asks when it is first connected to
            refused = sum(case.status != GOOD for case in cases)
            _until(lambda: (folder / "error.log").read_text().count("while requesting certificate status") >= refused)
            good = [case for case in cases if case.status == GOOD]
            _until(lambda: set(at_once(ask, good)) == {GOOD})
            yield from at_once(ask, cases)


def _until(holds: Callable[[], bool]) -> None:
    """Or for so long: what isn't so by then is told by the judge."""
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.2)


class NginxClients:
    """nginx asks about the certificate of whoever connects."""

    name = "nginx ssl_ocsp"
    what = "SHA-1, without a nonce"
    tells = Tells(states=False)
    limits: Sequence[Limit] = ()

    def cases(self, world: World) -> Sequence[Case]:
        return every(world, digests=["sha1"], nonces=[False])

    def says(self, world: World, cases: Sequence[Case]) -> Iterable[str]:
        with TemporaryDirectory() as name, ExitStack() as stack:
            issuers = {case.issuer.id: case.issuer for case in cases}
            ports = _ports(issuers)
            servers = [
                (
                    ports[issuer.id],
                    (*_identity(Case(issuer, GOOD), Path(name)), "ssl_verify_client on", "ssl_ocsp leaf",
                     f"ssl_ocsp_responder {world.ocsp}", f"ssl_client_certificate '{issuer.file}'"),
                )
                for issuer in issuers.values()
            ]  # fmt: skip
            stack.enter_context(_nginx(Path(name), servers))
            yield from at_once(lambda case: _as_client(case, ports[case.issuer.id]), cases)


def _as_client(case: Case, port: int) -> str:
    key = case.issuer.folder / "leaf.key"
    status, complaint = _curl(port, "--cacert", case.issuer.file, "--cert", case.leaf, "--key", key)
    if status == "204":
        return GOOD
    return REFUSED if status in ("400", "000") else status + complaint


_HAPROXY_PROGRAM = shutil.which("haproxy") or "/usr/sbin/haproxy"
_HAPROXY = """\
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
"""


@contextmanager
def _haproxy(folder: Path, binds: dict[int, str]) -> Iterator[None]:
    text = _HAPROXY + "".join(
        f"frontend on-{port}\n    bind 127.0.0.1:{port} ssl {options}\n    http-request return status 204\n"
        for port, options in binds.items()
    )
    (folder / "haproxy.cfg").write_text(text)
    with _running(list(binds), _HAPROXY_PROGRAM, "-db", "-f", folder / "haproxy.cfg"):
        yield


def _with_key(case: Case, target: Path) -> Path:
    """Chain and key in one file, as HAProxy has them."""
    key = case.issuer.folder / "leaf.key"
    target.write_bytes(case.leaf.read_bytes() + case.issuer_file.read_bytes() + key.read_bytes())
    return target


class HAProxyCRL:
    """HAProxy lets nobody in whom the CRL lists."""

    name = "HAProxy crl-file"
    what = ""
    tells = Tells(states=False, listed=True)
    limits: Sequence[Limit] = ()

    def cases(self, world: World) -> Sequence[Case]:
        return every(world, statuses=LISTED, digests=["sha1"], nonces=[False])

    def says(self, world: World, cases: Sequence[Case]) -> Iterable[str]:
        with TemporaryDirectory() as name, ExitStack() as stack:
            folder = Path(name)
            issuers = {case.issuer.id: case.issuer for case in cases}
            ports = _ports(issuers)
            binds = {}
            for issuer in issuers.values():
                der, crl = folder / f"{issuer.id}.der", folder / f"{issuer.id}.crl"
                der.write_bytes(world.site.fetch_crl_octets(issuer.id))
                run("openssl", "crl", "-inform", "DER", "-in", der, "-out", crl)
                own = _with_key(Case(issuer, GOOD), folder / f"{issuer.id}.pem")
                binds[ports[issuer.id]] = f"crt {own} ca-file {issuer.file} verify required crl-file {crl}"
            stack.enter_context(_haproxy(folder, binds))
            yield from at_once(lambda case: _as_client(case, ports[case.issuer.id]), cases)


class HAProxyStapling:
    """HAProxy is given the answer beside its certificate, and staples it, whatever it says; curl verifies it."""

    name = "HAProxy .ocsp, `curl --cert-status`"
    what = "SHA-1, without a nonce"
    tells = Tells()
    limits: Sequence[Limit] = ()

    def cases(self, world: World) -> Sequence[Case]:
        return every(world, statuses=LISTED, digests=["sha1"], nonces=[False])

    def says(self, world: World, cases: Sequence[Case]) -> Iterable[str]:
        with TemporaryDirectory() as name, ExitStack() as stack:
            folder = Path(name)
            binds = {str(case): self._bind(world, case, folder / str(number)) for number, case in enumerate(cases)}
            known = [str(case) for case in cases if case.status != UNISSUED]
            ports = _ports(known)
            stack.enter_context(_haproxy(folder, {ports[each]: binds[each] for each in known}))

            def ask(case: Case) -> str:
                if case.status == UNISSUED:
                    return self._checked(folder / f"{case.issuer.id}.cfg", binds[str(case)])
                status, complaint = _curl(ports[str(case)], "--cert-status", "--cacert", case.issuer.file)
                if status == "204":
                    return GOOD
                found = re.search(r"SSL certificate revocation reason: .* \((-?\d+)\)", complaint)
                return complaint if found is None else _NAMED.get(int(found[1]), found[1])

            yield from at_once(ask, cases)

    def _checked(self, file: Path, bind: str) -> str:
        """What it says of an answer that it doesn't staple."""
        file.write_text(f"{_HAPROXY}frontend f\n    bind 127.0.0.1:1 ssl {bind}\n")
        said = run(_HAPROXY_PROGRAM, "-c", "-f", file)
        return UNAUTHORIZED if "OCSP response status not successful" in said else said

    def _bind(self, world: World, case: Case, folder: Path) -> str:
        folder.mkdir()
        own, request = _with_key(case, folder / "own.pem"), folder / "request.der"
        run("openssl", "ocsp", "-issuer", case.issuer.file, "-cert", case.leaf, "-no_nonce", "-reqout", request)
        headers = {"Content-Type": "application/ocsp-request"}
        answer = httpx.post(world.ocsp, content=request.read_bytes(), headers=headers, trust_env=False)
        Path(f"{own}.ocsp").write_bytes(answer.content)
        return f"crt {own}"


_NAMED = {-1: REVOKED, **{number: f"{REVOKED}, {reason}" for reason, number in REASONS.items()}}
