"""What a process asks of the kernel and of the service manager."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15

_libc = ctypes.CDLL(None, use_errno=True)


def set_death_signal(parent: int, number: int = signal.SIGKILL) -> None:
    """In a child: be sent `number` when the parent (its process id) ends. A change of user undoes it, so it comes
    after that. It goes with the thread that forked, so the parent forks from its main thread."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def raise_descriptor_limit() -> None:
    """As many open files and connections as the system allows: the usual soft limit of 1,024 is for programs that use
    select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # a hard limit beyond what the kernel takes
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def name_process(name: str) -> None:
    """For ps and top; at most 15 bytes."""
    _libc.prctl(_PR_SET_NAME, f"{name}".encode()[:15], 0, 0, 0)


def notify(state: str) -> None:
    """Tell the service manager, where there is one (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
        notifier.sendto(state.encode(), address)
