"""Looks at answers as a suspicious client does, with a library that isn't ours (pyca/cryptography)."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from loadtest.harness.asking import Question, ca_hashes

CLOCKS_DIFFER = timedelta(seconds=10)
"""How far the responder's clock may be ahead of this one."""

_ERRORS = {
    ocsp.OCSPResponseStatus.MALFORMED_REQUEST: "malformedRequest",
    ocsp.OCSPResponseStatus.INTERNAL_ERROR: "internalError",
    ocsp.OCSPResponseStatus.TRY_LATER: "tryLater",
    ocsp.OCSPResponseStatus.SIG_REQUIRED: "sigRequired",
    ocsp.OCSPResponseStatus.UNAUTHORIZED: "unauthorized",
}


class Wrong(Exception):
    """What is wrong with an answer, in a sentence without its values, so that the like ones are counted together."""


class Verifier:
    """Of the answers of one run; keeps the delegates that it has found right."""

    def __init__(self) -> None:
        self._delegates: dict[tuple[bytes, bytes], x509.Certificate] = {}

    def check(self, question: Question, http: bytes, *, answered_at: datetime) -> str:
        """Look at a whole HTTP response to a question.

        Returns:
            What it said: good, revoked, unknown, unauthorized, a CRL, or not modified.

        Raises:
            Wrong: it isn't right.
        """
        head, _, body = http.partition(b"\r\n\r\n")
        status = int(head[9:12])
        fields = _fields(head)
        if question.has_it and status == 304:
            return "not modified"
        if status != 200:
            raise Wrong(f"HTTP status {status}")
        if fields.get("transfer-encoding", "").lower() == "chunked":
            body = _unchunked(body)
        if question.request is None:
            return _check_crl(question, body, answered_at)
        if fields.get("content-type", "").partition(";")[0].strip() != "application/ocsp-response":
            raise Wrong("Content-Type isn't application/ocsp-response (RFC 6960 §A.2)")
        return self._check_ocsp(question, body, answered_at)

    def _check_ocsp(self, question: Question, der: bytes, answered_at: datetime) -> str:
        try:
            response = ocsp.load_der_ocsp_response(der)
            if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
                error = _ERRORS[response.response_status]
                if error == "unauthorized" and question.expects == "never issued":
                    return error
                raise Wrong(error)
            singles = [each for each in response.responses if each.serial_number == question.serial]
        except (ValueError, UnsupportedAlgorithm) as error:
            raise Wrong(f"no OCSPResponse: {error}") from error
        if not singles:
            raise Wrong("it is about another certificate")
        single = singles[0]
        _check_cert_id(question, single)
        self._check_signature(question, response, answered_at)
        _check_times(response, single, answered_at)
        if question.nonce is not None and _nonce_of(response) != question.nonce:
            raise Wrong("the nonce is missing or another's (RFC 9654 §2.1)")
        found = single.certificate_status.name.lower()
        if question.expects == "good" and found != "good":
            raise Wrong(f"{found}, and it is good")
        if question.expects == "revoked" and found != "revoked":
            raise Wrong(f"{found}, and it is revoked")
        if question.expects == "never issued" and found == "good":
            raise Wrong("good, and it was never issued")
        return found

    def _check_signature(self, question: Question, response: ocsp.OCSPResponse, answered_at: datetime) -> None:
        signer = question.subject.issuer
        if response.certificates:
            signer = self._delegate(response.certificates[0], question.subject.issuer)
            if not signer.not_valid_before_utc <= answered_at <= signer.not_valid_after_utc:
                raise Wrong("the delegate isn't valid now (RFC 6960 §4.2.2.2)")
        by_name, by_key = response.responder_name, response.responder_key_hash
        if by_name is not None and by_name != signer.subject:
            raise Wrong("responderID names another than the signer")
        if by_key is not None and by_key != ca_hashes(signer, hashes.SHA1())[1]:
            raise Wrong("responderID has another key than the signer's")
        try:
            _verify(signer, response)
        except InvalidSignature:
            raise Wrong("the signature is wrong") from None
        except UnsupportedAlgorithm as error:
            raise Wrong(f"the signature can't be looked at: {error}") from error

    def _delegate(self, delegate: x509.Certificate, issuer: x509.Certificate) -> x509.Certificate:
        if delegate == issuer:
            return issuer
        key = (delegate.fingerprint(hashes.SHA256()), issuer.fingerprint(hashes.SHA256()))
        if key not in self._delegates:
            try:
                delegate.verify_directly_issued_by(issuer)
                uses = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            except (InvalidSignature, ValueError, TypeError) as error:
                raise Wrong("the delegate isn't of this CA (RFC 6960 §4.2.2.2)") from error
            except x509.ExtensionNotFound:
                uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            if ExtendedKeyUsageOID.OCSP_SIGNING not in uses:
                raise Wrong("the delegate may not sign OCSP (RFC 6960 §4.2.2.2)")
            self._delegates[key] = delegate
        return self._delegates[key]


