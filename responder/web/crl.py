"""CRLs over HTTP, from memory."""

from __future__ import annotations

from collections.abc import Iterable

from responder import metrics
from responder.interfaces import Clock
from responder.pki import CRL, Issuers
from responder.web import exchange
from responder.web.caching import Headers, Response
from responder.web.exchange import CRLName


class PublishedCRLs:
    """The newest CRL of each (issuer, scope), replaced as a whole when others were published."""

    def __init__(self, crls: Iterable[CRL] = ()) -> None:
        self._by_scope: dict[tuple[str, str], CRL] = {}
        self.replace(crls)

    def replace(self, crls: Iterable[CRL]) -> None:
        """Take these; one with a lower number than the one held is ignored."""
        for crl in crls:
            held = self._by_scope.get((crl.issuer_id, crl.scope))
            if held is None or held.crl_number < crl.crl_number:
                self._by_scope[crl.issuer_id, crl.scope] = crl

    def get(self, issuer_id: str, scope: str) -> CRL | None:
        """The newest, or None before the first."""
        return self._by_scope.get((issuer_id, scope))

    def numbers(self) -> dict[tuple[str, str], int]:
        """The CRL number held for each (issuer id, scope)."""
        return {key: crl.crl_number for key, crl in self._by_scope.items()}


class CRLEndpoint:
    """GET and HEAD of a whole CRL, and counts."""

    def __init__(self, crls: PublishedCRLs, *, issuers: Issuers, clock: Clock) -> None:
        self._crls = crls
        self._issuers = issuers
        self._clock = clock

    def answer(self, asked: CRLName, method: str, headers: Headers) -> Response:
        """The response to a request that came by this method with these headers."""
        issuer = self._issuers.get(asked.issuer_id)
        crl = None if issuer is None else self._crls.get(issuer.id, asked.scope)
        if issuer is None or crl is None:
            response = exchange.no_such_crl()
        else:
            response = exchange.crl_sent(crl, issuer, method=method, headers=headers, now=self._clock.now())
        metrics.CRL_REQUESTS.inc({200: "ok", 304: "not_modified"}.get(response.status, "not_found"))
        return response
