"""What a load test was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Wanted:
    """The options of `certstatus loadtest`; see its help."""

    scenarios: list[str]
    url: str | None
    demo: Path | None
    issuer: Path | None
    certificates: list[Path]
    index: Path | None
    crl: str | None
    pid: int | None
    revoke_command: str | None
    seconds: int
    rate: float | None
    connections: int | None
    every: int
    threads: int
    workers: int
    with_wrk: bool
    against: list[str]
    rounds: int
    folder: Path | None
    may_be_others: bool
    json: bool
