"""Records in Redis or Valkey, under compare-and-set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from responder import log, metrics
from responder.pki import Certificate, Kept, Records, Seal, packed_command
from responder.storage.redis_connections import (
    INFO_SECTIONS,
    OPEN,
    Access,
    Trust,
    close_pool,
    open_pool,
    run_in,
    run_of,
)
from responder.storage.redis_errors import translating
from responder.storage.redis_format import NEWEST_KEY, PREFIX, ByCertificate, kept_of, key_of, refused
from responder.storage.redis_scripts import NEWEST, PUT

_log = log.get("storage.redis")

_BATCH = 1000

_KEYS_A_CALL = 100


class _Read(NamedTuple):
    """Of one round trip: values, the keys that follow with the cursor after them, and whether it may be believed."""

    values: list[bytes | None]
    following: tuple[list[bytes], bytes | None]
    is_trusted: bool


class RedisRecords(ByCertificate):
    """Implements `RecordStore`.

    Every connection asks the server which run it is when it is made: a server that was killed and started again, or
    another behind the same address, may hold answers from before a revocation. What is read over a connection to a run
    that `trust` doesn't name is a miss.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        access: Access = OPEN,
        trust: Trust | None = None,
        seal: Seal | None = None,
        keys_a_call: int = _KEYS_A_CALL,
    ) -> None:
        """Without `trust` every run is believed, and without `seal` every record, which is for tests. Several keys in a
        command are for servers that have all of them."""
        self._pool = open_pool(url, timeout_seconds=timeout_seconds, access=access)
        self._redis: Redis = Redis(connection_pool=self._pool)
        self._timeout_seconds = timeout_seconds
        self._trust = trust
        self._seal = seal
        self._keys_a_call = keys_a_call
        self._may_log = log.OncePerSecond()
        self._put_sha: bytes | None = None

    async def values_of(self, names: Sequence[bytes]) -> list[bytes | None]:
        """What is kept under these names (issuer's tag and serial), in one round trip for every 1,000 of them.

        Raises:
            StoreUnavailable: no answer in time.
        """
        found: list[bytes | None] = []
        for start in range(0, len(names), _BATCH):
            found += await self._read_batch(names[start : start + _BATCH])
        return found

    async def _read_batch(self, names: Sequence[bytes]) -> list[bytes | None]:
        with translating():
            async with asyncio.timeout(2 * self._timeout_seconds):
                replies, run = await self._send(self._reading([key_of(name) for name in names]))
                values = self._values(_raised(replies))
        if not self._is_trusted(run):
            metrics.STORE_UNTRUSTED.inc(amount=len(names))
            return [None] * len(names)
        return self._opened(names, values)

    def _is_trusted(self, run: str) -> bool:
        return self._trust is None or self._trust.covers(run)

    def _reading(self, keys: Sequence[bytes]) -> list[tuple[Any, ...]]:
        return [("MGET", *keys)] if self._keys_a_call > 1 else [("GET", key) for key in keys]

    def _values(self, replies: list[Any]) -> list[bytes | None]:
        values: list[bytes | None] = replies[0] if self._keys_a_call > 1 else replies
        return values

    def _opened(self, names: Sequence[bytes], values: Sequence[bytes | None]) -> list[bytes | None]:
        """What was kept under these names; a seal that isn't ours is a miss."""
        if self._seal is None:
            return list(values)
        opened: list[bytes | None] = []
        for name, value in zip(names, values, strict=True):
            opened.append(None if value is None else self._seal.open(name, value))
            if value is not None and opened[-1] is None:
                metrics.RECORDS_REFUSED.inc()
                if self._may_log("refused"):
                    _log.error("record_is_not_as_it_was_sealed", issuer_tag=name[:8].hex(), serial=name[8:].hex())
        return opened

    async def everything(self) -> AsyncGenerator[tuple[list[bytes], list[bytes | None]], None]:
        """All that is kept, some at a time and in no order: names (issuer's tag and serial) and what is kept under
        them. What comes or goes meanwhile may be missing. Nothing, of a run that isn't trusted.

        Raises:
            StoreUnavailable: no answer in time.
        """
        keys, cursor = (await self._read_on([], b"0")).following
        following = asyncio.ensure_future(self._read_on(keys, cursor))
        try:
            while True:
                found = await following
                if not found.is_trusted:
                    return
                names, is_last = [key.removeprefix(PREFIX) for key in keys], cursor is None
                keys, cursor = found.following
                if not is_last:  # on its way while the caller works on these
                    following = asyncio.ensure_future(self._read_on(keys, cursor))
                    for _ in range(_TURNS_TO_SEND):
                        await asyncio.sleep(0)
                yield names, self._opened(names, found.values)
                if is_last:
                    return
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _read_on(self, keys: Sequence[bytes], cursor: bytes | None) -> _Read:
        """What is kept under these keys, and the keys that follow, in one round trip. No cursor: there are no more."""
        commands = self._reading(keys) if keys else []
        if cursor is not None:
            commands.append(("SCAN", cursor, "MATCH", PREFIX + b"*", "COUNT", _BATCH))
        if not commands:
            return _Read([], ([], None), is_trusted=True)
        with translating():
            async with asyncio.timeout(2 * self._timeout_seconds):
                replies, run = await self._send(commands)
                replies = _raised(replies)
        after, found = replies.pop() if cursor is not None else (b"0", [])
        values = self._values(replies) if keys else []
        return _Read(values, (found, None if after == b"0" else after), self._is_trusted(run))

    async def put_many(self, batch: Sequence[tuple[Certificate, Records]]) -> list[Kept | None]:
        """See `RecordStore.put_many`; pipelines of at most 1,000."""
        kept: list[Kept | None] = []
        for start in range(0, len(batch), _BATCH):
            part = batch[start : start + _BATCH]
            names = [certificate.issuer.tag + certificate.serial for certificate, _ in part]
            results, run = await self._put_pipeline(names, [records for _, records in part])
            kept += [kept_of(result, records, run) for result, (_, records) in zip(results, part, strict=True)]
        return kept

    async def put_all(self, names: Sequence[bytes], records: Sequence[Records]) -> None:
        """See `RecordSink.put_all`; pipelines of at most 1,000."""
        for start in range(0, len(names), _BATCH):
            results, _ = await self._put_pipeline(names[start : start + _BATCH], records[start : start + _BATCH])
            if b"" in results:
                raise refused()

    async def ping(self) -> str:
        """See that it answers; the name of its run.

        Raises:
            StoreUnavailable: it doesn't, in time.
        """
        with translating():
            async with asyncio.timeout(2 * self._timeout_seconds):
                # Asked anew: a server that became a replica and a primary again is another run on the same connection.
                replies, _ = await self._send([("INFO", *INFO_SECTIONS)])
                return run_in(_raised(replies)[0])

    async def slots(self) -> list[tuple[int, str, int]]:
        """Of a cluster: the last slot of each range, and the host and port of its primary; no host is this one.

        Raises:
            StoreUnavailable: no answer in time, or it is no cluster.
        """
        with translating():
            async with asyncio.timeout(2 * self._timeout_seconds):
                replies, _ = await self._send([("CLUSTER", "SLOTS")])
                return [
                    (int(last), primary[0].decode(), int(primary[1])) for _, last, primary, *_ in _raised(replies)[0]
                ]

    async def require_writable(self, probe: bytes = b"cs1:probe") -> None:
        """See that it takes writes: one that is full, or a replica, still answers.

        Raises:
            StoreUnavailable: it doesn't; with its words.
        """
        with translating():
            async with asyncio.timeout(2 * self._timeout_seconds):
                replies, _ = await self._send([("SET", probe, b"1", "EX", 60)])
                _raised(replies)

    async def newest(self, version: tuple[int, int]) -> tuple[int, int]:
        """Tell the store the highest (epoch, number) that the database has given; returns the highest that it was ever
        told, as far as it remembers.

        Raises:
            StoreUnavailable: no answer in time.
        """
        with translating():
            async with asyncio.timeout(2 * self._timeout_seconds):
                replies, _ = await self._send([("EVAL", NEWEST, 1, NEWEST_KEY, *version)])
        epoch, _, number = _raised(replies)[0].partition(b" ")
        return int(epoch), int(number)

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
        await close_pool(self._pool)

    async def _put_pipeline(self, names: Sequence[bytes], records: Sequence[Records]) -> tuple[list[bytes], str]:
        """What the script says of each, and the run that has said it."""
        with translating():
            # A pipeline's time grows with its length.
            async with asyncio.timeout(2 * self._timeout_seconds + len(names) / 1000):
                replies, run = await self._evaluate(names, records, await self._loaded())
                if any(isinstance(reply, NoScriptError) for reply in replies):  # restarted, or its scripts were flushed
                    self._put_sha = None
                    replies, run = await self._evaluate(names, records, await self._loaded())
            return [result for reply in _raised(replies) for result in reply], run

    async def _loaded(self) -> bytes:
        if self._put_sha is None:
            replies, _ = await self._send([("SCRIPT", "LOAD", PUT)])
            self._put_sha = _raised(replies)[0]
        return self._put_sha

    async def _evaluate(self, names: Sequence[bytes], records: Sequence[Records], sha: bytes) -> tuple[list[Any], str]:
        commands = []
        for start in range(0, len(names), self._keys_a_call):
            called = names[start : start + self._keys_a_call]
            command: list[Any] = ["EVALSHA", sha, len(called)]
            command += map(key_of, called)
            for name, each in zip(called, records[start : start + self._keys_a_call], strict=True):
                command.append(each.encoded if self._seal is None else self._seal.close(name, each.encoded))
                command.append(b"%d" % each.next_update)
            commands.append(command)
        return await self._send(commands)

    async def _send(self, commands: Sequence[Sequence[Any]]) -> tuple[list[Any], str]:
        """Send all on one connection; the replies in order, with errors among them, and the run that answered.

        A connection that died while it was idle is made again, once; doing our commands twice is harmless.
        """
        packed = [packed_command([_octets(argument) for argument in command]) for command in commands]
        for attempt in (1, 2):
            connection: Any = await self._pool.get_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.send_packed_command(packed)
                replies = [await _reply(connection) for _ in commands]
                return replies, run_of(connection)
            except (RedisConnectionError, OSError):
                await connection.disconnect(nowait=True)
                if attempt == 2:
                    raise
            except BaseException:
                await connection.disconnect(nowait=True)  # replies that nobody reads would answer the next commands
                raise
            finally:
                await self._pool.release(connection)
        raise AssertionError("not reached")


_TURNS_TO_SEND = 3  # of the loop, until a command is on its way


def _octets(argument: bytes | str | int) -> bytes:
    return argument if isinstance(argument, bytes) else str(argument).encode()


async def _reply(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _raised(replies: Iterable[Any]) -> list[Any]:
    """The replies, unless there is an error among them: that is raised."""
    checked = list(replies)
    for reply in checked:
        if isinstance(reply, Exception):
            raise reply
    return checked
