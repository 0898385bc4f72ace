"""The first stop of every request: is it ours, and does its nonce count."""

from __future__ import annotations

from dataclasses import replace

from responder.errors import NotAuthoritative
from responder.interfaces import ResponseSource
from responder.pki import Answer, Issuers, NoncePolicy, OCSPRequest


class FilterSource:
    """Lets through what one issuer of ours can answer."""

    def __init__(self, inner: ResponseSource, issuers: Issuers) -> None:
        self._inner = inner
        self._issuers = issuers

    async def respond(self, request: OCSPRequest) -> Answer:
        """See `ResponseSource.respond`.

        Raises:
            NotAuthoritative: a hash or an issuer that isn't ours, or several issuers, which no one delegate may
                answer for (RFC 6960 §4.2.2.2; requirement 6960-18).
        """
        found = [self._issuers.find(cert_id) for cert_id in request.cert_ids]
        issuer = found[0]
        if issuer is None or any(other != issuer for other in found):
            raise NotAuthoritative("the request names an issuer that this responder doesn't answer for")
        if request.nonce is not None and issuer.policy.nonce is NoncePolicy.ignore:
            request = replace(request, nonce=None)
        return await self._inner.respond(request)
