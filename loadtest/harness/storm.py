"""Revocations while everybody asks: what was acknowledged when, and what may be answered then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from loadtest.harness.asking import Question
from loadtest.harness.target import Revoke, Subject
from responder.errors import CertstatusError


@dataclass
class Storm:
    """Revocations under way.

    Attributes:
        begun, acknowledged: seconds of the monotonic clock, by CA and serial number.
        failed: why it has ended early.
    """

    begun: dict[tuple[str, int], float] = field(default_factory=dict)
    acknowledged: dict[tuple[str, int], float] = field(default_factory=dict)
    failed: str | None = None

    def took(self) -> list[float]:
        """Of each revocation, the seconds until it was acknowledged, in ascending order."""
        return sorted(done - self.begun[each] for each, done in self.acknowledged.items())

    def expected(self, question: Question, *, sent_at: float, answered_at: float) -> Question:
        """The question, with what is right for one that was asked and answered then."""
        if question.expects != "revoked meanwhile":
            return question
        assert question.serial is not None
        which = question.subject.name, question.serial
        if sent_at > self.acknowledged.get(which, float("inf")):
            return replace(question, expects="revoked")
        if answered_at < self.begun.get(which, float("inf")):
            return replace(question, expects="good")
        return question


@contextmanager
def storm(questions: Sequence[Question], revoke: Revoke, *, per_second: float) -> Iterator[Storm]:
    """While the block lasts, revoke the certificates of these questions one after the other, each once; the subjects'
    lists have them among the revoked then."""
    victims: dict[tuple[str, int], Subject] = {}
    for question in questions:
        if question.expects == "revoked meanwhile" and question.serial is not None:
            victims.setdefault((question.subject.name, question.serial), question.subject)
    state, ended = Storm(), threading.Event()

    def go_on() -> None:
        for (name, serial), subject in victims.items():
            if ended.wait(1 / per_second):
                return
            state.begun[name, serial] = time.monotonic()
            try:
                revoke(subject, serial)
            except (CertstatusError, OSError) as error:
                state.failed = str(error)
                return
            state.acknowledged[name, serial] = time.monotonic()
            subject.good.remove(serial)
            subject.revoked.append(serial)

    thread = threading.Thread(target=go_on, name="storm")
    if per_second:
        thread.start()
    try:
        yield state
    finally:
        ended.set()
        if per_second:
            thread.join()
