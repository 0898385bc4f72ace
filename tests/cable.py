"""A cable between two programs, which is cut by ending it.

python -m tests.cable PORT HOST PORT
"""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError), contextlib.closing(writer):
        while octets := await reader.read(65_536):
            writer.write(octets)
            await writer.drain()


async def main(port: int, host: str, there: int) -> None:
    """Join whoever connects to `port` with the program there."""

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection(host, there)
        await asyncio.gather(_pump(reader, their_writer), _pump(their_reader, writer))

    async with await asyncio.start_server(join, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