def _check_cert_id(question: Question, single: ocsp.OCSPSingleResponse) -> None:
    assert question.request is not None
    asked = ocsp.load_der_ocsp_request(question.request)
    if single.hash_algorithm.name != asked.hash_algorithm.name:
        raise Wrong("the CertID has another hash algorithm than was asked (RFC 6960 §4.2.1)")
    if (single.issuer_name_hash, single.issuer_key_hash) != (asked.issuer_name_hash, asked.issuer_key_hash):
        raise Wrong("the CertID is of another issuer")


def _check_times(response: ocsp.OCSPResponse, single: ocsp.OCSPSingleResponse, answered_at: datetime) -> None:
    if single.this_update_utc > answered_at + CLOCKS_DIFFER or response.produced_at_utc > answered_at + CLOCKS_DIFFER:
        raise Wrong("thisUpdate or producedAt is in the future (RFC 6960 §3.2)")
    if single.next_update_utc is not None and single.next_update_utc <= answered_at:
        raise Wrong("nextUpdate has passed (RFC 6960 §3.2)")


def _nonce_of(response: ocsp.OCSPResponse) -> bytes | None:
    try:
        return response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None


def _verify(signer: x509.Certificate, response: ocsp.OCSPResponse) -> None:
    key, tbs, signature = signer.public_key(), response.tbs_response_bytes, response.signature
    if isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
        key.verify(signature, tbs)
        return
    algorithm = response.signature_hash_algorithm
    assert algorithm is not None
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, tbs, ec.ECDSA(algorithm))
    elif isinstance(key, rsa.RSAPublicKey):
        is_pss = response.signature_algorithm_oid == x509.SignatureAlgorithmOID.RSASSA_PSS
        fill = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO) if is_pss else padding.PKCS1v15()
        key.verify(signature, tbs, fill, algorithm)
    else:
        raise UnsupportedAlgorithm(type(key).__name__)


def _check_crl(question: Question, der: bytes, answered_at: datetime) -> str:
    try:
        crl = x509.load_der_x509_crl(der)
    except ValueError as error:
        raise Wrong(f"no CRL: {error}") from error
    if crl.issuer != question.subject.issuer.subject:
        raise Wrong("the CRL is another CA's")
    key = question.subject.issuer.public_key()
    if not crl.is_signature_valid(key):  # type: ignore[arg-type]  # any key of a CA
        raise Wrong("the CRL's signature is wrong")
    if crl.last_update_utc > answered_at + CLOCKS_DIFFER:
        raise Wrong("the CRL's thisUpdate is in the future")
    if crl.next_update_utc is not None and crl.next_update_utc <= answered_at:
        raise Wrong("the CRL's nextUpdate has passed (RFC 5280 §5.1.2.5)")
    return "a CRL"


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _unchunked(body: bytes) -> bytes:
    found = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if length == 0:
            break
        found, body = found + rest[:length], rest[length + 2 :]
    return found
