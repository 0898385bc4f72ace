"""The fast way: plain requests are answered by the native lane from the table, others by the same rules in Python."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from responder import log
from responder.errors import ResponderError
from responder.interfaces import Clock
from responder.pki import Fetched, Gate, Lane, Pages, Responder
from responder.web.caching import NO_STORE, Headers, Response, imf_fixdate
from responder.web.exchange import raw_path
from responder.web.manners import DEFAULT_MANNERS, Manners
from responder.web.server import GRACE_SECONDS, HTTPSide

_log = log.get("web.lane")

DRAIN_SECONDS = 5.0
"""How long clients that ask again and again are given for one more answer, which says that it is the last."""


AT_ONCE = 16
"""Questions that begin in one turn of the event loop."""

Fetch = Callable[[Sequence[bytes]], Awaitable[Fetched]]
"""See `responder.ocsp.fetching.Fetcher.fetch`."""

Respond = Callable[[str, bytes, Headers, bytes, ResponderError | None], Awaitable[Response]]
"""See `responder.web.routing.PublicRoute.respond`."""


async def serve_lane(
    listener: socket.socket,
    responder: Responder,
    pages: Pages,
    gate: Gate,
    *,
    respond: Respond,
    fetch: Fetch | None = None,
    http: HTTPSide,
    clock: Clock,
    stop: asyncio.Event,
    manners: Manners = DEFAULT_MANNERS,
    signing_threads: int = 1,
    signing_seconds: float = 0.5,
) -> None:
    """Serve `listener` until `stop` is set and what was under way is answered.

    Args:
        respond: what only the chain can answer.
        fetch: has in the table what there is of certificates that aren't; without it the chain is asked at once.
        http: what takes over connections with requests of other methods, or chunked or large bodies.
        signing_threads: for keys that sign more slowly than the others are to wait.
        signing_seconds: how long something may wait for these; then it is answered without its nonce.
    """
    threads = (signing_threads, signing_seconds)
    site = _Site(listener, responder, pages, gate, respond, fetch, http, clock, manners, threads)
    loop = asyncio.get_running_loop()
    loop.add_reader(site.lane.epoll, site.lane.on_ready)
    ticking = asyncio.create_task(site.tick())
    try:
        await stop.wait()
        await site.stop()
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        loop.remove_reader(site.lane.epoll)
        site.lane.close()
        await http.close()


class _Site:
    def __init__(
        self,
        listener: socket.socket,
        responder: Responder,
        pages: Pages,
        gate: Gate,
        respond: Respond,
        fetch: Fetch | None,
        http: HTTPSide,
        clock: Clock,
        manners: Manners,
        threads: tuple[int, float],
    ) -> None:
        listener.setblocking(False)
        listener.listen(1024)
        self.lane = Lane(
            listener.fileno(),
            responder=responder,
            pages=pages,
            gate=gate,
            announced=manners.announced,
            ask=self._ask,
            fetch=None if fetch is None else self._fetch_all,
            hand_over=self._hand_over,
            connections=manners.connections,
            connections_a_client=manners.connections_a_client,
            idle_seconds=manners.idle_seconds,
            request_seconds=manners.request_seconds,
            signing_threads=threads[0],
            signing_seconds=threads[1],
        )
        self._listener = listener
        self._respond = respond
        self._fetch = fetch
        self._http = http
        self._clock = clock
        self._asked: deque[tuple[int, bytes, bool, ResponderError | None]] = deque()
        self._refused: dict[int, ResponderError] = {}  # while the lane goes on with what was looked for
        self._tasks: set[asyncio.Task[None]] = set()
        self._may_log = log.OncePerSecond()

    async def tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.lane.expire()

    async def stop(self) -> None:
        """Nothing new; each connection has one more answer, within DRAIN_SECONDS, and what is under way ends, within
        GRACE_SECONDS."""
        self.lane.drain()
        self._listener.close()  # whoever comes now goes to another process, or hears that nobody is here
        until = time.monotonic() + DRAIN_SECONDS
        while self.lane.open_connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
            self.lane.expire()
        self.lane.stop()
        while self._asked:  # noqa: ASYNC110 - they begin in turns of the loop
            await asyncio.sleep(0)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE_SECONDS)
        await asyncio.sleep(0)
        self.lane.stop()

    def _ask(self, asked: list[tuple[int, bytes, bool, bool]]) -> None:
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._begin_some)
        for token, octets, closes, looked_for in asked:
            self._asked.append((token, octets, closes, self._refused.get(token) if looked_for else None))

    def _begin_some(self) -> None:
        """What begins together goes on together, step by step: only so many, or the lane would wait for all of them."""
        for _ in range(min(AT_ONCE, len(self._asked))):
            token, octets, closes, refusal = self._asked.popleft()
            self._begin(self._answer(token, octets, refusal, closes=closes))
        if self._asked:
            asyncio.get_running_loop().call_soon(self._begin_some)

    def _fetch_all(self, missing: list[tuple[int, bytes]]) -> None:
        self._begin(self._fetched([token for token, _ in missing], [name for _, name in missing]))

    async def _fetched(self, tokens: list[int], names: list[bytes]) -> None:
        assert self._fetch is not None  # nothing is missed without it
        fetched = Fetched()
        try:
            fetched = await self._fetch(names)
        except Exception as error:  # a bug: the chain is asked
            if self._may_log("unexpected"):
                _log.exception("unexpected_error", error=repr(error))
        self._refused = {
            token: fetched.refused[name] for token, name in zip(tokens, names, strict=True) if name in fetched.refused
        }
        self.lane.resume(tokens, [name in fetched.made for name in names])
        self._refused = {}

    def _hand_over(self, fd: int, octets: bytes) -> None:
        self._begin(self._http.take_over(fd, octets))

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, token: int, octets: bytes, refusal: ResponderError | None, *, closes: bool) -> None:
        self.lane.breathe()  # hundreds of these may have begun in one turn of the loop
        method, target, headers, body = read_plain(octets)
        try:
            response = await self._respond(method, raw_path(target), headers, body, refusal)
        except Exception as error:  # a bug: the client gets 500, the operator the traceback
            if self._may_log("unexpected"):
                _log.exception("unexpected_error", error=repr(error))
            response, closes = Response(500, dict(NO_STORE), b""), True
        self.lane.breathe()
        self.lane.reply(token, self._head(response, closes=closes), b"" if method == "HEAD" else response.body, closes)

    def _head(self, response: Response, *, closes: bool) -> bytes:
        """With what every response has."""
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        if response.status != HTTPStatus.NOT_MODIFIED:
            lines.append(f"Content-Length: {len(response.body)}")
        lines.append(f"Date: {imf_fixdate(self._clock.now())}")
        if closes:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode()


def read_plain(octets: bytes) -> tuple[str, bytes, Headers, bytes]:
    """The parts of a whole request that the native core has judged: method, target, headers, body."""
    head, _, body = octets.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    method, target, _ = line.split(b" ")
    headers = []
    for line in fields:
        name, _, value = line.partition(b":")
        headers.append((name.lower(), value.strip(b" \t")))
    return method.decode(), target, headers, body
