"""Judges that are commands, started once for each case."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.interop.case import REFUSED, UNAUTHORIZED, Case, Limit, Tells, at_once, every
from tests.interop.world import GOOD, World

_OPENSSL_REASONS = {"CACompromise": "cACompromise"}


def run(*arguments: str | Path, folder: Path | None = None) -> str:
    """What it says; it may fail."""
    done = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    return done.stdout + done.stderr


class OpenSSL:
    """The client of OpenSSL."""

    name = "openssl ocsp"
    what = "every hash, with a nonce and without"
    tells = Tells()
    limits: Sequence[Limit] = (
        Limit(
            "revoked, (UNKNOWN)", "it has no name for reasons 9 and 10", statuses=("privilegeWithdrawn", "aACompromise")
        ),
    )

    def cases(self, world: World) -> Sequence[Case]:
        return every(world)

    def says(self, world: World, cases: Sequence[Case]) -> Iterable[str]:
        def ask(case: Case) -> str:
            said = run(
                "openssl", "ocsp", "-issuer", case.issuer_file, f"-{case.digest}", "-cert", case.leaf,
                "-url", world.ocsp, "-CAfile", case.issuer.file, *([] if case.nonce else ["-no_nonce"]),
            )  # fmt: skip
            if "Responder Error: unauthorized" in said:
                return UNAUTHORIZED
            if "Response verify OK" not in said or "WARNING" in said:
                return said
            return _state(said, rf"{re.escape(str(case.leaf))}: (\w+)", r"Reason: (\S+)", _OPENSSL_REASONS)

        return at_once(ask, cases)


class GnuTLS:
    """The client of GnuTLS."""

    name = "GnuTLS ocsptool"
    what = "SHA-1, with a nonce and without"
    tells = Tells(reasons=False)
    limits: Sequence[Limit] = (
        Limit(
            "Signer cert not found", "it looks for the CA as the signer by its name alone", kind="P-256, the CA itself"
        ),
    )

    def cases(self, world: World) -> Sequence[Case]:
        return every(world, digests=["sha1"])

    def says(self, world: World, cases: Sequence[Case]) -> Iterable[str]:
        def ask(case: Case) -> str:
            said = run(
                "ocsptool", f"--ask={world.ocsp}", "--load-cert", case.leaf, "--load-issuer", case.issuer_file,
                "--load-trust", case.issuer.file, "--nonce" if case.nonce else "--no-nonce",
            )  # fmt: skip
            if re.search(r"Response Status: unauthorized", said, re.IGNORECASE):
                return UNAUTHORIZED
            if "Verifying OCSP Response: Success" not in said:
                found = re.search(r"Verifying OCSP Response: (.*)", said)
                return found[1] if found else said
            return _state(said, r"Certificate Status: (\w+)", "there is none", {})

        return at_once(ask, cases)


class NSS:
    """The verifier of Firefox's library, with the certificates' own URL. What isn't good it calls revoked."""

    name = "NSS vfychain -m ocsp"
    what = "SHA-1, without a nonce"
    tells = Tells(states=False)
    limits: Sequence[Limit] = (Limit(REFUSED, "the library has no Ed25519", kind="Ed25519"),)

    def cases(self, world: World) -> Sequence[Case]:
        return every(world, digests=["sha1"], nonces=[False])

    def says(self, world: World, cases: Sequence[Case]) -> Iterable[str]:
        with TemporaryDirectory() as name:
            for issuer in world.issuers.values():
                database = f"sql:{name}/{issuer.id}"
                Path(name, issuer.id).mkdir()
                run("certutil", "-N", "-d", database, "--empty-password")
                run("certutil", "-A", "-d", database, "-n", "ca", "-t", "CT,C,C", "-a", "-i", issuer.file)

            def ask(case: Case) -> str:
                said = run(
                    "vfychain", "-d", f"sql:{name}/{case.issuer.id}", "-pp", "-g", "leaf", "-h", "requireFreshInfo",
                    "-m", "ocsp", "-s", "failIfNoInfo", "-u", "1", "-a", case.leaf,
                )  # fmt: skip
                return GOOD if said.startswith("Chain is good!") else REFUSED if "Chain is bad!" in said else said

            yield from at_once(ask, cases)


def _state(said: str, state: str, reason: str, names: dict[str, str]) -> str:
    found, why = re.search(state, said), re.search(reason, said)
    if found is None:
        return said
    return found[1] if why is None else f"{found[1]}, {names.get(why[1], why[1])}"
