"""`certstatus import ocsp-response` and `certstatus root-day`: CAs whose answers are made elsewhere."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from responder.cli.config import ConfigOption
from responder.cli.imports import DryRunOption
from responder.cli.options import actor, load_config, load_issuer, print_result, run
from responder.cli.output import JsonOption, print_json, progress, say
from responder.clock import SystemClock
from responder.config import Config
from responder.errors import ConfigError
from responder.operations.elsewhere import ReadAnswers, answer_files, read_answers, take_answers
from responder.operations.importing import until_known
from responder.operations.root_day import root_day
from responder.pki import ImportedAnswer, Issuer, Unaware
from responder.roles.stores import open_stores
from responder.storage.answers import SaidElsewhere, TakenAnswers

_SHOWN = 20

_SHOWS_PROGRESS = 1000
"""So many files take a second and more."""


def import_ocsp_response(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="OCSP responses in DER, or a folder of them.")],
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Import OCSP responses that were made elsewhere, for CAs that were added with --offline.

    Each is checked as a client would: signature, delegation, times. A bad one is named, and then nothing is imported.
    What they say of a certificate becomes its status by the rules for revocations: nothing that is revoked here becomes
    good, and an answer that says so is left out."""
    loaded = load_config(config)
    given, done, unaware = run(_take(loaded, files, dry_run=dry_run))
    document = {
        "dry_run": dry_run,
        "issuers": [_document(each) for each in done],
        "findings": given.findings,
        "unaware": list(unaware.owners),
    }
    lines = [line for each in done for line in _described(each)]
    lines += [f"against the rules, and given all the same: {finding}" for finding in given.findings[:_SHOWN]]
    if len(given.findings) > _SHOWN:
        lines.append(f"and {len(given.findings) - _SHOWN:,} more findings (--json names all)")
    if dry_run:
        lines.append("nothing was changed (dry run)")
    if unaware.owners:
        lines.append(f"{', '.join(unaware.owners)}: may answer what was before for a while")
    print_result(document, "\n".join(lines), json=json)


async def _take(config: Config, files: list[Path], *, dry_run: bool) -> tuple[ReadAnswers, list[TakenAnswers], Unaware]:
    async with open_stores(config, name="import") as stores:
        stores.issuers.replace(await stores.issuer_store.load())
        paths, source = answer_files(files), ", ".join(map(str, files))
        with progress("reading", total=len(paths), quiet=len(paths) < _SHOWS_PROGRESS) as report:
            given = read_answers(paths, stores.issuers, now=SystemClock().now(), source=source, progress=report.advance)
        done = await take_answers(stores.answers, given, dry_run=dry_run, actor=actor())
        unaware = Unaware()
        for issuer in () if dry_run else given.answers:
            late = await until_known(stores.hosts, issuer, seconds=config.revocation.wait_seconds)
            unaware = late if late.owners else unaware
        return given, done, unaware


def _document(taken: TakenAnswers) -> dict[str, Any]:
    return {
        "id": taken.issuer_id,
        "answers": taken.taken,
        "import": taken.statuses.id,
        "older": [_named(each) for each in taken.older],
        "unusable": [_named(each) for each in taken.unusable],
        **asdict(taken.statuses.report),
    }


def _described(taken: TakenAnswers) -> list[str]:
    report = taken.statuses.report
    line = f"issuer {taken.issuer_id}: {taken.taken:,} answers taken"
    if report.added:
        line += f", {report.added:,} certificates added"
    if report.newly_revoked:
        line += f", {report.newly_revoked:,} newly revoked"
    lines = [line]
    for answers, meaning in (
        (taken.older, "older than the answer that is here; left out"),
        (taken.unusable, "another status than here, where the rules of a revocation keep what is here; left out"),
    ):
        if answers:
            lines.append(f"  {meaning}: {', '.join(map(_named, answers[:_SHOWN]))}")
            if len(answers) > _SHOWN:
                lines.append(f"    and {len(answers) - _SHOWN:,} more (--json names all)")
    return lines


def _named(answer: ImportedAnswer) -> str:
    return f"{answer.certificate.serial_number:#x} ({answer.variant.hash_name})"


def print_root_day(
    issuer_id: Annotated[str, typer.Option("--issuer", help="The id of the offline CA.")],
    days: Annotated[int, typer.Option(min=1, max=3660, help="For how many days the answers are to be valid.")] = 90,
    within: Annotated[
        int | None,
        typer.Option(min=0, max=3660, help="Only what has no answer, or one that ends within so many days."),
    ] = None,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Print what an offline CA must sign next: a shell script with an openssl line for each answer.

    It lists the CA's certificates with their statuses as they are here; run it where the CA's key is, and import what
    it makes (certstatus import ocsp-response)."""
    loaded = load_config(config)
    now = SystemClock().now()
    issuer, said = run(_said(loaded, issuer_id))
    if within is not None:
        until = now + timedelta(days=within)
        said = [each for each in said if each.ends_at is None or each.ends_at <= until]
    if json:
        print_json([_row(each) for each in said])
    elif not said:
        print(f"nothing is to be signed for {issuer_id}", file=sys.stderr)
    else:
        say(root_day(issuer, said, days=days, now=now).rstrip("\n"))


def _row(each: SaidElsewhere) -> dict[str, Any]:
    return {
        "serial": hex(each.status.certificate.serial_number),
        "status": each.status.cert_status.name.lower(),
        "not_after": each.status.not_after,
        "ends_at": each.ends_at,
        "hash_algorithms": [variant.hash_name for variant in each.variants],
    }


async def _said(config: Config, issuer_id: str) -> tuple[Issuer, list[SaidElsewhere]]:
    async with open_stores(config, name="cli") as stores:
        issuer = await load_issuer(stores, issuer_id)
        if not issuer.policy.offline:
            raise ConfigError(f"--issuer {issuer_id}: its answers are signed here (certstatus issuer show {issuer_id})")
        said = await stores.answers.said(issuer)
        if not said:
            raise ConfigError(
                f"issuer {issuer_id}: no certificate of it is known that is valid now; register them "
                "(certstatus register), or import the CA's index (certstatus import openssl-index)"
            )
        return issuer, said
