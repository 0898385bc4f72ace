"""`certstatus register`: certificates as they are issued, by the same path as the API."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from responder.cli.config import ConfigOption
from responder.cli.files import certificate_in, issuer_of
from responder.cli.options import actor, known_issuer, load_config, print_result, run
from responder.cli.output import ExitCode, JsonOption, ProgressReport, complain, progress
from responder.config import Config
from responder.errors import ConfigError
from responder.operations.registering import BATCH_LINES, Registrar, issued_as
from responder.operations.spelling import InvalidField
from responder.pki import Issuer, Issuers
from responder.pki.certificates import ParsedCertificate
from responder.roles.operating import registrar
from responder.roles.stores import open_stores

_LINES = (".ndjson", ".jsonl")
_CERTIFICATES = (".pem", ".crt", ".cer", ".der")
_SHOWN = 20


@dataclass
class Done:
    """What became of everything: counts, and what was refused."""

    counts: Counter[str]
    refused: list[dict[str, Any]]
    unaware: list[str]


def register(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Certificates (PEM or DER; the first of each file), folders of them, or lines of JSON (.ndjson, "
            ".jsonl, or - for standard input).",
            show_default=False,
            allow_dash=True,
        ),
    ],
    issuer_id: Annotated[
        str, typer.Option("--issuer", help="The id of the CA; certificates alone are matched by their signature.")
    ] = "",
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Register certificates as they are issued; what is known already stays as it is.

    A line is an object with serial ("0x1a2b"), and not_before, not_after (RFC 3339) and certificate_sha256 where they
    are known; or with certificate (PEM, or DER in base64).

    Exits 0 when every host answers for all of them, 1 when some were refused, 5 when a host hasn't heard yet.
    """
    loaded = load_config(config)
    found = [place for path in paths for place in _places(path)]
    if any(_has_lines(path) for path in found) and not issuer_id:
        raise ConfigError("--issuer ID is missing; lines of JSON don't say whose certificates they are")
    with progress("registering") as report:
        done = run(_register(loaded, found, issuer_id, report))
    document = {**done.counts, "refusals": done.refused, "unaware": done.unaware}
    text = ", ".join(f"{count:,} {name}" for name, count in done.counts.items() if count) or "nothing to register"
    if done.unaware:
        text += f"\n{', '.join(done.unaware)}: may not answer for them for a while"
    print_result(document, text, json=json)
    if done.refused and not json:
        for each in done.refused[:_SHOWN]:
            complain(f"{each['source']}: {each['detail']}")
        if len(done.refused) > _SHOWN:
            complain(f"and {len(done.refused) - _SHOWN:,} more (--json has all)")
    if done.refused:
        raise typer.Exit(ExitCode.FAILED)
    if done.unaware:
        raise typer.Exit(ExitCode.PENDING)


async def _register(config: Config, paths: Sequence[Path], issuer_id: str, report: ProgressReport) -> Done:
    done = Done(Counter(registered=0, known=0, refused=0), [], [])
    async with open_stores(config, name="register") as stores:
        stores.issuers.replace(await stores.issuer_store.load())
        issuers, by = stores.issuers, registrar(config, stores)
        named = known_issuer(issuers, issuer_id) if issuer_id else None
        concerned = set[Issuer]() if named is None else {named}
        certificates = [path for path in paths if not _has_lines(path)]
        async for issuer, results in _register_certificates(by, issuers, named, certificates):
            if issuer is not None:
                concerned.add(issuer)
            _count(done, results)
            report.advance(len(results))
        for path in paths:
            if named is not None and _has_lines(path):
                async for results in _register_lines(by, named, path):
                    _count(done, results)
                    report.advance(len(results))
        for issuer in concerned:
            done.unaware += [owner for owner in (await by.until_known(issuer)).owners if owner not in done.unaware]
    return done


Result = tuple[str, str, str]
"""Where it came from, what became of it, and why."""


async def _register_lines(by: Registrar, issuer: Issuer, path: Path) -> AsyncIterator[list[Result]]:
    async def batches() -> AsyncIterator[list[tuple[int, bytes]]]:
        try:
            with sys.stdin.buffer if str(path) == "-" else path.open("rb") as lines:
                numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
                while batch := list(islice(numbered, BATCH_LINES)):
                    yield batch
        except OSError as error:
            raise ConfigError(f"{path}: it can't be read: {error.strerror}") from error

    async for done in by.register_lines(issuer, batches(), actor=actor()):
        yield [(f"{path}:{each.line}", each.result, each.detail) for each in done]


async def _register_certificates(
    by: Registrar, issuers: Issuers, named: Issuer | None, paths: Sequence[Path]
) -> AsyncIterator[tuple[Issuer | None, list[Result]]]:
    rest = iter(paths)
    while batch := list(islice(rest, BATCH_LINES)):
        of_issuer: dict[Issuer, list[tuple[Path, ParsedCertificate]]] = {}
        refused: list[Result] = []
        for path in batch:
            try:
                certificate = certificate_in(path)
                of_issuer.setdefault(named or _issuer_of(certificate, issuers), []).append((path, certificate))
            except ConfigError as error:
                refused.append((str(path), "refused", str(error).removeprefix(f"{path}: ")))
        yield None, refused
        for issuer, read in of_issuer.items():
            yield issuer, await _register_some(by, issuer, read)


async def _register_some(by: Registrar, issuer: Issuer, read: Sequence[tuple[Path, ParsedCertificate]]) -> list[Result]:
    results: list[Result] = []
    accepted = []
    for path, certificate in read:
        try:
            accepted.append((path, issued_as(issuer, certificate)))
        except InvalidField as error:
            results.append((str(path), "refused", str(error)))
    new = await by.register(issuer, [issued for _, issued in accepted], actor=actor())
    results += [
        (str(path), "registered" if is_new else "known", "") for (path, _), is_new in zip(accepted, new, strict=True)
    ]
    return results


def _issuer_of(certificate: ParsedCertificate, issuers: Issuers) -> Issuer:
    issuer = issuer_of(certificate, issuers)
    if issuer is None:
        raise ConfigError(
            f"it was issued by {certificate.issuer}, and no issuer here has signed it (certstatus issuer list)"
        )
    return issuer


def _count(done: Done, results: Sequence[Result]) -> None:
    for source, result, detail in results:
        done.counts[result] += 1
        if result == "refused":
            done.refused.append({"source": source, "detail": detail})


def _has_lines(path: Path) -> bool:
    return str(path) == "-" or path.suffix.lower() in _LINES


def _places(path: Path) -> Iterator[Path]:
    """The files that a path names: itself, or the certificates in a folder."""
    if str(path) == "-" or path.is_file():
        yield path
    elif path.is_dir():
        found = sorted(each for each in path.iterdir() if each.suffix.lower() in _CERTIFICATES and each.is_file())
        if not found:
            raise ConfigError(f"{path}: no certificates are in this folder ({', '.join(_CERTIFICATES)})")
        yield from found
    else:
        raise ConfigError(f"{path}: there is no such file")
