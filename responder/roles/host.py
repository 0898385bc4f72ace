"""Which processes a role consists of, and the sockets that outlive them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from responder import metrics
from responder.config import Address, Config
from responder.errors import ConfigError
from responder.host.child import Child, ChildContext
from responder.host.process import process_identity, run_process
from responder.host.segment import Segment
from responder.host.sockets import open_socket, require_unused
from responder.host.supervisor import Supervisor
from responder.roles.admin import administer
from responder.roles.crl import build_crls
from responder.roles.keep import keep, leave
from responder.roles.memory import HostMemory, create_memory, renew_memory
from responder.roles.presign import presign, presign_shares
from responder.roles.serve import serve
from responder.roles.work import work
from responder.tls_files import TLSFiles

ROLES = ("serve", "work", "crl")

MAX_OTHER_PROCESSES = 5
"""keep, work, crl, admin and the demo's checks: each has a lane of the counters after the workers', and so has each
process more that signs slices."""


def worker_count(config: Config) -> int:
    """How many processes serve: as configured, else one for each core that this process may use."""
    return config.serve.workers or len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Sockets:
    """The listening sockets of this host's roles, kept by the supervisor over restarts of the processes behind them."""

    public: tuple[socket.socket, ...]
    tls: tuple[socket.socket, ...]
    admin: socket.socket
    listen: Address
    tls_listen: Address | None
    admin_listen: Address
    admin_has_tls: bool
    presign_processes: int

    @classmethod
    def open(cls, config: Config, roles: Sequence[str]) -> Sockets:
        """Bind what the roles need: a socket for each worker, all on one port; the same for TLS; and the operator's.

        Raises:
            ConfigError: an address can't be bound.
        """
        serve, public, tls = config.serve, list[socket.socket](), list[socket.socket]()
        with contextlib.ExitStack() as on_failure:

            def bind_for_each_worker(key: str, address: Address, into: list[socket.socket]) -> None:
                port = address.port
                with _naming(key, address.host, port):
                    require_unused(address.host, port)  # the workers share the port, and so would another's
                for _ in range(worker_count(config)):
                    into.append(on_failure.enter_context(_bind(key, address.host, port, reuse_port=True)))
                    port = into[0].getsockname()[1]

            if "serve" in roles:
                bind_for_each_worker("serve.listen", serve.listen, public)
                if serve.tls_listen is not None:
                    bind_for_each_worker("serve.tls_listen", serve.tls_listen, tls)
            admin = _bind("admin.listen", config.admin.listen.host, config.admin.listen.port, reuse_port=False)
            on_failure.pop_all()
        return cls(
            tuple(public),
            tuple(tls),
            admin,
            serve.listen,
            serve.tls_listen,
            config.admin.listen,
            config.admin.tls_key is not None,
            len(presign_shares(config)),
        )

    def require_same(self, config: Config) -> None:
        """Refuse a reload that would need other sockets.

        Raises:
            ConfigError: the addresses or the number of workers differ.
        """
        faults = []
        if config.serve.listen != self.listen:
            faults.append(f"serve.listen is now {config.serve.listen}; restart to change it from {self.listen}")
        if config.serve.tls_listen != self.tls_listen:
            changed = f"serve.tls_listen is now {config.serve.tls_listen}"
            faults.append(f"{changed}; restart to change it from {self.tls_listen}")
        if (config.admin.tls_key is not None) != self.admin_has_tls:
            faults.append("admin.tls_key was set, or is no longer; restart to change what admin.listen speaks")
        if config.admin.listen != self.admin_listen:
            faults.append(f"admin.listen is now {config.admin.listen}; restart to change it from {self.admin_listen}")
        if len(presign_shares(config)) != self.presign_processes:
            faults.append(
                f"signing.presign_tasks is now {config.signing.presign_tasks}, which needs "
                "another number of processes; restart to change it"
            )
        if self.public and worker_count(config) != len(self.public):
            faults.append(f"serve.workers is now {worker_count(config)}; restart to change it from {len(self.public)}")
        if faults:
            raise ConfigError(*faults)

    @property
    def public_url(self) -> str:
        """Where OCSP is answered."""
        return _url(self.public[0])

    @property
    def tls_url(self) -> str | None:
        """Where the same is answered over TLS."""
        return _url(self.tls[0], "https") if self.tls else None

    @property
    def admin_url(self) -> str:
        """Where the operator asks."""
        return _url(self.admin, "https" if self.admin_has_tls else "http")


