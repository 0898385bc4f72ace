"""The responder that is measured where none is given: a demo of this machine, started for it."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loadtest.common import tls_files
from loadtest.first_figures import UNLIMITED, running_demo
from loadtest.harness.scenario import Site
from loadtest.harness.target import Target, of_demo
from responder.errors import CertstatusError


@contextmanager
def own_site(site: Site, *, workers: int, cores: Sequence[int]) -> Iterator[Target]:
    """Start it with TLS beside plain HTTP, without limits on what a client may cost, and end it.

    Args:
        cores: where it runs, but for Postgres and Valkey; none: anywhere.

    Raises:
        CertstatusError: it doesn't start.
    """
    with tempfile.TemporaryDirectory() as name:
        certificate, key = tls_files(Path(name))
        tls = f"127.0.0.1:{free_port()}"
        environ = {
            **UNLIMITED,
            "CERTSTATUS_SERVE_TLS_CERTIFICATE": str(certificate),
            "CERTSTATUS_SERVE_TLS_KEY": str(key),
            "CERTSTATUS_SERVE_TLS_LISTEN": tls,
            **{f"CERTSTATUS_{each}": str(value) for each, value in site.settings.items()},
        }
        with ExitStack() as stack:
            try:
                demo = stack.enter_context(
                    running_demo(workers=workers, certificates=site.certificates, environ=environ)
                )
            except RuntimeError as error:
                raise CertstatusError(f"{error}; or give --url of a responder that runs") from error
            target = of_demo(demo, https=f"https://{tls}")
            for pid in target.processes() if cores else ():
                os.sched_setaffinity(pid, cores)
            yield target


def free_port() -> int:
    """A port of loopback that nobody has at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
