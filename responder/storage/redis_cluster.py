"""Records in a Redis or Valkey Cluster: each key at the primary that has its slot."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError

from responder.errors import StoreUnavailable, StoreUnreachable
from responder.pki import Certificate, Kept, Records
from responder.storage.redis import RedisRecords
from responder.storage.redis_format import NEWEST_KEY, ByCertificate, key_of

T = TypeVar("T")

Node = tuple[str, int]
"""Host and port."""

_ATTEMPTS = 2  # slots may have moved since they were last asked for


class ClusterRecords(ByCertificate):
    """What `RedisRecords` is for one server, for all primaries of a cluster together.

    Their runs together are the run of the store: another primary, or one that was started again, may lack what was
    acknowledged, so all changes are put again.
    """

    def __init__(self, seeds: Sequence[Node], open_node: Callable[[Node], RedisRecords]) -> None:
        """
        Args:
            seeds: some of its nodes, of which one must be reached to know the others.
            open_node: makes what reads and writes at one node, one key a command.
        """
        self._seeds = list(seeds)
        self._open_node = open_node
        self._nodes: dict[Node, RedisRecords] = {}
        self._runs: dict[Node, str] = {}
        self._slots: list[tuple[int, Node]] = []  # the last slot of each range, ascending, and who has it

    async def values_of(self, names: Sequence[bytes]) -> list[bytes | None]:
        """See `RedisRecords.values_of`."""
        return await self._spread(names, lambda node, part: node.values_of(part))

    async def put_many(self, batch: Sequence[tuple[Certificate, Records]]) -> list[Kept | None]:
        """See `RecordStore.put_many`."""
        names = [certificate.issuer.tag + certificate.serial for certificate, _ in batch]
        by_name = dict(zip(names, batch, strict=True))
        if len(self._runs) < len(self._nodes) or not self._nodes:
            await self.ping()
        kept = await self._spread(names, lambda node, part: node.put_many([by_name[name] for name in part]))
        for name, held in zip(names, kept, strict=True):
            if held is not None:
                self._runs[self._node_of(name)] = held.run
        return [None if held is None else replace(held, run=self._run) for held in kept]

    async def put_all(self, names: Sequence[bytes], records: Sequence[Records]) -> None:
        """See `RecordSink.put_all`."""
        of_name = dict(zip(names, records, strict=True))

        async def put(node: RedisRecords, part: Sequence[bytes]) -> list[None]:
            await node.put_all(part, [of_name[name] for name in part])
            return [None] * len(part)

        await self._spread(names, put)

    async def ping(self) -> str:
        """See that all primaries answer; the names of their runs together. Raises as `RedisRecords.ping`."""
        await self._learn()
        runs = await asyncio.gather(*(node.ping() for node in self._nodes.values()))
        self._runs = dict(zip(self._nodes, runs, strict=True))
        return self._run

    @property
    def _run(self) -> str:
        return "+".join(sorted(self._runs.values()))

    async def require_writable(self) -> None:
        """See `RedisRecords.require_writable`, of every primary."""
        await self._learn()
        await asyncio.gather(*(self._nodes[node].require_writable(self._probe_of(node)) for node in self._nodes))

    def _probe_of(self, node: Node) -> bytes:
        """A key that is this node's."""
        return next(key for number in range(1 << 20) if self._owner(key := b"cs1:probe:%d" % number) == node)

    async def newest(self, version: tuple[int, int]) -> tuple[int, int]:
        """See `RedisRecords.newest`."""
        return await self._moving(lambda: self._nodes[self._owner(NEWEST_KEY)].newest(version))

    async def everything(self) -> AsyncGenerator[tuple[list[bytes], list[bytes | None]], None]:
        """See `RedisRecords.everything`."""
        await self._learn()
        for node in list(self._nodes.values()):
            async with aclosing(node.everything()) as some:
                async for names, values in some:
                    yield names, values

    async def close(self) -> None:
        """Close all connections."""
        for node in self._nodes.values():
            await node.close()

    # --- who has what

    async def _spread(
        self, names: Sequence[bytes], ask: Callable[[RedisRecords, Sequence[bytes]], Awaitable[list[T]]]
    ) -> list[T]:
        """Ask each primary for what is its, all at once; the answers in the order of the names."""

        async def once() -> list[T]:
            parts = defaultdict[Node, list[int]](list)
            for index, name in enumerate(names):
                parts[self._node_of(name)].append(index)
            answers = await asyncio.gather(
                *(ask(self._nodes[node], [names[index] for index in indices]) for node, indices in parts.items())
            )
            found = dict[int, T]()
            for indices, part in zip(parts.values(), answers, strict=True):
                found.update(zip(indices, part, strict=True))
            return [found[index] for index in range(len(names))]

        return await self._moving(once)

    async def _moving(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it, and once more where slots have moved meanwhile."""
        if not self._slots:
            await self._learn()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await work()
            except StoreUnavailable as error:
                has_moved = isinstance(error.__cause__, (MovedError, AskError))
                if isinstance(error, StoreUnreachable) or has_moved:
                    self._slots.clear()  # another may be in its place
                if attempt == _ATTEMPTS or not has_moved:
                    raise
                await self._learn()
        raise AssertionError("not reached")

    def _node_of(self, name: bytes) -> Node:
        return self._owner(key_of(name))

    def _owner(self, key: bytes) -> Node:
        slot = key_slot(key)
        index = bisect_left(self._slots, (slot,))
        if index == len(self._slots):
            raise StoreUnavailable(f"nobody in the cluster has slot {slot}")
        return self._slots[index][1]

    async def _learn(self) -> None:
        """Which primary has which slots, as one of those that we know says.

        Raises:
            StoreUnreachable: none of them answers; or what the last of them said.
        """
        failure: StoreUnavailable = StoreUnreachable("the record store's cluster has no nodes")
        for node in dict.fromkeys([*self._nodes, *self._seeds]):
            asked = self._nodes.get(node) or self._open_node(node)
            try:
                ranges = await asked.slots()
            except StoreUnavailable as error:
                failure = error
                continue
            finally:
                if node not in self._nodes:
                    await asked.close()
            await self._take(node, ranges)
            return
        raise failure

    async def _take(self, told_by: Node, ranges: Sequence[tuple[int, str, int]]) -> None:
        slots = sorted((last, (host or told_by[0], port)) for last, host, port in ranges)
        primaries = {node for _, node in slots}
        for gone in [node for node in self._nodes if node not in primaries]:
            self._runs.pop(gone, None)
            await self._nodes.pop(gone).close()
        for node in primaries - self._nodes.keys():
            self._nodes[node] = self._open_node(node)
        self._slots = slots
