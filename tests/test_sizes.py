"""How long answers are: by algorithm, and for whom that is too long."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.x509 import ocsp

from responder.signing.sizes import longest_answer, too_long_for, warnings
from tests.makers import make_ca, make_test_issuer, make_test_signer

NOW = datetime.now(UTC).replace(microsecond=0)

KINDS = {"ec": 1_100, "p384": 1_250, "ed25519": 1_000, "rsa": 1_900, "rsa4096": 3_000}
"""By kind of key of CA and responder: what no answer is longer than."""


@pytest.mark.parametrize("kind", KINDS)
def test_answers_of_usual_keys_have_room_with_every_client(kind: str) -> None:
    signer = make_test_signer(make_test_issuer("sizes", make_ca(kind)), kind)
    octets = len(longest_answer(signer, NOW))
    assert 500 < octets <= KINDS[kind]
    assert too_long_for(octets) == []
    assert warnings(octets) == []


def test_what_is_measured_is_the_longest_that_the_policy_says() -> None:
    issuer = make_test_issuer(
        "sizes", make_ca("ec"), crl_url="http://crl.example/" + "x" * 200 + ".crl", archive=True, cert_hash=True
    )
    signer = make_test_signer(issuer, "ec")
    seen: list[bytes] = []

    class Watched:
        def sign_response(self, *arguments: object) -> bytes:
            seen.append(signer.profile.sign_response(*arguments))  # type: ignore[arg-type]
            return seen[-1]

    octets = len(longest_answer(replace(signer, profile=Watched()), NOW))  # type: ignore[arg-type]
    (der,) = seen
    assert octets == len(der)
    (single,) = ocsp.load_der_ocsp_response(der).responses
    assert single.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert single.hash_algorithm.name == "sha512"
    assert single.serial_number.bit_length() == 159
    assert b"x" * 200 in der
    plain = len(longest_answer(make_test_signer(make_test_issuer("sizes", make_ca("ec")), "ec"), NOW))
    assert octets > plain + 300


@pytest.mark.parametrize(
    ("octets", "count"), [(4_125, 0), (4_126, 1), (10_240, 1), (10_241, 2), (16_384, 2), (16_385, 3)]
)
def test_who_has_no_room_is_told_with_what_helps(octets: int, count: int) -> None:
    told = warnings(octets)
    assert len(told) == count
    for sentence in told:
        assert f"of answers of {octets:,} octets" in sentence
        assert "without a delegate" in sentence
