"""`certstatus import`: statuses from an existing CA."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from responder.cli.config import ConfigOption
from responder.cli.options import actor, latest_revocation, load_config, load_issuer, print_result, run
from responder.cli.output import JsonOption, print_json, print_table, progress, say, tell
from responder.clock import SystemClock
from responder.config import Config
from responder.errors import ConfigError
from responder.operations.importing import StatusList, import_list, read_openssl_index, until_known
from responder.operations.watching import follow
from responder.pki import Unaware
from responder.roles.stores import open_stores
from responder.storage.imports import KEPT_DAYS, Conflict, Import, Undone

app = typer.Typer(help="Import what an existing CA has issued and revoked.", no_args_is_help=True)

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Report what would change without changing anything.")]
IssuerOption = Annotated[str, typer.Option("--issuer", help="The id of the CA that the list belongs to.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Import the list even if it looks like another CA's.")]

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
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and import the index within seconds whenever it has changed.")
    ] = False,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Import an `openssl ca` index; repeat whenever it changes, or let --watch do that.

    Bad lines are reported by number, and then nothing is imported. Where the list and the database differ, the rules
    for revocations decide; what was kept is listed by serial number."""
    loaded = load_config(config)
    if watch and dry_run:
        raise ConfigError("--watch takes over what changes; --dry-run changes nothing: leave one of them out")
    if watch:
        run(_watch(loaded, file, issuer_id, force=force, json=json))
        return
    statuses = read_openssl_index(file, now=latest_revocation())
    done, unaware = run(_take(loaded, issuer_id, statuses, dry_run=dry_run, force=force))
    _print(file, done, unaware, dry_run=dry_run, json=json)


async def _take(
    config: Config, issuer_id: str, statuses: StatusList, *, dry_run: bool = False, force: bool
) -> tuple[Import, Unaware]:
    async with open_stores(config, name="import") as stores:
        issuer = await load_issuer(stores, issuer_id)
        with progress("importing", total=statuses.lines) as report:
            done = await import_list(
                stores.imports,
                issuer,
                statuses,
                dry_run=dry_run,
                force=force,
                actor=actor(),
                progress=report.advance,
            )
        if dry_run:
            return done, Unaware()
        return done, await until_known(stores.hosts, issuer, seconds=config.revocation.wait_seconds)


async def _watch(config: Config, file: Path, issuer_id: str, *, force: bool, json: bool) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_stores(config, name="import") as stores:
        await load_issuer(stores, issuer_id)  # a wrong name is no reason to wait

    async def take(statuses: StatusList) -> None:
        done, unaware = await _take(config, issuer_id, statuses, force=force)
        _print(file, done, unaware, dry_run=False, json=json)

    await follow(
        file,
        read=lambda path: read_openssl_index(path, now=latest_revocation()),
        take=take,
        tell=tell,
        stop=stop,
        clock=SystemClock(),
    )


def _print(file: Path, done: Import, unaware: Unaware, *, dry_run: bool, json: bool) -> None:
    document = {
        "import": done.id,
        "source": str(file),
        "dry_run": dry_run,
        **asdict(done.report),
        "conflicts": [asdict(conflict) for conflict in done.conflicts],
        "unaware": list(unaware.owners),
    }
    described = _described(str(file), done)
    if unaware.owners:
        described += f"\n{', '.join(unaware.owners)}: may answer what was before for a while"
    print_result(document, described, json=json)
    sys.stdout.flush()


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
    """List the imports, and which were undone."""
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
    job: Annotated[int, typer.Argument(metavar="JOB", help="The number that the import printed.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Undo an import: what it added becomes unknown again, what it changed is restored.

    Possible only while nothing else has changed any of its certificates."""
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
