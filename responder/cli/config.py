"""`certstatus config`: check the configuration, show what is in effect, print an example."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from responder.cli import output
from responder.cli.output import ExitCode, JsonOption
from responder.config import CONFIG_VARIABLE, example, load
from responder.errors import ConfigError

__all__ = ["ConfigOption", "app"]

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        envvar=CONFIG_VARIABLE,
        help="The configuration file. Without one: the defaults and CERTSTATUS_* variables.",
    ),
]

app = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)


@app.command()
def check(config: ConfigOption = None, *, json: JsonOption = False) -> None:
    """Report all faults of the configuration at once. Exits with 2 if there are any."""
    faults: tuple[str, ...] = ()
    try:
        load(config)
    except ConfigError as error:
        faults = error.faults
    if json:
        output.print_json({"ok": not faults, "faults": list(faults)})
    elif faults:
        for fault in faults:
            output.complain(fault)
        output.complain(f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'} in the configuration.")
    else:
        output.say("The configuration is fine.")
    if faults:
        raise typer.Exit(int(ExitCode.USAGE))


@app.command()
def show(config: ConfigOption = None, *, json: JsonOption = False) -> None:
    """Print each key with its value and where that comes from. Secrets are masked."""
    with output.exit_on_error():
        effective = list(load(config).effective())
    if json:
        document: dict[str, dict[str, object]] = {}
        for key, value, _ in effective:
            section, name = key.split(".")
            document.setdefault(section, {})[name] = value
        output.print_json(document)
    else:
        output.print_table(("key", "value", "from"), effective)


@app.command("example")
def print_example() -> None:
    """Print a configuration file with every key, its meaning and its default."""
    output.say(example().rstrip("\n"))
