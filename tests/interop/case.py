"""What a judge is asked, and what it ought to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Protocol

from tests.interop.world import GOOD, HASHES, KINDS, REASONS, REVOKED, STATUSES, STRANGER, UNISSUED, Issuer, World

UNAUTHORIZED, REFUSED = "unauthorized", "refused"


@dataclass(frozen=True)
class Case:
    """A certificate to ask about, and how."""

    issuer: Issuer
    status: str
    digest: str = "sha1"
    nonce: bool = False

    @property
    def leaf(self) -> Path:
        return self.issuer.leaf(self.status)

    @property
    def issuer_file(self) -> Path:
        """Of who has issued the certificate, which isn't always the issuer that is trusted."""
        return self.issuer.folder / "stranger.pem" if self.status == STRANGER else self.issuer.file

    def __str__(self) -> str:
        return f"{self.issuer.kind}, {self.status}, {self.digest}{', nonce' if self.nonce else ''}"


@dataclass(frozen=True)
class Tells:
    """What a judge says that has verified everything: whether it names the reason of a revocation, tells what is
    refused from what is revoked, and only knows what a CRL lists."""

    reasons: bool = True
    states: bool = True
    listed: bool = False

    def of(self, status: str) -> str:
        if status == GOOD or (self.listed and status == UNISSUED):
            return GOOD
        if not self.states:
            return REFUSED
        if status in (UNISSUED, STRANGER):
            return UNAUTHORIZED
        return f"{REVOKED}, {status}" if self.reasons and status in REASONS else REVOKED


@dataclass(frozen=True)
class Limit:
    """What a judge can't do, by no fault of an answer: what it says then, why, and of which cases."""

    says: str
    why: str
    kind: str | None = None
    statuses: tuple[str, ...] = STATUSES

    def covers(self, case: Case, said: str) -> bool:
        return self.says in said and self.kind in (None, case.issuer.kind) and case.status in self.statuses


class Judge(Protocol):
    """Somebody else's program."""

    name: str
    what: str
    tells: Tells
    limits: Sequence[Limit]

    def cases(self, world: World) -> Sequence[Case]:
        """All that it can be asked."""

    def says(self, world: World, cases: Sequence[Case]) -> Iterable[str]:
        """`Tells.of`, or whatever else it says, of each."""


@dataclass
class Verdict:
    """What a judge said of all cases."""

    right: int = 0
    limited: Counter[Limit] = field(default_factory=Counter)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    """What was said instead, and of which cases."""


def judged(judge: Judge, world: World) -> Verdict:
    """Ask it everything."""
    verdict = Verdict()
    cases = judge.cases(world)
    for case, said in zip(cases, judge.says(world, cases), strict=True):
        if limit := next((each for each in judge.limits if each.covers(case, said)), None):
            verdict.limited[limit] += 1
        elif said == judge.tells.of(case.status):
            verdict.right += 1
        else:
            verdict.wrong.setdefault(said, []).append(str(case))
    return verdict


def every(
    world: World,
    *,
    kinds: Iterable[str] = tuple(KINDS),
    statuses: Iterable[str] = STATUSES,
    digests: Iterable[str] = tuple(HASHES),
    nonces: Iterable[bool] = (False, True),
) -> list[Case]:
    """Every combination of these."""
    return [
        Case(world.issuers[kind], status, digest, nonce)
        for kind, status, digest, nonce in product(kinds, statuses, digests, nonces)
    ]


def at_once(ask: Callable[[Case], str], cases: Sequence[Case]) -> Iterator[str]:
    """For programs that are started once a case."""
    with ThreadPoolExecutor(3) as threads:
        yield from threads.map(ask, cases)
