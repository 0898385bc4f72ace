"""Is it alive, is it ready, what does it count. On the operator's listener, without a token."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from responder.errors import CertstatusError

Check = Callable[[], Awaitable[str]]
"""Returns what it found, in a few words; raises `CertstatusError` when that means not ready."""

CHECK_SECONDS = 2.0


class Health:
    """`/livez`, `/readyz` and `/metrics`."""

    def __init__(self, checks: Mapping[str, Check], metrics_text: Callable[[], Awaitable[bytes]]) -> None:
        self._checks = checks
        self._metrics_text = metrics_text

    def routes(self) -> list[BaseRoute]:
        """Starlette routes, GET only."""
        return [
            Route("/livez", self._livez),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
        ]

    async def _livez(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _readyz(self, request: Request) -> Response:
        results = await asyncio.gather(*(self._run(check) for check in self._checks.values()))
        ready = all(ok for ok, _ in results)
        body = {
            "ready": ready,
            "checks": {
                name: {"ok": ok, "detail": detail} for name, (ok, detail) in zip(self._checks, results, strict=True)
            },
        }
        return JSONResponse(body, status_code=200 if ready else 503, headers={"Cache-Control": "no-store"})

    async def _run(self, check: Check) -> tuple[bool, str]:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                return True, await check()
        except TimeoutError:
            return False, f"no answer within {CHECK_SECONDS:g} s"
        except CertstatusError as error:
            return False, str(error)

    async def _metrics(self, request: Request) -> Response:
        return Response(
            await self._metrics_text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )
