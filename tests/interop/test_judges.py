"""Every judge says of every certificate what was decided, or a line here says why it can't."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from tests.interop.case import Judge, Verdict, judged
from tests.interop.commands import NSS, GnuTLS, OpenSSL
from tests.interop.libraries import Pkilint, Pyca, Pyhanko
from tests.interop.programs import Go, Java
from tests.interop.servers import HAProxyCRL, HAProxyStapling, NginxClients, NginxStapling
from tests.interop.world import World, open_world

pytestmark = pytest.mark.server

JUDGES: list[Judge] = [
    OpenSSL(),
    GnuTLS(),
    NSS(),
    Java("GET"),
    Java("POST"),
    Java("CRL"),
    Go("OCSP"),
    Go("CRL"),
    Pyca(),
    Pyhanko("OCSP"),
    Pyhanko("CRL"),
    Pkilint("OCSP"),
    Pkilint("CRL"),
    NginxStapling(),
    NginxClients(),
    HAProxyCRL(),
    HAProxyStapling(),
]


DOCUMENT = Path(__file__).parents[2] / "docs" / "interop.md"
_HEAD = "| judge | asked with | as decided | what it can't |\n|---|---|---|---|\n"


def row(judge: Judge, verdict: Verdict) -> str:
    """What the document says of it."""
    limits = "; ".join(f"{verdict.limited[limit]}: {limit.why}" for limit in judge.limits)
    return f"| {judge.name} | {judge.what or 'what is published'} | {verdict.right:,} | {limits} |"


def rows(document: str) -> list[str]:
    return list(takewhile(lambda line: line.startswith("|"), document.partition(_HEAD)[2].splitlines()))


def write(said: str) -> None:
    """In the place of what was said before, in the order of `JUDGES`."""
    document = DOCUMENT.read_text()
    before, head, after = document.partition(_HEAD)
    rest = after.removeprefix("".join(f"{line}\n" for line in rows(document)))
    kept = {line.split(" | ")[0].removeprefix("| "): line for line in rows(document)}
    kept[said.split(" | ")[0].removeprefix("| ")] = said
    written = "".join(f"{kept[judge.name]}\n" for judge in JUDGES if judge.name in kept)
    DOCUMENT.write_text(before + head + written + rest)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(tmp_path_factory.mktemp("world")) as opened:
        yield opened


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.name)
def test_it_says_what_was_decided(world: World, judge: Judge) -> None:
    verdict = judged(judge, world)
    assert verdict.wrong == {}
    assert set(verdict.limited) == set(judge.limits), "what a judge can do by now is no limit of it"
    said = row(judge, verdict)
    if os.environ.get("INTEROP") == "write":
        write(said)
    assert said in DOCUMENT.read_text().splitlines(), "make interop writes it"


def test_nobody_else_is_said_to_have_judged() -> None:
    names = {line.split(" | ")[0].removeprefix("| ") for line in rows(DOCUMENT.read_text())}
    assert names == {judge.name for judge in JUDGES}
