"""`certstatus import`: statuses from an existing CA."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from responder.cli.config import ConfigOption
from responder.cli.options import actor, latest_revocation, load_config, load_issuer, print_result, run
from responder.cli.output import JsonOption, print_json, print_table, progress, say
from responder.config import Config
from responder.errors import ConfigError, ImportRefused
from responder.imports import openssl_index
from responder.imports.sample import find_stranger
from responder.interfaces import ImportedStatus
from responder.storage.imports import KEPT_DAYS, Conflict, Import, Undone
from responder.stores import open_stores

app = typer.Typer(help="Take over what an existing CA has issued and revoked.", no_args_is_help=True)

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
IssuerOption = Annotated[str, typer.Option("--issuer", help="The id of the CA the list is of.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Take the list although it looks like another CA's.")]

_SHOWN = 20

_COLUMNS = ("id", "issuer_id", "at", "actor", "source", "listed", "added", "newly_revoked", "changed", "undone_at")

_KINDS = {
    "kept_revoked": "good in the list, revoked here: stays revoked (release it here where that is right)",
    "kept_reason": "another reason in the list: only keyCompromise, or the end of a hold, replaces one",
    "kept_date": "a later date in the list: the earlier one stays",
    "kept_released": "on hold in the list, released here since: stays good",
}


@app.command("openssl-index")
def import_openssl_index(
    file: Annotated[Path, typer.Argument(help="The index.txt of `openssl ca` or easy-rsa.")],
    issuer_id: IssuerOption,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Import an `openssl ca` index, as often as it changes. A bad line is named with its number, and then nothing is
    imported. Where list and database differ, the rules of a revocation decide; what was kept is listed by serial."""
    loaded = load_config(config)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: it can't be read: {error.strerror}") from error
    rows = openssl_index.parse(content, now=latest_revocation())
    done = run(
        _store(
            loaded,
            issuer_id,
            rows,
            dry_run=dry_run,
            force=force,
            source=str(file),
            source_sha256=hashlib.sha256(content).digest(),
        )
    )
    document = {
        "import": done.id,
        "source": str(file),
        "dry_run": dry_run,
        **asdict(done.report),
        "conflicts": [asdict(conflict) for conflict in done.conflicts],
    }
    print_result(document, _described(str(file), done), json=json)


async def _store(
    config: Config, issuer_id: str, rows: list[ImportedStatus], *, dry_run: bool, force: bool, **source: Any
) -> Import:
    async with open_stores(config, name="import") as stores:
        issuer = await load_issuer(stores, issuer_id)
        stranger = None if force else find_stranger(Path(source["source"]), [row.serial_number for row in rows], issuer)
        if stranger is not None:
            path, certificate = stranger
            raise ImportRefused(
                f"{path} is in the list and was issued by {certificate.issuer}, and not with the key of {issuer.id}; "
                "give --force if it is the right list all the same"
            )
        with progress("importing", total=len(rows)) as report:
            return await stores.imports.run(
                issuer, rows, dry_run=dry_run, force=force, actor=actor(), progress=report.advance, **source
            )


def _described(source: str, done: Import) -> str:
    counts = asdict(done.report)
    shown = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items() if value)
    lines = [f"{source}: {shown or 'nothing is in it'}"]
    for kind, meaning in _KINDS.items():
        of_kind = [conflict for conflict in done.conflicts if conflict.kind == kind]
        if of_kind:
            lines.append(f"  {meaning}:")
            lines += [f"    {_conflict(conflict)}" for conflict in of_kind[:_SHOWN]]
        if counts[kind] > _SHOWN:
            lines.append(f"    and {counts[kind] - min(_SHOWN, len(of_kind)):,} more (--json names the first thousand)")
    if done.id is None:
        lines.append("nothing was changed (dry run)")
    else:
        lines.append(f"import {done.id}; for {KEPT_DAYS} days certstatus import undo {done.id} takes it back")
    return "\n".join(lines)


def _conflict(conflict: Conflict) -> str:
    return f"line {conflict.line}, serial {conflict.serial}: the list says {conflict.list_says}; kept {conflict.kept}"


@app.command("list")
def list_imports(config: ConfigOption = None, *, json: JsonOption = False) -> None:
    """List the imports that can be taken back, or were."""
    loaded = load_config(config)

    async def read() -> list[dict[str, Any]]:
        async with open_stores(loaded, name="cli") as stores:
            return await stores.imports.made()

    made = run(read())
    if json:
        print_json(made)
    elif not made:
        say("no imports yet")
    else:
        print_table([name.replace("_", " ") for name in _COLUMNS], [[row[name] for name in _COLUMNS] for row in made])


@app.command("undo")
def undo(
    job: Annotated[int, typer.Argument(metavar="JOB", help="The number that the import told.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Take an import back: what it added is unknown again, and what it changed is as it was. Only while nothing else
    has changed any of its certificates."""
    loaded = load_config(config)

    async def take_back(*, dry_run: bool) -> Undone:
        async with open_stores(loaded, name="cli") as stores:
            return await stores.imports.undo(job, dry_run=dry_run, actor=actor())

    done = run(take_back(dry_run=True))
    told = (
        f"import {job} of {done.issuer_id}: {done.removed:,} unknown again, {done.restored:,} as before, "
        f"of which {done.good_again:,} good again"
    )
    if not dry_run:
        if not yes:
            typer.confirm(f"{told}. Take it back?", abort=True)
        done = run(take_back(dry_run=False))
    text = told + ("; nothing was changed (dry run)" if dry_run else "; taken back")
    print_result({"import": job, "dry_run": dry_run, **asdict(done)}, text, json=json)
