"""Signatures of others, and of records when they are first met."""

from __future__ import annotations

import hashlib

from responder._native import verify
from responder.pki import Certificate, Issuer, PublicKey, Records, SigningProfile, load_public_key, signer_key
from responder.signing.answers import MAX_CLOCK_DIFFERENCE


def verifies(public_key: bytes, signature_algorithm: bytes, message: bytes, signature: bytes) -> bool:
    """See `SignatureVerifier`."""
    try:
        verify(public_key, signature_algorithm, message, signature)
    except ValueError:
        return False
    return True


class NativeRecordVerifier:
    """Verifies records when they are first met; implements `RecordVerifier`."""

    def __init__(self, *, capacity: int = 100_000, sample: int = 1) -> None:
        """`capacity` records are known to be right (100,000 take about 10 MB); then it starts over. With `sample` only
        the first of each profile and one in so many are verified, which is for those whose seal is ours."""
        self._capacity = capacity
        self._sample = sample
        self._met: dict[bytes, int] = {}
        self._right: set[bytes] = set()
        self._keys: dict[bytes, PublicKey] = {}

    def verifies(self, certificate: Certificate, profile: SigningProfile, records: Records, variant: int) -> bool:
        """See `RecordVerifier.verifies`."""
        count = self._met[profile.id] = self._met.get(profile.id, -1) + 1
        if count % self._sample:
            return True
        seen = hashlib.blake2b(records.encoded + certificate.serial, digest_size=16, salt=bytes([variant])).digest()
        if seen in self._right:
            return True
        try:
            profile.verify(self._key(certificate.issuer, profile), records, variant, certificate.serial)
        except (KeyError, ValueError):
            return False
        # What isn't signed must lie where signing put it.
        earliest, latest = records.this_update, records.produced_at + MAX_CLOCK_DIFFERENCE.seconds + 1
        if not earliest * 1_000_000 <= records.as_of_microseconds <= latest * 1_000_000:
            return False
        if len(self._right) >= self._capacity:
            self._right.clear()
        self._right.add(seen)
        return True

    def _key(self, issuer: Issuer, profile: SigningProfile) -> PublicKey:
        key = self._keys.get(profile.id)
        if key is None:
            key = self._keys[profile.id] = load_public_key(signer_key(issuer, profile))
        return key
