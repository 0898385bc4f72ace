"""Is a request ours, and which of its preferences count: the first stop, after which it is a `Question`."""

from __future__ import annotations

from responder.errors import MalformedRequest, NotAuthoritative
from responder.interfaces import AnswerSource, Clock, SignatureAlgorithms
from responder.pki import MAX_SERIAL_OCTETS, Answer, Certificate, Issuer, Issuers, NoncePolicy, OCSPRequest, Question


class FilterSource:
    """Lets through what one issuer of ours can answer, without the preferences that its policy doesn't grant."""

    def __init__(self, inner: AnswerSource, issuers: Issuers, *, algorithms: SignatureAlgorithms, clock: Clock) -> None:
        self._inner = inner
        self._issuers = issuers
        self._algorithms = algorithms
        self._clock = clock

    async def respond(self, request: OCSPRequest) -> Answer:
        """See `ResponseSource.respond`, and `question`."""
        return await self._inner.answer(self.question(request))

    def question(self, request: OCSPRequest) -> Question:
        """What the request asks of us.

        Raises:
            NotAuthoritative: a hash or an issuer that isn't ours, or several issuers, which no one delegate may
                answer for (RFC 6960 §4.2.2.2; requirement 6960-18).
            MalformedRequest: no nonce, where the issuer wants one; a serial that no database has.
        """
        cert_ids = request.cert_ids
        issuer = self._issuers.find(cert_ids[0])
        if issuer is None or any(self._issuers.find(other) != issuer for other in cert_ids[1:]):
            raise NotAuthoritative("the request names an issuer that this responder doesn't answer for")
        nonce_policy = issuer.policy.nonce
        if request.nonce is None and nonce_policy is NoncePolicy.required:
            raise MalformedRequest(f"issuer {issuer.id} answers requests with a nonce only")
        if any(len(cert_id.serial) > MAX_SERIAL_OCTETS for cert_id in cert_ids):
            raise MalformedRequest(f"a serial number of more than {MAX_SERIAL_OCTETS} octets")
        return Question(
            issuer,
            tuple(Certificate(issuer, cert_id.serial) for cert_id in cert_ids),
            # Of an offline issuer nothing is signed for who wants absent parameters: the answer has NULL (6960-12).
            tuple(each.variant.with_null if issuer.policy.offline else each.variant for each in cert_ids),
            nonce=None if nonce_policy is NoncePolicy.ignore else request.nonce,
            signature_algorithm=self._preference(issuer, request.preferred) if request.preferred else None,
            signature=request.signature,
        )

    def _preference(self, issuer: Issuer, preferred: tuple[bytes, ...]) -> bytes | None:
        """The first preference that a signer here can meet, or None when that is what is signed with anyway.

        A preference costs a live signature, so it counts only where the operator allows it; weak algorithms aren't
        among ours (6960-24).
        """
        if not issuer.policy.honour_preferred:
            return None
        own = self._algorithms(issuer, self._clock.now())
        choice = next((algorithm for algorithm in preferred if algorithm in own), None)
        return None if choice is None or choice == own[0] else choice
