"""Answers that were made elsewhere, by the native way and by the Python one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from responder.pki import Records, encode_serial, epoch_seconds
from tests.makers import made_elsewhere
from tests.ocsp.chain import SERIAL
from tests.web.test_fast_answer import HOURS, Both, both, nonce, request_for

__all__ = ["both"]

SERIALS = (SERIAL, 5)


async def put_elsewhere_s(both: Both) -> None:
    """The records of the chain as if others had made them, a year ago."""
    chain = both.chain
    for serial in SERIALS:
        await chain.ask(serial)
    (signer,) = chain.signers
    for certificate, records in list(chain.records.kept.items()):
        if isinstance(records, Records) and not records.is_tombstone:
            chain.records.kept[certificate] = made_elsewhere(
                signer, certificate, records, produced_at=epoch_seconds(chain.clock.now()), age=365 * 86400
            )
    both.fill()


@pytest.mark.parametrize("passed", HOURS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_both_give_the_same(both: Both, method: str, passed: timedelta) -> None:
    await put_elsewhere_s(both)
    chain = both.chain
    chain.clock.advance(passed)
    answered = await both.answered_alike(SERIALS, (1, 2, 3, 17), method)
    for (serial, variant), body in answered.items():
        held = both.table.get(chain.issuer.tag, encode_serial(serial))
        assert held is not None
        assert body == held.signature(variant)[16:]
    # They are made records again in the same rhythm as ours, however old the answers are. (Whole RSA answers are long:
    # the table of this test may have room for those of one certificate only.)
    kept = sum(both.table.get(chain.issuer.tag, encode_serial(serial)) is not None for serial in SERIALS)
    assert kept >= 1
    assert len(answered) == (2 * kept if passed < timedelta(hours=36) else 0)


async def test_no_signature_of_ours_is_put_on_what_they_say(both: Both) -> None:
    """A nonce, or several certificates, would be answered in our name."""
    await put_elsewhere_s(both)
    asked = request_for(both.chain.issuer, encode_serial(SERIAL), 1, nonce(b"n" * 16))
    assert both.fast(asked, signs=True) is None
    held = both.table.get(both.chain.issuer.tag, encode_serial(SERIAL))
    plain = both.fast(request_for(both.chain.issuer, encode_serial(SERIAL), 1), signs=True)
    assert (plain is None) == (held is None)
