"""How many connections there may be, of all clients and of each."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from responder import metrics
from responder.web.manners import Manners


class Guest(Protocol):
    """A connection."""

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to ask."""

    def leave(self) -> None:
        """Close it, soon."""


class Doors:
    """Lets in as many as there is room for."""

    def __init__(self, manners: Manners) -> None:
        self._manners = manners
        self._guests: dict[Guest, None] = {}  # those that have been here for longest first
        self._a_client: Counter[str] = Counter()

    @contextmanager
    def enter(self, guest: Guest, client: str) -> Iterator[bool]:
        """Be here while the block lasts, unless it is False: then there is no room for this client."""
        name = None if client in self._manners.spared else _client_of(client)
        if name is not None and self._a_client[name] >= self._manners.connections_a_client:
            metrics.CONNECTIONS_CLOSED.inc("too_many")
            yield False
            return
        if len(self._guests) >= self._manners.other_connections and not self._make_room():
            metrics.CONNECTIONS_CLOSED.inc("crowded")
            yield False
            return
        self._guests[guest] = None
        if name is not None:
            self._a_client[name] += 1
        try:
            yield True
        finally:
            self._guests.pop(guest, None)
            if name is not None:
                self._a_client[name] -= 1
                if not self._a_client[name]:
                    del self._a_client[name]

    def _make_room(self) -> bool:
        """Ask the first that is idle to leave."""
        for guest in self._guests:
            if guest.is_idle:
                metrics.CONNECTIONS_CLOSED.inc("crowded")
                del self._guests[guest]
                guest.leave()
                return True
        return False


def _client_of(address: str) -> str:
    """An IPv4 address, or an IPv6 /64."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
