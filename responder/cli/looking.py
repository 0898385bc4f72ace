"""`certstatus show`, `list` and `export`: what is kept of certificates."""

from __future__ import annotations

import json as json_format
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from responder.cli.config import ConfigOption
from responder.cli.naming import Named, by_certificate, by_serial
from responder.cli.options import load_config, load_issuer, run
from responder.cli.output import ExitCode, JsonOption, complain, print_json, print_pairs, print_table, progress, say
from responder.clock import SystemClock
from responder.config import Config
from responder.errors import ConfigError
from responder.formats import openssl_index
from responder.operations.looking import expiring
from responder.operations.spelling import certificate_document, read_serial
from responder.pki import CertificateStatus, decode_serial, encode_serial
from responder.roles.operating import looker
from responder.roles.stores import open_stores
from responder.storage.listing import Selection

IssuerOption = Annotated[str, typer.Option("--issuer", help="The id of the CA.")]

_COLUMNS = ("serial", "status", "reason", "revoked_at", "not_after")

_FORMATS: dict[str, Callable[[CertificateStatus], str]] = {
    "ndjson": lambda status: json_format.dumps(certificate_document(status)),
    "openssl-index": openssl_index.line_of,
}


def show(
    which: Annotated[
        str, typer.Argument(metavar="SERIAL|FILE", help="A serial number (0x1a2b, 1A:2B or 010A) or a certificate.")
    ],
    issuer_id: Annotated[str, typer.Option("--issuer", help="The id of the CA; not needed with a certificate.")] = "",
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Show a certificate: its status, what is stored of it where, and what would be answered.

    Exits 1 when it isn't registered.
    """
    loaded = load_config(config)
    named = (
        by_certificate(issuer_id, Path(which), option=which) if Path(which).is_file() else by_serial(issuer_id, which)
    )
    shown = run(_show(loaded, named))
    if "version" not in shown:
        if json:
            print_json(shown)
        else:
            complain(f"{shown['serial']} of {shown['issuer']} isn't registered; the answer is {shown['answer']}")
        raise typer.Exit(ExitCode.FAILED)
    if json:
        print_json(shown)
        return
    version, record = shown.pop("version"), shown.pop("record")
    pairs = [*shown.items(), ("version", f"{version['epoch']}.{version['number']}")]
    if record is None:
        pairs.append(("record", None))
    else:
        held = record.pop("version")
        pairs += [("record", f"version {held['epoch']}.{held['number']}"), *(("  " + k, v) for k, v in record.items())]
    print_pairs(pairs)


async def _show(config: Config, named: Named) -> dict[str, Any]:
    async with open_stores(config, name="cli") as stores:
        stores.issuers.replace(await stores.issuer_store.load())
        await stores.reload_trust()
        certificate = named(stores.issuers)
        found = await looker(stores).one(certificate, now=SystemClock().now())
    return found or {
        "issuer": certificate.issuer.id,
        "serial": hex(certificate.serial_number),
        "answer": certificate.issuer.policy.unknown_serial.name,
    }


def list_certificates(
    issuer_id: IssuerOption,
    revoked: Annotated[bool | None, typer.Option("--revoked/--good", help="Only those; on hold is revoked.")] = None,
    expiring_days: Annotated[
        int | None, typer.Option("--expiring", metavar="DAYS", min=0, max=36_500, help="Only those that end by then.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 100,
    after: Annotated[str, typer.Option(help="The serial number that the last list ended with.")] = "",
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """List certificates of a CA, in the order of their serials' octets."""
    loaded = load_config(config)
    start = encode_serial(read_serial("--after", after)) if after else b""
    selection = _selection(revoked, expiring_days)

    async def read() -> tuple[list[dict[str, Any]], bytes | None]:
        async with open_stores(loaded, name="cli") as stores:
            issuer = await load_issuer(stores, issuer_id)
            return await looker(stores).page(issuer, selection, after=start, limit=limit)

    found, last = run(read())
    following = None if last is None else hex(decode_serial(last))
    if json:
        print_json({"issuer": issuer_id, "certificates": found, "after": following})
        return
    if not found:
        say("no such certificates")
        return
    print_table([name.replace("_", " ") for name in _COLUMNS], [[row[name] for name in _COLUMNS] for row in found])
    if following is not None:
        say(f"and more: --after {following}")


def export(
    issuer_id: IssuerOption,
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join(_FORMATS)}.")] = "ndjson",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file, which is whole or isn't there; else standard output.")
    ] = None,
    revoked: Annotated[bool | None, typer.Option("--revoked/--good", help="Only those; on hold is revoked.")] = None,
    config: ConfigOption = None,
) -> None:
    """Write all certificates of a CA, as they are at one moment.

    A line of JSON has what `certstatus show --json` has of the certificate. In an `openssl ca` index subjects are
    unknown, since they aren't kept, and where the end isn't known it is that of the year 9999.
    """
    loaded = load_config(config)
    if form not in _FORMATS:
        raise ConfigError(f"--format {form}: it is one of {', '.join(_FORMATS)}")

    async def write(file: TextIO, advance: Callable[[int], None]) -> None:
        async with open_stores(loaded, name="export") as stores:
            issuer = await load_issuer(stores, issuer_id)
            async for statuses in stores.listing.everything(issuer, _selection(revoked, None)):
                file.writelines(_FORMATS[form](status) + "\n" for status in statuses)
                advance(len(statuses))

    with _opened(output) as file, progress("exporting") as report:
        run(write(file, report.advance))


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that takes its place when all of it is there."""
    if path is None:
        yield sys.stdout
        return
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ConfigError(f"--output {path}: it can't be written: {error.strerror}") from error
    begun = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yield file
        begun.chmod(0o644)
        begun.replace(path)
    except BaseException:
        begun.unlink()
        raise


def _selection(revoked: bool | None, days: int | None) -> Selection:
    return Selection(revoked) if days is None else expiring(days, revoked=revoked, now=SystemClock().now())
