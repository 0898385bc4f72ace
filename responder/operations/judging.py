"""Looks at OCSP responses as a suspicious client does: anybody's, by a library that isn't ours (pyca/cryptography)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from responder import der

CLOCKS_DIFFER = timedelta(seconds=10)
"""How far the responder's clock may be ahead of this one."""

_HASHING = (
    ed25519.Ed25519PublicKey,
    ed448.Ed448PublicKey,
    mldsa.MLDSA44PublicKey,
    mldsa.MLDSA65PublicKey,
    mldsa.MLDSA87PublicKey,
)
"""Keys of algorithms that hash for themselves."""

ERRORS = {
    ocsp.OCSPResponseStatus.MALFORMED_REQUEST: "malformedRequest",
    ocsp.OCSPResponseStatus.INTERNAL_ERROR: "internalError",
    ocsp.OCSPResponseStatus.TRY_LATER: "tryLater",
    ocsp.OCSPResponseStatus.SIG_REQUIRED: "sigRequired",
    ocsp.OCSPResponseStatus.UNAUTHORIZED: "unauthorized",
}
"""RFC 6960 §4.2.1, by their names there."""


class Wrong(Exception):
    """What is wrong with an answer, in a sentence without its values, so that the like ones are counted together."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A successful response to a request with one CertID.

    Attributes:
        single: what it says of the certificate asked.
        issuer: the CA of that certificate.
        at: when it came.
    """

    request: ocsp.OCSPRequest
    response: ocsp.OCSPResponse
    single: ocsp.OCSPSingleResponse
    issuer: x509.Certificate
    at: datetime

    @property
    def signer(self) -> x509.Certificate:
        """Whose signature it claims to have: the first certificate that comes with it, else the CA."""
        return self.response.certificates[0] if self.response.certificates else self.issuer


def read_response(
    request: ocsp.OCSPRequest, octets: bytes, *, issuer: x509.Certificate, at: datetime
) -> Answered | str:
    """What a responder said to a request with one CertID; the name of the error where it is one.

    Raises:
        Wrong: it is no OCSPResponse, or not about this certificate.
    """
    try:
        response = ocsp.load_der_ocsp_response(octets)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return ERRORS[response.response_status]
        singles = [each for each in response.responses if each.serial_number == request.serial_number]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Wrong(f"no OCSPResponse: {error}") from error
    if not singles:
        raise Wrong("it is about another certificate")
    return Answered(request, response, singles[0], issuer, at)


def check_cert_id(answered: Answered) -> None:
    """RFC 6960 §3.2: the certificate identified in the response is the one that was asked about."""
    asked, single = answered.request, answered.single
    if single.hash_algorithm.name != asked.hash_algorithm.name:
        raise Wrong("the CertID has another hash algorithm than was asked (RFC 6960 §4.2.1)")
    if (single.issuer_name_hash, single.issuer_key_hash) != (asked.issuer_name_hash, asked.issuer_key_hash):
        raise Wrong("the CertID is of another issuer")


def check_delegate(answered: Answered) -> None:
    """RFC 6960 §4.2.2.2: whoever signs is the CA, or a delegate of that CA for OCSP, valid now."""
    delegate, issuer = answered.signer, answered.issuer
    if delegate == issuer:
        return
    if not delegate.not_valid_before_utc <= answered.at <= delegate.not_valid_after_utc:
        raise Wrong("the delegate isn't valid now (RFC 6960 §4.2.2.2)")
    try:
        if delegate.issuer != issuer.subject:
            raise Wrong("the delegate isn't of this CA (RFC 6960 §4.2.2.2)")
        _verify(issuer.public_key(), delegate, delegate.tbs_certificate_bytes)
        uses = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (InvalidSignature, ValueError, TypeError) as error:
        raise Wrong("the delegate isn't of this CA (RFC 6960 §4.2.2.2)") from error
    except UnsupportedAlgorithm as error:
        raise Wrong(f"the CA's signature of the delegate can't be looked at: {error}") from error
    except x509.ExtensionNotFound:
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    if ExtendedKeyUsageOID.OCSP_SIGNING not in uses:
        raise Wrong("the delegate may not sign OCSP (RFC 6960 §4.2.2.2)")


