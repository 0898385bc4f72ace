"""Says on stderr how a load goes, while it goes."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_SECONDS_BETWEEN_LINES = 5.0


class Live:
    """One line that changes, on a terminal; elsewhere a line every few seconds."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._is_quiet = quiet
        self._is_terminal = self._stream.isatty()
        self._title = ""
        self._told_at = 0.0

    def begin(self, title: str) -> None:
        """Of what comes."""
        self._title, self._told_at = title, time.monotonic()
        self._write(f"{title} …")

    def tell(self, text: str) -> None:
        """How far it is."""
        if self._is_terminal or time.monotonic() - self._told_at >= _SECONDS_BETWEEN_LINES:
            self._told_at = time.monotonic()
            self._write(f"{self._title}: {text}")

    def end(self, text: str) -> None:
        """What came of it; stays on the terminal."""
        self._write(f"{self._title}: {text}")
        if self._is_terminal and not self._is_quiet:
            print(file=self._stream, flush=True)

    def _write(self, text: str) -> None:
        if self._is_quiet:
            return
        if self._is_terminal:
            print(f"\r\x1b[2K{text[:150]}", end="", file=self._stream, flush=True)
        else:
            print(text, file=self._stream, flush=True)
