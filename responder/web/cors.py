"""Whether scripts of other sites' pages may read what is served: unless `serve.cors` says so, they may not."""

from __future__ import annotations

from responder.web.caching import Response

SHARED = {"Access-Control-Allow-Origin": "*"}
"""For any page: nothing here is anybody's alone. Source: WHATWG Fetch §3.2.3."""

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": "86400",
}
"""What a browser wants to hear before a POST of application/ocsp-request."""


def shared(response: Response, method: str) -> Response:
    """The response, for any page to read."""
    more = SHARED | _PREFLIGHT if method == "OPTIONS" else SHARED
    return response._replace(headers=response.headers | more)


def lines() -> bytes:
    """The same for the lane: what every response has, each line after its CR LF."""
    return "".join(f"\r\n{name}: {value}" for name, value in SHARED.items()).encode()
