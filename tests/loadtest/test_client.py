"""The client that sends at a constant rate, or as fast as it is answered: what it sees of servers of every kind."""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from loadtest.common import tls_files
from loadtest.outcome import Latencies, run, upper_bound
from loadtest.tally import bucket_of

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody"


class Server:
    """Says the same to each request.

    Attributes:
        closes: after each answer.
        stall: says nothing for so many seconds, once, when half a second has passed.
        asked_from: the addresses of its clients.
    """

    def __init__(
        self, answer: bytes, *, closes: bool = False, stall: float = 0.0, context: ssl.SSLContext | None = None
    ):
        self.answer, self.closes, self.stall, self.context = answer, closes, stall, context
        self.accepted = 0
        self.asked_from: set[str] = set()

    @contextmanager
    def listening(self) -> Iterator[tuple[str, int]]:
        ended = threading.Event()
        with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
            thread = threading.Thread(target=self._serve, args=(listener, ended))
            thread.start()
            try:
                yield "127.0.0.1", listener.getsockname()[1]
            finally:
                ended.set()
                thread.join()

    def _serve(self, listener: socket.socket, ended: threading.Event) -> None:
        stalls_at = time.monotonic() + 0.5 if self.stall else float("inf")
        with ExitStack() as stack, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            while not ended.is_set():
                for key, _ in selector.select(0.05):
                    if time.monotonic() > stalls_at:
                        stalls_at = float("inf")
                        time.sleep(self.stall)
                    if key.fileobj is listener:
                        self._accept(listener, selector, stack)
                        continue
                    client = key.fileobj
                    assert isinstance(client, socket.socket)
                    try:
                        asked = client.recv(4096)
                    except OSError:
                        asked = b""
                    if asked:
                        client.sendall(self.answer)
                    if self.closes or not asked:
                        selector.unregister(client)
                        client.close()

    def _accept(self, listener: socket.socket, selector: selectors.BaseSelector, stack: ExitStack) -> None:
        client, (address, _) = listener.accept()
        self.accepted += 1
        self.asked_from.add(address)
        if self.context is not None:
            try:
                client = self.context.wrap_socket(client, server_side=True)
            except OSError:
                client.close()
                return
        selector.register(stack.enter_context(client), selectors.EVENT_READ)


def test_what_was_due_while_the_server_stalled_has_waited() -> None:
    with Server(ANSWER, stall=0.4).listening() as where:
        outcome = run(where, [REQUEST], rate=1000, seconds=1.5, spared=0.25, connections=4, intervals=5)
    median, most, longest = outcome.latencies.percentiles((0.1, 0.9, 1.0))
    # A client that waits for answers before it asks again would have seen four long ones of a thousand.
    assert 1240 <= outcome.answered <= 1260
    assert outcome.answered == outcome.statuses[200]
    assert outcome.answered + outcome.failed == outcome.latencies.total
    assert outcome.failed < 20, "those that were due last"
    assert median < most
    assert most > 0.1
    assert longest > 0.38
    assert [each.total for each in outcome.intervals][1] < 250, "the one with the stall"


def test_what_was_never_sent_has_waited_to_the_end() -> None:
    with Server(ANSWER, stall=2).listening() as where:
        outcome = run(where, [REQUEST], rate=1000, seconds=1.5, spared=0.25, connections=4)
    assert outcome.answered < 1000
    assert outcome.counts["unanswered"] > 500
    assert outcome.answered + outcome.counts["unanswered"] == outcome.latencies.total
    assert outcome.latencies.percentiles((0.9,))[0] > 0.5


def test_a_server_that_closes_each_connection_is_connected_to_again() -> None:
    server = Server(ANSWER.replace(b"HTTP/1.1", b"HTTP/1.0"), closes=True)
    with server.listening() as where:
        outcome = run(where, [REQUEST], rate=200, seconds=0.5, connections=2)
    assert outcome.answered >= 95
    assert not outcome.failed
    assert outcome.counts["connections"] == outcome.answered == server.accepted


