"""The life of a process: what ends it, and what doesn't."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time

import pytest

from responder.errors import StatusUnavailable
from responder.host.process import repeatedly
from responder.log import News
from responder.troubles import FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS, Troubles

PROGRAM = """
import asyncio
from responder.host.process import background, run_process

class Process:
    def ready(self): pass
    def beat(self): pass

async def fails():
    await asyncio.sleep(0.05)
    raise {error}

async def main(stop):
    async with background(fails()):
        await stop.wait()
    print("ended in an orderly way")

print("exit code", run_process(Process(), main))
"""


def run(error: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(error=error)], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout + done.stderr


def test_a_background_task_that_fails_ends_the_process_in_an_orderly_way() -> None:
    said = run("RuntimeError('a bug')")
    assert "ended in an orderly way" in said
    assert "background_task_failed" in said
    assert "a bug" in said


async def test_a_failing_dependency_and_a_lack_of_descriptors_are_tried_again_later_each_time() -> None:
    tries: list[float] = []

    async def once() -> bool:
        tries.append(time.monotonic())
        raise (StatusUnavailable("away") if len(tries) % 2 else OSError(24, "too many open files"))

    task = asyncio.create_task(repeatedly(once, idle_seconds=0.01, longest_pause=0.02))
    for _ in range(500):
        if len(tries) >= 4:
            break
        await asyncio.sleep(0.01)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert len(tries) >= 4


def test_what_goes_wrong_again_is_told_once_and_then_once_a_minute() -> None:
    """Each task of each process told each failed attempt: hundreds of lines while Postgres was away."""
    now = [0.0]
    failures = News(monotonic=lambda: now[0])
    assert not failures.is_over()
    told = 0
    for _ in range(600):
        told += failures.is_news("away")
        now[0] += 0.5
    assert told == 5
    assert failures.is_news("refused")
    assert failures.is_over()
    assert not failures.is_over()
    assert failures.is_news("refused")


def test_an_issuer_that_fails_is_left_alone_longer_each_time_up_to_a_minute() -> None:
    now = [0.0]
    troubles = Troubles("relay", monotonic=lambda: now[0])
    pauses = []
    for _ in range(10):
        troubles.failed("one", ValueError("x"))
        assert not troubles.may_try("one")
        assert troubles.waiting() == ["one"]
        assert troubles.may_try("two")
        start = now[0]
        while not troubles.may_try("one"):
            now[0] += 0.5
        pauses.append(now[0] - start)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS)
    troubles.mended("one")
    troubles.failed("one", ValueError("x"))
    now[0] += FIRST_PAUSE_SECONDS
    assert troubles.may_try("one")


def test_what_is_everybodys_trouble_is_no_issuers() -> None:
    troubles = Troubles("relay")
    with pytest.raises(StatusUnavailable), troubles.guarding("one"):
        raise StatusUnavailable("the database is away")
    assert troubles.may_try("one")
    fails = True
    with troubles.guarding("one"):
        if fails:
            raise ZeroDivisionError
    assert not troubles.may_try("one")
    with troubles.guarding("one"):
        pass
    assert troubles.may_try("one")