def check_responder_id(answered: Answered) -> None:
    """RFC 6960 §4.2.2.3: responderID is the signer's."""
    by_name, by_key = answered.response.responder_name, answered.response.responder_key_hash
    if by_name is not None and by_name != answered.signer.subject:
        raise Wrong("responderID names another than the signer")
    if by_key is not None and by_key != issuer_hashes(answered.signer, hashes.SHA1())[1]:  # noqa: S303  # RFC 6960 §4.2.1 has it so
        raise Wrong("responderID has another key than the signer's")


def check_signature(answered: Answered) -> None:
    """RFC 6960 §3.2: the signature is the signer's, over the whole of ResponseData."""
    try:
        _verify(answered.signer.public_key(), answered.response, answered.response.tbs_response_bytes)
    except InvalidSignature:
        raise Wrong("the signature is wrong") from None
    except UnsupportedAlgorithm as error:
        raise Wrong(f"the signature can't be looked at: {error}") from error


def check_times(answered: Answered) -> None:
    """RFC 6960 §3.2: thisUpdate is sufficiently recent, nextUpdate hasn't passed."""
    response, single, latest = answered.response, answered.single, answered.at + CLOCKS_DIFFER
    if single.this_update_utc > latest or response.produced_at_utc > latest:
        raise Wrong("thisUpdate or producedAt is in the future (RFC 6960 §3.2)")
    if single.next_update_utc is not None and single.next_update_utc <= answered.at:
        raise Wrong("nextUpdate has passed (RFC 6960 §3.2)")


def check_nonce(answered: Answered) -> None:
    """RFC 9654 §2.1: the nonce of the request comes back, where it has one."""
    asked = nonce_of(answered.request)
    if asked is not None and nonce_of(answered.response) != asked:
        raise Wrong("the nonce is missing or another's (RFC 9654 §2.1)")


CHECKS: dict[str, Callable[[Answered], None]] = {
    "CertID": check_cert_id,
    "signer": check_delegate,
    "responderID": check_responder_id,
    "signature": check_signature,
    "times": check_times,
    "nonce": check_nonce,
}
"""By what they look at, in the order in which they make sense."""


def nonce_of(message: ocsp.OCSPRequest | ocsp.OCSPResponse) -> bytes | None:
    """The nonce of a request or a response, where it has one."""
    try:
        return message.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None


def issuer_hashes(ca: x509.Certificate, algorithm: hashes.HashAlgorithm) -> tuple[bytes, bytes]:
    """issuerNameHash and issuerKeyHash of a CertID (RFC 6960 §4.1.1)."""
    spki = ca.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    key = der.values(der.contents(spki))[1][1][1:]  # a BIT STRING without its count of unused bits
    found = []
    for octets in (ca.subject.public_bytes(), key):
        digest = hashes.Hash(algorithm)
        digest.update(octets)
        found.append(digest.finalize())
    return found[0], found[1]


def _verify(key: object, signed: x509.Certificate | ocsp.OCSPResponse, text: bytes) -> None:
    """Whether a key has signed; with SHA-1 too, which `certstatus lint` tells."""
    signature, algorithm = signed.signature, signed.signature_hash_algorithm
    if isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
        key.verify(signature, text, ec.ECDSA(algorithm))
    elif isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
        is_pss = signed.signature_algorithm_oid == x509.SignatureAlgorithmOID.RSASSA_PSS
        fill = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO) if is_pss else padding.PKCS1v15()
        key.verify(signature, text, fill, algorithm)
    elif isinstance(key, _HASHING):
        key.verify(signature, text)
    else:
        raise UnsupportedAlgorithm(type(key).__name__)
