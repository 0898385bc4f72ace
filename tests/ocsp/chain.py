"""The whole chain on in-memory stores, with a real signer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from cryptography.x509 import ocsp

from responder.ocsp.cached import CachedSource
from responder.ocsp.filter import FilterSource
from responder.ocsp.live import Budget, LiveSource
from responder.ocsp.requestor import RequestorSource
from responder.pki import (
    Answer,
    CertIDVariant,
    Issuer,
    IssuerPolicy,
    Issuers,
    OCSPRequest,
    Question,
    encode_serial,
)
from responder.signing.answers import NativeSigner
from responder.signing.signers import Profiles, Signer, Signers, make_signer
from responder.signing.verifiers import verifies
from tests.doubles import FakeClock, MemoryRecords, MemoryStatuses

SERIAL = 0x1A2B


@dataclass
class Chain:
    """The chain on doubles, with everything in it at hand."""

    clock: FakeClock
    issuer: Issuer
    statuses: MemoryStatuses
    records: MemoryRecords
    issuers: Issuers
    profiles: Profiles
    signers: Signers
    live: LiveSource
    source: FilterSource

    def request(
        self, *serials: int, variant: CertIDVariant = CertIDVariant.SHA1, nonce: bytes | None = None
    ) -> OCSPRequest:
        return OCSPRequest(tuple(self.issuer.cert_id(variant, encode_serial(serial)) for serial in serials), nonce)

    def question(self, *serials: int) -> Question:
        return self.source.question(self.request(*serials))

    async def ask(self, *serials: int, **options: object) -> Answer:
        return await self.source.respond(self.request(*serials, **options))  # type: ignore[arg-type]

    def set_policy(self, **policy: object) -> None:
        """Have the issuer's policy say this, and its signer follow, as after a reload."""
        issuer = replace(self.issuer, policy=IssuerPolicy(**policy))  # type: ignore[arg-type]
        self.issuers.replace([issuer])
        signers = []
        for signer in list(self.signers):
            certificates = signer.profile.certificates
            signers.append(make_signer(issuer, certificates[0] if certificates else issuer.certificate, signer.key))
        self.signers.replace(signers)
        self.profiles.replace([signer.profile for signer in signers])


def make_chain(clock: FakeClock, issuer: Issuer, signer: Signer, **budget: int) -> Chain:
    statuses, records = MemoryStatuses(clock), MemoryRecords()
    issuers, profiles, signers = Issuers([issuer]), Profiles([signer.profile]), Signers([signer])
    native = NativeSigner(signers, clock, backdate=timedelta(minutes=5))
    live = LiveSource(
        statuses,
        records=native,
        responses=native,
        profiles=profiles,
        clock=clock,
        budget=Budget(max_in_flight=budget.get("max_in_flight", 8), max_waiting=budget.get("max_waiting", 100)),
    )
    cached = CachedSource(records, live, profiles=profiles, clock=clock, name="redis")
    requestor = RequestorSource(cached, statuses=statuses, verifies=verifies, clock=clock)
    source = FilterSource(requestor, issuers, algorithms=signers.algorithms, clock=clock)
    return Chain(clock, issuer, statuses, records, issuers, profiles, signers, live, source)


def status_in(answer: Answer) -> str:
    return ocsp.load_der_ocsp_response(answer.render()).certificate_status.name
