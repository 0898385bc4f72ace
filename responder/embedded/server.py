"""A child process that is a server: its folder, its socket, its log, its start and its end."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from responder.errors import ConfigError, Remedy, StoreUnavailable
from responder.host.kernel import set_death_signal

START_SECONDS = 60.0
STOP_SECONDS = 20.0


class Server:
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
        self._lock = _for_us_alone(self._directory / f"{self.name}.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            self._lock = None
            raise ConfigError(f"{self._directory} is in use by another {self.name}; stop that one").offering(
                Remedy.CHOOSE_STATE_FOLDER
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

        with _for_us_alone(self.log_file).open("ab") as log:
            self._process = subprocess.Popen(  # the change of user needs code between fork and exec
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=prepare,
                # Ctrl-C goes to the terminal's group: the parent ends its servers itself, in order.
                start_new_session=True,
                cwd="/",
                env=environment(),
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


def _for_us_alone(path: Path) -> Path:
    path.touch(mode=0o600)
    path.chmod(0o600)
    return path


def environment() -> dict[str, str]:
    """Of a child: what it needs to find its libraries, and nothing that may be a secret of ours."""
    return {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}


def package_folders(name: str) -> list[Path]:
    """Where an installed package lies, without running any of it."""
    spec = importlib.util.find_spec(name)
    return [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
