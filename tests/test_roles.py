"""Which processes a role has, and the sockets they are given."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from responder import config
from responder.config import Config
from responder.errors import ConfigError
from responder.host.segment import Segment
from responder.roles.host import ROLES, Sockets, children
from responder.roles.presign import presign_shares


@pytest.fixture
def base(tmp_path: Path) -> dict[str, str]:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef")
    token.chmod(0o600)
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    return {
        "CERTSTATUS_POSTGRES_URL": "postgresql://certstatus@127.0.0.1/certstatus",
        "CERTSTATUS_REDIS_URL": "redis://127.0.0.1/0",
        "CERTSTATUS_KEYS_DIRECTORY": str(keys),
        "CERTSTATUS_ADMIN_TOKEN_FILE": str(token),
        "CERTSTATUS_ADMIN_LISTEN": "127.0.0.1:0",
        "CERTSTATUS_SERVE_LISTEN": "127.0.0.1:0",
        "CERTSTATUS_SERVE_WORKERS": "2",
    }


def load(base: dict[str, str], **changes: str) -> Config:
    return config.load(None, environ=base | {f"CERTSTATUS_{name}": value for name, value in changes.items()})


@contextlib.contextmanager
def opened(settings: Config, *roles: str) -> Iterator[Sockets]:
    sockets = Sockets.open(settings, roles)
    try:
        yield sockets
    finally:
        for listener in (*sockets.public, sockets.admin):
            listener.close()


def test_a_port_on_which_another_listens_is_refused_although_it_would_share_it(base: dict[str, str]) -> None:
    """The kernel would have given each of two installations half of the connections."""
    with opened(load(base), "serve") as sockets:
        port = sockets.public[0].getsockname()[1]
        with pytest.raises(ConfigError, match=f"serve.listen 127.0.0.1:{port} can't be bound: Address already in use"):
            Sockets.open(load(base, SERVE_LISTEN=f"127.0.0.1:{port}"), ROLES)
    with opened(load(base, SERVE_LISTEN=f"127.0.0.1:{port}"), "serve"):
        pass


def test_a_socket_for_each_worker_all_on_one_port(base: dict[str, str]) -> None:
    with opened(load(base), *ROLES) as sockets:
        ports = {listener.getsockname()[1] for listener in sockets.public}
        assert len(sockets.public) == 2
        assert len(ports) == 1
        assert sockets.public_url == f"http://127.0.0.1:{ports.pop()}"
        assert sockets.admin_url.startswith("http://127.0.0.1:")
    with opened(load(base), "work") as sockets:
        assert sockets.public == ()


def test_ipv6_addresses_stand_in_brackets(base: dict[str, str]) -> None:
    with opened(load(base, SERVE_LISTEN="[::1]:0", ADMIN_LISTEN="[::1]:0"), "serve") as sockets:
        assert sockets.public_url.startswith("http://[::1]:")


@pytest.mark.parametrize("key", ["serve", "admin"])
def test_an_address_in_use_is_named_with_a_remedy(base: dict[str, str], key: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        settings = load(base, **{f"{key.upper()}_LISTEN": address})
        with pytest.raises(ConfigError, match=rf"{key}\.listen {address} can't be bound: .*; choose another port"):
            Sockets.open(settings, ROLES)


@pytest.mark.parametrize(
    ("roles", "names"),
    [
        (("serve",), ["serve-0", "serve-1", "keep", "admin"]),
        (("work",), ["work", "admin"]),
        (("crl",), ["crl", "admin"]),
        (ROLES, ["serve-0", "serve-1", "keep", "work", "crl", "admin"]),
    ],
)
def test_the_processes_of_each_role(base: dict[str, str], roles: tuple[str, ...], names: list[str]) -> None:
    settings = load(base)
    with opened(settings, *roles) as sockets:
        processes = children(settings, roles, sockets, Segment.create(8))
        assert [process.name for process in processes] == names
        given = [listener for process in processes for listener in process.sockets]
        assert given == [*sockets.public, sockets.admin]


@pytest.mark.parametrize(
    ("tasks", "shares"), [(1, [1]), (5, [5]), (6, [3, 3]), (11, [4, 4, 3]), (256, [5] * 48 + [4] * 4)]
)
def test_slices_are_signed_by_as_many_processes_as_keep_that_many_cores_busy(
    base: dict[str, str], tasks: int, shares: list[int]
) -> None:
    settings = load(base, SIGNING_PRESIGN_TASKS=str(tasks))
    assert presign_shares(settings) == shares
    with opened(settings, "work") as sockets:
        names = [process.name for process in children(settings, ("work",), sockets, Segment.create(8))]
        assert names == ["work", *(f"presign-{index}" for index in range(1, len(shares))), "admin"]
        with pytest.raises(ConfigError, match=r"signing\.presign_tasks is now .*restart to change it"):
            sockets.require_same(load(base, SIGNING_PRESIGN_TASKS=str(tasks + 5 if tasks < 250 else 1)))


def test_a_reload_that_would_need_other_sockets_is_refused_with_every_reason(base: dict[str, str]) -> None:
    with opened(load(base), *ROLES) as sockets:
        sockets.require_same(load(base, LOG_LEVEL="debug"))
        changed = load(base, SERVE_LISTEN="127.0.0.1:1", ADMIN_LISTEN="127.0.0.1:2", SERVE_WORKERS="3")
        with pytest.raises(ConfigError) as refusal:
            sockets.require_same(changed)
        assert len(refusal.value.faults) == 3
        assert all("restart to change it" in fault for fault in refusal.value.faults)
