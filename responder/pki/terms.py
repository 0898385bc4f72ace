"""What the standards name and number: statuses, reasons, hash algorithms, and what an issuer may choose."""

from __future__ import annotations

from enum import IntEnum


class CertStatus(IntEnum):
    """What OCSP says of a certificate. Source: RFC 6960 §2.2."""

    GOOD = 0
    REVOKED = 1
    UNKNOWN = 2


class CRLReason(IntEnum):
    """Why a certificate was revoked, under the RFC's own names. Source: RFC 5280 §5.3.1 (7 is unused)."""

    unspecified = 0
    keyCompromise = 1
    cACompromise = 2
    affiliationChanged = 3
    superseded = 4
    cessationOfOperation = 5
    certificateHold = 6
    removeFromCRL = 8
    privilegeWithdrawn = 9
    aACompromise = 10


class CertIDVariant(IntEnum):
    """A hash algorithm as a CertID spells it: with NULL parameters, or with absent ones (some clients compare).

    Source: RFC 6960 §4.1.1; requirement 6960-12.
    """

    UNKNOWN = 0
    SHA1 = 1
    SHA256 = 2
    SHA384 = 3
    SHA512 = 4
    SHA1_ABSENT = 17
    SHA256_ABSENT = 18
    SHA384_ABSENT = 19
    SHA512_ABSENT = 20

    @property
    def hash_name(self) -> str:
        """`sha1`, `sha256`, `sha384`, `sha512` or `unknown`, whatever the parameters."""
        return HASH_NAMES[self.hash_number]

    @property
    def hash_number(self) -> int:
        """1 to 4 for SHA-1, -256, -384 and -512, whatever the parameters; 0 for unknown."""
        return self & 0x0F

    @property
    def with_null(self) -> CertIDVariant:
        """The same hash with NULL parameters."""
        return CertIDVariant(self.hash_number)


HASH_NAMES = ("unknown", "sha1", "sha256", "sha384", "sha512")


class NoncePolicy(IntEnum):
    """What an issuer does with a nonce: `optional` echoes and signs live, `ignore` answers from the cache, `required`
    refuses requests without one."""

    optional = 0
    ignore = 1
    required = 2


class UnknownSerial(IntEnum):
    """What an issuer answers for a serial it never saw: `revoked` is RFC 6960's extended revoke, `good` is for issuers
    whose statuses come from CRLs. Source: RFC 6960 §2.2, §4.4.8; RFC 9919 §3.2.3."""

    unauthorized = 0
    unknown = 1
    revoked = 2
    good = 3
