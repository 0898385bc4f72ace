"""Is a request ours, and which of its preferences count."""

from __future__ import annotations

from dataclasses import replace

from responder.errors import MalformedRequest, NotAuthoritative
from responder.interfaces import Clock, ResponseSource, SignatureAlgorithms
from responder.pki import Answer, Issuer, Issuers, NoncePolicy, OCSPRequest


class FilterSource:
    """Lets through what one issuer of ours can answer, without the preferences that its policy doesn't grant."""

    def __init__(
        self, inner: ResponseSource, issuers: Issuers, *, algorithms: SignatureAlgorithms, clock: Clock
    ) -> None:
        self._inner = inner
        self._issuers = issuers
        self._algorithms = algorithms
        self._clock = clock

    async def respond(self, request: OCSPRequest) -> Answer:
        """See `ResponseSource.respond`.

        Raises:
            NotAuthoritative: a hash or an issuer that isn't ours, or several issuers, which no one delegate may
                answer for (RFC 6960 §4.2.2.2; requirement 6960-18).
            MalformedRequest: no nonce, where the issuer wants one.
        """
        found = [self._issuers.find(cert_id) for cert_id in request.cert_ids]
        issuer = found[0]
        if issuer is None or any(other != issuer for other in found):
            raise NotAuthoritative("the request names an issuer that this responder doesn't answer for")
        policy = issuer.policy.nonce
        if request.nonce is None and policy is NoncePolicy.required:
            raise MalformedRequest(f"issuer {issuer.id} answers requests with a nonce only")
        if request.nonce is not None and policy is NoncePolicy.ignore:
            request = replace(request, nonce=None)
        if request.preferred:
            request = replace(request, preferred=(), signature_algorithm=self._preference(issuer, request.preferred))
        return await self._inner.respond(request)

    def _preference(self, issuer: Issuer, preferred: tuple[bytes, ...]) -> bytes | None:
        """The first preference that a signer here can meet, or None when that is what is signed with anyway.

        A preference costs a live signature, so it counts only where the operator allows it; weak algorithms
        aren't among ours (6960-24).
        """
        if not issuer.policy.honour_preferred:
            return None
        own = self._algorithms.algorithms(issuer, self._clock.now())
        choice = next((algorithm for algorithm in preferred if algorithm in own), None)
        return None if choice is None or choice == own[0] else choice
