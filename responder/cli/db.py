"""`certstatus db`: the schema."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from responder.cli.config import ConfigOption
from responder.cli.options import actor, load_config, print_result, run
from responder.cli.output import JsonOption
from responder.roles.stores import open_stores
from responder.storage.checks import UnsayableRow
from responder.storage.migrations import migrate as apply_migrations

app = typer.Typer(help="The database: schema, checks, recovery.", no_args_is_help=True)


@app.command()
def migrate(config: ConfigOption = None, *, json: JsonOption = False) -> None:
    """Upgrade the schema to this version. Safe to run at any time, and from several hosts at once."""
    loaded = load_config(config)
    applied = run(apply_migrations(loaded.postgres.url, password=loaded.postgres.password()))
    text = f"applied {', '.join(applied)}" if applied else "nothing to do: the schema is up to date"
    print_result({"applied": applied}, text, json=json)


@app.command()
def recover(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Run this after a restore, or after a failover that lost commits: raises all versions above any given before.

    First bring back what was lost (certstatus import), since answers will follow the database as it is. Everything is
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
    """List rows from older versions that can't be encoded in an answer, each with its remedy. Changes nothing.

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
