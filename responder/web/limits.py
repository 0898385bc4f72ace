"""The limit of a client that doesn't come by the lane: then everything goes through Hypercorn, and costs something."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

from responder import metrics
from responder.errors import NotAuthoritative, RateLimited
from responder.pki import Gate
from responder.web.caching import NO_STORE, Headers, Response
from responder.web.exchange import refused
from responder.web.get_path import find_request

Refusal = Literal["try_later", "unauthorized", "http_429"]

PRICE = 2
"""Of a request that goes through Hypercorn, as the lane has it for a connection that it hands over."""


class ClientLimits:
    """Says who has asked for too much."""

    def __init__(self, gate: Gate, refusal: Refusal, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._gate = gate
        self._refusal = refusal
        self._clock = clock

    def admits_handshake(self, client: str) -> bool:
        """Whether a client may have a TLS handshake now; it pays for it."""
        try:
            return self._gate.charge(client, b"", PRICE, self._clock()) == 0
        except ValueError:
            return True

    def refuse(self, client: Sequence[object] | None, method: str, path: bytes, headers: Headers) -> Response | None:
        """What a client beyond its limit is told, else None.

        Args:
            client: as ASGI has it: address and port. Whoever has no IP address isn't limited.
        """
        forwarded = b"".join(b"%b: %b\r\n" % header for header in headers if header[0] == b"x-forwarded-for")
        try:
            early = self._gate.charge(str(client[0]) if client else "", forwarded, PRICE, self._clock())
        except ValueError:
            return None
        if not early:
            return None
        is_ocsp = method == "POST" or (method in {"GET", "HEAD"} and find_request(path) is not None)
        response = Response(429, dict(NO_STORE), b"")
        if not is_ocsp or path.startswith(b"/crl"):
            metrics.HTTP_REFUSED.inc("limited")
        else:
            metrics.REQUESTS.inc("post" if method == "POST" else "get", RateLimited.label)
            if self._refusal != "http_429":
                response = refused(RateLimited() if self._refusal == "try_later" else NotAuthoritative())
        response.headers["Retry-After"] = str(-(-early // 1_000_000_000))
        return response
