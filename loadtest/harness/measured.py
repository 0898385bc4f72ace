"""What was measured of a target: one `Measured` for each loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from loadtest.harness.scenario import Loop, Scenario
from loadtest.harness.storm import Storm
from loadtest.outcome import Latencies, Outcome

PERCENTILES = (0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 100.0)


@dataclass(frozen=True)
class Point:
    """A part of an open loop; times in seconds."""

    at: float
    answers_per_second: float
    p50: float
    p99: float
    cpu_per_answer: float | None


@dataclass(frozen=True)
class Measured:
    """One loop.

    Attributes:
        client: who asked: wrk, or certstatus.
        rate: that was asked at, of an open loop.
        percentiles: seconds, by percent: of an open loop from when a request was due, of a closed one from when it was
            sent.
        failures: requests without a right answer, by what went wrong.
        cpu_per_answer: seconds of the target's processes, where they are here.
        statuses: answers of each HTTP status; wrk doesn't tell.
        verified: what the verified answers said.
        wrong: what is wrong with those that are.
        storm: the revocations beside it, where there were.
        stolen_seconds: that a hypervisor gave to others, of all cores: any answer may have waited for them.
    """

    loop: Loop
    client: str
    rate: float | None
    connections: int
    seconds: float
    answered: int
    percentiles: dict[float, float]
    failures: Counter[str]
    cpu_per_answer: float | None
    points: list[Point] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    verified: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    storm: Storm | None = None
    stolen_seconds: float = 0.0

    @property
    def answers_per_second(self) -> float:
        return self.answered / self.seconds

    @property
    def is_right(self) -> bool:
        """Whether all was answered, and rightly."""
        failed = bool(self.storm and self.storm.failed)
        return self.answered > 0 and not self.wrong and not self.failures and not failed


@dataclass(frozen=True)
class Run:
    """A scenario asked of a target.

    Attributes:
        left_out: why it wasn't, where it wasn't.
    """

    target: str
    scenario: Scenario
    loops: list[Measured] = field(default_factory=list)
    left_out: str | None = None

    def of(self, loop: Loop) -> Measured | None:
        """The loop of that kind, where there was one."""
        return next((each for each in self.loops if each.loop == loop), None)


@dataclass(frozen=True)
class Beside:
    """A server beside the others, in rounds of a closed loop each.

    Attributes:
        runs: one a round.
        cpu_ratio: its CPU an answer by certstatus's of the same round, the median of the rounds; None for certstatus
            itself. What is more than 1 costs more.
    """

    name: str
    runs: list[Measured]
    cpu_per_answer: float
    answers_per_second: float
    cpu_ratio: float | None


def all_of(runs: Sequence[Run], beside: Sequence[Beside]) -> list[Measured]:
    """Every loop that was run."""
    return [loop for run in runs for loop in run.loops] + [loop for each in beside for loop in each.runs]


def percentiles_of(latencies: Latencies) -> dict[float, float]:
    """In seconds, by percent."""
    found = latencies.percentiles([each / 100 for each in PERCENTILES])
    return dict(zip(PERCENTILES, found, strict=True))


def failures_of(found: Outcome) -> Counter[str]:
    """Requests of a run that have no answer, or an HTTP or OCSP error. That somebody isn't authoritative for a
    certificate may be right, and is looked at with the answers."""
    kinds = ("dropped", "refused", "unreadable", "unanswered")
    failures = Counter({kind: found.counts[kind] for kind in kinds})
    failures.update({f"HTTP status {each}": count for each, count in found.statuses.items() if each not in (200, 304)})
    failures.update({each: count for each, count in found.ocsp_errors.items() if each != "unauthorized"})
    return +failures


def points_of(found: Outcome, cpu: Sequence[float] | None) -> list[Point]:
    """The parts of a run, in order.

    Args:
        cpu: of the target until the beginning of the first, the end of the first, and so on; in seconds.
    """
    length = found.seconds / len(found.intervals)
    used = [after - before for before, after in pairwise(cpu)] if cpu else [None] * len(found.intervals)
    points = []
    for index, (latencies, seconds) in enumerate(zip(found.intervals, used, strict=True)):
        p50, p99 = latencies.percentiles((0.5, 0.99))
        each = None if seconds is None or not latencies.total else seconds / latencies.total
        points.append(Point(index * length, latencies.total / length, p50, p99, each))
    return points
