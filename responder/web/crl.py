"""CRLs over HTTP, from memory."""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute

from responder import metrics
from responder.interfaces import Clock
from responder.pki import CRL, Issuers
from responder.web.caching import NO_STORE, cache_headers, cached_response
from responder.web.routing import RawRoute

MEDIA_TYPE = "application/pkix-crl"


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
    """GET and HEAD of a whole CRL, with a strong ETag and 304."""

    def __init__(self, crls: PublishedCRLs, *, issuers: Issuers, clock: Clock) -> None:
        self._crls = crls
        self._issuers = issuers
        self._clock = clock

    def routes(self) -> list[BaseRoute]:
        """The paths of design §7 that exist so far: full CRLs."""
        return [
            RawRoute(pattern, self._full, methods=("GET", "HEAD"))
            for pattern in (
                rb"/crl/(?P<issuer>[a-z0-9-]+)\.crl",
                rb"/\.well-known/pki/crl/(?P<issuer>[a-z0-9-]+)",
                rb"/crl(?:/.*)?(?P<issuer>)",
            )
        ]

    async def _full(self, request: Request, match: re.Match[bytes]) -> Response:
        issuer = self._issuers.get(match["issuer"].decode())
        crl = None if issuer is None else self._crls.get(issuer.id, "full")
        now = self._clock.now()
        if issuer is None or crl is None or crl.next_update <= now:
            metrics.CRL_REQUESTS.inc("not_found")
            return PlainTextResponse("No such CRL.\n", status_code=404, headers=NO_STORE)
        headers = cache_headers(
            crl.sha256.hex(),
            this_update=crl.this_update,
            next_update=crl.next_update,
            # A later publication is planned then; one after a revocation may come sooner, which max_age bounds.
            fresh_until=max(crl.this_update + issuer.policy.crl_interval, now),
            max_age=issuer.policy.max_age,
            now=now,
        )
        response = cached_response(request, crl.der, MEDIA_TYPE, headers, crl.this_update)
        metrics.CRL_REQUESTS.inc("not_modified" if response.status_code == 304 else "ok")
        return response
