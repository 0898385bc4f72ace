"""What is asked of one issuer of ours: made from a request once, and all that is needed to answer it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from responder.pki.issuer import Issuer
from responder.pki.request import RequestSignature
from responder.pki.status import Certificate
from responder.pki.terms import CertIDVariant


@dataclass(frozen=True, slots=True)
class Question:
    """A resolved request.

    Attributes:
        issuer: of all the certificates.
        certificates: at least one, in the order asked.
        variants: for each, how its CertID spells the hash algorithm.
        nonce: to be returned unchanged, where the issuer's policy wants that.
        signature_algorithm: what the answer is to be signed with, where that isn't what the issuer signs with anyway;
            then it is signed live.
        signature: of whoever asks, unverified.
    """

    issuer: Issuer
    certificates: tuple[Certificate, ...]
    variants: tuple[CertIDVariant, ...]
    nonce: bytes | None = None
    signature_algorithm: bytes | None = None
    signature: RequestSignature | None = None

    @property
    def is_plain(self) -> bool:
        """Whether records can answer it: one certificate by a hash that records are made for, and nothing that has to
        be signed anew."""
        return (
            len(self.certificates) == 1
            and self.nonce is None
            and self.signature_algorithm is None
            and self.variants[0] in self.issuer.policy.kept_variants
        )

    def plain(self) -> Question:
        """The nearest question about its one certificate that records can answer: no nonce, the issuer's own algorithm,
        and NULL parameters of the hash where absent ones were asked for. It may not be `is_plain` even so."""
        (variant,) = self.variants
        own = self.issuer.policy.kept_variants
        if variant not in own and variant.with_null in own:
            variant = variant.with_null
        return replace(self, variants=(variant,), nonce=None, signature_algorithm=None)
