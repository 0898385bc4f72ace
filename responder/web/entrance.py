"""Where Hypercorn's connections come in: after what a load balancer says of them, and after a handshake."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from responder import metrics
from responder.pki import proxy_header
from responder.tls_files import TLSFiles
from responder.web.doors import Doors
from responder.web.manners import DEFAULT_MANNERS, Manners

_FIRST = 15
"""Octets that every PROXY header has."""

_NO_DESCRIPTORS_SECONDS = 0.1
_BACKLOG = 1024

Take = Callable[..., Awaitable[None]]
"""See `HTTPSide.take`."""


def _let_pass(client: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Entrance:
    """A listening socket.

    Attributes:
        tls: what handshakes are made with; None where nobody expects one.
        may_enter: whether a client (its address) may have one more handshake.
    """

    listener: socket.socket
    tls: TLSFiles | None = None
    may_enter: Callable[[str], bool] = field(default=_let_pass)


async def accept_all(
    entrance: Entrance, take: Take, stop: asyncio.Event, *, manners: Manners = DEFAULT_MANNERS
) -> None:
    """Accept until `stop` is set, then those that have come already. `take` has each connection once it may ask, and
    none is on its way there when this ends."""
    reception = _Reception(entrance, take, manners)
    try:
        reception.open()
        await stop.wait()
        reception.accept_some()
        reception.close()
        if reception.beginnings:
            await asyncio.wait(reception.beginnings)
    finally:
        reception.close()
        for begun in reception.beginnings:
            begun.cancel()


class _Reception:
    """Accepts what has come on a listening socket whenever something has."""

    def __init__(self, entrance: Entrance, take: Take, manners: Manners) -> None:
        self.beginnings = set[asyncio.Task[None]]()
        self._entrance, self._take, self._manners = entrance, take, manners
        self._doors = Doors(manners)
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None

    def open(self) -> None:
        self._entrance.listener.setblocking(False)
        self._loop.add_reader(self._entrance.listener.fileno(), self.accept_some)

    def close(self) -> None:
        if self._later is not None:
            self._later.cancel()
        if self._entrance.listener.fileno() >= 0:
            self._loop.remove_reader(self._entrance.listener.fileno())
            self._entrance.listener.close()

    def accept_some(self) -> None:
        for _ in range(_BACKLOG):
            try:
                connection, address = self._entrance.listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:  # this one has gone; others may be behind it
                continue
            except OSError:  # no descriptors, as a rule
                self._loop.remove_reader(self._entrance.listener.fileno())
                self._later = self._loop.call_later(_NO_DESCRIPTORS_SECONDS, self.open)
                return
            begun = self._loop.create_task(
                _Beginning(connection).go(self._entrance, address, self._take, self._doors, self._manners)
            )
            self.beginnings.add(begun)
            begun.add_done_callback(self.beginnings.discard)


class _Beginning:
    """A connection that may not ask yet."""

    is_idle = True

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._task: asyncio.Task[Any] | None = None

    def leave(self) -> None:
        """See `Guest`."""
        if self._task is not None:
            self._task.cancel()

    async def go(self, entrance: Entrance, address: Any, take: Take, doors: Doors, manners: Manners) -> None:
        self._task = asyncio.current_task()
        client, is_taken = (str(address[0]), int(address[1])), False
        try:
            with doors.enter(self, client[0]) as is_let_in:
                if not is_let_in:
                    return
                async with asyncio.timeout(manners.request_seconds):
                    self._connection.setblocking(False)
                    self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    named = await self._named() if client[0] in manners.announced else None
                    client = named or client
                    if entrance.tls is None or entrance.may_enter(client[0]):
                        await take(self._connection, client=client, tls=entrance.tls and entrance.tls.context)
                        is_taken = True
        except ValueError:
            metrics.CONNECTIONS_CLOSED.inc("unannounced")
        except TimeoutError:
            metrics.CONNECTIONS_CLOSED.inc("slow")
        except (OSError, asyncio.CancelledError):
            pass  # the client has gone, can't agree on a handshake, or has to make room
        finally:
            if not is_taken:
                with contextlib.suppress(OSError):
                    self._connection.close()

    async def _named(self) -> tuple[str, int] | None:
        """Whose connection it is, as its load balancer says; None: its own.

        Raises:
            ValueError: it says something else.
        """
        loop, said = asyncio.get_running_loop(), b""
        while True:
            more = await loop.sock_recv(self._connection, _missing(said))
            if not more:
                raise ConnectionResetError
            said += more
            found = proxy_header(said)
            if found is not None:
                return (_text_of(found[1]), 0) if found[1] else None


def _text_of(address: bytes) -> str:
    parsed = ipaddress.IPv6Address(address)
    return str(parsed.ipv4_mapped or parsed)


def _missing(said: bytes) -> int:
    """How much may be read without reading what follows the header."""
    if len(said) < _FIRST:
        return _FIRST - len(said)
    if not said.startswith(b"\r\n"):
        return 1  # of a line
    return 1 if len(said) < 16 else 16 + int.from_bytes(said[14:16], "big") - len(said)