def _bind(key: str, host: str, port: int, *, reuse_port: bool) -> socket.socket:
    with _naming(key, host, port):
        return open_socket(host, port, reuse_port=reuse_port)


@contextlib.contextmanager
def _naming(key: str, host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{key} {host}:{port} can't be bound: {error.strerror}; choose another port, or 0 for a free one"
        ) from error


def _url(listener: socket.socket, scheme: str = "http") -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def create_segment(config: Config, sockets: Sockets) -> Segment:
    """The shared memory of this host's processes. This process counts into the supervisor's lane from now on."""
    segment = create_memory(config, len(sockets.public) + MAX_OTHER_PROCESSES + len(presign_shares(config)) - 1)
    metrics.attach(segment.supervisor_lane)
    return segment


def supervise(config: Config, roles: Sequence[str], sockets: Sockets, segment: Segment, **options: Any) -> Supervisor:
    """A supervisor of the processes of these roles, which counts how often it starts one again, gives back what one
    that ended kept of the table, and makes the memory anew when they crash one after another."""
    table = HostMemory.of(segment, segment.lanes - 1).table

    def begin_anew() -> None:
        metrics.MEMORY_RENEWALS.inc()
        leave_host(config, sockets, segment)  # under the old name
        renew_memory(segment)

    return Supervisor(
        children(config, roles, sockets, segment),
        segment=segment,
        on_crashes=begin_anew,
        on_restart=metrics.PROCESS_RESTARTS.inc,
        on_end=lambda place: table.sweep(place + 1),
        **options,
    )


def children(config: Config, roles: Sequence[str], sockets: Sockets, segment: Segment) -> list[Child]:
    """The processes of these roles, in the order they are started.

    Raises:
        ConfigError: a certificate or its key can't be used.
    """
    processes: list[Child] = []
    # Read here, so that a process that is started again has a pair that goes together, whatever the files hold then.
    serve_tls = TLSFiles.of(config.serve.tls_certificate, config.serve.tls_key, protocols=("h2", "http/1.1"))
    admin_tls = TLSFiles.of(config.admin.tls_certificate, config.admin.tls_key)

    def add(
        name: str,
        main: Callable[..., object],
        listeners: tuple[socket.socket, ...] = (),
        memory: Segment | None = None,
        **options: object,
    ) -> None:
        run = functools.partial(_run, config, main, memory, options)
        processes.append(Child(name=name, run=run, sockets=listeners))

    # The workers first: a lane of the counters belongs to a place in this list.
    for index, listeners in enumerate(zip(sockets.public, *([sockets.tls] if sockets.tls else []), strict=True)):
        add(f"serve-{index}", serve, listeners, memory=segment, tls=serve_tls)
    if sockets.public:
        add("keep", keep, memory=segment, owner=process_identity())
    if "work" in roles:
        first, *others = presign_shares(config)
        add("work", work, tasks=first)
        for index, tasks in enumerate(others, start=1):
            add(f"presign-{index}", presign, tasks=tasks)
    if "crl" in roles:
        add("crl", build_crls)
    names = [*(process.name for process in processes), "admin"]
    add("admin", administer, (sockets.admin,), memory=segment, segment=segment, processes=names, tls=admin_tls)
    return processes


def leave_host(config: Config, sockets: Sockets, segment: Segment) -> None:
    """Once no process of this host is left: revocations needn't wait for it any more."""
    if sockets.public:
        asyncio.run(leave(config, HostMemory.of(segment, segment.lanes - 1)))


def _run(
    config: Config,
    main: Callable[..., object],
    memory: Segment | None,
    options: dict[str, object],
    context: ChildContext,
) -> int:
    metrics.attach(context.lane)
    if memory is not None:
        options = {**options, "memory": HostMemory.of(memory, context.place)}
    arguments = (config, context, *context.sockets)
    return run_process(context, lambda stop: main(*arguments, stop=stop, **options))  # type: ignore[arg-type,return-value]
