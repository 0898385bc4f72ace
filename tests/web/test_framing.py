"""Where requests begin and end: what is accepted means the same to llhttp and to h11, and the rest is refused."""

from __future__ import annotations

from dataclasses import dataclass

import h11
import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from responder._native import Framing, RequestHead, read_request


@dataclass(frozen=True)
class Message:
    method: bytes
    target: bytes
    version: str
    body: bytes


class LLHTTP:
    """What llhttp makes of a stream: whole messages, and whether it was content. With the wish for an upgrade it ends,
    before the body of that request (RFC 9110 §7.8: clients send that first, and Java's does with each POST)."""

    def __init__(self, octets: bytes) -> None:
        self.messages: list[Message] = []
        self.url, self.body, self.has_body = b"", b"", False
        self.is_content, self.has_ended = True, False
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(octets)
        except httptools.HttpParserUpgrade:
            self.has_ended = True
        except httptools.HttpParserError:
            self.is_content = False

    def on_message_begin(self) -> None:
        self.url, self.body, self.has_body = b"", b"", False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.has_body = self.has_body or name.lower() in {b"content-length", b"transfer-encoding"}

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        parser = self._parser
        self.has_ended = self.has_ended or not parser.should_keep_alive()
        if not (parser.should_upgrade() and self.has_body):
            self.messages.append(Message(parser.get_method(), self.url, parser.get_http_version(), self.body))


def read_by_h11(octets: bytes) -> tuple[list[Message], bytes]:
    """Whole messages, as Hypercorn would have them one after another, and what is left.

    Raises:
        h11.RemoteProtocolError: h11 refuses.
    """
    messages = []
    while octets:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=16384)
        connection.receive_data(octets)
        body = b""
        request = connection.next_event()
        assert isinstance(request, h11.Request)
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
        if event is h11.NEED_DATA:
            break
        assert isinstance(event, h11.EndOfMessage)
        messages.append(Message(request.method, request.target, request.http_version.decode(), body))
        octets = connection.trailing_data[0]
    return messages, octets


