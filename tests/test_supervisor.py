"""Processes are kept, replaced and ended: judged from outside, with real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from responder.host.supervisor import MAX_FAILED_STARTS
from tests.processes import held_sockets, is_running

PATIENCE = 30.0


class Program:
    """A running scenario, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[dict[str, Any]] = []

    def hear(self, **expected: object) -> dict[str, Any]:
        """Read on until a line has these members."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.startswith("{"):
                continue
            said = json.loads(line)
            self.said.append(said)
            if expected.items() <= said.items():
                return dict(said)
        raise AssertionError(f"it ended without saying {expected}; it said {self.said}")

    def children(self, count: int) -> dict[str, int]:
        """The process ids of the first so many children to say theirs."""
        found: dict[str, int] = {said["child"]: said["pid"] for said in self.said if "child" in said}
        while len(found) < count:
            assert self.process.stdout is not None
            said = json.loads(next(line for line in self.process.stdout if line.startswith("{")))
            self.said.append(said)
            if "child" in said:
                found[said["child"]] = said["pid"]
        return found

    def rest(self) -> list[dict[str, Any]]:
        """What it says until it ends."""
        assert self.process.stdout is not None
        self.said += [json.loads(line) for line in self.process.stdout if line.startswith("{")]
        self.process.wait(PATIENCE)
        return self.said


@contextmanager
def started(scenario: str, **environment: str) -> Iterator[Program]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.supervised", scenario],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | environment,
    )
    try:
        yield Program(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)
        if process.stdout is not None:
            process.stdout.close()


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_orderly_and_leaves_nothing(number: signal.Signals) -> None:
    with started("two") as program:
        program.hear(ready=True)
        pids = program.children(2)
        # Ctrl-C in a terminal reaches the whole group.
        os.killpg(program.process.pid, number) if number == signal.SIGINT else program.process.send_signal(number)
        said = program.rest()
        assert program.process.returncode == 0
        assert {"ended": "one"} in said and {"ended": "two"} in said
        assert not any(is_running(pid) for pid in pids.values())


def test_a_killed_supervisor_takes_its_children_along() -> None:
    with started("two") as program:
        program.hear(ready=True)
        pids = program.children(2)
        program.process.kill()
        eventually(lambda: not any(is_running(pid) for pid in pids.values()))


def ask(port: int) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        return int(connection.recv(64))


def test_a_killed_child_is_started_again_behind_the_same_socket() -> None:
    with started("sockets") as program:
        first, second = program.hear()["ports"]
        program.hear(ready=True)
        pids = program.children(2)
        assert (ask(first), ask(second)) == (pids["first"], pids["second"])
        os.kill(pids["first"], signal.SIGKILL)
        eventually(lambda: not is_running(pids["first"]))
        # No connection is refused in between: it waits in the socket, which the supervisor holds.
        assert ask(first) not in pids.values()
        assert ask(second) == pids["second"]
        program.process.terminate()
        assert program.rest()[-1] == {"restarts": 1}


def test_a_child_holds_no_socket_of_another() -> None:
    with started("sockets") as program:
        program.hear()
        program.hear(ready=True)
        pids = program.children(2)
        held = {name: held_sockets(pid) for name, pid in pids.items()}
        assert len(held["first"]) == len(held["second"]) == 1
        assert held["first"] != held["second"]


def test_a_child_that_cannot_live_ends_everything() -> None:
    with started("hopeless") as program:
        said = program.rest()
        assert program.process.returncode == 1
        assert sum(line.get("child") == "hopeless" for line in said) == MAX_FAILED_STARTS
        assert any(line.get("event") == "process_cannot_live" and line["process"] == "hopeless" for line in said)
        assert {"ended": "fine"} in said


def test_a_child_with_a_bug_says_so_and_never_runs_the_parents_code() -> None:
    with started("a_bug") as program:
        assert program.process.stdout is not None
        text = program.process.stdout.read()
        program.process.wait(PATIENCE)
        assert program.process.returncode == 1
        assert text.count("RuntimeError: a bug in a child") == MAX_FAILED_STARTS
        assert text.count('"restarts"') == 1


def test_after_crashes_what_is_shared_is_made_anew_while_nobody_runs() -> None:
    with started("crashing") as program:
        program.hear(made_anew=True)
        before = program.said
        # The crashing one three times; the others, each started once, have ended in good order.
        assert sum(said.get("child") == "crashing" for said in before) == 3
        assert sorted(said["ended"] for said in before if "ended" in said) == ["one", "two"]
        program.said = []
        pids = program.children(3)
        assert len(pids) == 3
        program.process.terminate()
        assert program.rest()[-1] == {"restarts": 3}


def test_a_child_that_says_nothing_is_killed_and_started_again() -> None:
    with started("silent") as program:
        first = program.hear(child="silent")["pid"]
        program.hear(event="process_silent")
        assert program.hear(child="silent")["pid"] != first
        program.process.terminate()
        program.rest()
        assert program.process.returncode == 0


def test_a_child_that_does_not_stop_is_killed_after_the_grace() -> None:
    with started("stubborn") as program:
        program.hear(ready=True)
        pids = program.children(2)
        program.process.terminate()
        said = program.rest()
        assert any(line.get("event") == "process_killed" and line["process"] == "stubborn" for line in said)
        assert {"ended": "polite"} in said
        assert program.process.returncode == 0
        assert not any(is_running(pid) for pid in pids.values())


def test_a_reload_replaces_one_after_another_and_a_bad_configuration_nothing() -> None:
    with started("reload") as program:
        program.hear(ready=True)
        pids = program.children(2)
        program.process.send_signal(signal.SIGHUP)
        # the second goes when the first is back
        order: list[str] = []
        while len(order) < 4:
            line = program.hear()
            if "ended" in line or "child" in line:
                order.append(line.get("ended") or f"{line['child']} {line['generation']}")
        assert order == ["one", "one 2", "two", "two 2"]
        program.process.send_signal(signal.SIGHUP)
        assert program.hear(event="configuration_refused")["fault"] == "serve.listen is wrong; mend it"
        program.process.terminate()
        said = program.rest()
        assert program.process.returncode == 0
        assert said[-1] == {"restarts": 0}, "a replacement isn't a crash"
        assert not any(is_running(pid) for pid in pids.values())


def test_everything_ends_with_the_last_childs_code() -> None:
    with started("until") as program:
        said = program.rest()
        assert program.process.returncode == 7
        assert [line.get("child") for line in said if "child" in line] == ["one", "last"]
        assert {"ended": "one"} in said


def test_everything_ends_when_something_vital_has() -> None:
    with started("watched") as program:
        said = program.rest()
        assert program.process.returncode == 1
        assert any(line.get("reason") == "the server has ended" for line in said)
        assert {"ended": "one"} in said


def test_the_service_manager_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(PATIENCE)
        with started("reload", NOTIFY_SOCKET=str(folder / "notify")) as program:
            assert manager.recv(256) == b"READY=1"
            program.process.send_signal(signal.SIGHUP)
            assert manager.recv(256).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert manager.recv(256) == b"READY=1"
            program.process.terminate()
            assert manager.recv(256) == b"STOPPING=1"
            program.rest()


def test_descriptors_are_allowed_up_to_the_hard_limit() -> None:
    code = (
        "import resource; from responder.host.kernel import raise_descriptor_limit as r; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 2048)); r(); "
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2048, 2048)"
