"""Connections to a Redis or Valkey: how they are made, and which run of the server each of them leads to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ResponseError

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


@dataclass(frozen=True)
class Access:
    """How a server lets us in, beside the user in its URL.

    Attributes:
        ca_file: whom to trust with TLS, where it isn't the system's; also with sentinels.
        sentinel_user: of the sentinels' own users, with `sentinel_password`.
    """

    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)


OPEN = Access()
"""Nobody is asked who he is."""


def open_pool(url: str, *, timeout_seconds: float, access: Access = OPEN) -> ConnectionPool:
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
    if access.password is not None:
        options["password"] = access.password
    if access.ca_file is not None:
        options["ssl_ca_certs"] = str(access.ca_file)
    if not urlsplit(url).scheme.endswith("+sentinel"):
        return ConnectionPool.from_url(url, **options)
    return _behind_sentinels(url, options, access)


def _behind_sentinels(url: str, options: dict[str, Any], access: Access) -> ConnectionPool:
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if user:
        options["username"] = unquote(user)
    has_tls = parts.scheme.startswith("rediss")
    # As for the primary, but that they have users of their own.
    shared = {name: options[name] for name in options if name.startswith(("socket_", "ssl_")) or name == "retry"}
    shared |= {"ssl": has_tls, "username": access.sentinel_user, "password": access.sentinel_password}
    sentinels = _Sentinels([_address(host) for host in hosts.split(",")], sentinel_kwargs=shared)  # type: ignore[no-untyped-call]
    pool: ConnectionPool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
        unquote(service), sentinels, ssl=has_tls, db=int(database or 0), **options
    )
    return pool


class _Sentinels(Sentinel):
    """Says in a line why none of them helps."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """See redis-py's `Sentinel`.

        Raises:
            AuthenticationError: one of them doesn't let us in.
            MasterNotFoundError: they can't be reached, or know of no such service.
        """
        try:
            found: tuple[str, int] = await super().discover_master(service_name)
        except (MasterNotFoundError, ResponseError, AuthenticationError) as error:
            text = str(error)
            if "Authentication" in text or not isinstance(error, MasterNotFoundError):
                raise AuthenticationError("sentinels don't let us in") from error
            reasons = sorted(set(re.findall(r"> - (.*?)(?:, <|$)", text)))
            told = f" ({'; '.join(reasons)})" if reasons else ""
            raise MasterNotFoundError(f"no sentinel names a primary of {service_name!r}{told}") from error
        return found


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
