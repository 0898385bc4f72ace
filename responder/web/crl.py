"""CRLs over HTTP, from memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from responder import metrics
from responder.interfaces import Clock
from responder.pki import CRL, Issuer, Issuers, Page, Pages
from responder.web import exchange
from responder.web.caching import Headers, Response
from responder.web.exchange import CRLName

CRLsByScope = Mapping[tuple[str, str], CRL]
"""By (issuer id, scope)."""


class PublishedCRLs:
    """The newest CRL of each (issuer, scope), replaced as a whole when others were published."""

    def __init__(self, crls: Iterable[CRL] = ()) -> None:
        self.all: CRLsByScope = {}
        self.replace(crls)

    def replace(self, crls: Iterable[CRL]) -> None:
        """Take these; one with a lower number than the one held is ignored."""
        newer: dict[tuple[str, str], CRL] = {}
        for crl in crls:
            key = (crl.issuer_id, crl.scope)
            held = newer.get(key) or self.all.get(key)
            if held is None or held.crl_number < crl.crl_number:
                newer[key] = crl
        if newer:
            self.all = {**self.all, **newer}

    def get(self, issuer_id: str, scope: str) -> CRL | None:
        """The newest, or None before the first."""
        return self.all.get((issuer_id, scope))

    def numbers(self) -> dict[tuple[str, str], int]:
        """The CRL number held for each (issuer id, scope)."""
        return {key: crl.crl_number for key, crl in self.all.items()}


class ShownCRLs:
    """The same as pages of the lane, and the page at the root: given anew when something has changed."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._given: tuple[CRLsByScope, Mapping[str, Issuer]] = ({}, {})
        self._made: dict[tuple[str, str], tuple[CRL, Issuer, tuple[Page, ...]]] = {}
        pages.replace([exchange.root_page()])

    def give(self, crls: CRLsByScope, issuers: Mapping[str, Issuer]) -> None:
        """Show what is published of these issuers, by id."""
        if self._given[0] is crls and self._given[1] is issuers:
            return
        self._given = crls, issuers
        made = {}
        for key, crl in crls.items():
            issuer, held = issuers.get(crl.issuer_id), self._made.get(key)
            if issuer is None:
                continue
            if held is None or held[0] is not crl or held[1] is not issuer:
                held = (crl, issuer, exchange.crl_pages(crl, issuer))
            made[key] = held
        self._made = made
        self._pages.replace([exchange.root_page(), *(page for *_, pages in made.values() for page in pages)])


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
