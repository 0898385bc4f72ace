"""A list that is followed: taken over when it changes, whatever is in the way."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from responder.clock import SystemClock
from responder.errors import CertstatusError, ConfigError, StatusUnavailable
from responder.operations.importing import StatusList
from responder.operations.watching import follow


@dataclass
class Follower:
    """What was taken over, and what was told."""

    taken: list[bytes] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    reads: int = 0
    is_away: bool = False

    def read(self, path: Path) -> StatusList:
        self.reads += 1
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: it can't be read") from error
        if content.startswith(b"junk"):
            raise ConfigError(f"{content!r} is no list")
        return StatusList(path, lambda: iter(()), 0, (), hashlib.sha256(content).digest())

    async def take(self, statuses: StatusList) -> None:
        await asyncio.sleep(0)
        if self.is_away:
            raise StatusUnavailable("the database is away")
        self.taken.append(statuses.sha256)

    def tell(self, error: CertstatusError) -> None:
        self.told.append(str(error))

    async def has_taken(self, *contents: bytes) -> None:
        expected = [hashlib.sha256(content).digest() for content in contents]
        async with asyncio.timeout(10):
            while self.taken != expected:  # noqa: ASYNC110 - it happens in the follower
                await asyncio.sleep(0.01)


def put(path: Path, content: bytes) -> None:
    """As `openssl ca` does it: nobody reads half of it."""
    beside = path.with_name("new")
    beside.write_bytes(content)
    beside.replace(path)


@asynccontextmanager
async def following(path: Path) -> AsyncIterator[Follower]:
    follower, stop = Follower(), asyncio.Event()
    task = asyncio.create_task(
        follow(
            path,
            read=follower.read,
            take=follower.take,
            tell=follower.tell,
            stop=stop,
            clock=SystemClock(),
            seconds=0.02,
        )
    )
    yield follower
    stop.set()
    await asyncio.wait_for(task, 10)


async def test_each_content_is_taken_once_however_the_file_was_written(tmp_path: Path) -> None:
    path = tmp_path / "index.txt"
    path.write_bytes(b"one")
    async with following(path) as follower:
        await follower.has_taken(b"one")
        with path.open("r+b") as file:
            file.write(b"two")  # as long, and perhaps at the same time
        await follower.has_taken(b"one", b"two")
        put(path, b"three")
        await follower.has_taken(b"one", b"two", b"three")
        path.touch()
        await asyncio.sleep(0.2)
        await follower.has_taken(b"one", b"two", b"three")
        assert follower.told == []


async def test_what_is_wrong_is_told_once_and_ends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "index.txt"
    async with following(path) as follower:
        await asyncio.sleep(0.2)
        assert follower.told == [f"{path}: it can't be read"]
        put(path, b"junk 1")
        await asyncio.sleep(0.2)
        put(path, b"list")
        await follower.has_taken(b"list")
        put(path, b"junk 1")
        await asyncio.sleep(0.2)
        put(path, b"list 2")
        await follower.has_taken(b"list", b"list 2")
        assert follower.told[1:] == ["b'junk 1' is no list"] * 2


async def test_while_the_database_is_away_it_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "index.txt"
    put(path, b"list")
    async with following(path) as follower:
        follower.is_away = True
        await asyncio.sleep(0.2)
        assert follower.told == ["the database is away"]
        follower.is_away = False
        await follower.has_taken(b"list")


async def test_a_file_that_has_settled_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "index.txt"
    put(path, b"list")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    async with following(path) as follower:
        await follower.has_taken(b"list")
        await asyncio.sleep(0.3)
        assert follower.reads == 1
