"""Listening sockets, bound before there is anyone to accept."""

from __future__ import annotations

import socket


def require_unused(host: str, port: int) -> None:
    """Nobody listens there, not even somebody who would share the port with us.

    Raises:
        OSError: somebody does, or the address can't be bound.
    """
    with socket.socket(_family(host), socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tried.bind((host, port))


def open_socket(host: str, port: int, *, reuse_port: bool) -> socket.socket:
    """A bound and listening socket.

    Raises:
        OSError: the address can't be bound.
    """
    listener = socket.socket(_family(host), socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(1024)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
