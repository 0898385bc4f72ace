"""Who may be asked for: a page in an operator's browser whose name was rebound to this host may not read from it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from responder.web.problems import problem


class KnownHosts:
    """ASGI middleware: a Host that is neither an address nor `localhost` nor one of some names is 421 (RFC 9110
    §15.5.20). DNS rebinding needs a name; without a Host there is no browser."""

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and not all(map(self._is_known, Headers(scope=scope).getlist("host"))):
            response = problem(
                421,
                "another host was asked for",
                "ask by an address or as localhost, or name the host that a proxy passes on in admin.hosts",
            )
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_known(self, host: str) -> bool:
        name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
        if name.lower().rstrip(".") in self._names:
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True
