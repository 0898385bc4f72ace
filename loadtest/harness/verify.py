"""Looks at answers as a suspicious client does: at HTTP, at the CRL or the response, and at what is known."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from loadtest.harness.asking import Question
from responder.operations.judging import CHECKS, CLOCKS_DIFFER, Answered, Wrong, check_delegate, read_response


class Verifier:
    """Of the answers of one run; keeps the delegates that it has found right."""

    def __init__(self) -> None:
        self._right: set[tuple[bytes, bytes]] = set()

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

    def _check_ocsp(self, question: Question, octets: bytes, answered_at: datetime) -> str:
        assert question.request is not None
        request = ocsp.load_der_ocsp_request(question.request)
        answered = read_response(request, octets, issuer=question.subject.issuer, at=answered_at)
        if isinstance(answered, str):
            if answered == "unauthorized" and question.expects == "never issued":
                return answered
            raise Wrong(answered)
        for name, check in CHECKS.items():
            if name == "signer":
                self._check_delegate(answered)
            else:
                check(answered)
        found = answered.single.certificate_status.name.lower()
        if question.expects == "good" and found != "good":
            raise Wrong(f"{found}, and it is good")
        if question.expects == "revoked" and found != "revoked":
            raise Wrong(f"{found}, and it is revoked")
        if question.expects == "never issued" and found == "good":
            raise Wrong("good, and it was never issued")
        return found

    def _check_delegate(self, answered: Answered) -> None:
        """Once for each, which takes as long as all else."""
        key = (answered.signer.fingerprint(hashes.SHA256()), answered.issuer.fingerprint(hashes.SHA256()))
        if key not in self._right:
            check_delegate(answered)
            self._right.add(key)


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
