"""One lane that is asked the same thing again and again, for callgrind: instructions don't depend on what else a
machine does.

    valgrind --tool=callgrind --toggle-collect='*Lane_turn' python -m tests.native.instructions WORLD post|get COUNT

The file has what another process has made, so that little is imported here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import sys
import time
from pathlib import Path

from responder._native import (
    Floors,
    Gate,
    IssuerRow,
    Lane,
    Limiter,
    LiveKeys,
    Networks,
    Pages,
    Responder,
    Table,
    decode_records,
    load_profile,
    pack_issuer,
)

WORDS = {
    "trusted_until": 0,
    "database_clock": 1,
    "issued_until": 5,
    "requests": [[1, 2, 3], [4, 5, 6]],
    "several": [55, 56],
    "hashes": [7, 8, 9, 10, 11],
    "answers": 12,
    "live": 47,
    "fetched": 52,
    "unmet": 48,
    "never_issued": 53,
    "nonces": 13,
    "signed": 16,
    "unauthorized": [17, 18],
    "crls": [14, 15],
    "ages": 20,
    "bounds": [60, 300, 900, 3600, 21600, 43200, 86400, 172800, 345600, 604800],
}

REFUSALS = {
    "rate_limited": [40, 41],
    "overloaded": [42, 43],
    "limited": 44,
    "malformed": 45,
    "too_long": 46,
    "slow": 49,
    "too_many": 50,
    "crowded": 51,
    "unannounced": 54,
}


def unexpected(*arguments: object) -> None:
    raise AssertionError(f"not answered from the table: {arguments!r}")


def main(world: dict[str, str], kind: str, count: int) -> None:
    floors, table = memoryview(bytearray(1 << 16)), memoryview(bytearray(1 << 16))
    Floors.lay_out(floors, bytes(range(96)))
    Table.lay_out(table, bytes(range(96)))
    native = Table(table, Floors(floors), owner=1)
    issuer = json.loads(world["issuer"])
    hashes = tuple((bytes.fromhex(name), bytes.fromhex(key)) for name, key in issuer["hashes"])
    tag, serial = bytes.fromhex(issuer["tag"]), bytes.fromhex(world["serial"])
    native.put(tag, serial, decode_records(bytes.fromhex(world["records"])), 0)
    host = memoryview(bytearray(64)).cast("Q")
    host[0] = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 10**13
    words = memoryview(bytearray(8192)).cast("Q")
    responder = Responder(native, host, words, words=WORDS)
    limiter = memoryview(bytearray(1 << 16))
    Limiter.lay_out(limiter, bytes(range(96)))
    gate = Gate(
        words,
        words=REFUSALS,
        limiter=Limiter(limiter, per_minute=1000),
        exempt=Networks([]),
        trusted=Networks([]),
        refusal=3,
        room=64,
        signatures=64,
        counts_hits=False,
    )
    row = IssuerRow(tag, hashes, (1, 2), ignores_nonce=False, honours_preferences=False, refresh=129600, max_age=3600)
    responder.replace([pack_issuer(row)], [load_profile(bytes.fromhex(world["profile"]))], LiveKeys())
    der = bytes.fromhex(world["request"])
    if kind == "post":
        head = "POST /ocsp HTTP/1.1\r\nHost: ocsp.example.com\r\nContent-Type: application/ocsp-request\r\n"
        request = f"{head}Content-Length: {len(der)}\r\n\r\n".encode() + der
    else:
        path = base64.b64encode(der).decode().replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
        request = f"GET /ocsp/{path} HTTP/1.1\r\nHost: ocsp.example.com\r\nAccept: */*\r\n\r\n".encode()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    lane = Lane(
        listener.fileno(),
        responder=responder,
        pages=Pages(),
        gate=gate,
        ask=unexpected,
        fetch=unexpected,
        announced=Networks(()),
        hand_over=unexpected,
        connections=4,
        connections_a_client=4,
        idle_seconds=3600,
        request_seconds=3600,
    )
    client = socket.create_connection(listener.getsockname())
    for _ in range(count):
        client.sendall(request)
        answer = b""
        while not answer:
            lane.on_ready()
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                answer = client.recv(65536)
            client.setblocking(True)
        if not answer.startswith(b"HTTP/1.1 200 OK"):
            raise AssertionError(answer)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], int(sys.argv[3]))
