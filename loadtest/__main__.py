"""`python -m loadtest`: the same as `certstatus loadtest`."""

from __future__ import annotations

import typer

from loadtest.harness.command import loadtest
from responder.cli.output import exit_on_error

if __name__ == "__main__":
    with exit_on_error():
        typer.run(loadtest)
