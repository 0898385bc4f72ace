"""`certstatus signer`: the keys and certificates that sign for the issuers."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from responder.cli.config import ConfigOption
from responder.cli.files import certificate_in
from responder.cli.issuer import AlgorithmOption
from responder.cli.options import actor, load_config, load_issuer, print_result, run
from responder.cli.output import JsonOption, print_json, print_table, progress, say
from responder.cli.serials import read_serial
from responder.clock import SystemClock
from responder.config import Config
from responder.errors import ConfigError, StatusUnavailable
from responder.ocsp.presign import PARTITIONS
from responder.pki import ResponderCertificate
from responder.pki.certificates import read_certificate
from responder.roles.stores import Stores, open_stores
from responder.signing.crls import ca_signer_of
from responder.signing.delegates import issue_responder_certificate
from responder.signing.key_files import DEFAULT_KIND, install_key, make_key_file, require_key
from responder.signing.keys import KeyRing
from responder.signing.signers import make_signer, require_usable
from responder.storage.issuers import RetiredSigner

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
            return await stores.issuer_store.responder_certificates(retired=retired)

    ring, now = KeyRing(loaded.keys.directory), SystemClock().now()
    signing: set[str] = set()
    rows: list[dict[str, object]] = []
    for row in sorted(run(load()), key=lambda row: (row.issuer_id, -row.not_after.timestamp())):
        is_here = ring.get(row.public_key) is not None
        state = _state(row, now, is_here=is_here, others_sign=row.issuer_id in signing)
        if state == "signs":
            signing.add(row.issuer_id)
        rows.append(
            {
                "issuer": row.issuer_id,
                "serial": hex(read_certificate(row.certificate).serial_number),
                "state": state,
                "key": hashlib.sha256(row.public_key).hexdigest()[:16],
                "not_before": row.not_before,
                "not_after": row.not_after,
                "key_is_here": is_here,
                **({"retired_at": row.retired_at} if retired else {}),
            }
        )
    if json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        say("no responder certificates yet; certstatus issuer add makes or takes the first")


def _state(row: ResponderCertificate, now: datetime, *, is_here: bool, others_sign: bool) -> str:
    """As `Signers.for_issuer` chooses: of those valid now the one that lives longest."""
    if row.retired_at is not None:
        return "retired"
    if row.not_after <= now:
        return "ended"
    if now < row.not_before:
        return "not yet valid"
    if not is_here:
        return "key elsewhere"
    return "in reserve" if others_sign else "signs"


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
    serial = run(_add(loaded, issuer_id, key, certificate, algorithm))
    print_result(
        {"issuer": issuer_id, "serial": hex(serial)}, f"issuer {issuer_id}: signer {serial:#x} added", json=json
    )


async def _add(config: Config, issuer_id: str, key: Path | None, certificate: Path | None, algorithm: str) -> int:
    async with open_stores(config, name="cli") as stores:
        issuer = await load_issuer(stores, issuer_id)
        now = SystemClock().now()
        name = f"{issuer.id}-{now:%Y%m%dT%H%M%S}.pem"
        installed: Path | None = None
        if key is not None and certificate is not None:
            delegate = certificate_in(certificate).der
            made = require_key(key, delegate, str(certificate))
            signer = make_signer(issuer, delegate, made)
            require_usable(delegate, issuer, now)
            if any(row.certificate == delegate for row in await stores.issuer_store.responder_certificates()):
                raise ConfigError(f"--certificate {certificate}: it is a signer of issuer {issuer.id} already")
        try:
            if key is not None:
                installed = install_key(key, config.keys.directory, name)
            else:
                issuing = ca_signer_of(KeyRing(config.keys.ca_directory), issuer.public_key)
                if issuing is None:
                    raise ConfigError(
                        f"the key of issuer {issuer.id} isn't on this host, so no certificate can be issued here; "
                        "give --key and --certificate"
                    )
                installed, spki = make_key_file(config.keys.directory, name, algorithm)
                delegate = issue_responder_certificate(issuer, issuing, spki, now=now)
                signer = make_signer(issuer, delegate, require_key(installed, delegate, str(installed)))
            await stores.issuer_store.add_responder_certificate(
                issuer.id, delegate, profile=signer.profile, actor=actor()
            )
        except StatusUnavailable:
            raise  # the row may be there although its confirmation was lost: the key stays
        except BaseException:
            if installed is not None:
                installed.unlink(missing_ok=True)
            raise
    return read_certificate(delegate).serial_number


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
    retirement = run(_retire(loaded, issuer_id, number, now=now, even_if_last=even_if_last, wait=wait, quiet=json))
    done = retirement.done
    certificates = _count(done.certificates, "certificate")
    text = f"issuer {issuer_id}: the key of signer {number:#x} signs no more ({certificates})"
    if now:
        text += f"; its answers are refused ({_count(done.profiles, 'profile')})"
    if retirement.signed_again:
        text += "; everything is signed again"
    for other in retirement.elsewhere:
        text += f"\nthe same key signs for issuer {other}, too: certstatus signer retire --issuer {other}"
    document = {
        "issuer": issuer_id,
        "serial": hex(number),
        "certificates": done.certificates,
        "profiles": done.profiles,
        "signed_again": retirement.signed_again,
        "also_signs_for": retirement.elsewhere,
    }
    print_result(document, text, json=json)
    if retirement.obstacle is not None:
        raise StatusUnavailable(retirement.obstacle)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class _Retirement:
    """What was done; whether everything is signed again, None when that wasn't asked; and what keeps it from it."""

    done: RetiredSigner
    elsewhere: list[str]
    signed_again: bool | None = None
    obstacle: str | None = None


