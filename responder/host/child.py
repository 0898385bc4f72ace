"""A process that is kept alive, and what it has of its parent."""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from responder.host.segment import HEARTBEAT, Lane


class ChildContext:
    """What a child process has of its parent."""

    def __init__(self, name: str, place: int, sockets: tuple[socket.socket, ...], lane: Lane, ready_fd: int) -> None:
        """`place` is a number that no two processes of the host have at one time."""
        self.name = name
        self.place = place
        self.sockets = sockets
        self.lane = lane
        self._ready_fd = ready_fd

    def ready(self) -> None:
        """Tell the supervisor that it answers from now on; again is harmless."""
        self.beat()
        if self._ready_fd >= 0:
            # What a process has by now it keeps. A full collection that walks through it keeps the loop for tens of
            # milliseconds.
            gc.collect()
            gc.freeze()
            os.write(self._ready_fd, b"r")
            os.close(self._ready_fd)
            self._ready_fd = -1

    def beat(self) -> None:
        """Tell the supervisor that it is alive; to be called at least once a second."""
        self.lane[HEARTBEAT] = time.monotonic_ns()


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep: `run` is called in it and returns its exit code."""

    name: str
    run: Callable[[ChildContext], int]
    sockets: tuple[socket.socket, ...] = ()
    heartbeat: bool = True
