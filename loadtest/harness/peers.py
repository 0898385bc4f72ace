"""Others that answer the same questions on the same cores: nginx with files, `openssl ocsp`, `cfssl ocspserve`."""

from __future__ import annotations

import base64
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from loadtest.beside_nginx import nginx
from loadtest.common import ca_certificate, new_ca_key
from loadtest.harness.asking import Question, http_get, questions_of
from loadtest.harness.scenario import Scenario
from loadtest.harness.site import free_port
from loadtest.harness.target import Subject, Target, wait_until_listening, with_descendants
from responder.errors import CertstatusError, ConfigError

Peer = tuple[Target, list[Question]]


class Others:
    """Starts those that are compared with, on these cores, their files in this folder.

    Args:
        questions: that certstatus is asked; what it answers is what nginx and cfssl have.
        scenario: of these questions.
    """

    def __init__(
        self, questions: Sequence[Question], scenario: Scenario, *, folder: Path, cores: Sequence[int]
    ) -> None:
        self._questions, self._scenario, self._folder, self._cores = questions, scenario, folder, cores
        self._answers: list[bytes] = []

    @contextmanager
    def nginx(self) -> Iterator[Peer]:
        """The same answers as files, kept open: what a cache costs that looks at nothing."""
        folder, port = self._folder / "nginx", free_port()
        folder.mkdir()
        self._folder.chmod(0o755)
        files = {f"{index}.der": answer for index, answer in enumerate(self._asked())}
        version = re.sub(r".*nginx/", "", _said(shutil.which("nginx") or "/usr/sbin/nginx", "-v"))
        url = f"http://127.0.0.1:{port}"
        questions = [
            replace(each, octets=http_get(f"{url}/{name}")) for each, name in zip(self._questions, files, strict=True)
        ]
        cores = list(self._cores) or sorted(os.sched_getaffinity(0))
        with nginx(folder, files, workers=1, cores=cores, port=port) as workers:
            yield Target(f"nginx {version}, files", _at(url, questions), lambda: workers), questions

    @contextmanager
    def cfssl(self) -> Iterator[Peer]:
        """The same answers, which it looks up by serial number."""
        path, port = self._folder / "responses", free_port()
        path.write_bytes(b"\n".join(map(base64.b64encode, self._asked())) + b"\n")
        version = re.search(r"Version: (\S+)", _said("cfssl", "version"))
        url = f"http://127.0.0.1:{port}"
        questions = questions_of(self._scenario, Target("", _at(url, self._questions)))
        command = ["cfssl", "ocspserve", "-port", str(port), "-responses", str(path), "-loglevel", "5"]
        with self._running(command, port) as processes:
            name = f"cfssl {version[1] if version else ''} ocspserve"
            yield Target(name, _at(url, self._questions), processes), questions

    @contextmanager
    def openssl(self) -> Iterator[Peer]:
        """Of a CA of its own, whose key it signs each answer with."""
        folder, port = self._folder / "openssl", free_port()
        folder.mkdir()
        ca = x509.load_der_x509_certificate(ca_certificate("Peer CA", new_ca_key(folder)))
        (folder / "ca.crt").write_bytes(ca.public_bytes(Encoding.PEM))
        serials = [secrets.randbits(120) | 1 << 120 for _ in range(200)]
        end = datetime.now(UTC) + timedelta(days=90)
        (folder / "index.txt").write_text(
            "".join(f"V\t{end:%y%m%d%H%M%SZ}\t\t{serial:X}\tunknown\t/CN={serial:X}\n" for serial in serials)
        )
        subject = Subject("peer", ca, f"http://127.0.0.1:{port}", None, serials)
        target = Target(" ".join(_said("openssl", "version").split()[:2]) + " ocsp", [subject])
        command = [
            "openssl", "ocsp", "-port", str(port), "-index", str(folder / "index.txt"), "-CA", str(folder / "ca.crt"),
            "-rsigner", str(folder / "ca.crt"), "-rkey", str(folder / "ca.pem"), "-ndays", "1", "-ignore_err",
        ]  # fmt: skip
        with self._running(command, port) as processes:
            yield replace(target, processes=processes), questions_of(self._scenario, target)

    def _asked(self) -> list[bytes]:
        """What certstatus answers to each question."""
        if not self._answers:
            with httpx.Client(trust_env=False, timeout=30) as client:
                for question in self._questions:
                    assert question.request is not None
                    self._answers.append(client.post(question.subject.ocsp, content=question.request).content)
        return self._answers

    @contextmanager
    def _running(self, command: list[str], port: int) -> Iterator[Callable[[], list[int]]]:
        pinned = ["taskset", "-c", ",".join(map(str, self._cores))] if self._cores else []
        log = self._folder / "log"
        with log.open("w") as said:
            process = subprocess.Popen([*pinned, *command], stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        try:
            try:
                wait_until_listening(port)
            except CertstatusError as error:
                raise CertstatusError(f"{command[0]}: {error}: {log.read_text()[-300:]}") from error
            yield lambda: with_descendants(process.pid)
        finally:
            process.terminate()
            process.wait(20)


PEERS: dict[str, tuple[Callable[[Others], AbstractContextManager[Peer]], str]] = {
    "nginx": (Others.nginx, "nginx-light"),
    "openssl": (Others.openssl, "openssl"),
    "cfssl": (Others.cfssl, "golang-cfssl"),
}


def require(names: Sequence[str]) -> None:
    """See that the programs are here.

    Raises:
        ConfigError: one isn't, or isn't known.
    """
    faults = [f"--against {name}: known are {', '.join(PEERS)}" for name in names if name not in PEERS]
    faults += [
        f"--against {name}: {name} isn't here: apt-get install {PEERS[name][1]}"
        for name in names
        if name in PEERS and not (shutil.which(name) or Path(f"/usr/sbin/{name}").exists())
    ]
    if faults:
        raise ConfigError(*faults)


def _at(url: str, questions: Sequence[Question]) -> list[Subject]:
    """The subjects of these questions, asked at another place."""
    found = {each.subject.name: replace(each.subject, ocsp=url, crl=None) for each in questions}
    return list(found.values())


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()
