"""The operator's API: revocations."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from responder.errors import RevocationRefused
from responder.ocsp.revoke import RevocationRequest, Revoker
from responder.operations.spelling import InvalidField, outcome_document, parse_serial, parse_time
from responder.pki import Certificate, CRLReason, Issuer, Issuers
from responder.web.calls import actor_of, issuer_of, read_json
from responder.web.problems import problem
from responder.web.tokens import Tokens

_FIELDS = {"serial", "reason", "revoked_at", "invalidity_date"}


class RevocationAPI:
    """`POST /api/v1/issuers/{id}/revocations`."""

    def __init__(self, revoker: Revoker, *, issuers: Issuers) -> None:
        self._revoker = revoker
        self._issuers = issuers

    def routes(self, tokens: Tokens) -> list[BaseRoute]:
        """Starlette routes; all of them need one of `tokens`."""
        return [Route("/api/v1/issuers/{issuer}/revocations", tokens.needed_for(self._revoke), methods=["POST"])]

    async def _revoke(self, request: Request) -> Response:
        issuer = issuer_of(request, self._issuers)
        certificate, change = _read(issuer, await read_json(request, _FIELDS))
        try:
            outcome = await self._revoker.revoke(certificate, change, actor=actor_of(request))
        except RevocationRefused as error:
            return problem(error.http_status, error.title, error.detail)
        body = outcome_document(outcome)
        if not outcome.certain:
            body["detail"] = (
                f"the change is recorded, but not confirmed in time ({outcome.obstacle}); it will be brought to every "
                "worker, and the same request waits for that again"
            )
        return JSONResponse(body, status_code=200 if outcome.certain else 202, headers={"Cache-Control": "no-store"})


def _read(issuer: Issuer, document: dict[str, Any]) -> tuple[Certificate, RevocationRequest]:
    serial = parse_serial(document.get("serial"))
    name = document.get("reason", "unspecified")
    if not isinstance(name, str) or name not in CRLReason.__members__:
        raise InvalidField(f"reason is {name!r}; it is one of {', '.join(CRLReason.__members__)}")
    change = RevocationRequest(
        CRLReason[name],
        parse_time("revoked_at", document.get("revoked_at")),
        parse_time("invalidity_date", document.get("invalidity_date")),
    )
    return Certificate.numbered(issuer, serial), change
