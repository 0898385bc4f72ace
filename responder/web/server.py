"""Hypercorn on a socket of ours, in the loop of the process that calls it."""

from __future__ import annotations

import asyncio
import socket

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Config, Sockets
from hypercorn.utils import LifespanFailureError
from starlette.applications import Starlette

from responder.errors import CertstatusError

GRACE_SECONDS = 8.0
"""How long requests under way may take once a stop was asked for; less than the supervisor's own limit."""


async def serve_http(app: Starlette, listener: socket.socket, stop: asyncio.Event) -> None:
    """Serve `app` on `listener` until `stop` is set and what was under way is answered.

    Raises:
        CertstatusError: what kept the application's lifespan from starting.
    """
    settings = Config()
    settings.accesslog = None
    settings.errorlog = None
    settings.include_server_header = False
    settings.graceful_timeout = GRACE_SECONDS
    # Idle, or slower than this with the next octet: closed.
    settings.keep_alive_timeout = 15
    settings.read_timeout = 15
    settings.h11_max_incomplete_size = 16 * 1024
    settings.backlog = 1024
    try:
        await worker_serve(
            ASGIWrapper(app),  # type: ignore[arg-type]  # Starlette's Scope is looser than Hypercorn's
            settings,
            sockets=Sockets([], [listener], []),
            shutdown_trigger=stop.wait,
        )
    except LifespanFailureError as failure:
        # The failure's text is a traceback; the error itself is its context.
        if isinstance(failure.__context__, CertstatusError):
            raise failure.__context__ from None
        raise
