"""What a load needs of its target, before anything is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from loadtest.harness.live import Live
from loadtest.harness.load import Load, Options
from loadtest.harness.scenario import Scenario, Share
from loadtest.harness.target import Target, of_url
from responder.errors import ConfigError
from tests.answers import CA

BOTH = Scenario(name="both", title="t", about="a", requests=[Share(), Share(asks="crl")])


@pytest.fixture
def target(tmp_path: Path) -> Target:
    path = tmp_path / "ca.der"
    path.write_bytes(CA.certificate.public_bytes(Encoding.DER))
    return of_url("http://127.0.0.1:1/ocsp", issuer=path, certificates=[path], crl="http://127.0.0.1:1/ca.crl")


def test_a_scenario_asks_at_one_address(target: Target) -> None:
    Load(BOTH, target, Options(), Live(quiet=True))
    elsewhere = replace(target, subjects=[replace(target.subjects[0], crl="http://127.0.0.2:1/ca.crl")])
    with pytest.raises(ConfigError, match=r"both: it asks at 127\.0\.0\.1:1 and 127\.0\.0\.2:1"):
        Load(BOTH, elsewhere, Options(), Live(quiet=True))


def test_somebody_elses_crl_is_refused_too(target: Target) -> None:
    crls = BOTH.model_copy(update={"requests": [Share(asks="crl")]})
    others = replace(target, subjects=[replace(target.subjects[0], crl="http://192.0.2.1/ca.crl")])
    with pytest.raises(ConfigError, match="--i-may"):
        Load(crls, others, Options(), Live(quiet=True))
    conditional = BOTH.model_copy(update={"requests": [Share(asks="crl", if_none_match=True)]})
    with pytest.raises(ConfigError, match="--i-may"):
        Load(conditional, others, Options(), Live(quiet=True))


def test_what_lacks_is_named(target: Target) -> None:
    for changes, words in (
        ({"tls": True}, "an https:// URL"),
        ({"revocations_per_second": 1.0}, "a way to revoke"),
        ({"requests": [Share(certificates="revoked")]}, "revoked certificates of ca"),
    ):
        with pytest.raises(LookupError, match=words):
            Load(BOTH.model_copy(update=changes), target, Options(), Live(quiet=True))
    without = replace(target, subjects=[replace(target.subjects[0], crl=None)])
    with pytest.raises(LookupError, match=r"a CRL \(--crl URL\)"):
        Load(BOTH, without, Options(), Live(quiet=True))
