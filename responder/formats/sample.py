"""Certificates that lie beside a list: whether they are of the CA that the list is imported for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from responder.formats.openssl_index import serial_text
from responder.pki import Issuer
from responder.pki.certificates import ParsedCertificate, first_certificate

FOLDERS = ("newcerts", "certs", "certs_by_serial", ".")
"""Where `openssl ca` (new_certs_dir) and easy-rsa keep what they issue, as SERIAL.pem, beside the index."""

LOOKED_AT = 4
"""Of the beginning of a list, and of its end."""


def find_stranger(index: Path, serial_numbers: Sequence[int], issuer: Issuer) -> tuple[Path, ParsedCertificate] | None:
    """A certificate of the list that another CA has issued, where some of them lie beside it; None where all that are
    found are the issuer's, or none is found."""
    for serial_number in dict.fromkeys((*serial_numbers[:LOOKED_AT], *serial_numbers[-LOOKED_AT:])):
        for path in _places(index, serial_number):
            try:
                found = first_certificate(path.read_bytes())
            except (OSError, ValueError):
                continue  # not there, or something else of that name
            if found.serial_number != serial_number or found.der == issuer.certificate:
                continue
            if not found.was_issued_by(issuer.name, issuer.public_key):
                return path, found
    return None


def _places(index: Path, serial_number: int) -> list[Path]:
    return [index.parent / folder / f"{serial_text(serial_number)}.pem" for folder in FOLDERS]
