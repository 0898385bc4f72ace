"""Judges that are programs of ours around other people's libraries, started once for all cases."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.interop.case import Case, Limit, Tells, every
from tests.interop.world import LISTED, REASONS, World

_HERE = Path(__file__).parent
_JAVA_REASONS = {"_".join(_words).upper(): _reason for _reason, _words in {
    "keyCompromise": ("key", "compromise"),
    "cACompromise": ("ca", "compromise"),
    "affiliationChanged": ("affiliation", "changed"),
    "superseded": ("superseded",),
    "cessationOfOperation": ("cessation", "of", "operation"),
    "certificateHold": ("certificate", "hold"),
    "privilegeWithdrawn": ("privilege", "withdrawn"),
    "aACompromise": ("aa", "compromise"),
}.items()}  # fmt: skip


def _lines(command: Sequence[str], lines: Iterable[str]) -> list[str]:
    done = subprocess.run(
        command, input="".join(f"{line}\n" for line in lines), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


class Java:
    """PKIXRevocationChecker of OpenJDK 17, with the certificates' own URLs."""

    def __init__(self, how: str) -> None:
        """`how`: GET, POST or CRL."""
        self._how = how
        self.name = f"Java PKIXRevocationChecker, {how}"
        self.what = "" if how == "CRL" else "SHA-1, with a nonce and without"
        self.tells = Tells(listed=how == "CRL")
        self.limits: Sequence[Limit] = ()

    def cases(self, world: World) -> Sequence[Case]:
        if self._how == "CRL":
            return every(world, statuses=LISTED, digests=["crl"], nonces=[False])
        return every(world, digests=["sha1"])

    def says(self, world: World, cases: Sequence[Case]) -> Iterable[str]:
        command = [
            "java", "-XX:TieredStopAtLevel=1", "-Dcom.sun.security.enableCRLDP=true",
            f"-Dcom.sun.security.ocsp.useget={str(self._how == 'GET').lower()}", str(_HERE / "Judge.java"),
        ]  # fmt: skip
        how = "crl" if self._how == "CRL" else "ocsp"
        asked = (f"{case.leaf}\t{case.issuer_file}\t{how}\t{'nonce' if case.nonce else '-'}" for case in cases)
        for said in _lines(command, asked):
            state, _, reason = said.partition(", ")
            yield f"{state}, {_JAVA_REASONS[reason]}" if reason in _JAVA_REASONS else said


class Go:
    """golang.org/x/crypto/ocsp, or the CRLs of crypto/x509."""

    def __init__(self, how: str) -> None:
        """`how`: OCSP or CRL."""
        self._by_crl = how == "CRL"
        self.name = "Go crypto/x509, CRL" if self._by_crl else "Go x/crypto/ocsp"
        self.what = "" if self._by_crl else "every hash, without a nonce"
        self.tells = Tells(listed=self._by_crl)
        self.limits: Sequence[Limit] = (
            ()
            if self._by_crl
            else (
                Limit("algorithm unimplemented", "the library has no RSASSA-PSS", kind="RSASSA-PSS"),
                Limit("algorithm unimplemented", "the library has no Ed25519", kind="Ed25519"),
            )
        )

    def cases(self, world: World) -> Sequence[Case]:
        if self._by_crl:
            return every(world, statuses=LISTED, digests=["crl"], nonces=[False])
        return every(world, nonces=[False])

    def says(self, world: World, cases: Sequence[Case]) -> Iterable[str]:
        with TemporaryDirectory() as name:
            # The path that Debian's packages of libraries are in, and no modules.
            source = Path(name, "src", "judge")
            source.mkdir(parents=True)
            (source / "judge.go").write_bytes((_HERE / "judge.go").read_bytes())
            program = str(source / "judge")
            subprocess.run(
                ["go", "build", "-o", program, "judge"],
                env=os.environ | {"GO111MODULE": "off", "GOPATH": f"{name}:/usr/share/gocode", "GOFLAGS": ""},
                check=True,
                timeout=300,
            )
            url = _crl_url if self._by_crl else _ocsp_url
            return _lines([program], (_go_line(world, case, url) for case in cases))


def _go_line(world: World, case: Case, url: Callable[[World, Case], str]) -> str:
    return f"{case.leaf}\t{case.issuer_file}\t{case.issuer.file}\t{case.digest}\t{url(world, case)}"


def _ocsp_url(world: World, case: Case) -> str:
    return world.ocsp


def _crl_url(world: World, case: Case) -> str:
    return f"{world.site.url}/crl/{case.issuer.id}.crl"


assert set(_JAVA_REASONS.values()) == set(REASONS)
