"""Scenarios come from files: ours are whole, and a fault of anybody's is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.harness import scenario
from responder.errors import ConfigError

RIGHT = 'title = "t"\nabout = "a"\n[[requests]]\n'


def test_all_of_ours_are_there_and_described() -> None:
    assert scenario.names() == ["cold", "crl", "flood", "hot", "mixed", "nonce", "storm", "tls"]
    for name in scenario.names():
        found = scenario.load(name)
        assert found.name == name
        assert found.about.endswith(".")
        assert found.loops == ["closed", "open"]


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"connections = 3\n{RIGHT}share = 2\nhash = 'sha512'\n[[requests]]\nasks = 'crl'\n")
    found = scenario.load(str(path))
    assert (found.name, found.connections) == ("mine", 3)
    assert [(each.share, each.asks, each.hash) for each in found.requests] == [
        (2, "ocsp", "sha512"),
        (1, "crl", "sha1"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = 't'\n", "requests: Field required"),
        (RIGHT + "methods = 'GET'\n", "requests.0.methods: Extra inputs are not permitted, not 'GET'"),
        (RIGHT + "share = -1\n", "requests.0.share: Input should be greater than 0, not -1"),
        (RIGHT + "certificates = 'all'\n", "requests.0.certificates: Input should be 'good'"),
        ("connections = 100000\n" + RIGHT, "connections: Input should be less than or equal to 10000, not 100000"),
        ("name = 'x'\n" + RIGHT, "name: a scenario is called as its file is"),
        ("title = \n", "Invalid value"),
        ("title = 't'\nabout = 'a'\nrequests = []\n", "requests: List should have at least 1 item"),
    ],
)
def test_a_fault_is_named_with_its_place_and_value(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        scenario.load(str(path))
    assert str(path) in str(raised.value)
    assert words in str(raised.value)


def test_a_name_that_is_none_lists_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"hott: neither a scenario \(cold, crl, .*tls\) nor a file"):
        scenario.load("hott")
