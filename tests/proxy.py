"""A proxy between us and a server that cuts connections when told."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import parse_qs, urlsplit


class Proxy:
    """Forwards TCP connections to a Unix socket."""

    def __init__(self, target: str) -> None:
        self.refuse = False
        self._flows = asyncio.Event()
        self._flows.set()
        self.url = ""
        self._target = target
        self._cut_on: bytes | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @classmethod
    def of_postgres(cls, url: str) -> Proxy:
        """A proxy to the embedded server of this URL; its own `url` leads to the same database."""
        parts = urlsplit(url)
        proxy = cls(f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432")
        proxy.url = f"postgresql://certstatus@127.0.0.1:PORT{parts.path}"
        return proxy

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = self.url.replace("PORT", str(port))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def hang(self) -> None:
        """Nothing passes any more, and nothing is closed."""
        self._flows.clear()

    def go_on(self) -> None:
        """What hung goes on."""
        self._flows.set()

    def cut(self) -> None:
        """End all connections at once, without a goodbye."""
        for writer in list(self._writers):
            writer.transport.abort()

    def cut_on(self, text: bytes) -> None:
        """End all connections as soon as the client has sent this, which still reaches the server."""
        self._cut_on = text

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        try:
            if self.refuse:
                return
            inner_reader, inner_writer = await asyncio.open_unix_connection(self._target)
            self._writers.add(inner_writer)
            await asyncio.gather(
                self._pump(reader, inner_writer, to_server=True), self._pump(inner_reader, writer, to_server=False)
            )
        except OSError:
            pass
        finally:
            for each in (writer, *([inner_writer] if "inner_writer" in locals() else [])):
                self._writers.discard(each)
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_server: bool) -> None:
        try:
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
                if to_server and self._cut_on is not None and self._cut_on in data:
                    self._cut_on = None
                    await asyncio.sleep(0.2)  # until the server has done it
                    self.cut()
        except OSError:
            pass
        finally:
            writer.close()
