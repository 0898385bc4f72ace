"""Connections to a Redis or Valkey: how they are made, and which run of the server each of them leads to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

INFO_SECTIONS = ("server", "replication")
"""Of INFO, what tells which run a server is."""

_RUN = "certstatus_run"
_SENTINEL_PORT = 26379


@dataclass
class Trust:
    """The run of the store that readers may believe; None: none. Of a cluster, those of its primaries."""

    run: str | None = None

    def covers(self, run: str) -> bool:
        """Whether what a server of this run says may be believed."""
        return self.run is not None and run in self.run.split("+")


def open_pool(
    url: str, *, timeout_seconds: float, password: str | None = None, ca_file: Path | None = None
) -> ConnectionPool:
    """A pool of connections, none of them made yet, each of which asks the server which run it is.

    Args:
        url: `redis://`, `rediss://`, `unix://`; or `redis+sentinel://USER@HOST:PORT,HOST:PORT/SERVICE/DATABASE` (with
            TLS `rediss+sentinel`), for the primary that sentinels name.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": Retry(NoBackoff(), 0),  # whoever sends tries again
        "redis_connect_func": _greet,
    }
    if password is not None:
        options["password"] = password
    if ca_file is not None:
        options["ssl_ca_certs"] = str(ca_file)
    if not urlsplit(url).scheme.endswith("+sentinel"):
        return ConnectionPool.from_url(url, **options)
    return _behind_sentinels(url, options)


def _behind_sentinels(url: str, options: dict[str, Any]) -> ConnectionPool:
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if user:
        options["username"] = unquote(user)
    has_tls = parts.scheme.startswith("rediss")
    # As for the primary, but that they have users of their own.
    shared = {name: options[name] for name in options if name.startswith(("socket_", "ssl_")) or name == "retry"}
    shared["ssl"] = has_tls
    sentinels = Sentinel([_address(host) for host in hosts.split(",")], sentinel_kwargs=shared)  # type: ignore[no-untyped-call]
    pool: ConnectionPool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
        unquote(service), sentinels, ssl=has_tls, db=int(database or 0), **options
    )
    return pool


def _address(host: str) -> tuple[str, int]:
    parts = urlsplit(f"//{host}")
    return parts.hostname or "", parts.port or _SENTINEL_PORT


async def close_pool(pool: ConnectionPool) -> None:
    """Close all its connections, and those to sentinels."""
    await pool.aclose()
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


async def _greet(connection: Any) -> None:
    """What a new connection begins with: log in, and ask which run this is."""
    await connection.on_connect()
    await connection.send_command("INFO", *INFO_SECTIONS)
    setattr(connection, _RUN, run_in(await connection.read_response()))


def run_of(connection: Any) -> str:
    """The run that the server was when the connection was made."""
    run: str = getattr(connection, _RUN)
    return run


def run_in(info: bytes) -> str:
    """A server process's time as a primary: its run_id changes with every start, its replication id with every
    promotion."""
    found = [re.search(rb"^" + name + rb":(\w+)\r?$", info, re.MULTILINE) for name in (b"run_id", b"master_replid")]
    return ":".join("" if match is None else match[1].decode() for match in found)
