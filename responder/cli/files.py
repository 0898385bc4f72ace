"""The files that commands are given."""

from __future__ import annotations

from pathlib import Path

from responder.errors import ConfigError
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
