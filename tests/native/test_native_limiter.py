"""Limits by cost against the textbook's rule, and who counts as one client."""

from __future__ import annotations

import ipaddress
import mmap
import os
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from responder import metrics
from responder._native import Gate, Limiter, Networks

SECOND = 10**9
MINUTE = 60 * SECOND
TICK = 1 << 14


def limiter(per_minute: int, octets: int = 1 << 16) -> Limiter:
    memory = memoryview(bytearray(octets))
    Limiter.lay_out(memory, os.urandom(96))
    return Limiter(memory, per_minute=per_minute)


def gate(per_minute: int = 1, *, trusted: tuple[str, ...] = (), exempt: tuple[str, ...] = ()) -> tuple[Gate, Limiter]:
    limits = limiter(per_minute)
    made = Gate(
        memoryview(bytearray(8192)).cast("Q"),
        words=metrics.gate_words(),
        limiter=limits,
        exempt=networks(*exempt),
        trusted=networks(*trusted),
        refusal=3,
        room=10,
        signatures=10,
        counts_hits=False,
    )
    return made, limits


def networks(*texts: str) -> Networks:
    read = [ipaddress.ip_network(text) for text in texts]
    return Networks((network.network_address.packed, network.prefixlen) for network in read)


@settings(max_examples=300, deadline=None)
@given(
    per_minute=st.integers(1, 2000),
    steps=st.lists(
        st.tuples(st.integers(0, 90 * SECOND), st.integers(1, 30), st.sampled_from(["192.0.2.1", "192.0.2.2"])),
        max_size=60,
    ),
    start=st.sampled_from([0, 1 << 54, (1 << 54) - 30 * SECOND, 3 * 10**18]),
)
def test_a_client_may_cost_a_minutes_worth_and_earns_it_back(
    per_minute: int, steps: list[tuple[int, int, str]], start: int
) -> None:
    """Also where the words begin anew, after 208 days."""
    limits, now = limiter(per_minute), start
    full_at: dict[str, int] = defaultdict(int)
    for pause, price, client in steps:
        now += pause
        cost = min(max(price * MINUTE // per_minute // TICK, 1), MINUTE // TICK)
        owed = max(full_at[client] - now // TICK, 0)
        early = max(owed + cost - MINUTE // TICK, 0) * TICK
        assert limits.take(client, price, now) == early
        if not early:
            full_at[client] = now // TICK + owed + cost


def test_whoever_waits_as_long_as_told_is_let_in() -> None:
    limits = limiter(100)
    assert [limits.take("192.0.2.1", 1, 0) for _ in range(100)] == [0] * 100
    early = limits.take("192.0.2.1", 1, 0)
    assert 0 < early <= MINUTE // 100
    assert limits.take("192.0.2.1", 1, early - TICK) > 0
    assert limits.take("192.0.2.1", 1, early) == 0
    assert limits.take("192.0.2.1", 101, early + 2 * MINUTE) == 0, "more than a minute's worth can't be saved"


def test_an_ipv6_network_of_64_bits_is_one_client_and_one_of_48_is_sixteen() -> None:
    limits = limiter(10)
    assert [limits.take(f"2001:db8:1:1::{index:x}", 1, 0) for index in range(10)] == [0] * 10
    assert limits.take("2001:db8:1:1:ffff::", 1, 0) > 0
    taken = sum(limits.take(f"2001:db8:1:{index:x}::1", 1, 0) == 0 for index in range(2, 400))
    assert taken == 150
    assert limits.take("2001:db8:2:2::1", 1, 0) == 0
    # IPv4 is the same client, however it came.
    assert [limits.take("192.0.2.9", 1, 0) for _ in range(10)] == [0] * 10
    assert limits.take("::ffff:192.0.2.9", 1, 0) > 0


def test_where_there_are_too_many_clients_nobody_is_refused_for_another() -> None:
    limits = limiter(2, octets=4096 + 2 * 64)
    for index in range(3000):
        client = str(ipaddress.ip_address("10.0.0.0") + index)
        assert limits.take(client, 1, 0) == 0
        assert limits.take(client, 1, 0) == 0


def test_processes_share_what_a_client_may_cost() -> None:
    memory = mmap.mmap(-1, 1 << 16)
    Limiter.lay_out(memoryview(memory), os.urandom(96))
    reading, writing = os.pipe()
    for _ in range(4):
        if os.fork() == 0:
            limits = Limiter(memoryview(memory), per_minute=5000)
            taken = sum(limits.take("192.0.2.1", 1, 5) == 0 for _ in range(4000))
            os.write(writing, taken.to_bytes(4, "big"))
            os._exit(0)
    counts = [int.from_bytes(os.read(reading, 4), "big") for _ in range(4)]
    for _ in range(4):
        os.wait()
    os.close(reading)
    os.close(writing)
    assert sum(counts) == MINUTE // TICK // (MINUTE // 5000 // TICK)


@pytest.mark.parametrize("octets", [0, 4096])
def test_memory_that_is_too_little_or_another_is_refused(octets: int) -> None:
    with pytest.raises(ValueError, match="too few"):
        Limiter.lay_out(memoryview(bytearray(octets)), bytes(96))
    with pytest.raises(ValueError, match="too few"):
        Limiter(memoryview(bytearray(octets)), per_minute=1)
    with pytest.raises(ValueError, match="isn't a limiter"):
        Limiter(memoryview(bytearray(8192)), per_minute=1)
    with pytest.raises(ValueError, match="allowance"):
        limiter(0)
    with pytest.raises(ValueError, match="no IP address"):
        limiter(1).take("localhost", 1, 0)


# --- who a client is

ADDRESSES = st.one_of(
    st.ip_addresses(),
    st.sampled_from(["10.0.0.1", "10.255.255.255", "11.0.0.0", "2001:db8::", "2001:db8:ffff::1", "2001:db9::"]).map(
        ipaddress.ip_address
    ),
)


@settings(max_examples=500, deadline=None)
@given(address=ADDRESSES, network=st.ip_addresses(), bits=st.integers(0, 128))
def test_an_address_is_in_the_networks_that_python_puts_it_in(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    network: ipaddress.IPv4Address | ipaddress.IPv6Address,
    bits: int,
) -> None:
    first = ipaddress.ip_network((network, min(bits, network.max_prefixlen)), strict=False)
    second = ipaddress.ip_network((address, min(bits, address.max_prefixlen)), strict=False)
    ours = networks("10.0.0.0/8", "2001:db8::/32", str(first))
    expected = any(address in ipaddress.ip_network(each) for each in ("10.0.0.0/8", "2001:db8::/32", first))
    if isinstance(address, ipaddress.IPv4Address) and isinstance(first, ipaddress.IPv6Network):
        expected = expected or ipaddress.ip_address(f"::ffff:{address}") in first
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return
    assert (str(address) in ours) == expected
    assert str(address) in networks(str(second))


def charged(peer: str, *lines: str, trusted: tuple[str, ...] = ("10.0.0.0/8", "2001:db8:ffff::/48")) -> str:
    """Who pays for a request that came from `peer` with these lines."""
    made, limits = gate(trusted=trusted)
    head = "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", "Host: x", *lines, ""))
    assert made.charge(peer, head.encode(), 1, 0) == 0
    everyone = ("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8:1::1", "2001:db8:ffff::1", "10.0.0.1", "10.0.0.2")
    (paid,) = [client for client in everyone if limits.take(client, 1, 0)]
    return paid


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["X-Forwarded-For: 198.51.100.1"], "192.0.2.1"),  # not one of ours: it says what it likes
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["X-Forwarded-For: 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["x-forwarded-FOR:198.51.100.1 \t"], "198.51.100.1"),
        ("10.0.0.1", ["X-Forwarded-For: 203.0.113.1, 198.51.100.1"], "198.51.100.1"),  # the first one is a claim
        ("10.0.0.1", ["X-Forwarded-For: 203.0.113.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["X-Forwarded-For: 10.0.0.2"], "10.0.0.2"),  # nobody but proxies
        ("10.0.0.1", ["X-Forwarded-For: 198.51.100.1, rubbish, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["X-Forwarded-For: 198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["X-Forwarded-For: 198.51.100.1:5678"], "198.51.100.1"),
        ("10.0.0.1", ["X-Forwarded-For: [2001:db8:1::1]:5678"], "2001:db8:1::1"),
        ("10.0.0.1", ["X-Forwarded-For: 2001:db8:1::1"], "2001:db8:1::1"),
        ("10.0.0.1", ["X-Forwarded-For: ::ffff:198.51.100.1"], "198.51.100.1"),
        ("2001:db8:ffff::1", ["X-Forwarded-For: 198.51.100.1,"], "198.51.100.1"),
        ("2001:db8:ffff::1", ["X-Forwarded-For: [198.51.100.1"], "2001:db8:ffff::1"),
        ("10.0.0.1", ["X-Forwarded-For: 198.51.100.1" + ", 10.0.0.2" * 31], "198.51.100.1"),
        ("10.0.0.1", ["X-Forwarded-For: 198.51.100.1" + ", 10.0.0.2" * 40], "10.0.0.2"),
        ("10.0.0.1", ["X-Forwarded-For: " + "1" * 5000], "10.0.0.1"),
        ("10.0.0.1", ["X-Forwarded-For:", "X-Forwarded-Foe: 198.51.100.1", "Forwarded: for=198.51.100.1"], "10.0.0.1"),
    ],
)
def test_a_trusted_proxy_says_who_asks(peer: str, lines: list[str], client: str) -> None:
    assert charged(peer, *lines) == client


def test_the_exempt_pay_nothing() -> None:
    made, _ = gate(trusted=("10.0.0.0/8",), exempt=("192.0.2.0/24",))
    assert [made.charge("192.0.2.1", b"", 1, 0) for _ in range(5)] == [0] * 5
    through = b"X-Forwarded-For: 192.0.2.77\r\n"
    assert [made.charge("10.0.0.1", through, 1, 0) for _ in range(5)] == [0] * 5
    assert made.charge("192.0.3.1", b"", 1, 0) == 0
    assert made.charge("192.0.3.1", b"", 1, 0) > 0
