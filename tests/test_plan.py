"""`certstatus plan`: the figures follow from the size, and what comes in comes in at its size."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from responder.cli.plan import remarks
from responder.errors import ConfigError
from responder.operations.capacity import Size, Speed, measure, plan
from responder.operations.presigning import sampled_slices
from responder.signing.key_files import KINDS

SPEED = Speed(signatures=33_333.3, p256=33_333.3)
MILLION = Size(1_000_000, 1000.0)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "responder", "plan", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_twice_the_certificates_need_twice_as_much_and_no_more_to_answer() -> None:
    one, two = plan(MILLION, SPEED), plan(replace(MILLION, certificates=2_000_000), SPEED)
    for name in ("signatures_per_second", "signing_cores", "everything_core_seconds", "store_octets", "crl_octets"):
        assert getattr(two, name) == pytest.approx(2 * getattr(one, name)), name
    assert two.serving_cores == one.serving_cores
    assert plan(replace(MILLION, requests_per_second=3000.0), SPEED).serving_cores == pytest.approx(
        3 * one.serving_cores
    )


def test_a_million_on_the_machine_of_the_documentation() -> None:
    """What was measured there (docs/performance.md) is what the plan says."""
    needed = plan(MILLION, SPEED)
    assert needed.store_octets / 1e6 == pytest.approx(311, rel=0.05)
    assert needed.table_octets / 1e6 == pytest.approx(280, rel=0.05)
    assert needed.everything_core_seconds == pytest.approx(86, rel=0.15)
    assert needed.signatures_per_second == pytest.approx(2e6 / (0.9 * 36 * 3600))


def test_a_slower_machine_needs_more_cores_for_everything() -> None:
    slow = Speed(signatures=SPEED.signatures / 2, p256=SPEED.p256 / 2)
    for name in ("signing_cores", "serving_cores", "everything_core_seconds"):
        assert getattr(plan(MILLION, slow), name) == pytest.approx(2 * getattr(plan(MILLION, SPEED), name))


def test_nonces_and_a_longer_refresh_and_more_hashes() -> None:
    needed = plan(MILLION, SPEED)
    assert plan(replace(MILLION, nonce_ratio=1.0), SPEED).serving_cores > 5 * needed.serving_cores
    longer = plan(replace(MILLION, refresh=timedelta(hours=72)), SPEED)
    assert longer.signing_cores == pytest.approx(needed.signing_cores / 2)
    assert plan(replace(MILLION, hashes=1), SPEED).signatures_per_second == needed.signatures_per_second / 2


@pytest.mark.parametrize("algorithm", KINDS)
def test_every_kind_of_key_can_be_planned_for(algorithm: str) -> None:
    speed = measure(algorithm, seconds=0.02)
    needed = plan(replace(MILLION, algorithm=algorithm), speed)
    assert needed.signing_cores > 0
    assert needed.store_octets > 240 * MILLION.certificates


def test_what_comes_in_at_which_size() -> None:
    def at(certificates: int, rps: float = 1000.0) -> str:
        size = Size(certificates, rps)
        return " ".join(remarks(size, plan(size, SPEED)))

    assert "one host has room" in at(100_000)
    assert "10 MB" in at(20_000_000)
    assert "cluster" not in at(100_000_000)
    assert "cluster of 5 primaries" in at(1_000_000_000)
    assert "rows" in at(1_000_000_000)
    assert "CDN takes most of it away" in at(100_000, 150_000.0)
    assert "hosts of 16 cores" in at(100_000, 3_000_000.0)


def test_the_command_for_machines_and_for_people() -> None:
    done = command("--certificates", "1000000", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["signatures_per_second"] == pytest.approx(2e6 / (0.9 * 36 * 3600))
    done = command("--certificates", "1000000000", "--rps", "150000", "--algorithm", "rsa-2048")
    assert done.returncode == 0, done.stderr
    assert "signatures/s (rsa-2048) by each" in done.stdout
    assert "record store" in done.stdout


@pytest.mark.parametrize(
    ("sizes", "slices"),
    [
        ({}, []),
        ({7: 1}, [7]),
        ({3: 100, 5: 100, 9: 100}, [3, 4, 5]),
        (dict.fromkeys(range(1, 1024, 2), 1), range(1, 400)),
    ],
)
def test_a_sample_is_of_slices_that_are_read_at_once(sizes: dict[int, int], slices: Sequence[int]) -> None:
    """Of few certificates in many slices it was a single one, and looked twenty times as dear."""
    assert list(sampled_slices(sizes)) == list(slices)


def test_what_is_refused() -> None:
    done = command("--certificates", "0", "--rps", "-1", "--refresh", "100", "--revoked", "101", "--nonces", "-3")
    assert done.returncode == 2
    for option in ("--certificates 0", "--rps -1", "--refresh 100", "--revoked 101", "--nonces -3"):
        assert option in done.stderr
    with pytest.raises(ConfigError, match="--algorithm dsa: it is one of ecdsa-p256, "):
        measure("dsa")
