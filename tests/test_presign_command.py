"""`certstatus presign`: many certificates at once, what that costs, and what a kill in the middle leaves."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis

from responder.config import load
from tests.commandline import CA, Site, make_known_ca, open_migrated_site

COUNT = 12_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_migrated_site(tmp_path_factory.mktemp("site")) as opened:
        yield opened


@pytest.fixture(scope="module")
def ca(site: Site, tmp_path_factory: pytest.TempPathFactory) -> CA:
    """With 12,000 certificates, taken over at once; one in a thousand of them is revoked."""
    made = make_known_ca(site, tmp_path_factory.mktemp("ca"))
    index = made.folder / "index.txt"
    with index.open("w") as lines:
        for number in range(COUNT):
            state = "R\t351231235959Z\t260102030405Z" if number % 1000 == 0 else "V\t351231235959Z\t"
            lines.write(f"{state}\t40{number:08X}\tunknown\t/O=Example/CN=host-{number}\n")
    site.succeed("import", "openssl-index", str(index), "--issuer", "example")
    return made


def sql(site: Site, statement: str) -> Any:
    async def fetch() -> Any:
        connection = await asyncpg.connect(load(site.folder / "certstatus.toml").postgres.url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def kept(site: Site) -> int:
    """How many records are in the store."""

    async def count() -> int:
        async with Redis.from_url(load(site.folder / "certstatus.toml").redis.url) as redis:
            return len([key async for key in redis.scan_iter("cs2:*", count=5000)])

    return asyncio.run(count())


def test_of_many_at_once_the_slices_are_due_and_the_revoked_are_changes(site: Site, ca: CA) -> None:
    announced = "SELECT sum(cardinality(serials)) FROM outbox WHERE kind = 'issued' AND closed_at IS NOT NULL"
    assert sql(site, announced) == COUNT - COUNT // 1000
    assert sql(site, "SELECT count(*) FROM outbox WHERE closed_at IS NULL") == COUNT // 1000
    assert sql(site, "SELECT count(*) FROM partitions WHERE due_at <= now()") == 1024


def test_a_dry_run_says_what_it_costs_and_signs_nothing(site: Site, ca: CA) -> None:
    (cost,) = json.loads(site.succeed("presign", "--all", "--dry-run", "--json"))
    assert (cost["issuer_id"], cost["certificates"], cost["signatures"]) == ("example", COUNT, 2 * COUNT)
    assert 0.1 < cost["core_seconds"] < 60
    assert 200 * COUNT < cost["store_octets"] < 500 * COUNT
    text = site.succeed("presign", "--issuer", "example", "--partition", "7", "--dry-run")
    assert re.search(r"example +\d\d? +\d\d? ", text)
    assert "nothing was signed" in text
    assert kept(site) == 0
    assert sql(site, "SELECT count(*) FROM partitions WHERE due_at <= now()") == 1024


def test_everything_is_signed_and_the_records_are_there(site: Site, ca: CA) -> None:
    done = site.command("presign", "--all")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{2 * COUNT:,} signatures in [\d.]+ s, [\d,]+ a second", done.stdout)
    assert f"{COUNT:,} of {COUNT:,}" in done.stderr
    assert kept(site) >= COUNT
    assert sql(site, "SELECT count(*) FROM partitions WHERE due_at <= now()") <= 1  # its next turn may come at once


def test_one_slice_alone(site: Site, ca: CA) -> None:
    before = sql(site, "SELECT max(number) FROM certificates")
    size = sql(site, "SELECT count(*) FROM certificates WHERE partition IN (3, 9)")
    told = json.loads(site.succeed("presign", "--issuer", "example", "--partition", "3", "--partition", "9", "--json"))
    assert (told["certificates"], told["signatures"]) == (size, 2 * size)
    assert sql(site, "SELECT max(number) FROM certificates") == before


def test_a_kill_in_the_middle_loses_nothing_and_what_was_signed_isnt_signed_again(site: Site, ca: CA) -> None:
    command = [sys.executable, "-m", "responder", "presign", "--all", "--json", "-c"]
    process = subprocess.Popen([*command, str(site.folder / "certstatus.toml")], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    due = "SELECT count(*) FROM partitions WHERE due_at <= now()"
    while sql(site, due) < 100:
        assert time.monotonic() < deadline
    while sql(site, due) > 700:
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = sql(site, due)
    assert 0 < left <= 700
    turns = "SELECT count(*) FROM partitions WHERE leased_by IS NOT NULL OR due_at <= now()"
    assert sql(site, turns) == left
    with site.running():
        while sql(site, due) > 1:
            assert time.monotonic() < deadline, "what a killed process had isn't signed by work"
            time.sleep(0.1)
        told = json.loads(site.succeed("show", f"0x40{77:08X}", "--issuer", "example", "--json"))
        assert told["status"] == "good"
        assert told["record"] is not None
    assert kept(site) >= COUNT


def test_work_tells_whether_signing_keeps_up(site: Site, ca: CA) -> None:
    with site.running():
        deadline = time.monotonic() + 30
        while (
            "presign_capacity_ratio" not in (text := httpx.get(f"{site.admin}/metrics", trust_env=False).text)
            or "presign_tasks 0" in text
        ):
            assert time.monotonic() < deadline, text
            time.sleep(0.2)
    values = dict(re.findall(r"^(presign_\w+) ([\d.e+-]+)$", text, re.MULTILINE))
    assert float(values["presign_capacity_ratio"]) > 100
    assert float(values["presign_signatures_per_second_possible"]) > float(
        values["presign_signatures_per_second_needed"]
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "give one of --all and --issuer ID"),
        (("--all", "--issuer", "example"), "give one of --all and --issuer ID"),
        (("--all", "--partition", "3"), "--partition goes with --issuer ID"),
        (("--issuer", "example", "--partition", "1024"), "--partition 1024: slices are numbered from 0 to 1023"),
        (("--issuer", "nobody"), "--issuer nobody: there is no such issuer; the issuers are: example"),
    ],
)
def test_what_is_refused(site: Site, ca: CA, options: tuple[str, ...], says: str) -> None:
    refused = site.command("presign", *options)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert says in refused.stderr


def test_a_host_without_the_key_says_so(site: Site, ca: CA, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    environment = {"CERTSTATUS_KEYS_DIRECTORY": str(tmp_path / "keys")}
    for options in (("--dry-run",), ()):
        refused = site.command("presign", "--issuer", "example", *options, environment=environment)
        assert refused.returncode == 3
        assert "no valid responder key and certificate for issuer example on this host" in refused.stderr
        assert "Traceback" not in refused.stderr
