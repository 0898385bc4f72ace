"""A primary that sentinels name, before and after another takes its place; real servers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis

from responder.embedded import find_valkey
from responder.errors import StoreUnavailable
from responder.signing.signers import Signer
from responder.storage.redis import RedisRecords
from responder.storage.redis_connections import Access, Trust
from tests.commandline import free_ports
from tests.storage.test_redis import make

PATIENCE = 30.0


class Group:
    """A primary, its replica, and a sentinel that decides alone."""

    def __init__(self, folder: Path, *more: str) -> None:
        """`more`: settings of the sentinel's."""
        self._more = more
        self.primary, self.replica, self.sentinel = free_ports(3)
        self._folder = folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self._launch(self.primary)
        self._launch(self.replica, "--replicaof", "127.0.0.1", str(self.primary))
        settings = self._folder / "sentinel.conf"
        settings.write_text(
            f"port {self.sentinel}\nbind 127.0.0.1\ndir {self._folder}\n"
            f"sentinel monitor answers 127.0.0.1 {self.primary} 1\n"
            "sentinel down-after-milliseconds answers 300\nsentinel failover-timeout answers 2000\n"
            + "".join(f"{line}\n" for line in self._more)
        )
        self._launch(self.sentinel, settings=settings)

    def _launch(self, port: int, *more: str, settings: Path | None = None) -> None:
        folder = self._folder / str(port)
        folder.mkdir()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *more]
        command = [str(find_valkey(None)), *([str(settings), "--sentinel"] if settings else options)]
        self._processes[port] = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def kill(self, port: int) -> None:
        process = self._processes.pop(port)
        process.kill()
        process.wait(10)

    def stop(self) -> None:
        for port in list(self._processes):
            self.kill(port)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(redis.RedisError, OSError):
                if holds():
                    return
            await asyncio.sleep(0.05)


def asked(port: int, *words: str) -> object:
    with redis.Redis(port=port, socket_timeout=1) as client:
        return client.execute_command(*words)


@pytest.fixture
async def group() -> AsyncIterator[Group]:
    with tempfile.TemporaryDirectory() as folder:
        made = Group(Path(folder))
        try:
            made.start()
            await until(lambda: b"master_link_status:up" in _info(made.replica))
            await until(lambda: b"num-slaves" in _sentinel_view(made) and _sentinel_view(made)[b"num-slaves"] == b"1")
            yield made
        finally:
            made.stop()


def _info(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(b"INFO replication\r\n")
        return connection.recv(65536)


def _sentinel_view(group: Group) -> dict[bytes, bytes]:
    with socket.create_connection(("127.0.0.1", group.sentinel), timeout=1) as connection:
        connection.sendall(b"SENTINEL MASTER answers\r\n")
        words = connection.recv(65536).split(b"\r\n")[2::2]
    return dict(zip(words[::2], words[1::2], strict=False))


async def test_the_primary_is_found_and_so_is_the_one_after_it(group: Group, signer: Signer) -> None:
    stranger = RedisRecords(f"redis+sentinel://127.0.0.1:{group.sentinel}/others/0", timeout_seconds=1)
    with pytest.raises(StoreUnavailable, match=r"no sentinel names a primary of 'others'$"):
        await stranger.ping()
    await stranger.close()

    dead = free_ports(1)[0]
    url = f"redis+sentinel://127.0.0.1:{dead},127.0.0.1:{group.sentinel}/answers/0"
    trust = Trust()
    store = RedisRecords(url, timeout_seconds=1, trust=trust)
    certificate, records = make(signer, 5)
    trust.run = await store.ping()
    await store.put(certificate, records)
    assert await store.get(certificate) == records
    await until(lambda: asked(group.replica, "DBSIZE") == 1)

    group.kill(group.primary)
    with contextlib.suppress(StoreUnavailable):
        await store.get(certificate)
    await until(lambda: b"role:master" in _info(group.replica))
    run = ""
    async with asyncio.timeout(PATIENCE):
        while run in ("", trust.run):
            with contextlib.suppress(StoreUnavailable):
                run = await store.ping()
            await asyncio.sleep(0.05)
    # It may lack what the one before had acknowledged, so what it has isn't believed before all changes are put again.
    assert await store.get(certificate) is None
    trust.run = run
    assert await store.get(certificate) == records
    await store.put(*make(signer, 6))
    await store.close()


async def test_sentinels_have_users_of_their_own(signer: Signer) -> None:
    with tempfile.TemporaryDirectory() as folder:
        group = Group(Path(folder), "user default off", "user watcher on >wo:rd@ +@all")
        url = f"redis+sentinel://127.0.0.1:{group.sentinel}/answers/0"
        right = Access(sentinel_user="watcher", sentinel_password="wo:rd@")
        store = RedisRecords(url, timeout_seconds=1, access=right)
        try:
            group.start()
            async with asyncio.timeout(PATIENCE):
                while True:
                    with contextlib.suppress(StoreUnavailable):
                        await store.ping()
                        break
                    await asyncio.sleep(0.05)
            certificate, records = make(signer, 5)
            await store.put(certificate, records)
            assert await store.get(certificate) == records
            for wrong in (Access(), Access(password="wo:rd@"), Access(sentinel_user="watcher", sentinel_password="x")):
                stranger = RedisRecords(url, timeout_seconds=1, access=wrong)
                with pytest.raises(StoreUnavailable, match=r"redis\.sentinel_password_file"):
                    await stranger.ping()
                await stranger.close()
        finally:
            await store.close()
            group.stop()
