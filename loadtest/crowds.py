"""Crowds of connections that hold on to what they have: idle ones, ones that send octet by octet, ones that don't read.
Part of `loadtest.hostile`."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

CRL_OCTETS = 40_000_000

_TICK = 0.25
_HEAD = b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\nContent-Length: 4000\r\n\r\n"


@dataclass(frozen=True)
class Crowd:
    """Connections that all do the same.

    Attributes:
        begins_with: what each sends at once; `answered` says whether that is answered.
        then: sent by each every quarter of a second, an octet at a time.
        reads: octets that each reads every quarter of a second.
        hurries: each reads all it can at all times, and asks again when it has all.
        receives: the size of its receive buffer, 0 for the system's.
    """

    name: str
    count: int
    begins_with: bytes = b""
    answered: bool = False
    then: bytes = b""
    reads: int = 65_536
    receives: int = 0
    hurries: bool = False


def crowds(request: bytes, crl_path: str, *, part: float = 1.0) -> list[Crowd]:
    """Those of the promise; or a part of each."""

    def of(count: int) -> int:
        return max(2, int(count * part))

    get = f"GET {crl_path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    return [
        Crowd("idle connections", of(5000), begins_with=request, answered=True),
        Crowd("slow heads", of(500), then=b"GET /" + b"a" * 8000),
        Crowd("slow bodies", of(500), begins_with=_HEAD, then=b"0" * 4000),
        Crowd("slow readers of 40 MB", of(200), begins_with=get, reads=256, receives=4096),
        Crowd("fast readers of 40 MB", of(16), begins_with=get, hurries=True),
    ]


async def publish_large_crl(demo: dict[str, Any]) -> str:
    """Have the last issuer of the demo publish 40 MB that no client looks into; the path they are at."""
    settings = tomllib.loads((Path(demo["state_dir"]) / "certstatus.toml").read_text())
    connection: asyncpg.Connection = await asyncpg.connect(settings["postgres"]["url"])
    try:
        issuer_id: str = await connection.fetchval("SELECT max(id) FROM issuers")
        await connection.execute(
            "INSERT INTO crls (issuer_id, scope, crl_number, der, this_update, next_update, snapshot) "
            "VALUES ($1, 'full', 1000000, $2, now(), now() + interval '1 day', pg_current_snapshot())",
            issuer_id,
            os.urandom(CRL_OCTETS),
        )
        await connection.execute("NOTIFY certstatus_crls")
    finally:
        await connection.close()
    return f"/crl/{issuer_id}.crl"


def hold(crowd: Crowd, where: tuple[str, int], seconds: float, addresses: list[str], said: int) -> None:
    """Be the crowd for so long. Writes into `said`: a line once all are there, and one with how many were closed by the
    server, and when the last of them was."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        members = [
            stack.enter_context(_member(crowd, where, addresses[n % len(addresses)])) for n in range(crowd.count)
        ]
        began = time.monotonic()
        os.write(said, b"there\n")
        closed_at: dict[socket.socket, float] = {}
        tick = 0
        if crowd.hurries:
            os.nice(19)  # or the client that asks beside it would wait for it
            _read_all(members, crowd.begins_with, began + seconds)
            seconds = 0
        while time.monotonic() - began < seconds:
            for member in members:
                if member not in closed_at and not _lives(crowd, member, tick):
                    closed_at[member] = time.monotonic() - began
            tick += 1
            time.sleep(max(0.0, began + tick * _TICK - time.monotonic()))
        os.write(said, f"{len(closed_at)} {max(closed_at.values(), default=0):.1f}\n".encode())


def _read_all(members: list[socket.socket], request: bytes, until: float) -> None:
    room, left = bytearray(1 << 20), dict.fromkeys(members, 0)
    while time.monotonic() < until:
        ready, _, _ = select.select(members, [], [], 0.1)
        for member in ready:
            got = member.recv_into(room)
            if not got:
                raise RuntimeError("the server has closed a connection that reads")
            if left[member] == 0:
                left[member] = bytes(room[:got]).index(b"\r\n\r\n") + 4 + CRL_OCTETS
            left[member] -= got
            if left[member] == 0:
                member.sendall(request)


@contextlib.contextmanager
def _member(crowd: Crowd, where: tuple[str, int], address: str) -> Iterator[socket.socket]:
    with socket.socket() as member:
        if crowd.receives:
            member.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, crowd.receives)
        member.bind((address, 0))
        member.connect(where)
        member.sendall(crowd.begins_with)
        if crowd.answered and not member.recv(65_536).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("no answer")
        member.setblocking(False)
        yield member


def _lives(crowd: Crowd, member: socket.socket, tick: int) -> bool:
    try:
        if crowd.then:
            member.send(crowd.then[tick % len(crowd.then) :][:1])
        return member.recv(crowd.reads) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