async def _retire(
    config: Config, issuer_id: str, serial: int, *, now: bool, even_if_last: bool, wait: bool, quiet: bool
) -> _Retirement:
    async with open_stores(config, name="cli") as stores:
        issuer = await load_issuer(stores, issuer_id)
        rows = await stores.issuer_store.responder_certificates(retired=True)
        keys = {
            row.public_key
            for row in rows
            if row.issuer_id == issuer.id and read_certificate(row.certificate).serial_number == serial
        }
        if len(keys) != 1:
            raise ConfigError(
                f"--serial {serial:#x}: issuer {issuer.id} has {'no' if not keys else 'more than one'} responder "
                "certificate of this serial; certstatus signer list shows them"
            )
        (public_key,) = keys
        try:
            done = await stores.issuer_store.retire_signer(
                issuer, public_key, now=now, even_if_last=even_if_last, actor=actor()
            )
        except ConfigError as error:
            raise ConfigError(f"--serial {serial:#x}: {error}") from error
        elsewhere = sorted(
            {
                row.issuer_id
                for row in rows
                if row.public_key == public_key and row.retired_at is None and row.issuer_id != issuer.id
            }
        )
        if not (now and wait):
            return _Retirement(done, elsewhere)
        if not done.others:
            obstacle: str | None = f"issuer {issuer.id} has no signer any more; add one: certstatus signer add"
        else:
            obstacle = await _watch(stores, issuer.id, quiet=quiet)
        return _Retirement(done, elsewhere, signed_again=obstacle is None, obstacle=obstacle)


PATIENCE_SECONDS = 30.0
"""How long nobody may be at it before `retire --now` says so and waits no longer."""


async def _watch(stores: Stores, issuer_id: str, *, quiet: bool) -> str | None:
    """Until `work` has signed every slice again, or nobody does; then the sentence for it.

    Ctrl-C stops watching, not signing.
    """
    loop = asyncio.get_running_loop()
    with progress("slices signed again", PARTITIONS, quiet=quiet) as report:
        left, seen = PARTITIONS, loop.time()
        while left:
            still = await stores.partitions.overdue(issuer_id)
            if still < left or await stores.partitions.is_being_signed(issuer_id):
                seen = loop.time()
            elif loop.time() - seen > PATIENCE_SECONDS:
                return (
                    f"issuer {issuer_id}: {still} of {PARTITIONS} slices aren't signed again, and nobody is at it; is "
                    "certstatus work running? It goes on by itself, and until then these are signed as they are asked"
                )
            report.advance(max(0, left - still))
            left = min(left, still)
            if left:
                await asyncio.sleep(0.5)
    return None
