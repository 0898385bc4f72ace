"""`certstatus loadtest`: the load test, whose code is beside this package."""

from __future__ import annotations

from loadtest.harness.command import loadtest

__all__ = ["loadtest"]
