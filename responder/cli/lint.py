"""`certstatus lint`: looks at anybody's OCSP responses by the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from responder.cli.output import JsonOption, print_json, say
from responder.errors import ConfigError
from responder.ocsp.lints import PROFILES, lint

FOUND = 4
"""The exit code of a response with a fault."""


def lint_files(
    files: Annotated[list[Path], typer.Argument(help="OCSP responses, DER.")],
    profile: Annotated[str, typer.Option("--profile", help=f"Which rules: {', '.join(PROFILES)}.")] = "rfc",
    *,
    json: JsonOption = False,
) -> None:
    """Look at OCSP responses, of any responder, by the rules of the standards; signatures are query's to verify.

    Exit code 0 where nothing is found, 4 else."""
    if profile not in PROFILES:
        raise ConfigError(f"--profile {profile}: it is one of {', '.join(PROFILES)}")
    contents = []
    for path in files:
        try:
            contents.append(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
    found = [
        (path, finding)
        for path, content in zip(files, contents, strict=True)
        for finding in lint(content, profile=profile)
    ]
    if json:
        print_json([{"file": path, "id": each.id, "source": each.source, "says": each.says} for path, each in found])
    else:
        for path, each in found:
            say(f"{path}: {each.id}: {each.says} ({each.source})")
        if not found:
            say(f"{len(files)} without a fault")
    if found:
        raise SystemExit(FOUND)
