"""Keeps a host's processes alive. Hypercorn's own master ends everything when one worker crashes, so it isn't used.

The parent is synchronous and has one thread, so that it may fork at any time. It holds the listening sockets: a
process that is started again gets the same one back, with the connections that wait in it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from responder import log
from responder.errors import ConfigError
from responder.host.child import Child, ChildContext
from responder.host.kernel import name_process, notify, raise_descriptor_limit, set_death_signal
from responder.host.segment import HEARTBEAT, RECENT_DEATHS, SILENCE_SECONDS, Lane, Segment
from responder.host.slot import Slot, is_crash

_log = log.get("supervisor")

START_SECONDS = 60.0
"""How long a process may take until it is ready."""

MAX_FAILED_STARTS = 5
"""So many deaths of a process before it was ever ready, one after another, end everything: it can't live."""

MAX_CRASHES = 3
"""So many within a minute, and what the processes share isn't believed any more."""

_TICK_SECONDS = 0.5
_MINUTE_SECONDS = 60.0
_NANOSECONDS = 1_000_000_000


@dataclass
class Supervisor:
    """Starts children, watches them, and ends them in an orderly way.

    Attributes:
        children: in the order they are started; each has the lane of the segment of its place.
        segment: its last lane is the supervisor's own.
        grace_seconds: from SIGTERM to SIGKILL.
        silence_seconds: one that has been ready and hasn't beaten for so long is killed.
        on_reload: called on SIGHUP; returns the children to have from now on (as many, with the same names), or
            raises ConfigError, and then everything stays as it is.
        watch: each is asked every half second, and returns a sentence when something vital has ended.
        on_restart: called for each process that is going to be started again because it ended by itself.
        on_end: called with the place of a process that has ended in whatever way, before another has it.
        on_crashes: called after MAX_CRASHES within a minute, while no child runs: makes the shared memory anew.
    """

    children: Sequence[Child]
    segment: Segment
    grace_seconds: float = 10.0
    silence_seconds: float = SILENCE_SECONDS
    on_reload: Callable[[], Sequence[Child]] | None = None
    watch: Sequence[Callable[[], str | None]] = ()
    on_restart: Callable[[], None] = lambda: None
    on_end: Callable[[int], object] = lambda place: None
    on_crashes: Callable[[], None] | None = None
    _slots: list[Slot] = field(default_factory=list)
    _to_replace: list[Slot] = field(default_factory=list)
    _signals: set[int] = field(default_factory=set)
    _crashes: list[float] = field(default_factory=list)  # within the last minute

    def run(self, until: Child | None = None, on_ready: Callable[[], None] | None = None) -> int:
        """Keep the children until SIGTERM or SIGINT.

        Args:
            until: started once all others are ready; when it ends, everything does, with its exit code.
            on_ready: called once, when all are ready.

        Returns:
            0 after an orderly end, 1 when a child can't live or something vital has ended, or `until`'s exit code.
        """
        assert len(self.children) < self.segment.lanes, "the supervisor has a lane too"
        raise_descriptor_limit()
        self._slots = [Slot(child, lane) for lane, child in enumerate(self.children)]
        last = Slot(until, len(self._slots), start_at=None) if until is not None else None
        announced = False
        with self._signal_pipe() as wakeup:
            try:
                while True:
                    self._wait(wakeup)
                    if self._signals & {signal.SIGTERM, signal.SIGINT}:
                        return 0
                    if signal.SIGHUP in self._signals:
                        self._reload()
                    self._signals.clear()
                    if last is not None and last.pid and (code := last.reap()) is not None:
                        return code
                    if self._reap_and_check() or self._something_ended():
                        return 1
                    self._start_due()
                    if not announced and all(slot.is_ready for slot in self._slots):
                        announced = True
                        notify("READY=1")
                        if on_ready is not None:
                            on_ready()
                        if last is not None:
                            self._start(last)
                    self._replace_next()
            finally:
                notify("STOPPING=1")
                for slot in self._slots:
                    for listener in slot.spec.sockets:
                        listener.close()  # so that nobody waits in it once its process has ended
                self._stop_all([*self._slots, *([last] if last is not None else [])])

    # --- one child ---

    def _start(self, slot: Slot) -> None:
        read_end, write_end = os.pipe()
        parent = os.getpid()
        lane = self.segment.lane(min(slot.lane, self.segment.lanes - 1))
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(read_end)
                code = self._be(slot.spec, slot.lane, lane, write_end, parent)
            except BaseException:  # the child ends here whatever happens, and never in the parent's code
                traceback.print_exc()
            finally:
                with contextlib.suppress(Exception):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(code)
        os.close(write_end)
        os.set_blocking(read_end, False)
        slot.begin(pid, read_end, time.monotonic())

    def _be(self, spec: Child, place: int, lane: Lane, ready_fd: int, parent: int) -> int:
        """The life of a child process."""
        signal.set_wakeup_fd(-1)
        # Ctrl-C reaches the whole group: the parent says when to stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        set_death_signal(parent)
        name_process(spec.name)
        for slot in self._slots:
            if slot.spec is not spec:
                for other in slot.spec.sockets:
                    other.close()
            if slot.ready_fd >= 0:
                os.close(slot.ready_fd)
        context = ChildContext(spec.name, place, spec.sockets, lane, ready_fd)
        return spec.run(context)

    def _reap_and_check(self) -> bool:
        """Notice what ended, kill what hangs, plan what starts again; True when a child can't live."""
        now = time.monotonic()
        for slot in self._slots:
            slot.deaths = [death for death in slot.deaths if now - death < _MINUTE_SECONDS]
            self.segment.lane(slot.lane)[RECENT_DEATHS] = len(slot.deaths)
            if not slot.pid:
                continue
            slot.look_whether_ready()
            code = slot.reap()
            if code is None:
                self._kill_if_hanging(slot, now)
                continue
            self.on_end(slot.lane)
            if slot.stopping_since is not None:  # asked to, to be replaced
                slot.start_at = now
                continue
            self.on_restart()
            slot.died(now)
            if is_crash(code):
                self._crashes.append(now)
            _log.error("process_ended", process=slot.spec.name, exit_code=code, failed_starts=slot.failed_starts)
            if slot.failed_starts >= MAX_FAILED_STARTS:
                _log.error("process_cannot_live", process=slot.spec.name)
                return True
        self._crashes = [crash for crash in self._crashes if now - crash < _MINUTE_SECONDS]
        if self.on_crashes is not None and len(self._crashes) >= MAX_CRASHES:
            self._begin_anew(self.on_crashes)
        return False

    def _begin_anew(self, make_anew: Callable[[], None]) -> None:
        """Let nobody run, have what they share made anew, and start all of them."""
        _log.error("shared_memory_made_anew", crashes_within_a_minute=len(self._crashes))
        self._crashes.clear()
        self._to_replace.clear()
        self._stop_all(self._slots)
        make_anew()
        for slot in self._slots:
            slot.start_at = time.monotonic()

    def _kill_if_hanging(self, slot: Slot, now: float) -> None:
        if slot.stopping_since is not None:
            if now - slot.stopping_since > self.grace_seconds:
                slot.kill(signal.SIGKILL)
            return
        if not slot.is_ready:
            if now - slot.started_at > START_SECONDS:
                _log.error("process_never_ready", process=slot.spec.name)
                slot.kill(signal.SIGKILL)
            return
        last_beat = self.segment.lane(slot.lane)[HEARTBEAT] / _NANOSECONDS
        if slot.spec.heartbeat and now - last_beat > self.silence_seconds:
            _log.error("process_silent", process=slot.spec.name)
            slot.kill(signal.SIGKILL)

    def _start_due(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            if slot.start_at is not None and slot.start_at <= now:
                self._start(slot)

    # --- all of them ---

    def _something_ended(self) -> bool:
        for check in self.watch:
            sentence = check()
            if sentence is not None:
                _log.error("cannot_go_on", reason=sentence)
                return True
        return False

    def _reload(self) -> None:
        if self.on_reload is None:
            return
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            specs = {child.name: child for child in self.on_reload()}
        except ConfigError as error:
            for fault in error.faults:
                _log.error("configuration_refused", fault=fault)
            notify("READY=1")
            return
        for slot in self._slots:
            slot.spec = specs[slot.spec.name]
        self._to_replace = list(self._slots)
        _log.info("configuration_reloaded")

    def _replace_next(self) -> None:
        """One process after another: the next only when all are ready again."""
        if not self._to_replace or not all(slot.is_ready for slot in self._slots):
            return
        slot = self._to_replace.pop(0)
        slot.is_ready = False
        slot.stopping_since = time.monotonic()
        slot.kill(signal.SIGTERM)
        if not self._to_replace:
            notify("READY=1")

    def _stop_all(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            slot.kill(signal.SIGTERM)
        deadline = time.monotonic() + self.grace_seconds
        while any(slot.pid for slot in slots) and time.monotonic() < deadline:
            for slot in slots:
                slot.reap()
            time.sleep(0.02)
        for slot in slots:
            if slot.pid:
                _log.warning("process_killed", process=slot.spec.name, reason="didn't end in time")
                slot.kill(signal.SIGKILL)
                slot.reap(wait=True)

    # --- waiting ---

    @contextlib.contextmanager
    def _signal_pipe(self) -> Iterator[int]:
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        os.set_blocking(write_end, False)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        previous = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        try:
            yield read_end
        finally:
            # A second Ctrl-C while stopping changes nothing.
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(read_end)
            os.close(write_end)

    def _wait(self, wakeup: int) -> None:
        """Until a signal came, a child became ready, or half a second has passed."""
        with selectors.DefaultSelector() as selector:
            selector.register(wakeup, selectors.EVENT_READ)
            for slot in self._slots:
                if slot.ready_fd >= 0:
                    selector.register(slot.ready_fd, selectors.EVENT_READ)
            due = [slot.start_at - time.monotonic() for slot in self._slots if slot.start_at is not None]
            selector.select(max(0.0, min([_TICK_SECONDS, *due])))
        with contextlib.suppress(BlockingIOError):
            self._signals.update(os.read(wakeup, 4096))
