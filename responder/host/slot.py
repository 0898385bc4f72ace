"""A place that a child process lives in, as its supervisor sees it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field

from responder.host.child import Child

_FIRST_PAUSE_SECONDS = 0.1
_LAST_PAUSE_SECONDS = 10.0
_HEALTHY_SECONDS = 30.0

_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}


@dataclass
class Slot:
    """Its lane of the counters stays when the process is replaced."""

    spec: Child
    lane: int
    pid: int = 0
    ready_fd: int = -1
    is_ready: bool = False
    started_at: float = 0.0
    start_at: float | None = 0.0  # when to start it next; None while it runs
    failed_starts: int = 0
    pause: float = _FIRST_PAUSE_SECONDS
    stopping_since: float | None = None
    deaths: list[float] = field(default_factory=list)  # within the last minute

    def begin(self, pid: int, ready_fd: int, now: float) -> None:
        """A process was started in it, which says on `ready_fd` that it is ready."""
        self.pid, self.ready_fd, self.is_ready = pid, ready_fd, False
        self.started_at, self.start_at, self.stopping_since = now, None, None

    def look_whether_ready(self) -> None:
        """The pipe is closed when the child has said that it is ready, and with its end."""
        if self.is_ready or self.ready_fd < 0:
            return
        try:
            said = os.read(self.ready_fd, 1)
        except BlockingIOError:
            return
        self._close_pipe()
        self.is_ready = said == b"r"

    def reap(self, *, wait: bool = False) -> int | None:
        """The exit code (negative for a signal) when the process has ended; only this one is waited for."""
        if not self.pid:
            return None
        pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
        if pid == 0:
            return None
        self.pid = 0
        self._close_pipe()
        self.is_ready = self.is_ready and self.stopping_since is None
        return os.waitstatus_to_exitcode(status)

    def died(self, now: float) -> None:
        """It ended by itself, and is to be started again after a pause, which grows."""
        self.deaths.append(now)
        self.failed_starts = 0 if self.is_ready else self.failed_starts + 1
        if now - self.started_at > _HEALTHY_SECONDS:
            self.pause = _FIRST_PAUSE_SECONDS
        self.start_at = now + self.pause
        self.pause = min(2 * self.pause, _LAST_PAUSE_SECONDS)

    def kill(self, number: int) -> None:
        """Send it a signal, if it is there."""
        if self.pid:
            os.kill(self.pid, number)  # not reaped yet, so the id is still its own

    def _close_pipe(self) -> None:
        if self.ready_fd >= 0:
            os.close(self.ready_fd)
            self.ready_fd = -1


def is_crash(exit_code: int) -> bool:
    """Whether a process ended by what it did in memory, and by nobody's will."""
    return -exit_code in _CRASHES
