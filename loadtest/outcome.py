"""What a run of the client was answered: how many, how fast, and what went wrong."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loadtest.client import ask
from loadtest.tally import Progress

_FINE = 128
_UNIT_SECONDS = 100e-9


class Latencies:
    """A histogram whose buckets are 0.8 % wide, as `loadtest.client` fills it."""

    def __init__(self, counts: Iterable[int] = ()) -> None:
        self.counts = array("Q", counts)

    def __add__(self, other: Latencies) -> Latencies:
        longer, shorter = sorted((self.counts, other.counts), key=len, reverse=True)
        return Latencies([*map(int.__add__, longer, shorter), *longer[len(shorter) :]])

    @property
    def total(self) -> int:
        return sum(self.counts)

    def percentiles(self, fractions: Sequence[float]) -> list[float]:
        """Seconds within which so many were answered, of ascending fractions; 0 where there are none."""
        total, seen, index, found = self.total, 0, -1, []
        for fraction in fractions:
            while seen < max(1, fraction * total) and index + 1 < len(self.counts):
                index += 1
                seen += self.counts[index]
            found.append(upper_bound(index) if total else 0.0)
        return found


def upper_bound(bucket: int) -> float:
    """In seconds, of the latencies in a bucket."""
    shift = max(bucket // _FINE - 1, 0)
    return float(((bucket - shift * _FINE + 1) << shift) * _UNIT_SECONDS)


@dataclass(frozen=True)
class Kept:
    """One answer in full.

    Attributes:
        request: its index among the requests.
        sent_at: seconds of the monotonic clock, as answered_at.
        octets: of the whole HTTP response.
    """

    request: int
    sent_at: float
    answered_at: float
    octets: bytes


@dataclass(frozen=True)
class Outcome:
    """Of one run.

    Attributes:
        seconds: that were counted.
        intervals: the latencies of its parts, which are equally long.
        statuses: answers of each HTTP status.
        ocsp_errors: those of them that are an OCSP error, such as tryLater.
        counts: see `loadtest.client.ask`.
    """

    seconds: float
    intervals: list[Latencies]
    statuses: Counter[int]
    ocsp_errors: Counter[str]
    counts: Counter[str]
    kept: list[Kept]

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())

    @property
    def failed(self) -> int:
        """Requests without an answer."""
        return sum(self.counts[kind] for kind in ("dropped", "refused", "unreadable", "unanswered"))

    @property
    def latencies(self) -> Latencies:
        return sum(self.intervals, Latencies())

    def __add__(self, other: Outcome) -> Outcome:
        """Of two clients at the same time."""
        return Outcome(
            self.seconds,
            [mine + its for mine, its in zip(self.intervals, other.intervals, strict=True)],
            self.statuses + other.statuses,
            self.ocsp_errors + other.ocsp_errors,
            self.counts + other.counts,
            self.kept + other.kept,
        )


def run(
    where: tuple[str, int],
    requests: Sequence[bytes],
    *,
    rate: float = 0,
    seconds: float,
    spared: float = 0,
    connections: int = 64,
    sources: Sequence[str] = (),
    tls: bool = False,
    server_name: str = "",
    intervals: int = 1,
    every: int = 0,
    progress: Progress | None = None,
) -> Outcome:
    """See `loadtest.client.ask`."""
    histograms, statuses, ocsp_errors, counts, kept = ask(
        where,
        requests,
        rate=rate,
        seconds=seconds,
        spared=spared,
        connections=connections,
        sources=sources,
        tls=tls,
        server_name=server_name,
        intervals=intervals,
        every=every,
        progress=progress,
    )
    return Outcome(
        seconds - spared,
        [Latencies(array("I", each)) for each in histograms],
        Counter(statuses),
        Counter(ocsp_errors),
        Counter(counts),
        [Kept(which, sent / 1e9, answered / 1e9, octets) for which, sent, answered, octets in kept],
    )
