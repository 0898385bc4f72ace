"""The record store that a URL names: one server, the primary that sentinels name, or a cluster."""

from __future__ import annotations

import functools
from urllib.parse import urlsplit

from responder.pki import Seal
from responder.storage.redis import RedisRecords
from responder.storage.redis_cluster import ClusterRecords, Node
from responder.storage.redis_connections import OPEN, Access, Trust

RedisStore = RedisRecords | ClusterRecords

_PORT = 6379


def open_records(
    url: str,
    *,
    timeout_seconds: float,
    access: Access = OPEN,
    trust: Trust | None = None,
    seal: Seal | None = None,
) -> RedisStore:
    """No connection is made yet.

    Args:
        url: as `open_pool` has it; or `redis+cluster://USER@HOST:PORT,HOST:PORT` (with TLS `rediss+cluster`).
    """

    open_one = functools.partial(
        RedisRecords,
        timeout_seconds=timeout_seconds,
        access=access,
        trust=trust,
        seal=seal,
    )
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    if kind != "cluster":
        return open_one(url)
    user, _, hosts = parts.netloc.rpartition("@")

    def open_node(node: Node) -> RedisRecords:
        host, port = node
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return open_one(f"{scheme}://{f'{user}@' if user else ''}{address}/0", keys_a_call=1)

    seeds = [urlsplit(f"//{host}") for host in hosts.split(",")]
    return ClusterRecords([(seed.hostname or "", seed.port or _PORT) for seed in seeds], open_node)
