"""`certstatus import`: statuses from an existing CA."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from responder.cli.config import ConfigOption
from responder.cli.options import known_issuer, latest_revocation, load_config, print_result, run
from responder.cli.output import JsonOption, progress
from responder.config import Config
from responder.errors import ConfigError
from responder.imports import openssl_index
from responder.interfaces import ImportedStatus
from responder.storage.imports import ImportReport
from responder.stores import open_stores

app = typer.Typer(help="Take over what an existing CA has issued and revoked.", no_args_is_help=True)

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
IssuerOption = Annotated[str, typer.Option("--issuer", help="The id of the CA the list is of.")]


@app.command("openssl-index")
def import_openssl_index(
    file: Annotated[Path, typer.Argument(help="The index.txt of `openssl ca` or easy-rsa.")],
    issuer_id: IssuerOption,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Import an `openssl ca` index. A bad line is named with its number, and then nothing is imported."""
    loaded = load_config(config)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: it can't be read: {error.strerror}") from error
    rows = openssl_index.parse(content, now=latest_revocation())
    _import(loaded, issuer_id, rows, source=str(file), dry_run=dry_run, json=json)


def _import(
    config: Config, issuer_id: str, rows: list[ImportedStatus], *, source: str, dry_run: bool, json: bool
) -> None:
    report = run(_store(config, issuer_id, rows, dry_run=dry_run))
    changes = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in asdict(report).items())
    text = f"{source}: {changes}" + ("; nothing was changed (dry run)" if dry_run else "")
    print_result({"source": source, "dry_run": dry_run, **asdict(report)}, text, json=json)


async def _store(config: Config, issuer_id: str, rows: list[ImportedStatus], *, dry_run: bool) -> ImportReport:
    async with open_stores(config, name="import") as stores:
        stores.issuers.replace(await stores.issuer_store.load())
        issuer = known_issuer(stores.issuers, issuer_id)
        with progress("importing", total=len(rows)) as report:
            return await stores.imports.run(
                issuer, rows, dry_run=dry_run, actor="import openssl-index", progress=report.advance
            )
