"""Which certificate a command is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from responder.cli.files import certificate_in, issuer_of
from responder.cli.options import known_issuer
from responder.errors import ConfigError
from responder.operations.spelling import read_serial
from responder.pki import Certificate, Issuers, names

Named = Callable[[Issuers], Certificate]
"""Which certificate is meant, once the issuers are known; raises ConfigError where none of them fits."""


def by_serial(issuer_id: str, serial: str) -> Named:
    """By its serial number and its issuer's id.

    Raises:
        ConfigError: one of them is missing, or isn't one.
    """
    if not issuer_id:
        raise ConfigError("--issuer ID is missing; certstatus issuer list shows the ids")
    number = read_serial("the serial number", serial)
    return lambda issuers: Certificate.numbered(known_issuer(issuers, issuer_id), number)


def by_certificate(issuer_id: str, path: Path, *, option: str) -> Named:
    """By the certificate itself, of the issuer that has signed it; `issuer_id` must be that one, where it is given.

    Args:
        option: what the operator calls the file.

    Raises:
        ConfigError: unreadable, or not a certificate.
    """
    given = certificate_in(path)

    def named(issuers: Issuers) -> Certificate:
        issuer = issuer_of(given, Issuers([known_issuer(issuers, issuer_id)]) if issuer_id else issuers)
        if issuer is not None:
            return Certificate.numbered(issuer, given.serial_number)
        if issuer_id:
            raise ConfigError(
                f"{option}: it was issued by {given.issuer}, and not with the key of issuer {issuer_id} "
                f"({names.describe(known_issuer(issuers, issuer_id).name)})"
            )
        raise ConfigError(
            f"{option}: it was issued by {given.issuer}, and no issuer here has signed it; certstatus issuer "
            "list shows them"
        )

    return named