@pytest.mark.parametrize(
    ("answer", "closes", "body"),
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            False,
            b"0\r\n\r\n",
        ),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde", True, b"abcde"),
        (b"HTTP/1.1 200 OK\r\nContent-Length:100000\r\n\r\n" + b"x" * 100_000, False, b"x" * 1000),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 100\r\n\r\n", False, b"\r\n\r\n"),
        (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", False, b"\r\n\r\n"),
    ],
)
def test_an_answer_ends_where_http_says(answer: bytes, closes: bool, body: bytes) -> None:
    with Server(answer, closes=closes).listening() as where:
        outcome = run(where, [REQUEST], rate=100, seconds=0.5, connections=2, every=10)
    assert outcome.answered >= 45
    assert not outcome.failed
    assert set(outcome.statuses) == {int(answer[9:12])}
    assert 4 <= len(outcome.kept) <= 6
    for kept in outcome.kept:
        assert kept.octets == answer
        assert kept.octets.endswith(body)
        assert 0 < kept.answered_at - kept.sent_at < 5


@pytest.mark.parametrize("answer", [b"SSH-2.0-nothing\r\n", b"HTTP/1.1 200 OK\r\n" + b"x" * 20_000, ANSWER + b"more"])
def test_what_is_no_http_is_counted(answer: bytes) -> None:
    with Server(answer).listening() as where:
        outcome = run(where, [REQUEST], rate=100, seconds=0.3, connections=1)
    assert outcome.counts["unreadable"] >= 20
    assert not outcome.answered


def test_an_answer_that_is_cut_short_is_dropped() -> None:
    with Server(ANSWER[:-2], closes=True).listening() as where:
        outcome = run(where, [REQUEST], rate=100, seconds=0.3, connections=1)
    assert outcome.counts["dropped"] >= 20
    assert not outcome.answered


def test_nobody_there_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = listener.getsockname()
    with pytest.raises(OSError, match="nobody answers at 127"):
        run(where, [REQUEST], seconds=5)


def test_it_asks_from_the_addresses_that_are_given() -> None:
    server = Server(ANSWER)
    sources = [f"127.1.0.{index}" for index in range(1, 5)]
    with server.listening() as where:
        outcome = run(where, [REQUEST], rate=200, seconds=0.3, connections=8, sources=sources)
    assert outcome.answered >= 55
    assert server.asked_from == set(sources)


def test_requests_of_different_sizes_are_sent_in_turn() -> None:
    requests = [REQUEST, REQUEST.replace(b"/", b"/longer", 1), b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"]
    with Server(ANSWER).listening() as where:
        outcome = run(where, requests, rate=300, seconds=0.3, connections=1, every=1)
    assert outcome.answered > 80
    assert [kept.request for kept in outcome.kept] == [index % 3 for index in range(outcome.answered)]


def test_without_a_rate_the_next_request_follows_the_answer() -> None:
    with Server(ANSWER).listening() as where:
        outcome = run(where, [REQUEST], seconds=0.4, spared=0.1, connections=4)
    assert outcome.answered > 100
    assert outcome.counts["connections"] == 4
    assert not outcome.failed


def test_it_speaks_tls(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_files(tmp_path))
    with Server(ANSWER, context=context).listening() as where:
        outcome = run(where, [REQUEST], rate=100, seconds=0.5, connections=2, tls=True, server_name="x", every=1)
    assert outcome.answered >= 45
    assert not outcome.failed
    assert {kept.octets for kept in outcome.kept} == {ANSWER}


def test_a_bucket_is_hardly_wider_than_what_is_in_it() -> None:
    last = -1
    for nanoseconds in (0, 99, 100, 25_500, 25_600, 1_000_000, 123_456_789, 600_000_000_000):
        bucket = bucket_of(nanoseconds)
        assert bucket >= last
        last = bucket
        assert nanoseconds / 1e9 <= upper_bound(bucket) <= nanoseconds / 1e9 * 1.01 + 200e-9


def test_percentiles_of_none_are_zero_and_sums_keep_all() -> None:
    assert Latencies().percentiles((0.5, 0.99)) == [0, 0]
    both = Latencies([1, 2]) + Latencies([0, 0, 5])
    assert list(both.counts) == [1, 2, 5]
    assert both.percentiles((0.1, 0.2, 1.0)) == [upper_bound(0), upper_bound(1), upper_bound(2)]


@pytest.mark.parametrize("wrong", [{"rate": 1e8}, {"seconds": 601}, {"spared": 3}, {"connections": 0}, {"every": -1}])
def test_what_has_no_end_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"seconds|for|connections"):
        run(("127.0.0.1", 1), [REQUEST], **{"seconds": 1, **wrong})  # type: ignore[arg-type]
