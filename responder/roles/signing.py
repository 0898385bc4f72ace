"""What signs answers on this host."""

from __future__ import annotations

from datetime import timedelta

from responder.clock import SystemClock
from responder.config import Config
from responder.ocsp.linted import LintedSigner
from responder.roles.snapshot import Directory
from responder.signing.answers import NativeSigner


def linted_signer(config: Config, directory: Directory, *, pause_seconds: float = 0) -> LintedSigner:
    """What signs with the keys of this host, and looks at what it signs; `pause_seconds` as `LintedSigner` has it."""
    backdate = timedelta(seconds=config.revocation.backdate_seconds)
    native = NativeSigner(directory.signers, SystemClock(), backdate=backdate)
    return LintedSigner(native, directory.profiles, pause_seconds=pause_seconds)
