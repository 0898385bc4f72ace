"""Who may call the operator's API: whoever has one of its tokens."""

from __future__ import annotations

import hmac
import math
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from responder import log, metrics
from responder.web.calls import client_of
from responder.web.guesses import WrongTokens
from responder.web.problems import problem

_log = log.get("web.tokens")

Endpoint = Callable[[Request], Awaitable[Response]]


class Tokens:
    """Bearer tokens (RFC 6750 §2.1), compared in constant time and never logged."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        """`tokens` by their names, which the audit log has."""
        self._tokens = {name: token.encode() for name, token in tokens.items()}
        self._wrong = WrongTokens()
        self._may_log = log.OncePerSecond()

    def needed_for(self, endpoint: Endpoint) -> Endpoint:
        """`endpoint`, for whoever has a token; its name is in `request.state.token_name`."""

        async def checked(request: Request) -> Response:
            client = client_of(request)
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
