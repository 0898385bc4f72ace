"""The files that commands are given."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path

from responder.certificates import ParsedCertificate, read_certificate
from responder.errors import ConfigError

_PEM = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----(.*?)-----END ", re.DOTALL)


def certificate_in(path: Path) -> ParsedCertificate:
    """The first certificate in a PEM or DER file.

    Raises:
        ConfigError: unreadable, or not a certificate.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: the certificate can't be read: {error.strerror}") from error
    try:
        if b"-----BEGIN" in content:
            found = _PEM.search(content)
            if found is None:
                raise ValueError("it is PEM, of something else")
            content = base64.b64decode(b"".join(found[1].split()), validate=True)
        return read_certificate(content)
    except (ValueError, binascii.Error) as error:
        raise ConfigError(f"{path}: not a certificate in PEM or DER: {error}") from error
