"""`certstatus signer`: the keys and certificates that sign for the issuers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from responder.cli.config import ConfigOption
from responder.cli.files import certificate_in
from responder.cli.issuer import AlgorithmOption
from responder.cli.options import actor, key_folders, load_config, load_issuer, print_result, run
from responder.cli.output import JsonOption, print_json, print_table, progress, say
from responder.clock import SystemClock
from responder.config import Config
from responder.errors import ConfigError, StatusUnavailable
from responder.ocsp.presign import PARTITIONS
from responder.operations.signers import (
    AddedSigner,
    GivenSigner,
    Retirement,
    add_signer,
    retire_signer,
    states,
    until_signed_again,
)
from responder.operations.spelling import read_serial
from responder.pki import ResponderCertificate
from responder.pki.certificates import read_certificate
from responder.roles.stores import open_stores
from responder.signing.key_files import DEFAULT_KIND
from responder.signing.keys import KeyRing
from responder.signing.sizes import warnings

app = typer.Typer(help="The keys and certificates that sign for the CAs.", no_args_is_help=True)

IssuerOption = Annotated[str, typer.Option("--issuer", metavar="ID", help="The id of the CA.")]


@app.command("list")
def list_signers(
    retired: Annotated[bool, typer.Option("--retired", help="Include retired ones.")] = False,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """List the responder certificates; `signs` marks the one that this host is using for its issuer."""
    loaded = load_config(config)

    async def load() -> list[ResponderCertificate]:
        async with open_stores(loaded, name="cli") as stores:
            return await stores.signer_store.responder_certificates(retired=retired)

    keys, now = KeyRing(loaded.keys.directory), SystemClock().now()
    rows: list[dict[str, object]] = [
        {
            "issuer": each.row.issuer_id,
            "serial": hex(read_certificate(each.row.certificate).serial_number),
            "state": each.state,
            "key": hashlib.sha256(each.row.public_key).hexdigest()[:16],
            "not_before": each.row.not_before,
            "not_after": each.row.not_after,
            "key_is_here": each.key_is_here,
            **({"retired_at": each.row.retired_at} if retired else {}),
        }
        for each in states(run(load()), keys, now)
    ]
    if json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        say("no responder certificates yet; certstatus issuer add makes or takes the first")


@app.command()
def add(
    issuer_id: IssuerOption,
    key: Annotated[Path | None, typer.Option(help="The responder's private key (PEM, mode 0600).")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Its certificate, issued by the CA.")] = None,
    algorithm: AlgorithmOption = DEFAULT_KIND,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Add a key that signs for a CA: a given one, or a new one if the CA's key is on this host."""
    loaded = load_config(config, needs_keys=True)
    if (key is None) != (certificate is None):
        raise ConfigError("--key and --certificate go together; one of them is missing")
    given = None
    if key is not None and certificate is not None:
        given = GivenSigner(key, certificate_in(certificate).der, str(certificate))

    async def add_it() -> AddedSigner:
        async with open_stores(loaded, name="cli") as stores:
            return await add_signer(
                stores.signer_store,
                await load_issuer(stores, issuer_id),
                given,
                algorithm=algorithm,
                folders=key_folders(loaded),
                now=SystemClock().now(),
                actor=actor(),
            )

    added = run(add_it())
    cautions = warnings(added.answer_octets)
    print_result(
        {
            "issuer": issuer_id,
            "serial": hex(added.serial_number),
            "longest_answer_octets": added.answer_octets,
            "warnings": cautions,
        },
        "\n".join(
            [
                f"issuer {issuer_id}: signer {added.serial_number:#x} added; its answers have up to "
                f"{added.answer_octets:,} octets",
                *cautions,
            ]
        ),
        json=json,
    )


@app.command()
def retire(
    issuer_id: IssuerOption,
    serial: Annotated[
        str, typer.Option(help="Serial number of one of the key's certificates, as shown by signer list.")
    ],
    now: Annotated[
        bool, typer.Option("--now", help="Also stop serving what the key has signed, and sign everything again.")
    ] = False,
    even_if_last: Annotated[
        bool,
        typer.Option("--even-if-last", help="Retire it even if no other signer is left; clients then get tryLater."),
    ] = False,
    wait: Annotated[bool, typer.Option(help="With --now, wait until everything is signed again.")] = True,
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Retire a responder key with all of its certificates. It is never certified here again."""
    loaded = load_config(config)
    number = read_serial("--serial", serial)
    retirement, signed_again, obstacle = run(
        _retire(loaded, issuer_id, number, now=now, even_if_last=even_if_last, wait=wait, quiet=json)
    )
    done = retirement.done
    certificates = _count(done.certificates, "certificate")
    text = f"issuer {issuer_id}: the key of signer {number:#x} signs no more ({certificates})"
    if now:
        text += f"; its answers are refused ({_count(done.profiles, 'profile')})"
    if signed_again:
        text += "; everything is signed again"
    for other in retirement.elsewhere:
        text += f"\nthe same key signs for issuer {other}, too: certstatus signer retire --issuer {other}"
    document = {
        "issuer": issuer_id,
        "serial": hex(number),
        "certificates": done.certificates,
        "profiles": done.profiles,
        "signed_again": signed_again,
        "also_signs_for": retirement.elsewhere,
    }
    print_result(document, text, json=json)
    if obstacle is not None:
        raise StatusUnavailable(obstacle)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


async def _retire(
    config: Config, issuer_id: str, serial: int, *, now: bool, even_if_last: bool, wait: bool, quiet: bool
) -> tuple[Retirement, bool | None, str | None]:
    """What was done; whether everything is signed again, None when that wasn't asked; and what keeps it from it.
    Ctrl-C stops watching, not signing."""
    async with open_stores(config, name="cli") as stores:
        issuer = await load_issuer(stores, issuer_id)
        try:
            retirement = await retire_signer(
                stores.signer_store, issuer, serial, now=now, even_if_last=even_if_last, actor=actor()
            )
        except ConfigError as error:
            named = ConfigError(f"--serial {serial:#x}: {error}")
            named.remedy = error.remedy
            raise named from error
        if not (now and wait):
            return retirement, None, None
        obstacle: str | None = f"issuer {issuer.id} has no signer any more; add one: certstatus signer add"
        if retirement.done.others:
            with progress("slices signed again", PARTITIONS, quiet=quiet) as report:
                obstacle = await until_signed_again(stores.partitions, issuer.id, report.advance)
        return retirement, obstacle is None, obstacle
