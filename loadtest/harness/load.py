"""Puts a scenario's load on a target: the closed loop for the maximum, the open one for latencies at a rate."""

from __future__ import annotations

import os
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import reduce
from operator import add
from typing import Any

from loadtest import outcome
from loadtest.harness import wrk
from loadtest.harness.asking import Question, questions_of
from loadtest.harness.live import Live
from loadtest.harness.measured import Measured, failures_of, percentiles_of, points_of
from loadtest.harness.scenario import Loop, Scenario
from loadtest.harness.storm import Storm, storm
from loadtest.harness.target import Target, stolen_seconds, where
from loadtest.harness.verify import Verifier
from loadtest.outcome import Outcome
from loadtest.tally import Progress
from responder.errors import ConfigError, StatusUnavailable
from responder.operations.judging import Wrong

SPARED_SECONDS = 1.0
"""At the beginning of each loop, which isn't counted: connections are opened, caches are filled."""

_WITNESS_RATE = 100.0
_WITNESS_CONNECTIONS = 32
_VERIFIED_PER_SECOND = 50
_INTERVAL_SECONDS = 0.5
_TELL_SECONDS = 0.25
_RATE_ALONE = 1000.0


@dataclass(frozen=True)
class Options:
    """How loads are put on.

    Attributes:
        seconds: of each loop, 1 to 590.
        rate: of the open loop, a second; None: the scenario's part of what the closed loop reached.
        connections: None: the scenario's.
        every: one answer of so many is verified; of an open loop at least fifty a second.
        threads: that ask.
        cores: where they run; none: anywhere.
        with_wrk: the closed loop is also run by wrk, which isn't ours.
        may_be_others: see `loadtest.harness.target.where`.
    """

    seconds: int = 10
    rate: float | None = None
    connections: int | None = None
    every: int = 100
    threads: int = 1
    cores: tuple[int, ...] = ()
    with_wrk: bool = False
    may_be_others: bool = False


