"""The rules of Content Credentials (C2PA 2.4): answers are kept in the asset, and read years later by who has the CA's
certificate and what the answer itself holds, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from responder import der
from responder.ocsp.lints.reading import SUCCESSFUL, Response
from responder.ocsp.lints.rules import rule
from responder.pki.certificates import (
    KEY_CERT_SIGN,
    OCSP_SIGNING,
    ParsedCertificate,
    read_certificate,
)

_UNKNOWN = 0x82
_AUTHORITY_KEY_IDENTIFIER = bytes.fromhex("0603551d23")
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_RSA_BITS = 2048
# ecdsa-with-SHA256 to SHA512, the same with RSA PKCS#1 v1.5, RSASSA-PSS, Ed25519; of an AlgorithmIdentifier.
_ALGORITHMS = {
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.3",
    "1.2.840.10045.4.3.4",
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.12",
    "1.2.840.113549.1.1.13",
    "1.2.840.113549.1.1.10",
    "1.3.101.112",
}


@rule("C2PA-01", "C2PA 2.4 §15.9.1, §15.9.2", "c2pa")
def a_status_is_said(response: Response) -> Iterator[str]:
    for single in response.singles:
        if single.status == _UNKNOWN:
            yield "certStatus unknown: a validator takes that for no answer"


@rule("C2PA-02", "C2PA 2.4 §14.5.1.1", "c2pa")
def a_delegate_has_signed_and_is_there(response: Response) -> Iterator[str]:
    if response.status == SUCCESSFUL and not response.certs:
        yield "no certificate in certs: only an end entity may sign, and a validator finds its certificate nowhere else"


@rule("C2PA-03", "C2PA 2.4 §14.5.1.1", "c2pa")
def the_delegate_is_for_nothing_else(response: Response) -> Iterator[str]:
    for delegate in _delegate(response):
        usages = delegate.extended_key_usages or ()
        if OCSP_SIGNING in usages and len(usages) > 1:
            yield "the delegate has other purposes beside OCSP signing"
        key_usage = delegate.key_usage
        if delegate.is_ca or (key_usage is not None and key_usage & KEY_CERT_SIGN):
            yield "the delegate is a CA: cA or keyCertSign is asserted"
        if key_usage is None:
            yield "the delegate has no keyUsage"
        if delegate.extension(_AUTHORITY_KEY_IDENTIFIER) is None:
            yield "the delegate has no authorityKeyIdentifier"


@rule("C2PA-04", "C2PA 2.4 §14.5.1.1", "c2pa")
def the_delegates_algorithms_are_allowed(response: Response) -> Iterator[str]:
    for delegate in _delegate(response):
        algorithm = der.dotted(der.values(der.contents(delegate.parts.signature_algorithm))[0][1])
        if algorithm not in _ALGORITHMS:
            yield f"the delegate's certificate is signed by {algorithm}, which isn't in the list"
        try:
            key = load_der_public_key(delegate.parts.spki)
        except (ValueError, UnsupportedAlgorithm) as error:
            yield f"the delegate's key can't be read: {error}"
            continue
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in _CURVES:
            yield f"the delegate's key is on {key.curve.name}; P-256, P-384 and P-521 are allowed"
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_BITS:
            yield f"the delegate's RSA key has {key.key_size} bits; {_RSA_BITS} at least are wanted"


def _delegate(response: Response) -> Iterator[ParsedCertificate]:
    """The first of certs; none where it can't be read, which another rule tells."""
    if response.certs:
        try:
            yield read_certificate(response.certs[0])
        except ValueError:
            return
