"""HTTP/2, over TLS alone, with a budget for what costs us more than the client: frames that only steer the connection,
and streams that are given up again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import h2.errors
import h2.events
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Body, EndBody, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol

from responder import metrics

CREDIT = 200
"""Of a connection: what it may cost before anything was answered."""

_EARNED = 10
"""By an answer that was taken."""

_RESET = 20
_PIECE = 2048
"""Octets that are looked at before others have their turn: as frames of nine octets they are two hundred."""

_SMALL = 256
"""Octets of a body in one frame: fewer are a frame that steers."""


class HTTP2(H2Protocol):
    """One connection. One that has spent its credit is told ENHANCE_YOUR_CALM, and closed (RFC 9113 §10.5)."""

    outstanding = 0  # heads and bodies in time are the site's to see, since there are several at once

    def __init__(self, app: Any, config: Any, context: WorkerContext, *arguments: Any, idle_seconds: float) -> None:
        """See Hypercorn's `H2Protocol`, which would reset what is asked once everything ends."""
        super().__init__(app, config, WorkerContext(None), *arguments)
        self._is_ending = context.terminated.is_set
        self._idle_seconds = idle_seconds
        self._credit = CREDIT

    async def handle(self, event: Event) -> None:
        """See Hypercorn's `H2Protocol`."""
        if not isinstance(event, RawData):
            await super().handle(event)
            return
        for start in range(0, len(event.data), _PIECE):
            if self.closed:
                return
            await super().handle(RawData(event.data[start : start + _PIECE]))
            await asyncio.sleep(0)

    async def _handle_events(self, events: Sequence[h2.events.Event]) -> None:
        self._credit -= sum(map(_cost, events))
        if self._credit >= 0:
            await super()._handle_events(list(events))
            return
        metrics.CONNECTIONS_CLOSED.inc("flood")
        self.connection.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
        await self._flush()
        await self._end()

    async def stream_send(self, event: StreamEvent) -> None:
        """See Hypercorn's `H2Protocol`. A client whose windows stay shut is left."""
        if isinstance(event, StreamClosed):
            self._credit = min(CREDIT, self._credit + _EARNED)
        if not isinstance(event, (Body, EndBody)):
            await super().stream_send(event)
            if isinstance(event, StreamClosed) and self._is_ending() and not self.streams:
                self.connection.close_connection()  # what was asked until here has been answered
                await self._flush()
                await self._end()
            return
        try:
            async with asyncio.timeout(self._idle_seconds):
                await super().stream_send(event)
        except TimeoutError:
            metrics.CONNECTIONS_CLOSED.inc("slow")
            await self._end()

    async def _end(self) -> None:
        await self.handle(Closed())
        await self.send(Closed())


def _cost(event: h2.events.Event) -> int:
    if isinstance(event, h2.events.StreamReset):
        return _RESET
    if isinstance(event, h2.events.DataReceived):
        return len(event.data) < _SMALL
    return not isinstance(event, h2.events.StreamEnded)
