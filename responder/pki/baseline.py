"""What the CA/Browser Forum's TLS Baseline Requirements allow of signatures."""

from __future__ import annotations


def _pss(digest: int, salt: int) -> bytes:
    """RSASSA-PSS with a hash of the family SHA-2, MGF1 with the same, and that much salt."""
    named = bytes.fromhex("300d06096086480165030402") + bytes([digest]) + b"\x05\x00"
    mgf1 = bytes.fromhex("06092a864886f70d010108") + named
    parameters = (
        b"\xa0" + bytes([len(named)]) + named
        + b"\xa1" + bytes([len(mgf1) + 2]) + b"\x30" + bytes([len(mgf1)]) + mgf1
        + b"\xa2\x03\x02\x01" + bytes([salt])
    )  # fmt: skip
    body = bytes.fromhex("06092a864886f70d01010a") + b"\x30" + bytes([len(parameters)]) + parameters
    return b"\x30" + bytes([len(body)]) + body


BASELINE_ALGORITHMS = frozenset(
    {
        *(bytes.fromhex(f"300d06092a864886f70d0101{each}0500") for each in ("0b", "0c", "0d")),
        *(_pss(digest, salt) for digest, salt in ((1, 32), (2, 48), (3, 64))),
        *(bytes.fromhex(f"300a06082a8648ce3d0403{each}") for each in ("02", "03", "04")),
    }
)
"""The AlgorithmIdentifiers of BR 7.1.3.2, byte for byte: RSA PKCS#1 v1.5, PSS and ECDSA, with SHA-256, SHA-384 and
SHA-512."""