class Load:
    """A scenario and a target, with the requests made."""

    def __init__(
        self,
        scenario: Scenario,
        target: Target,
        options: Options,
        live: Live,
        *,
        questions: Sequence[Question] | None = None,
    ) -> None:
        """
        Args:
            questions: to ask instead of the scenario's, of a target that is asked in another way.

        Raises:
            LookupError: the target lacks what the scenario asks about.
            ConfigError: its address isn't ours, or there are several.
        """
        self._scenario, self._target, self._options, self._live = scenario, target, options, live
        if scenario.revocations_per_second and target.revoke is None:
            raise LookupError("a way to revoke (--revoke-command)")
        urls = {
            target.url(subject, tls=scenario.tls, crl=share.asks == "crl")
            for subject in target.subjects
            for share in scenario.requests
        }
        places = sorted({urllib.parse.urlsplit(each).netloc for each in urls})
        if len(places) > 1:
            raise ConfigError(f"{scenario.name}: it asks at {' and '.join(places)}; a scenario asks at one address")
        url = min(urls)
        self._where = where(url, may_be_others=options.may_be_others)
        self._is_tls = url.startswith("https:")
        host = urllib.parse.urlsplit(url).hostname or ""
        self._server_name = "" if host == self._where[0] else host
        self._questions = list(questions or questions_of(scenario, target))
        self._requests = [each.octets for each in self._questions]
        self._connections = options.connections or scenario.connections
        self._verifier = Verifier()

    def loops(self) -> list[Measured]:
        """Run all loops of the scenario to their ends."""
        found = []
        if "closed" in self._scenario.loops:
            found.append(self.closed())
            if self._options.with_wrk:
                found.append(self._told("closed loop by wrk", self._by_wrk))
        if "open" in self._scenario.loops:
            found.append(self.open(found[0].answers_per_second if found else None))
        return found

    def closed(self) -> Measured:
        """The next request as soon as one is answered, on each connection: the maximum."""
        return self._told("closed loop", lambda: self._by_our_client("closed", rate=0.0))

    def open(self, fastest: float | None) -> Measured:
        """Requests at a constant rate.

        Args:
            fastest: answers a second that a closed loop had, which the rate follows unless it is given.
        """
        rate = self._options.rate
        if rate is None:
            rate = _RATE_ALONE if fastest is None else fastest * self._scenario.part
        return self._told("open loop", lambda: self._by_our_client("open", rate=max(1.0, rate)))

    def _told(self, what: str, run: Callable[[], Measured]) -> Measured:
        self._live.begin(f"{self._target.name} · {self._scenario.name} · {what}")
        stolen = stolen_seconds()
        measured = run()
        measured = replace(measured, stolen_seconds=stolen_seconds() - stolen)
        self._live.end(_in_short(measured))
        return measured

    def _by_our_client(self, loop: Loop, *, rate: float) -> Measured:
        options, progress = self._options, Progress()
        intervals = round(options.seconds / _INTERVAL_SECONDS)
        threads = min(options.threads, self._connections)
        per_second = self._scenario.revocations_per_second if loop == "open" else 0.0
        with (
            ThreadPoolExecutor(threads) as pool,
            storm(self._questions, self._target.revoke or _cannot, per_second=per_second) as state,
        ):
            runs = [
                pool.submit(
                    self._ask,
                    seconds=options.seconds,
                    rate=rate / threads,
                    connections=self._connections // threads,
                    intervals=intervals,
                    every=min(options.every, max(1, int(rate / _VERIFIED_PER_SECOND))) if rate else options.every,
                    progress=progress,
                )
                for _ in range(threads)
            ]
            cpu = self._watch(runs, progress, intervals)
            found = reduce(add, [each.result() for each in runs])
        verified, wrong = self._verify(found, state)
        return Measured(
            loop=loop,
            client="certstatus",
            rate=rate or None,
            connections=self._connections,
            seconds=found.seconds,
            answered=found.answered,
            percentiles=percentiles_of(found.latencies),
            failures=failures_of(found),
            cpu_per_answer=(cpu[-1] - cpu[0]) / found.answered if cpu and found.answered else None,
            points=points_of(found, cpu),
            statuses=found.statuses,
            verified=verified,
            wrong=wrong,
            storm=state if per_second else None,
        )

    def _by_wrk(self) -> Measured:
        """wrk doesn't keep answers: a witness asks the same beside it, and all that it is answered is verified."""
        options, progress = self._options, Progress()
        self._ask(seconds=SPARED_SECONDS, spared=0.0, connections=self._connections)
        host = f"[{self._where[0]}]" if ":" in self._where[0] else self._where[0]
        with ThreadPoolExecutor(2) as pool:
            fastest = pool.submit(
                wrk.run,
                f"{'https' if self._is_tls else 'http'}://{host}:{self._where[1]}/",
                self._requests,
                seconds=options.seconds,
                connections=self._connections,
                threads=options.threads,
                cores=options.cores,
            )
            witness = pool.submit(
                self._ask,
                seconds=options.seconds,
                spared=0.0,
                rate=_WITNESS_RATE,
                connections=_WITNESS_CONNECTIONS,
                every=1,
                progress=progress,
            )
            cpu = self._watch([fastest, witness], progress, 1, spared=0.0)
            told, found = fastest.result(), witness.result()
        verified, wrong = self._verify(found, Storm())
        return Measured(
            loop="closed",
            client="wrk",
            rate=None,
            connections=self._connections,
            seconds=told.seconds,
            answered=told.answered,
            percentiles=told.percentiles,
            failures=told.failures + failures_of(found),
            cpu_per_answer=(cpu[-1] - cpu[0]) / (told.answered + found.answered) if cpu and told.answered else None,
            verified=verified,
            wrong=wrong,
        )

    def _ask(
        self,
        *,
        seconds: float,
        spared: float = SPARED_SECONDS,
        rate: float = 0.0,
        connections: int,
        intervals: int = 1,
        every: int = 0,
        progress: Progress | None = None,
    ) -> Outcome:
        if self._options.cores:
            os.sched_setaffinity(0, self._options.cores)  # of this thread
        try:
            return outcome.run(
                self._where,
                self._requests,
                rate=rate,
                seconds=seconds + spared,
                spared=spared,
                connections=connections,
                tls=self._is_tls,
                server_name=self._server_name,
                intervals=intervals,
                every=every,
                progress=progress,
            )
        except OSError as error:
            raise StatusUnavailable(str(error)) from error

    def _watch(
        self, runs: Sequence[Future[Any]], progress: Progress, intervals: int, *, spared: float = SPARED_SECONDS
    ) -> list[float] | None:
        """Until all have ended: tell how far they are; the target's CPU seconds at the ends of the intervals.

        Returns:
            None where its processes aren't known.
        """
        began, length = time.monotonic() + spared, self._options.seconds / intervals
        taken: list[float] = []
        while not all(each.done() for each in runs) or (len(taken) <= intervals and not any(map(_has_failed, runs))):
            now = time.monotonic()
            if len(taken) <= intervals and now >= began + len(taken) * length:
                taken.append(self._target.cpu_seconds())
            self._live.tell(
                f"{max(0.0, now - began):.0f} of {self._options.seconds} s, {progress.answered:,} answered"
                + (f", {progress.failed:,} failed" if progress.failed else "")
            )
            # Seldom, since this takes time of a core that may be the target's.
            due = began + len(taken) * length if len(taken) <= intervals else now + _TELL_SECONDS
            time.sleep(min(max(due - now, 0.005), _TELL_SECONDS))
        return taken if self._target.processes() else None

    def _verify(self, found: Outcome, state: Storm) -> tuple[Counter[str], Counter[str]]:
        """What the kept answers say, and what is wrong with those that are."""
        ahead = time.time() - time.monotonic()
        verified, wrong = Counter[str](), Counter[str]()
        for kept in found.kept:
            question = self._questions[kept.request]
            question = state.expected(question, sent_at=kept.sent_at, answered_at=kept.answered_at)
            answered_at = datetime.fromtimestamp(kept.answered_at + ahead, UTC)
            try:
                verified[self._verifier.check(question, kept.octets, answered_at=answered_at)] += 1
            except Wrong as error:
                wrong[str(error)] += 1
        return verified, wrong


def _has_failed(run: Future[Any]) -> bool:
    return run.done() and run.exception() is not None


def _cannot(_: object, __: int) -> None:
    raise AssertionError("a scenario without revocations")


def _in_short(measured: Measured) -> str:
    cpu = "" if measured.cpu_per_answer is None else f", {measured.cpu_per_answer * 1e6:.1f} µs CPU an answer"
    verified = f"{sum(measured.verified.values()):,} verified"
    faults = sum(measured.wrong.values()) + sum(measured.failures.values())
    return (
        f"{measured.answers_per_second:,.0f} answers/s, p99 {measured.percentiles[99.0] * 1e3:.2f} ms{cpu}; {verified}"
        + (f", {faults:,} wrong or missing" if faults else "")
    )
