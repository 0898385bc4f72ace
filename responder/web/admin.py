"""The operator's API, on a listener of its own: revocations."""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from responder import log, metrics
from responder.errors import RevocationRefused, StatusUnavailable
from responder.ocsp.revoke import RevocationRequest, Revoker
from responder.operations.spelling import InvalidField, outcome_document, parse_serial, parse_time
from responder.pki import Certificate, CRLReason, Issuer, Issuers
from responder.web.guesses import WrongTokens
from responder.web.manners import MAX_BODY_BYTES
from responder.web.problems import problem

_log = log.get("web.admin")

_FIELDS = {"serial", "reason", "revoked_at", "invalidity_date"}


class AdminAPI:
    """`POST /api/v1/issuers/{id}/revocations`, with a bearer token."""

    def __init__(self, revoker: Revoker, *, issuers: Issuers, tokens: Mapping[str, str]) -> None:
        """`tokens` by their names, which the audit log has."""
        self._revoker = revoker
        self._issuers = issuers
        self._tokens = {name: token.encode() for name, token in tokens.items()}
        self._wrong = WrongTokens()
        self._may_log = log.OncePerSecond()

    def routes(self) -> list[BaseRoute]:
        """Starlette routes; all of them need the token."""
        return [
            Route("/api/v1/issuers/{issuer}/revocations", self._authorized(self._revoke), methods=["POST"]),
        ]

    def _authorized(
        self, endpoint: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            client = _client(request)
            wait = self._wrong.wait(client)
            if wait > 0:
                metrics.ADMIN_REFUSED.inc()
                return problem(
                    429,
                    "too many wrong tokens",
                    f"from {client} came several; the next is looked at in {math.ceil(wait)} s",
                    headers={"Retry-After": str(math.ceil(wait))},
                )
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            given = token.strip().encode()
            # All are compared, so that the time tells nothing.
            named = [name for name, known in self._tokens.items() if hmac.compare_digest(given, known)]
            if scheme.lower() != "bearer" or not named:
                metrics.ADMIN_REFUSED.inc()
                if given:
                    self._wrong.count(client)
                if self._may_log("token"):
                    _log.warning("token_refused", client=client)
                return problem(
                    401,
                    "no valid token",
                    "send 'Authorization: Bearer TOKEN' with the token of the file admin.token_file names",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            request.state.token_name = named[0]
            return await endpoint(request)

        return checked

    async def _revoke(self, request: Request) -> Response:
        issuer_id = request.path_params["issuer"]
        issuer = self._issuers.get(issuer_id)
        if issuer is None:
            known = ", ".join(sorted(issuer.id for issuer in self._issuers)) or "none yet"
            return problem(404, "no such issuer", f"there is no issuer {issuer_id!r}; the issuers are: {known}")
        try:
            certificate, change = _read(issuer, await _read_json(request))
        except InvalidField as error:
            return problem(422, "invalid field", str(error))
        try:
            outcome = await self._revoker.revoke(
                certificate, change, actor=f"api:{request.state.token_name}@{_client(request)}"
            )
        except RevocationRefused as error:
            return problem(error.http_status, error.title, error.detail)
        except StatusUnavailable as error:
            _log.error("revocation_failed", error=str(error))
            return problem(
                503,
                "the database can't be reached",
                "nothing is certain of this change; send the same request again",
            )
        body = outcome_document(outcome)
        if not outcome.certain:
            body["detail"] = (
                f"the change is recorded, but not confirmed in time ({outcome.obstacle}); it will be brought to every "
                "worker, and the same request waits for that again"
            )
        return JSONResponse(body, status_code=200 if outcome.certain else 202, headers={"Cache-Control": "no-store"})


def _client(request: Request) -> str:
    """Where a call came from, for the audit log."""
    return request.client.host if request.client is not None and request.client.host else "unknown"


async def _read_json(request: Request) -> dict[str, Any]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise InvalidField(f"the body is longer than {MAX_BODY_BYTES} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidField(f"the body isn't JSON ({error}); send an object with serial and reason") from error
    if not isinstance(document, dict):
        raise InvalidField("the body must be a JSON object with serial and reason")
    unknown = document.keys() - _FIELDS
    if unknown:
        raise InvalidField(f"unknown field {min(unknown)!r}; the fields are {', '.join(sorted(_FIELDS))}")
    return document


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
