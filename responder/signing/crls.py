"""What CA keys sign: CRLs and certificates."""

from __future__ import annotations

import asyncio
from datetime import datetime

from responder._native import CRLBuilder, PrivateKey
from responder.der import extension, generalized_time
from responder.errors import CRLError, SigningFailed
from responder.pki import Issuer, epoch_seconds
from responder.signing.keys import KeyRing
from responder.signing.signers import signature_algorithm_of

_EXPIRED_CERTS_ON_CRL = bytes.fromhex("0603551d3c")
"""ITU-T X.509 (10/2019) §9.5.2.8."""


def ca_signer_of(keys: KeyRing, public_key: bytes) -> NativeCASigner | None:
    """The key of this DER SubjectPublicKeyInfo, to issue certificates with; None where it isn't among these."""
    key = keys.get(public_key)
    return None if key is None else NativeCASigner(key)


class NativeCASigner:
    """A CA's key; implements `CASigner`."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key

    def algorithm_for(self, issuer: Issuer) -> bytes:
        """See `CASigner.algorithm_for`."""
        return signature_algorithm_of(issuer, self._key.signature_algorithms)

    def sign(self, message: bytes, signature_algorithm: bytes, /) -> bytes:
        """See `CASigner.sign`."""
        return self._key.sign(message, signature_algorithm)


class NativeCRLSigner:
    """Signs CRLs with CA keys from a `KeyRing`; implements `CRLSigner`."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def use(self, keys: KeyRing) -> None:
        """Sign with these from now on."""
        self._keys = keys

    def can_sign(self, issuer: Issuer) -> bool:
        """Whether this host holds the issuer's key."""
        return self._keys.get(issuer.public_key) is not None

    async def sign_crl(
        self,
        issuer: Issuer,
        *,
        crl_number: int,
        this_update: datetime,
        next_update: datetime,
        entries: CRLBuilder,
        expired_since: datetime | None,
    ) -> bytes:
        """See `CRLSigner.sign_crl`."""
        key = self._keys.get(issuer.public_key)
        if key is None:
            raise CRLError(f"issuer {issuer.id}: its key isn't among the CA keys of this host")
        try:
            return await asyncio.to_thread(
                entries.sign,
                key,
                issuer.name,
                issuer.key_identifier,
                crl_number,
                epoch_seconds(this_update),
                epoch_seconds(next_update),
                b"" if expired_since is None else extension(_EXPIRED_CERTS_ON_CRL, generalized_time(expired_since)),
                signature_algorithm_of(issuer, key.signature_algorithms),
            )
        except ValueError as error:
            raise SigningFailed(f"CRL of issuer {issuer.id}: {error}") from error
