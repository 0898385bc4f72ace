"""Small supervised programs for test_supervisor.py: `python -m tests.supervised SCENARIO`.

Each prints a line of JSON for what happens; a child announces itself by its name and process id.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

from responder import log, metrics
from responder.errors import ConfigError
from responder.host.child import Child, ChildContext
from responder.host.segment import Segment
from responder.host.sockets import open_socket
from responder.host.supervisor import Supervisor

SEGMENT = Segment.create(4)
SCENARIOS: dict[str, Callable[[], int]] = {}


def scenario(run: Callable[[], int]) -> Callable[[], int]:
    SCENARIOS[run.__name__] = run
    return run


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")  # one write, so that lines of several processes stay whole
    sys.stdout.flush()


def live(context: ChildContext, *, heartbeats: bool = True, generation: int = 1) -> int:
    """A well-behaved child: ready, alive until SIGTERM, then an orderly end."""
    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    say(child=context.name, pid=os.getpid(), generation=generation)
    context.ready()
    while not ended:
        if heartbeats:
            context.beat()
        time.sleep(0.05)
    say(ended=context.name)
    return 0


def answer(context: ChildContext) -> int:
    """A child that tells its process id to whoever connects."""
    (listener,) = context.sockets
    listener.setblocking(True)
    say(child=context.name, pid=os.getpid())
    context.ready()
    while True:
        connection, _ = listener.accept()
        context.beat()
        connection.sendall(str(os.getpid()).encode())
        connection.close()


def fail(context: ChildContext) -> int:
    say(child=context.name, pid=os.getpid())
    return 3


def run(children: Sequence[Child], **options: object) -> int:
    metrics.attach(SEGMENT.supervisor_lane)
    keeper = Supervisor(children, SEGMENT, on_restart=metrics.PROCESS_RESTARTS.inc, **options)  # type: ignore[arg-type]
    return keeper.run(on_ready=lambda: say(ready=True, pid=os.getpid()))


@scenario
def two() -> int:
    return run([Child("one", live), Child("two", live)])


@scenario
def sockets() -> int:
    listeners = [open_socket("127.0.0.1", 0, reuse_port=False) for _ in range(2)]
    say(ports=[listener.getsockname()[1] for listener in listeners])
    return run(
        [
            Child("first", answer, (listeners[0],), heartbeat=False),
            Child("second", answer, (listeners[1],), heartbeat=False),
        ]
    )


@scenario
def hopeless() -> int:
    return run([Child("fine", live), Child("hopeless", fail)])


@scenario
def silent() -> int:
    return run([Child("silent", lambda context: live(context, heartbeats=False))], silence_seconds=0.5)


@scenario
def crashing() -> int:
    """Two that live, and one that crashes until what they share has been made anew."""
    made_anew = False

    def make_anew() -> None:
        nonlocal made_anew
        made_anew = True
        say(made_anew=True)

    def crash(context: ChildContext) -> int:
        if not made_anew:
            say(child=context.name, pid=os.getpid())
            context.ready()
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGSEGV)
        return live(context)

    return run([Child("one", live), Child("two", live), Child("crashing", crash)], on_crashes=make_anew)


@scenario
def stubborn() -> int:
    def refuse(context: ChildContext) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say(child=context.name, pid=os.getpid())
        context.ready()
        while True:
            context.beat()
            time.sleep(0.05)

    return run([Child("stubborn", refuse), Child("polite", live)], grace_seconds=0.5)


@scenario
def reload() -> int:
    generation = 1

    def again() -> list[Child]:
        nonlocal generation
        generation += 1
        if generation == 3:
            raise ConfigError("serve.listen is wrong; mend it")
        return children()

    def children() -> list[Child]:
        wanted = generation
        return [Child(name, lambda context: live(context, generation=wanted)) for name in ("one", "two")]

    return run(children(), on_reload=again)


@scenario
def until() -> int:
    def last(context: ChildContext) -> int:
        say(child=context.name, pid=os.getpid())
        return 7

    return Supervisor([Child("one", live)], SEGMENT).run(until=Child("last", last))


@scenario
def watched() -> int:
    deadline = time.monotonic() + 1
    return run([Child("one", live)], watch=[lambda: "the server has ended" if time.monotonic() > deadline else None])


@scenario
def a_bug() -> int:
    def raises(context: ChildContext) -> int:
        raise RuntimeError("a bug in a child")

    return run([Child("buggy", raises)])


if __name__ == "__main__":
    log.configure(level="info", format="json")
    code = SCENARIOS[sys.argv[1]]()
    say(restarts=metrics.PROCESS_RESTARTS.value())
    sys.exit(code)
