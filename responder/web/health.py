"""Is it alive, is it ready, what does it count. On the operator's listener, without a token."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from responder.deadlines import within
from responder.errors import CertstatusError
from responder.pki import ReportedTrouble

CHECK_SECONDS = 0.9
"""All checks run beside each other, so that a probe that waits a second has its answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, in a few words. `is_degraded`: it works, but not for everyone; somebody should look."""

    detail: str
    is_degraded: bool = False


Check = Callable[[], Awaitable[Finding]]
"""Raises `CertstatusError` when what it found means not ready."""


class Health:
    """`/livez`, `/readyz` and `/metrics`."""

    def __init__(
        self,
        checks: Mapping[str, Check],
        troubles: Callable[[], Awaitable[list[ReportedTrouble]]],
        metrics_text: Callable[[], Awaitable[bytes]],
    ) -> None:
        self._checks = checks
        self._troubles = troubles
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
        """503 when nobody is served as they should be; `?verbose` names what fails for single issuers."""
        is_verbose = "verbose" in request.query_params
        results, troubles = await asyncio.gather(
            asyncio.gather(*(self._run(check) for check in self._checks.values())),
            self._reported() if is_verbose else _nothing(),
        )
        ready = all(result["ok"] for result in results)
        body: dict[str, object] = {
            "ready": ready,
            "degraded": any(result.get("degraded", False) for result in results),
            "checks": dict(zip(self._checks, results, strict=True)),
        }
        if is_verbose:
            body["troubles"] = troubles
        return JSONResponse(body, status_code=200 if ready else 503, headers={"Cache-Control": "no-store"})

    async def _run(self, check: Check) -> dict[str, object]:
        try:
            found = await within(CHECK_SECONDS, _started(check))
        except TimeoutError:
            return {"ok": False, "detail": f"no answer within {CHECK_SECONDS:g} s"}
        except CertstatusError as error:
            return {"ok": False, "detail": str(error)}
        return {"ok": True, **({"degraded": True} if found.is_degraded else {}), "detail": found.detail}

    async def _reported(self) -> list[dict[str, object]]:
        async def read() -> list[ReportedTrouble]:
            return await self._troubles()

        try:
            reported = await within(CHECK_SECONDS, read())
        except (TimeoutError, CertstatusError):
            return []
        return [{**asdict(trouble), "since": trouble.since.isoformat()} for trouble in reported]

    async def _metrics(self, request: Request) -> Response:
        return Response(
            await self._metrics_text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )


async def _started(check: Check) -> Finding:
    return await check()


async def _nothing() -> list[dict[str, object]]:
    return []
