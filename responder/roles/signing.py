"""What signs answers on this host."""

from __future__ import annotations

from datetime import timedelta

from responder.clock import SystemClock
from responder.config import Config
from responder.ocsp.linted import LintedSigner
from responder.roles.snapshot import Directory
from responder.roles.stores import Stores
from responder.signing.answers import NativeSigner
from responder.signing.offline import OfflineSigner


def answer_signer(config: Config, stores: Stores, directory: Directory, *, pause_seconds: float = 0) -> OfflineSigner:
    """What signs with the keys of this host, and looks at what it signs; `pause_seconds` as `LintedSigner` has it. For
    offline issuers it gives what was imported, which was looked at then."""
    backdate, clock = timedelta(seconds=config.revocation.backdate_seconds), SystemClock()
    native = NativeSigner(directory.signers, clock, backdate=backdate)
    linted = LintedSigner(native, directory.profiles, pause_seconds=pause_seconds)
    return OfflineSigner(linted, linted, answers=stores.answers, clock=clock)
