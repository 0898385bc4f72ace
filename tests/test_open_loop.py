"""The client of the benchmarks that sends at a constant rate: a server that stalls must be seen to."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from loadtest.open_loop import at_rate

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody"


@contextmanager
def answering(answer: bytes, *, connections: int, stall_at: float, stall: float) -> Iterator[list[socket.socket]]:
    """Connections to a server that says nothing for `stall` seconds, once."""
    ended = threading.Event()
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(connections)]
        for pair in pairs:
            for each in pair:
                stack.enter_context(each)

        def serve() -> None:
            stalls_at = time.monotonic() + stall_at
            with selectors.DefaultSelector() as selector:
                for _, server in pairs:
                    selector.register(server, selectors.EVENT_READ)
                while not ended.is_set():
                    for key, _ in selector.select(0.05):
                        if stall and time.monotonic() > stalls_at:
                            stalls_at = float("inf")
                            time.sleep(stall)
                        key.fileobj.recv(4096)  # type: ignore[union-attr]
                        key.fileobj.sendall(answer)  # type: ignore[union-attr]

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield [client for client, _ in pairs]
        finally:
            ended.set()
            thread.join()


def test_what_was_due_while_the_server_stalled_has_waited() -> None:
    with answering(ANSWER, connections=4, stall_at=0.5, stall=0.4) as sockets:
        count, (median, most, longest) = at_rate(
            sockets, [REQUEST], rate=1000, seconds=1.5, spared=0.25, percentiles=(0.1, 0.9, 1.0)
        )
    # A client that waits for answers before it asks again would have seen four long ones of a thousand.
    assert 1240 <= count <= 1260
    assert median < most
    assert most > 100_000
    assert longest > 380_000


def test_what_was_never_sent_has_waited_to_the_end() -> None:
    with answering(ANSWER, connections=4, stall_at=0.5, stall=2) as sockets:
        count, (_, most) = at_rate(sockets, [REQUEST], rate=1000, seconds=1.5, spared=0.25, percentiles=(0.1, 0.9))
    assert count < 1000
    assert most > 500_000


@pytest.mark.parametrize("answer", [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_what_is_no_answer_ends_it(answer: bytes) -> None:
    with (
        answering(answer, connections=1, stall_at=0, stall=0) as sockets,
        pytest.raises(RuntimeError, match="isn't a 200"),
    ):
        at_rate(sockets, [REQUEST], rate=100, seconds=0.5, spared=0, percentiles=(0.5,))
