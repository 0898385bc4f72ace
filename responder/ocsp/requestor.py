"""Signed requests, for issuers that answer no others."""

from __future__ import annotations

from responder.errors import NotAuthoritative, SignatureRequired
from responder.interfaces import AnswerSource, Clock, SignatureVerifier, StatusSource
from responder.pki import Answer, Certificate, CertStatus, Issuer, Question, RequestSignature
from responder.pki.certificates import read_certificate


class RequestorSource:
    """Verifies signatures where the issuer requires them; elsewhere they are ignored (RFC 9919 §3.1.2).

    Who may ask: the holder of a certificate of the same issuer that is valid and not revoked, sent along in `certs`.
    """

    def __init__(
        self,
        inner: AnswerSource,
        *,
        statuses: StatusSource,
        verifies: SignatureVerifier,
        clock: Clock,
    ) -> None:
        self._inner = inner
        self._statuses = statuses
        self._verifies = verifies
        self._clock = clock

    async def answer(self, question: Question) -> Answer:
        """See `AnswerSource.answer`.

        Raises:
            SignatureRequired: the request isn't signed.
            NotAuthoritative: whoever signed it may not ask, or the signature is wrong.
            StatusUnavailable: the requestor's own status can't be read now.
        """
        issuer = question.issuer
        if issuer.policy.require_signature:
            if question.signature is None:
                raise SignatureRequired(f"issuer {issuer.id} answers signed requests only")
            await self._require_requestor(issuer, question.signature)
        return await self._inner.answer(question)

    async def _require_requestor(self, issuer: Issuer, signature: RequestSignature) -> None:
        if not signature.certificates:
            raise NotAuthoritative("a signed request brings its certificate, the signer's first")
        serial_number = self._check(issuer, signature, signature.certificates[0])
        (status,) = await self._statuses.status_of([Certificate.numbered(issuer, serial_number)])
        if status is None or status.cert_status is not CertStatus.GOOD:
            raise NotAuthoritative("the requestor's certificate is revoked, or isn't known here")

    def _check(self, issuer: Issuer, signature: RequestSignature, der: bytes) -> int:
        """The serial of the certificate that signed the request."""
        try:
            certificate = read_certificate(der)
            is_its = certificate.was_issued_by(issuer.name, issuer.public_key)
            is_valid = certificate.not_before <= self._clock.now() <= certificate.not_after
        except ValueError as error:
            raise NotAuthoritative(f"the requestor's certificate can't be read: {error}") from error
        if not is_its:
            raise NotAuthoritative(f"the requestor's certificate isn't one of {issuer.id}")
        if not is_valid:
            raise NotAuthoritative("the requestor's certificate isn't valid now")
        public_key = certificate.parts.spki
        if not self._verifies(public_key, signature.signature_algorithm, signature.tbs_request, signature.signature):
            raise NotAuthoritative("the request's signature doesn't verify")
        return certificate.serial_number
