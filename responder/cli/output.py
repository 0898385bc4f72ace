"""How commands speak: tables for people or JSON for machines on stdout; faults and progress on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress import TimeRemainingColumn as EtaColumn
from rich.table import Table
from rich.text import Text

from responder.errors import CertstatusError, ConfigError, ImportRejected, Remedy, StatusUnavailable, StoreUnavailable

__all__ = [
    "ExitCode",
    "JsonOption",
    "ProgressReport",
    "complain",
    "exit_code_of",
    "exit_on_error",
    "print_json",
    "print_pairs",
    "print_table",
    "progress",
    "say",
    "tell",
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

SECONDS_BETWEEN_LINES = 5.0

_LINES_TOLD = 5

_REMEDIES = {
    Remedy.TAKE_ALL_THE_SAME: "give --force if it is the right list all the same",
    Remedy.RETIRE_THE_LAST: "or give --even-if-last",
    Remedy.REFUSE_ANSWERS: "--now refuses its answers too",
    Remedy.GIVE_CRL_NUMBER: "or give its number alone with --crl-number, and import the certificates",
    Remedy.CHOOSE_STATE_FOLDER: "give another --state-dir",
}


class ExitCode(IntEnum):
    """What a command's exit code means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    PENDING = 5
    """A revocation that is recorded, and not certain yet."""


def _out() -> Console:
    # Made anew each time: tests and pipes replace sys.stdout. Markup is off, since values aren't ours.
    return Console(file=sys.stdout, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def say(text: str) -> None:
    """One line for people, on stdout."""
    print(text, file=sys.stdout)


def complain(message: str) -> None:
    """A fault on stderr, a sentence a line, never a traceback."""
    for line in message.splitlines() or [""]:
        print(f"certstatus: {line}", file=sys.stderr)


def print_json(value: object) -> None:
    """`value` on stdout as JSON; times as RFC 3339 in UTC, bytes as hex."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=_plain), file=sys.stdout)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for people on stdout; None is shown as `-`. A pipe gets whole values, never cut."""
    console = _out()
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=not console.is_terminal)
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    if not console.is_terminal:
        console.width = 20_000
    console.print(table)


def print_pairs(pairs: Sequence[tuple[str, object]]) -> None:
    """Names and values under each other, for people, on stdout."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        say(f"{name:<{width}}  {_cell(value)}")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value) or "-"
    return value.name if isinstance(value, Enum) else str(value)


def exit_code_of(error: CertstatusError) -> ExitCode:
    """What a command that ends with this error exits with."""
    if isinstance(error, ConfigError):
        return ExitCode.USAGE
    if isinstance(error, (StatusUnavailable, StoreUnavailable)):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED


def tell(error: CertstatusError) -> None:
    """An error of ours on stderr, with what to do, for people or for machines."""
    lines = error.faults if isinstance(error, ImportRejected) else []
    text = str(error) if error.remedy is None else f"{error}; {_REMEDIES[error.remedy]}"
    if "--json" in sys.argv[1:]:
        document: dict[str, object] = {"error": text, "exit_code": int(exit_code_of(error))}
        if lines:
            document["lines"] = [{"line": line, "error": sentence} for line, sentence in lines]
        print(json.dumps(document, indent=2, ensure_ascii=False), file=sys.stderr)
        return
    complain(text)
    for sentence in _by_sentence(lines):
        complain(sentence)


def _by_sentence(faults: Sequence[tuple[int, str]]) -> list[str]:
    """A file of another kind has one fault in all of its lines: each sentence once, with the first lines it is of."""
    lines_of: dict[str, list[int]] = {}
    for line, sentence in faults:
        lines_of.setdefault(sentence, []).append(line)
    told = []
    for sentence, lines in lines_of.items():
        more = f" and {len(lines) - _LINES_TOLD} more" if len(lines) > _LINES_TOLD else ""
        word = "line" if len(lines) == 1 else "lines"
        told.append(f"{word} {', '.join(map(str, lines[:_LINES_TOLD]))}{more}: {sentence}")
    return told


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Around a command, or all of them: ends the process with a sentence and a code instead of a traceback.

    An error that isn't ours rises: it is a bug, and its traceback is wanted.

    Raises:
        SystemExit: with the code of `exit_code_of`; 130 after Ctrl-C; 1 when nobody reads the output any more.
    """
    try:
        yield
    except CertstatusError as error:
        tell(error)
        raise SystemExit(int(exit_code_of(error))) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # `certstatus … | head`: or the interpreter would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(int(ExitCode.FAILED)) from None


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


class ProgressReport:
    """Tells a long job's progress: `advance` it, from one task or thread."""

    def __init__(
        self,
        title: str,
        total: int | None,
        *,
        bar: Progress | None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._total = total
        self._bar = bar
        self._task = bar.add_task(title, total=total) if bar else None
        self._seconds = seconds
        self._started = self._told = seconds()
        self._done = 0

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        if self._bar and self._task is not None:
            self._bar.update(self._task, advance=count)
        elif self._seconds() - self._told >= SECONDS_BETWEEN_LINES:
            self._tell()

    def expect(self, total: int) -> None:
        """The total has become known, or has changed."""
        self._total = total
        if self._bar and self._task is not None:
            self._bar.update(self._task, total=total)

    def finish(self) -> None:
        """The job has ended; without a terminal, one last line says how far it came."""
        if self._bar is None:
            self._tell()

    def _tell(self) -> None:
        self._told = self._seconds()
        took = self._told - self._started
        rate = self._done / took if took > 0 else 0.0
        line = f"{self._title}: {self._done:,}"
        if self._total is not None:
            line += f" of {self._total:,}"
        if took > 0:
            line += f", {rate:,.0f}/s"
        if self._total is not None and self._done < self._total and rate > 0:
            line += f", {(self._total - self._done) / rate:,.0f} s left"
        print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(title: str, total: int | None = None, *, quiet: bool = False) -> Iterator[ProgressReport]:
    """A progress bar with rate and ETA on stderr; where that isn't a terminal, a line every few seconds.

    Args:
        total: None while it isn't known; see `ProgressReport.expect`.
        quiet: nothing at all is shown.
    """
    console = Console(file=sys.stderr, quiet=quiet)
    if quiet or console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _RateColumn(),
            EtaColumn(),
        )
        with Progress(*columns, console=console, transient=False) as bar:
            yield ProgressReport(title, total, bar=bar)
        return
    report = ProgressReport(title, total, bar=None)
    try:
        yield report
    finally:
        report.finish()
