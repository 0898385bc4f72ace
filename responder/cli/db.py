"""`certstatus db`: the schema."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from responder.cli.config import ConfigOption
from responder.cli.options import actor, load_config, print_result, run
from responder.cli.output import JsonOption
from responder.storage.checks import UnsayableRow
from responder.storage.migrations import migrate as apply_migrations
from responder.stores import open_stores

app = typer.Typer(help="The database schema.", no_args_is_help=True)


@app.command()
def migrate(config: ConfigOption = None, *, json: JsonOption = False) -> None:
    """Bring the schema up to this version. Safe to run at any time, from several hosts at once."""
    loaded = load_config(config)
    applied = run(apply_migrations(loaded.postgres.url, password=loaded.postgres.password()))
    text = f"applied {', '.join(applied)}" if applied else "nothing to do: the schema is up to date"
    print_result({"applied": applied}, text, json=json)


@app.command()
def recover(
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """After a restore, or a promotion that lost commits: have every version rise above all that were ever given.

    Bring what was lost back first (certstatus import): what the database says then is what is answered. Everything is
    signed again.
    """
    loaded = load_config(config)
    if not yes:
        typer.confirm("Raise the epoch, and sign everything again as the database has it now?", abort=True, err=True)

    async def raise_epoch() -> int:
        async with open_stores(loaded, name="cli") as stores:
            return await stores.runs.recover(actor=actor())

    epoch = run(raise_epoch())
    print_result({"epoch": epoch}, f"the epoch is {epoch}; certstatus work signs everything again", json=json)


@app.command()
def check(config: ConfigOption = None, *, json: JsonOption = False) -> None:
    """List rows that an older schema let in and that no answer can say, each with its remedy; change nothing.

    Exits 1 when there are any.
    """
    loaded = load_config(config)

    async def look() -> list[UnsayableRow]:
        async with open_stores(loaded, name="cli") as stores:
            rows = await stores.checks.unsayable()
            if not rows:
                await stores.checks.validate()
            return rows

    rows = run(look())
    lines = [f"{row.issuer_id} {row.serial}: {row.fault}\n  {row.remedy}" for row in rows]
    print_result([asdict(row) for row in rows], "\n".join(lines) or "every row can be served", json=json)
    if rows:
        raise typer.Exit(1)
