"""How commands speak: exit codes, sentences on stderr, JSON, tables, progress."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from responder.cli import output
from responder.cli.output import ExitCode, ProgressReport, exit_code_of, exit_on_error
from responder.errors import (
    CertstatusError,
    ConfigError,
    CRLError,
    ImportRejected,
    RevocationRefused,
    StatusUnavailable,
    StoreUnavailable,
)
from responder.pki import CRLReason


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a"), ExitCode.USAGE),
        (StatusUnavailable("a"), ExitCode.UNREACHABLE),
        (StoreUnavailable("a"), ExitCode.UNREACHABLE),
        (CRLError("a"), ExitCode.FAILED),
        (ImportRejected("a", []), ExitCode.FAILED),
        (RevocationRefused(404, "a", "b"), ExitCode.FAILED),
    ],
)
def test_each_error_has_its_exit_code(error: CertstatusError, code: ExitCode) -> None:
    assert exit_code_of(error) is code


def test_error_of_ours_becomes_sentences_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, exit_on_error():
        raise ConfigError("One fault.", "Another.")
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", "certstatus: One fault.\ncertstatus: Another.\n")


def test_rejected_import_lists_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, exit_on_error():
        raise ImportRejected("Nothing was taken.", [(3, "bad."), (9, "worse.")])
    assert caught.value.code == 1
    expected = "certstatus: Nothing was taken.\ncertstatus: line 3: bad.\ncertstatus: line 9: worse.\n"
    assert capsys.readouterr().err == expected


def test_interrupt_ends_quietly_and_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(SystemExit) as caught, exit_on_error():
        raise KeyboardInterrupt
    assert caught.value.code == 130
    with pytest.raises(ZeroDivisionError), exit_on_error():
        _ = 1 / 0


def test_json_knows_the_values_of_the_field(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json(
        {
            "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            "serial": b"\x01\xff",
            "reason": CRLReason.keyCompromise.name,
            "path": Path("/a"),
            "name": "Jürgen",
        }
    )
    assert json.loads(capsys.readouterr().out) == {
        "at": "2026-01-02T03:04:05Z",
        "serial": "01ff",
        "reason": "keyCompromise",
        "path": "/a",
        "name": "Jürgen",
    }
    with pytest.raises(TypeError, match="object has no form in JSON"):
        output.print_json(object())


def test_table_in_a_pipe_is_whole_and_takes_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500
    output.print_table(("name", "value"), [("[red]a[/red]", long), ("b", None), ("c", True), ("d", (1, 2))])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [["[red]a[/red]", long], ["b", "-"], ["c", "yes"], ["d", "1,", "2"]]


def test_pairs_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_pairs([("a", 1), ("long", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))])
    assert capsys.readouterr().out == "a     1\nlong  2026-01-02 03:04:05 UTC\n"


def test_progress_without_a_terminal_is_a_line_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = 0.0
    report = ProgressReport("signing", 1_000_000, bar=None, seconds=lambda: seconds)
    for _ in range(13):
        seconds += 1
        report.advance(50_000)
    report.finish()
    assert capsys.readouterr().err.splitlines() == [
        "signing: 250,000 of 1,000,000, 50,000/s, 15 s left",
        "signing: 500,000 of 1,000,000, 50,000/s, 10 s left",
        "signing: 650,000 of 1,000,000, 50,000/s, 7 s left",
    ]


def test_progress_of_an_unknown_total_tells_the_count_and_learns_the_total(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = 0.0
    report = ProgressReport("reading", None, bar=None, seconds=lambda: seconds)
    seconds = 5.0
    report.advance(10)
    report.expect(20)
    seconds = 10.0
    report.advance(10)
    assert capsys.readouterr().err.splitlines() == ["reading: 10, 2/s", "reading: 20 of 20, 2/s"]


def test_quiet_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("signing", 3, quiet=True) as report:
        report.expect(4)
        report.advance()
        report.finish()
    assert capsys.readouterr() == ("", "")


def test_progress_tells_its_last_line_also_when_the_job_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CRLError), output.progress("signing", 3) as report:
        report.advance(2)
        raise CRLError("a")
    assert capsys.readouterr().err.startswith("signing: 2 of 3")
