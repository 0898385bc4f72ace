"""The files that commands are given."""

from __future__ import annotations

from pathlib import Path

from responder.errors import ConfigError
from responder.pki import Issuer, Issuers
from responder.pki.certificates import ParsedCertificate, first_certificate


def certificate_in(path: Path) -> ParsedCertificate:
    """The first certificate in a PEM or DER file.

    Raises:
        ConfigError: unreadable, or not a certificate.
    """
    try:
        return first_certificate(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: the certificate can't be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a certificate in PEM or DER: {error}") from error


def issuer_of(certificate: ParsedCertificate, issuers: Issuers) -> Issuer | None:
    """The issuer here that has signed it; None where none has."""
    return next((each for each in issuers if certificate.was_issued_by(each.name, each.public_key)), None)
