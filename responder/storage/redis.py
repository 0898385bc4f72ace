"""Records in Redis or Valkey, under compare-and-set."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from responder.errors import StoreUnavailable
from responder.interfaces import Kept
from responder.pki import Certificate, CertStatus, Records, StatusVersion, decode_records

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MAX_DELAY_SECONDS = 120
"""A record that took longer from its read to its put is refused, by the store's clock (design §4.2)."""

MAX_AHEAD_SECONDS = 60

_BATCH = 1000

# One certificate is one key, so this runs on one node of a cluster. The version is compared in halves of 32 bits, as
# Lua's numbers are exact to 2^53 only; never as strings, whose order depends on the locale.
# KEYS[1]; ARGV[1] the record, ARGV[2] next_update in seconds since 1970. Returns the first 22 octets of what is kept.
_PUT = f"""
local function version(value)
    return {{struct.unpack('>I4I4I4I4I4', value, 2)}}
end
local function seconds(v)
    return (v[4] * 4294967296 + v[5]) / 1000000
end
local now = tonumber(redis.call('TIME')[1])
local offered = version(ARGV[1])
local as_of = seconds(offered)
if now - as_of > {MAX_DELAY_SECONDS} or as_of - now > {MAX_AHEAD_SECONDS} then
    return redis.error_reply('STALE the status was read ' .. math.floor(now - as_of) .. ' s ago')
end
if tonumber(ARGV[2]) <= now then
    return redis.error_reply('STALE next_update has passed')
end
local kept = redis.call('GET', KEYS[1])
if kept and #kept >= 61 and string.byte(kept, 1) == 1 then
    local held = version(kept)
    -- An as_of in the future counts as lowest: its clock was wrong.
    if seconds(held) - now > {MAX_AHEAD_SECONDS} then held[4] = 0; held[5] = 0 end
    local order = 0
    local is_tombstone = string.byte(kept, 24) == 0
    local offers_tombstone = string.byte(ARGV[1], 24) == 0
    -- Of one change, records are later than a tombstone, whatever the clocks said when each was read.
    if held[1] == offered[1] and held[2] == offered[2] and held[3] == offered[3]
            and is_tombstone ~= offers_tombstone then
        held[4] = is_tombstone and 0 or 4294967295; held[5] = 0
    end
    for i = 1, 5 do
        if held[i] ~= offered[i] then
            order = held[i] > offered[i] and 1 or -1
            break
        end
    end
    if order == 1 or (order == 0 and not is_tombstone) then
        return string.sub(kept, 1, 22)
    end
end
redis.call('SET', KEYS[1], ARGV[1], 'EXAT', ARGV[2])
return string.sub(ARGV[1], 1, 22)
"""


class RedisRecords:
    """Implements `RecordStore`."""

    def __init__(self, url: str, *, timeout_seconds: float, password: str | None = None) -> None:
        options: dict[str, Any] = {} if password is None else {"password": password}
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            # One try: a late answer is worth less than a live one. A connection that died while idle is made again.
            retry=Retry(NoBackoff(), 1),
            **options,
        )
        self._timeout_seconds = timeout_seconds
        self._put_sha: str | None = None

    async def get(self, certificate: Certificate) -> Records | None:
        """See `RecordStore.get`."""
        with _translating():
            async with asyncio.timeout(2 * self._timeout_seconds):
                value = await self._redis.get(_key(certificate))
        if not isinstance(value, bytes):  # None; never text, as nothing is decoded
            return None
        try:
            return decode_records(value)
        except ValueError:  # of a later version, or damaged: a miss, never a guess
            return None

    async def put(self, certificate: Certificate, records: Records) -> Kept:
        """See `RecordStore.put`."""
        (kept,) = await self.put_many([(certificate, records)])
        if kept is None:
            raise StoreUnavailable("the record store refused an outdated record: it took too long, or has ended")
        return kept

    async def put_many(self, batch: Sequence[tuple[Certificate, Records]]) -> list[Kept | None]:
        """See `RecordStore.put_many`; pipelines of at most 1,000."""
        kept: list[Kept | None] = []
        for start in range(0, len(batch), _BATCH):
            kept += await self._put_pipeline(batch[start : start + _BATCH])
        return kept

    async def ping(self) -> None:
        """See that it answers.

        Raises:
            StoreUnavailable: it doesn't, in time.
        """
        with _translating():
            async with asyncio.timeout(2 * self._timeout_seconds):
                await self._redis.ping()

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    async def _put_pipeline(self, batch: Sequence[tuple[Certificate, Records]]) -> list[Kept | None]:
        with _translating():
            # A pipeline's time grows with its length.
            async with asyncio.timeout(2 * self._timeout_seconds + len(batch) / 1000):
                try:
                    replies = await self._evaluate(batch, await self._loaded())
                except NoScriptError:  # restarted, or its scripts were flushed
                    self._put_sha = None
                    replies = await self._evaluate(batch, await self._loaded())
        return [None if reply is None else _kept(reply) for reply in replies]

    async def _loaded(self) -> str:
        if self._put_sha is None:
            self._put_sha = await self._redis.script_load(_PUT)
        return self._put_sha

    async def _evaluate(self, batch: Sequence[tuple[Certificate, Records]], sha: str) -> list[bytes | None]:
        """What is kept of each, None where the script refused; the first other error rises."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for certificate, records in batch:
                pipeline.evalsha(sha, 1, _key(certificate), records.encoded, records.next_update)
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, Exception) and not (isinstance(reply, ResponseError) and "STALE" in str(reply)):
                raise reply
        return [None if isinstance(reply, Exception) else reply for reply in replies]


def _key(certificate: Certificate) -> bytes:
    """Short, since memory counts; one key a certificate, so one slot in a cluster."""
    return b"cs1:" + certificate.issuer.tag + certificate.serial


def _kept(header: bytes) -> Kept:
    epoch, number, as_of, flags = struct.unpack(">IQqB", header[1:22])
    return Kept(StatusVersion(epoch, number, _EPOCH + timedelta(microseconds=as_of)), CertStatus(flags & 3))


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except ResponseError as error:
        raise StoreUnavailable(f"the record store refused a command: {error}") from error
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreUnavailable(f"the record store can't be reached: {error or type(error).__name__}") from error
