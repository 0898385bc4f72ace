"""Records in a cluster of three real primaries."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from responder.embedded import find_valkey
from responder.errors import StoreUnavailable
from responder.pki import Seal
from responder.signing.signers import Signer
from responder.storage.open_redis import open_records
from responder.storage.redis_connections import Trust
from tests.commandline import free_ports
from tests.storage.test_redis import make

PATIENCE = 60.0
COUNT = 300


class Cluster:
    """Three primaries with a third of the slots each."""

    def __init__(self, folder: Path) -> None:
        self.ports = free_ports(3)
        self._folder = folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """Of one that isn't there, and one that is."""
        return f"redis+cluster://127.0.0.1:1,127.0.0.1:{self.ports[1]}"

    def start(self, port: int) -> None:
        folder = self._folder / str(port)
        folder.mkdir(exist_ok=True)
        options = {
            "--port": port,
            "--cluster-port": self.ports_of_the_bus[port],
            "--bind": "127.0.0.1",
            "--dir": folder,
        }
        options |= {"--cluster-enabled": "yes", "--cluster-node-timeout": 2000, "--save": "", "--appendonly": "yes"}
        command = [str(find_valkey(None)), *(str(part) for option in options.items() for part in option)]
        self._processes[port] = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    async def form(self) -> None:
        self.ports_of_the_bus = dict(zip(self.ports, free_ports(3), strict=True))
        for port in self.ports:
            self.start(port)
        for index, port in enumerate(self.ports):
            await until(port, "PING", lambda reply: reply is True)
            first, last = index * 16_384 // 3, (index + 1) * 16_384 // 3 - 1
            asked(port, "CLUSTER", "ADDSLOTSRANGE", first, last)
            asked(port, "CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for port in self.ports[1:]:
            asked(self.ports[0], "CLUSTER", "MEET", "127.0.0.1", port, self.ports_of_the_bus[port])
        for port in self.ports:
            await until(port, "CLUSTER INFO", is_well)
            await until(port, "CLUSTER NODES", lambda reply: str(reply).count("connected") >= 3)

    def kill(self, port: int) -> None:
        process = self._processes.pop(port)
        process.kill()
        process.wait(10)

    def stop(self) -> None:
        for port in list(self._processes):
            self.kill(port)


def asked(port: int, *words: object) -> object:
    with redis.Redis(port=port, socket_timeout=2) as client:
        return client.execute_command(*words)


async def until(port: int, command: str, holds: object) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(redis.RedisError, OSError):
                if holds(asked(port, command)):  # type: ignore[operator]
                    return
            await asyncio.sleep(0.05)


def is_well(reply: object) -> bool:
    return isinstance(reply, dict) and reply["cluster_state"] == "ok"


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    with tempfile.TemporaryDirectory() as folder:
        made = Cluster(Path(folder))
        try:
            await made.form()
            yield made
        finally:
            made.stop()


async def test_what_is_put_is_found_whoever_has_it(cluster: Cluster, signer: Signer) -> None:
    trust = Trust()
    store = open_records(cluster.url, timeout_seconds=2, trust=trust, seal=Seal(b"s" * 32))
    batch = [make(signer, 5, serial_number=number) for number in range(1, COUNT + 1)]
    kept = await store.put_many(batch)
    trust.run = await store.ping()
    assert {each.run for each in kept if each is not None} == {trust.run}
    assert len(trust.run.split("+")) == 3
    assert None not in kept
    assert await store.get_many([certificate for certificate, _ in batch]) == [records for _, records in batch]
    sizes = Counter({port: int(str(asked(port, "DBSIZE"))) for port in cluster.ports})
    assert sizes.total() == COUNT
    assert min(sizes.values()) > COUNT / 6, "each has its share"
    names = [name async for some, _ in store.everything() for name in some]
    assert sorted(names) == sorted(certificate.issuer.tag + certificate.serial for certificate, _ in batch)
    # Under compare-and-set, as on one server.
    (older,) = await store.put_many([make(signer, 4, serial_number=7)])
    assert older is not None
    assert older.version.number == 5
    assert await store.newest((1, 9)) == (1, 9)
    assert await store.newest((1, 3)) == (1, 9)
    await store.require_writable()
    await store.close()


async def test_slots_that_move_are_found_again(cluster: Cluster, signer: Signer) -> None:
    store = open_records(cluster.url, timeout_seconds=2)
    batch = [make(signer, 5, serial_number=number) for number in range(1, COUNT + 1)]
    await store.put_many(batch[:100])
    source, target = cluster.ports[:2]
    ids = {port: str(asked(port, "CLUSTER", "MYID").decode()) for port in (source, target)}  # type: ignore[attr-defined]
    # All of the first one's slots, their keys left behind: the store may lose what it has.
    asked(source, "FLUSHALL")
    for port in (target, source, cluster.ports[2]):
        with redis.Redis(port=port) as client, client.pipeline(transaction=False) as commands:
            for slot in range(16_384 // 3):
                commands.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
            # One that has heard meanwhile that it has no slot left is a replica, and takes no more of these.
            commands.execute(raise_on_error=False)
    for port in cluster.ports:
        await until(port, "CLUSTER INFO", is_well)
    kept = await store.put_many(batch)
    assert None not in kept
    found = await store.get_many([certificate for certificate, _ in batch])
    assert found == [records for _, records in batch]
    await store.close()


async def test_a_primary_that_was_started_again_makes_it_another_run(cluster: Cluster, signer: Signer) -> None:
    trust = Trust()
    store = open_records(cluster.url, timeout_seconds=1, trust=trust)
    batch = [make(signer, 5, serial_number=number) for number in range(1, COUNT + 1)]
    await store.put_many(batch)
    before = trust.run = await store.ping()
    cluster.kill(cluster.ports[2])
    with pytest.raises(StoreUnavailable):
        await store.get_many([certificate for certificate, _ in batch])
    with pytest.raises(StoreUnavailable):
        await store.ping()
    cluster.start(cluster.ports[2])
    for port in cluster.ports:
        await until(port, "CLUSTER INFO", is_well)
    found = await store.get_many([certificate for certificate, _ in batch])
    assert COUNT / 2 < sum(records is not None for records in found) < COUNT, "its part isn't believed"
    async with asyncio.timeout(PATIENCE):
        while (run := await store.ping()) == before:  # noqa: ASYNC110 - it happens in the servers
            await asyncio.sleep(0.05)
    assert len(set(run.split("+")) & set(before.split("+"))) == 2
    trust.run = run
    assert None not in await store.get_many([certificate for certificate, _ in batch])
    await store.close()
