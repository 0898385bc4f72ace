"""`certstatus crl`: publishes CRLs and renews responder certificates, for the issuers whose CA key is here."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from responder.clock import SystemClock
from responder.config import Config
from responder.crl.issuer import CRLIssuer
from responder.crl.schedule import CRLSchedule
from responder.host.process import Process, background, has_ended, process_identity, repeatedly
from responder.pki import Issuer
from responder.roles.current import kept_current
from responder.roles.snapshot import Directory
from responder.roles.stores import Stores, open_stores
from responder.signing.crls import NativeCRLSigner, ca_signer_of
from responder.signing.delegates import renew_responder_certificates
from responder.signing.key_files import make_following_key
from responder.signing.keys import KeyRing
from responder.signing.signers import make_profile
from responder.troubles import Troubles, telling


async def build_crls(config: Config, process: Process, stop: asyncio.Event) -> None:
    """Publishes CRLs and renews responder certificates, for the issuers whose CA key is here."""
    async with open_stores(config, name="crl") as stores, AsyncExitStack() as stack:
        directory = Directory(stores, keys=None)
        keys = KeyRing(None)
        signer = NativeCRLSigner(keys)

        async def reload() -> None:
            nonlocal keys
            await directory.reload()
            keys = await asyncio.to_thread(KeyRing, config.keys.ca_directory, before=keys)
            directory.report(*keys.faults)
            signer.use(keys)

        await stores.crls.end_leases(has_ended)
        await stack.enter_async_context(kept_current(config, {"certstatus_issuers": reload}))
        troubles = Troubles("crl", stores.troubles)
        schedule = _crl_schedule(stores, signer, troubles)
        stack.push_async_callback(schedule.close)

        async def publish_once() -> bool:
            await schedule.begin(_signed_here(stores, signer))
            return False

        delegate_troubles = Troubles("delegate", stores.troubles)

        def new_key(issuer: Issuer, public_key: bytes) -> bytes | None:
            return make_following_key(config.keys.directory, issuer.id, public_key)

        async def renew_once() -> bool:
            await renew_responder_certificates(
                stores.signer_store,
                issuers=stores.issuers,
                ca_key=lambda public_key: ca_signer_of(keys, public_key),
                clock=SystemClock(),
                new_key=new_key,
                profile_of=make_profile,
                troubles=delegate_troubles,
            )
            return False

        async with background(
            repeatedly(publish_once, idle_seconds=1),
            repeatedly(renew_once, idle_seconds=60),
            repeatedly(telling(troubles, delegate_troubles, directory.troubles), idle_seconds=1),
        ):
            process.ready()
            await stop.wait()


async def publish_crls(config: Config, stores: Stores) -> None:
    """Publish the CRLs that are due, once; what `crl` does all the time."""
    signer = NativeCRLSigner(KeyRing(config.keys.ca_directory))
    await _crl_schedule(stores, signer).once(_signed_here(stores, signer))


def _crl_schedule(stores: Stores, signer: NativeCRLSigner, troubles: Troubles | None = None) -> CRLSchedule:
    return CRLSchedule(
        CRLIssuer(revoked=stores.revoked, statuses=stores.statuses, signer=signer, store=stores.crls),
        store=stores.crls,
        issuers=stores.issuers,
        clock=SystemClock(),
        owner=process_identity(),
        troubles=troubles,
    )


def _signed_here(stores: Stores, signer: NativeCRLSigner) -> frozenset[str]:
    return frozenset(issuer.id for issuer in stores.issuers if signer.can_sign(issuer))