FIELDS = st.sampled_from(
    [b"Host: x", b"host:x", b"Host: [::1]:80", b"Host: a b", b"Host:", b"Host: a/b", b"Content-Length: 4",
     b"Content-Length: 04", b"content-length:4\t", b"Content-Length: 5", b"Content-Length: +4", b"Content-Length: 4, 4",
     b"Content-Length: 18446744073709551620", b"Content-Length: ", b"Transfer-Encoding: chunked",
     b"Transfer-Encoding: Chunked ", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity",
     b"Transfer-Encoding:\x0bchunked", b"Connection: close", b"Connection: keep-alive, close", b"Connection: Upgrade",
     b"Upgrade: h2c", b"X : y", b"X: a\x00b", b"X: \xff", b"Accept: */*", b" folded", b"\tfolded", b"X:y ", b": y",
     b"Expect: 100-continue", b"If-None-Match: \"x\"", b"X: a\rb", b"X: a\nY: b", b"Range: bytes=0-1", b"TE: trailers"]
)  # fmt: skip
LINES = st.tuples(
    st.sampled_from([b"GET", b"POST", b"POST", b"HEAD", b"get", b"PUT", b"POSTS", b"G\xffT"]),
    st.sampled_from([b" ", b" ", b" ", b"  ", b"\t"]),
    st.sampled_from(
        [
            b"/ocsp",
            b"/",
            b"http://x/ocsp",
            b"*",
            b"/a b",
            b"/\xff",
            b"/ocsp?x",
            b"",
            b"/\x7f",
            b"HTTPS://x:80?",
            b"http:///",
            b"x",
        ]
    ),
    st.sampled_from([b" HTTP/1.1", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/1.1 ", b" http/1.1", b" HTTP/2.0", b""]),
).map(b"".join)
BODIES = st.sampled_from(
    [b"", b"abcd", b"abcd", b"abc", b"4\r\nabcd\r\n0\r\n\r\n", b"2\r\nab\r\n02;x=y\r\ncd\r\n0\r\n\r\n",
     b"4\r\nabcd\r\n0\r\nX: y\r\n\r\n", b"4\r\nabcdX\r\n0\r\n\r\n", b"4\nabcd\n0\n\n", b"4 \r\nabcd\r\n0\r\n\r\n",
     b"0x4\r\nabcd\r\n0\r\n\r\n", b"4\r\nabcd0\r\n\r\n", b"4\r\nabcd\r\n0\r\nContent-Length: 4\r\n\r\n", b"G\r\n",
     b"ffffffffffffffff\r\n", b"4;\x00\r\nabcd\r\n0\r\n\r\n", b"-4\r\nabcd\r\n0\r\n\r\n", b"4\r\nabcd\r\n0\r\n",
     b"4\r\nabcd\r\n0\r\nX : y\r\n\r\n", b"4\r\nabcd\r\n0\r\n folded\r\n\r\n"]
)  # fmt: skip
REQUESTS = st.one_of(
    st.builds(
        lambda line, fields, end, body: end.join([line, *fields, b"", b""]) + body,
        LINES, st.lists(FIELDS, max_size=5), st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n"]), BODIES,
    ),
    st.builds(
        lambda fields, body: b"\r\n".join([b"POST /ocsp HTTP/1.1", b"Host: x", *fields, b"", b""]) + body,
        st.lists(FIELDS, max_size=2), BODIES,
    ),
)  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Requests behind each other, an octet of them perhaps another."""
    stream = b"".join(draw(st.lists(st.one_of(REQUESTS, st.just(b"\r\n")), min_size=1, max_size=3)))
    if draw(st.booleans()):
        place = draw(st.integers(0, len(stream) - 1))
        stream = stream[:place] + bytes([draw(st.integers(0, 255))]) + stream[place + 1 :]
    return stream


@settings(max_examples=2500, deadline=None)
@given(streams(), st.data())
@example(
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"
    + b"GET / HTTP/1.0\r\n\r\n",
    None,
)
@example(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", None)
def test_whatever_is_passed_on_is_read_alike_by_llhttp_and_h11(stream: bytes, data: st.DataObject | None) -> None:
    framing = Framing()
    passed = framing.feed(stream)
    by_llhttp, (by_h11, rest) = LLHTTP(passed), read_by_h11(passed)
    # llhttp ends with a request to close, where h11 was asked anew.
    count = len(by_llhttp.messages)
    assert by_llhttp.messages == by_h11[:count]
    if not (by_llhttp.is_content or by_llhttp.has_ended):  # it has a list of methods
        refused = by_h11[count].method if count < len(by_h11) else rest.split(b" ")[0]
        assert refused not in {b"GET", b"HEAD", b"POST", b"PUT"}
    assert framing.refused in {0, 400}
    # The same, however it comes.
    cut = data.draw(st.integers(0, len(stream))) if data is not None else 1
    again, octet_by_octet = Framing(), Framing()
    assert again.feed(stream[:cut]) + again.feed(stream[cut:]) == passed
    assert b"".join(octet_by_octet.feed(bytes([octet])) for octet in stream) == passed
    assert again.refused == octet_by_octet.refused == framing.refused


@settings(max_examples=1000, deadline=None)
@given(streams())
def test_a_head_is_read_as_it_is_judged(stream: bytes) -> None:
    """By the lane's function, which sees all that has come each time."""
    shape, head = read_request(stream)
    if head is None:
        if shape == "part":
            assert Framing().feed(stream).strip(b"\r\n") == b""
        return
    assert head.body_size is None or Framing().feed(stream[: head.size]) == stream[: head.size]
    for cut in range(1, head.size):
        assert read_request(stream[:cut]) == ("part", None)


def fields(*lines: bytes, line: bytes = b"POST /ocsp HTTP/1.1", body: bytes = b"abcd") -> bytes:
    return b"\r\n".join([line, *lines, b"", b""]) + body


CHUNKED = (b"Host: x", b"Transfer-Encoding: chunked")

AMBIGUOUS = {
    "length and chunks": fields(b"Host: x", b"Content-Length: 4", b"Transfer-Encoding: chunked"),
    "chunks and length": fields(b"Host: x", b"Transfer-Encoding: chunked", b"Content-Length: 4"),
    "two lengths": fields(b"Host: x", b"Content-Length: 4", b"Content-Length: 5"),
    "one length twice": fields(b"Host: x", b"Content-Length: 4", b"Content-Length: 4"),
    "a list of lengths": fields(b"Host: x", b"Content-Length: 4, 4"),
    "a length with a sign": fields(b"Host: x", b"Content-Length: +4"),
    "a length of 64 bits": fields(b"Host: x", b"Content-Length: 18446744073709551620"),
    "no length": fields(b"Host: x", b"Content-Length:"),
    "chunked twice": fields(*CHUNKED, b"Transfer-Encoding: chunked"),
    "gzip, chunked": fields(b"Host: x", b"Transfer-Encoding: gzip, chunked"),
    "another coding": fields(b"Host: x", b"Transfer-Encoding: identity"),
    "chunks in HTTP/1.0": fields(*CHUNKED, line=b"POST / HTTP/1.0"),
    "bare LF": b"GET / HTTP/1.1\nHost: x\n\n",
    "bare LF in a header": fields(b"Host: x\nX: y"),
    "bare CR in a header": fields(b"Host: x", b"X: a\rb"),
    "NUL": fields(b"Host: x", b"X: a\x00b"),
    "folding": fields(b"Host: x", b"X: a", b" b"),
    "blank before the colon": fields(b"Host: x", b"Content-Length : 4"),
    "no name": fields(b"Host: x", b": 4"),
    "no Host": fields(b"Content-Length: 4"),
    "two Hosts": fields(b"Host: x", b"Host: x", b"Content-Length: 4"),
    "a path in Host": fields(b"Host: x/y", b"Content-Length: 4"),
    "two blanks": b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a blank in the target": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "no target": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "bare LF after a size": fields(*CHUNKED, body=b"4\nabcd\r\n0\r\n\r\n"),
    "a blank after a size": fields(*CHUNKED, body=b"4 \r\nabcd\r\n0\r\n\r\n"),
    "a size of base 10": fields(*CHUNKED, body=b"0x4\r\nabcd\r\n0\r\n\r\n"),
    "no size": fields(*CHUNKED, body=b"\r\nabcd\r\n0\r\n\r\n"),
    "a size of 36 bits": fields(*CHUNKED, body=b"100000000\r\nabcd"),
    "no end of a chunk": fields(*CHUNKED, body=b"4\r\nabcd0\r\n\r\n"),
    "another end of a chunk": fields(*CHUNKED, body=b"4\r\nabcdXX0\r\n\r\n"),
    "bare LF after a chunk": fields(*CHUNKED, body=b"4\r\nabcd\n0\r\n\r\n"),
    "much said of a chunk": fields(*CHUNKED, body=b"4;" + b"x" * 300 + b"\r\nabcd\r\n0\r\n\r\n"),
    "a length that comes late": fields(*CHUNKED, body=b"4\r\nabcd\r\n0\r\nContent-Length: 4\r\n\r\n"),
    "a bare LF at the end": fields(*CHUNKED, body=b"4\r\nabcd\r\n0\r\n\n"),
}
"""Framings that parsers read in different ways, or that nobody sends."""


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_may_be_read_in_two_ways_is_refused(name: str) -> None:
    framing = Framing()
    framing.feed(AMBIGUOUS[name])
    assert framing.refused == 400
    assert framing.feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b"", "nothing is passed on any more"


def test_what_clients_send_is_passed_on() -> None:
    streams = [
        b"GET /ocsp/MEI%3D HTTP/1.1\r\nHost: ocsp.example.com\r\nUser-Agent: x\r\nConnection: keep-alive\r\n\r\n",
        b"POST / HTTP/1.0\r\nContent-Type: application/ocsp-request\r\nContent-Length: 4\r\n\r\nabcd",  # openssl ocsp
        b"POST / HTTP/1.1\r\nHost: [::1]:8080\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\nabcd",  # .NET
        b"POST / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nTransfer-Encoding: Chunked\r\n\r\n"
        b"00000004;a=b\r\nabcd\r\n0\r\nX: y\r\n\r\n",
        b"HEAD http://x/crl/a.crl HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"a\",\"b\"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost:\r\nX:\r\n\r\n",
    ]  # fmt: skip
    for stream in (*streams, b"".join(streams)):
        framing = Framing()
        assert (framing.feed(stream), framing.refused) == (stream, 0)
    framing = Framing()
    assert framing.feed(b"\r\n" + streams[1] + b"\r\n" + streams[0]) == streams[1] + streams[0]


def test_a_head_says_what_the_lane_must_know() -> None:
    assert read_request(
        b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: a ,close\r\nExpect: 100-Continue\r\n\r\nabc"
    ) == ("whole", RequestHead("POST", b"/a?b", 94, 3, [], has_since=False, expects=True, closes=True))
    assert read_request(
        b'GET / HTTP/1.0\r\nIf-Modified-Since: x\r\nIf-None-Match:  "a", W/"b"\t\r\nExpect: 100-continue\r\n\r\n'
    ) == ("whole", RequestHead("GET", b"/", 91, 0, [b'"a", W/"b"'], has_since=True, expects=False, closes=True))
    shape, head = read_request(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert head is not None
    assert (shape, head.method, head.body_size) == ("whole", "", None)


def test_a_head_that_is_too_long_is_said_to_be() -> None:
    assert read_request(b"GET /" + b"x" * 17000) == ("too long", None)
    assert read_request(b"GET /" + b"x" * 17000 + b" HTTP/1.1\r\nHost: x\r\n\r\n") == ("too long", None)
    for stream in (
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 4000,
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 4000,
    ):
        framing = Framing()
        for start in range(0, len(stream), 100):
            framing.feed(stream[start : start + 100])
        assert framing.refused == 431
