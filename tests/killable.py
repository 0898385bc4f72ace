"""A Valkey with its default snapshots, which can be killed and started again at the same address."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from responder.embedded import find_valkey


class KillableValkey:
    """A server whose data stays in `folder`; a socket's path has at most 107 octets."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.socket = folder, folder / "socket"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it, and wait until it answers: its socket is there before it listens."""
        command = [str(find_valkey(None)), "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not self.answers():
            assert self.process.poll() is None, "valkey has ended"
            assert time.monotonic() < deadline, "valkey doesn't answer"
            time.sleep(0.01)

    def answers(self) -> bool:
        once = Retry(NoBackoff(), 0)
        with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.url, retry=once) as client:
            return bool(client.ping())
        return False

    def save(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.save()

    def kill(self) -> None:
        """End it as a crash does; what it hasn't saved is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
        self.socket.unlink(missing_ok=True)
