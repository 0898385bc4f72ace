"""`certstatus presign`: signs everything of an issuer again now, or says what that costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from responder.cli.config import ConfigOption
from responder.cli.options import known_issuer, load_config, run
from responder.cli.output import JsonOption, ProgressReport, print_json, print_table, progress, say
from responder.config import Config
from responder.errors import ConfigError
from responder.ocsp.presign import PARTITIONS
from responder.operations.presigning import SigningCost, signing_cost
from responder.pki import Issuer
from responder.roles.presign import presign_now, presign_shares
from responder.roles.signing import answer_signer
from responder.roles.snapshot import Directory
from responder.roles.stores import Stores, open_stores


def presign(
    all_issuers: Annotated[bool, typer.Option("--all", help="The certificates of every CA.")] = False,
    issuer_id: Annotated[str, typer.Option("--issuer", metavar="ID", help="Those of this CA.")] = "",
    partition: Annotated[
        list[int] | None,
        typer.Option("--partition", metavar="N", help=f"Of this slice alone, 0 to {PARTITIONS - 1}; may be repeated."),
    ] = None,
    config: ConfigOption = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and sign nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Sign the answers for all certificates of a CA again now, on all cores, beside certstatus work.

    Nothing needs it: work signs each in its turn, and what isn't there is signed when somebody asks. It fills a record
    store that has lost everything, or brings a new key into use at once. Where it is stopped, work signs the rest."""
    if all_issuers == bool(issuer_id):
        raise ConfigError("give one of --all and --issuer ID; certstatus issuer list shows the ids")
    if partition and not issuer_id:
        raise ConfigError("--partition goes with --issuer ID")
    for each in partition or []:
        if not 0 <= each < PARTITIONS:
            raise ConfigError(f"--partition {each}: slices are numbered from 0 to {PARTITIONS - 1}")
    loaded, partitions = load_config(config, needs_keys=True), partition or None
    if dry_run:
        _tell_costs(loaded, run(_costs(loaded, issuer_id, partitions)), json=json)
        return
    started = time.monotonic()
    with progress("certificates signed", quiet=json) as report:
        costs = run(_presign(loaded, issuer_id, partitions, report))
    seconds = time.monotonic() - started
    signatures = sum(signatures for _, signatures in costs)
    if json:
        document = {
            "certificates": sum(certificates for certificates, _ in costs),
            "signatures": signatures,
            "seconds": round(seconds, 3),
            "signatures_per_second": round(signatures / seconds),
        }
        print_json(document)
    else:
        say(f"{signatures:,} signatures in {seconds:,.1f} s, {signatures / seconds:,.0f} a second")


async def _opened(
    config: Config, stores: Stores, issuer_id: str, partitions: list[int] | None
) -> tuple[Directory, dict[Issuer, dict[int, int]]]:
    """The keys of this host, and how many certificates are in which slice of the issuers that are meant."""
    directory = Directory(stores, keys=config.keys.directory)
    await directory.reload()
    if directory.unknown_profiles:
        await directory.announce_profiles()
        await directory.reload()
    sizes = {}
    for issuer in [known_issuer(stores.issuers, issuer_id)] if issuer_id else stores.issuers:
        found = await stores.partitions.sizes(issuer)
        sizes[issuer] = found if partitions is None else {each: found.get(each, 0) for each in partitions}
    return directory, sizes


async def _presign(
    config: Config, issuer_id: str, partitions: list[int] | None, report: ProgressReport
) -> list[tuple[int, int]]:
    """Certificates and signatures, of each issuer."""
    async with open_stores(config, name="presign", is_patient=True) as stores:
        directory, sizes = await _opened(config, stores, issuer_id, partitions)
        report.expect(sum(sum(each.values()) for each in sizes.values()))
        await presign_now(config, stores, directory, sizes, partitions=partitions, progress=report.advance)
    return [(sum(each.values()), sum(each.values()) * len(issuer.policy.variants)) for issuer, each in sizes.items()]


async def _costs(config: Config, issuer_id: str, partitions: list[int] | None) -> list[SigningCost]:
    async with open_stores(config, name="presign", is_patient=True) as stores:
        directory, sizes = await _opened(config, stores, issuer_id, partitions)
        signer = answer_signer(config, stores, directory)
        return [
            await signing_cost(issuer, each, partitions=stores.partitions, signer=signer)
            for issuer, each in sizes.items()
        ]


def _tell_costs(config: Config, costs: Sequence[SigningCost], *, json: bool) -> None:
    tasks = sum(presign_shares(config))
    if json:
        print_json([asdict(cost) for cost in costs])
        return
    print_table(
        ["ISSUER", "CERTIFICATES", "SIGNATURES", "CORE SECONDS", "RECORD STORE"],
        [
            [
                cost.issuer_id,
                f"{cost.certificates:,}",
                f"{cost.signatures:,}",
                None if cost.core_seconds is None else f"{cost.core_seconds:,.1f}",
                None if cost.store_octets is None else f"{cost.store_octets / 1e6:,.1f} MB",
            ]
            for cost in costs
        ],
    )
    say(f"{tasks} slices are signed at once here (signing.presign_tasks); nothing was signed")
