"""The `certstatus` command on servers of its own, and a CA of `openssl ca` beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import httpx
import structlog
from cryptography import x509

from responder.__main__ import app
from responder.cli import output
from responder.embedded import EmbeddedPostgres, EmbeddedValkey
from responder.host.sockets import open_socket

CA_CONFIG = """
[ca]
default_ca = test
[test]
dir = .
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = certs
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 30
default_crl_days = 7
policy = any
unique_subject = no
[any]
commonName = supplied
[responder]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = OCSPSigning
noCheck = ignored
"""


def openssl(folder: Path, *arguments: str) -> str:
    """Run it in `folder`; what it says."""
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@dataclass
class CA:
    """A CA of `openssl ca` in a folder; every command of its goes with `signature_options`."""

    folder: Path
    signature_options: tuple[str, ...] = ()

    @property
    def certificate(self) -> str:
        return str(self.folder / "ca.pem")

    def issue(self, name: str, *options: str) -> Path:
        openssl(self.folder, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")  # fmt: skip
        openssl(self.folder, "ca", "-batch", "-config", "ca.cnf", "-in", f"{name}.csr", "-out", f"{name}.pem",
                "-notext", *self.signature_options, *options)  # fmt: skip
        return self.folder / f"{name}.pem"

    def revoke(self, name: str, *options: str) -> None:
        openssl(self.folder, "ca", "-config", "ca.cnf", "-revoke", f"{name}.pem", *options)

    def publish(self, name: str) -> Path:
        """A CRL with the next number."""
        openssl(self.folder, "ca", "-config", "ca.cnf", "-gencrl", "-out", name, *self.signature_options)
        return self.folder / name


RSA = ("rsa:2048",)
RSA_PSS = ("rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048")
PSS_SIGNATURES = ("-sigopt", "rsa_pss_saltlen:32")


def make_ca(folder: Path, key: tuple[str, ...] = RSA, signature_options: tuple[str, ...] = ()) -> CA:
    """A CA in an empty folder.

    Args:
        key: what `openssl req -newkey` takes.
        signature_options: of each signature of the CA.
    """
    (folder / "certs").mkdir()
    (folder / "index.txt").touch()
    (folder / "serial").write_text("1000\n")
    (folder / "crlnumber").write_text("01\n")
    (folder / "ca.cnf").write_text(CA_CONFIG)
    openssl(folder, "req", "-x509", "-newkey", *key, "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-subj", "/O=Example/CN=Example CA", "-days", "365", "-sha256", *signature_options,
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    (folder / "ca.key").chmod(0o600)
    return CA(folder, signature_options)


ROLES = ("run", "serve", "work", "crl", "demo")
"""Commands that are processes: they start others, and end by signals."""


def in_process(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A command in this process: starting an interpreter takes most of the time that one does. One at a time."""
    said, complained, code = StringIO(), StringIO(), 0

    def run() -> None:
        with output.exit_on_error():
            app(list(arguments))

    before, stdin, argv = {name: os.environ.get(name) for name in environment}, sys.stdin, sys.argv
    os.environ.update(environment)
    sys.stdin, sys.argv = StringIO(), ["certstatus", *arguments]  # nobody is there to ask
    logging_before = structlog.get_config() if structlog.is_configured() else None
    try:
        with redirect_stdout(said), redirect_stderr(complained):
            if asyncio._get_running_loop() is None:
                run()
            else:  # the command's own loop needs another thread
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(run).result()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdin, sys.argv = stdin, argv
        structlog.reset_defaults()
        if logging_before is not None:
            structlog.configure(**logging_before)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return subprocess.CompletedProcess(list(arguments), code, said.getvalue(), complained.getvalue())


@dataclass
class Site:
    """A folder with a configuration, the command in it, and where `run` listens."""

    folder: Path
    url: str
    admin: str
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of each command, besides what there is."""

    def command(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        settings = {
            **self.environment,
            "CERTSTATUS_CONFIG": str(self.folder / "certstatus.toml"),
            **(environment or {}),
        }
        if not (self.environment or environment or arguments[0] in ROLES):
            return in_process(arguments, settings)
        return subprocess.run(
            [sys.executable, "-m", "responder", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=os.environ | settings,
        )

    def succeed(self, *arguments: str) -> str:
        done = self.command(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def running(self, *options: str) -> Iterator[None]:
        """`certstatus run`, ready; it must end in order."""
        process = subprocess.Popen(
            [sys.executable, "-m", "responder", "run", "-c", str(self.folder / "certstatus.toml"), *options],
            text=True,
            env={**os.environ, **self.environment},
        )
        try:
            self._wait_until_ready(process)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0

    def _wait_until_ready(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, "it ended while starting"
            try:
                if httpx.get(f"{self.admin}/readyz", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, "never ready"
            time.sleep(0.1)

    def fetch_crl(self, issuer_id: str) -> x509.CertificateRevocationList:
        """What is published, once something is."""
        return x509.load_der_x509_crl(self.fetch_crl_octets(issuer_id))

    def fetch_crl_octets(self, issuer_id: str) -> bytes:
        """The same as it is, for names that a strict parser refuses."""
        deadline = time.monotonic() + 30
        while (answer := httpx.get(f"{self.url}/crl/{issuer_id}.crl", trust_env=False)).status_code != 200:
            assert time.monotonic() < deadline, "no CRL"
            time.sleep(0.1)
        return answer.content


def free_ports(count: int) -> list[int]:
    """All different."""
    with ExitStack() as stack:
        taken = [stack.enter_context(open_socket("127.0.0.1", 0, reuse_port=False)) for _ in range(count)]
        return [listener.getsockname()[1] for listener in taken]


def free_port() -> int:
    (port,) = free_ports(1)
    return port


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """In an empty folder."""
    postgres, valkey = EmbeddedPostgres(folder, durable=False), EmbeddedValkey(folder, durable=False)
    postgres.start()
    valkey.start()
    (folder / "keys").mkdir(mode=0o700)
    (folder / "token").touch(mode=0o600)
    (folder / "token").write_text("a-token-of-enough-characters")
    public, admin = free_port(), free_port()
    (folder / "certstatus.toml").write_text(
        f'[postgres]\nurl = "{postgres.url}"\n[redis]\nurl = "{valkey.url}"\n'
        f'[serve]\nlisten = "127.0.0.1:{public}"\nworkers = 1\n'
        f'[admin]\nlisten = "127.0.0.1:{admin}"\ntoken_file = "token"\n[keys]\ndirectory = "keys"\n'
    )
    try:
        yield Site(folder, f"http://127.0.0.1:{public}", f"http://127.0.0.1:{admin}")
    finally:
        valkey.stop()
        postgres.stop()


@contextmanager
def open_migrated_site(folder: Path) -> Iterator[Site]:
    """In an empty folder, with the schema."""
    with open_site(folder) as site:
        site.succeed("db", "migrate")
        yield site


def make_known_ca(site: Site, folder: Path, *options: str) -> CA:
    """A CA in an empty folder, which the site answers for as `example`; `options` are of `issuer add`."""
    made = make_ca(folder)
    key = str(made.folder / "ca.key")
    site.succeed("issuer", "add", "--id", "example", "--certificate", made.certificate, "--ca-key", key, *options)
    return made
