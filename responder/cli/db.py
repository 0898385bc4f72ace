"""`certstatus db`: the schema."""

from __future__ import annotations

import typer

from responder.cli.config import ConfigOption
from responder.cli.options import load_config, print_result, run
from responder.cli.output import JsonOption
from responder.storage.migrations import migrate as apply_migrations

app = typer.Typer(help="The database schema.", no_args_is_help=True)


@app.command()
def migrate(config: ConfigOption = None, *, json: JsonOption = False) -> None:
    """Bring the schema up to this version. Safe to run at any time, from several hosts at once."""
    loaded = load_config(config)
    applied = run(apply_migrations(loaded.postgres.url, password=loaded.postgres.password()))
    text = f"applied {', '.join(applied)}" if applied else "nothing to do: the schema is up to date"
    print_result({"applied": applied}, text, json=json)
