"""The chain with one good certificate."""

from __future__ import annotations

import pytest

from responder.pki import Certificate, Issuer
from responder.signing.signers import Signer
from tests.doubles import FakeClock
from tests.ocsp.chain import SERIAL, Chain, make_chain


@pytest.fixture
def chain(clock: FakeClock, issuer: Issuer, signer: Signer) -> Chain:
    made = make_chain(clock, issuer, signer)
    made.statuses.add(Certificate.numbered(issuer, SERIAL))
    return made
