"""What the CA/Browser Forum's TLS Baseline Requirements allow of signatures."""

from __future__ import annotations

from responder.der import INTEGER, der_value, sequence

_NULL = b"\x05\x00"


def _pss(digest: int, salt: int) -> bytes:
    """RSASSA-PSS with a hash of the family SHA-2, MGF1 with the same, and that much salt."""
    hashed = sequence(bytes.fromhex("06096086480165030402") + bytes([digest]), _NULL)
    mask = sequence(bytes.fromhex("06092a864886f70d010108"), hashed)
    parameters = der_value(0xA0, hashed), der_value(0xA1, mask), der_value(0xA2, der_value(INTEGER, bytes([salt])))
    return sequence(bytes.fromhex("06092a864886f70d01010a"), sequence(*parameters))


RSA_PSS = _pss(1, 32)
"""RSASSA-PSS with SHA-256, byte for byte as BR 7.1.3.2.1 has it."""

BASELINE_ALGORITHMS = frozenset(
    {
        *(bytes.fromhex(f"300d06092a864886f70d0101{each}0500") for each in ("0b", "0c", "0d")),
        RSA_PSS,
        _pss(2, 48),
        _pss(3, 64),
        *(bytes.fromhex(f"300a06082a8648ce3d0403{each}") for each in ("02", "03", "04")),
    }
)
"""The AlgorithmIdentifiers of BR 7.1.3.2, byte for byte: RSA PKCS#1 v1.5, PSS and ECDSA, with SHA-256, SHA-384 and
SHA-512."""
