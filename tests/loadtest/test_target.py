"""Who may be asked, and what is known of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from loadtest.common import ca_certificate, new_ca_key
from loadtest.harness.target import Target, cpu_seconds, is_ours, of_url, wait_until_listening, where, with_descendants
from responder.errors import CertstatusError, ConfigError

SIOCGIFADDR = 0x8915


@pytest.mark.parametrize("url", ["http://192.0.2.1/ocsp", "https://198.51.100.7:8443/", "http://[2001:db8::1]/"])
def test_other_peoples_addresses_are_refused_unless_one_may(url: str) -> None:
    with pytest.raises(ConfigError, match=r"is no address of this machine; .*--i-may"):
        where(url)
    address, port = where(url, may_be_others=True)
    assert address in url
    assert port in (80, 8443)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://127.0.0.1:8080/ocsp", ("127.0.0.1", 8080)),
        ("http://127.9.8.7/", ("127.9.8.7", 80)),
        ("https://127.0.0.1", ("127.0.0.1", 443)),
    ],
)
def test_loopback_is_ours(url: str, found: tuple[str, int]) -> None:
    assert where(url) == found


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://127.0.0.1/", "http:///ocsp", "http://127.0.0.1:99999/", ""])
def test_what_is_no_url_is_told(url: str) -> None:
    with pytest.raises(ConfigError, match="give a URL such as"):
        where(url)


def test_a_host_without_an_address_is_told() -> None:
    with pytest.raises(ConfigError, match="has no address"):
        where("http://nowhere.invalid/")


def test_the_addresses_of_our_interfaces_are_ours() -> None:
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # one without an IPv4 address
                answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()))
                found.append(socket.inet_ntoa(answer[20:24]))
    assert "127.0.0.1" in found
    assert all(is_ours(address) for address in found)
    assert not is_ours("192.0.2.1")


def test_certificates_come_from_files_and_an_index(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    issuer = tmp_path / "ca.der"
    issuer.write_bytes(ca_certificate("CA", new_ca_key(tmp_path / "keys")))
    end, past = (f"{datetime.now(UTC) + timedelta(days=days):%y%m%d%H%M%SZ}" for days in (9, -9))
    index = tmp_path / "index.txt"
    index.write_text(
        f"V\t{end}\t\t0A\tunknown\t/CN=a\nR\t{end}\t{past}\t0B\tunknown\t/CN=b\nV\t{past}\t\t0C\tunknown\t/CN=c\n"
    )
    target = of_url("http://127.0.0.1/", issuer=issuer, certificates=[issuer], index=index, pid=os.getpid())
    (subject,) = target.subjects
    assert (subject.good, subject.revoked) == ([1, 10], [11])
    assert target.processes()[0] == os.getpid()
    assert target.cpu_seconds() > 0
    assert target.revoke is None


def test_a_file_that_is_no_certificate_is_named_and_so_is_what_lacks(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    with pytest.raises(ConfigError, match=r"--issuer .*ca.pem: No such file"):
        of_url("http://127.0.0.1/", issuer=path)
    path.write_text("no certificate")
    with pytest.raises(ConfigError, match=r"--issuer .*ca.pem: no certificate"):
        of_url("http://127.0.0.1/", issuer=path)
    issuer = tmp_path / "issuer.der"
    issuer.write_bytes(ca_certificate("CA", new_ca_key(tmp_path)))
    with pytest.raises(ConfigError, match="give --certificate FILE, or --index FILE"):
        of_url("http://127.0.0.1/", issuer=issuer)


def test_a_command_revokes_and_its_failure_is_told(tmp_path: Path) -> None:
    issuer = tmp_path / "issuer.der"
    issuer.write_bytes(ca_certificate("CA", new_ca_key(tmp_path)))
    done = tmp_path / "done"

    def revoking(command: str) -> Target:
        return of_url("http://127.0.0.1/", issuer=issuer, certificates=[issuer], revoke_command=command)

    target = revoking(f"echo {{serial}} >> {done}")
    assert target.revoke is not None
    target.revoke(target.subjects[0], 0x1A)
    assert done.read_text() == "1a\n"
    failing = revoking("echo no such serial >&2; exit 7")
    assert failing.revoke is not None
    with pytest.raises(CertstatusError, match="1a: exit code 7: no such serial"):
        failing.revoke(failing.subjects[0], 0x1A)


def test_a_server_is_waited_for_without_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        wait_until_listening(listener.getsockname()[1])
        with pytest.raises(TimeoutError):
            listener.accept()
        port = listener.getsockname()[1]
    with pytest.raises(CertstatusError, match=f"nobody listens at port {port}"):
        wait_until_listening(port, seconds=0.1)


def test_a_process_that_has_gone_costs_nothing() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert cpu_seconds(child) == 0
    assert with_descendants(child) == []
