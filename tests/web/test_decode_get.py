"""The base64 of a GET, in every spelling that real clients and proxies make of it (standards §2.2)."""

from __future__ import annotations

import base64
import contextlib
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.errors import MalformedRequest
from responder.web.ocsp import decode_get
from responder.web.routing import raw_path

# Holds +, / and needs padding.
DER = bytes.fromhex("304500fbefbeffffff01")
TEXT = base64.b64encode(DER)


@given(st.binary(min_size=1, max_size=300), st.integers(0, 3), st.booleans(), st.booleans(), st.booleans())
def test_any_request_survives_every_spelling(der: bytes, slashes: int, escape: bool, strip: bool, spaces: bool) -> None:
    text = base64.b64encode(der).decode()
    if text.startswith("/"):
        return  # a leading slash is taken for the AIA's; a request begins with M
    if strip:
        text = text.rstrip("=")
    if spaces:
        text = text.replace("+", " ")
    if escape or spaces:
        text = urllib.parse.quote(text, safe="")
    assert decode_get(b"/" * slashes + text.encode()) == der


def test_lower_case_escapes_are_decoded_and_double_ones_are_not() -> None:
    assert b"+" in TEXT
    assert b"/" in TEXT
    once = TEXT.replace(b"+", b"%2b").replace(b"/", b"%2f").replace(b"=", b"%3d")
    assert decode_get(once) == DER
    with pytest.raises(MalformedRequest):
        decode_get(once.replace(b"%", b"%25"))


@pytest.mark.parametrize(
    "path", [b"", b"/", b"////", b"%ZZ", b"%", b"%00", b"==M", b"M", b"M===", b"MA==x", b"M\xff", b"-_-_", b"a" * 8193]
)
def test_what_is_not_base64_is_malformed(path: bytes) -> None:
    with pytest.raises(MalformedRequest):
        decode_get(path)


@given(st.binary(max_size=100))
def test_anything_decodes_or_is_malformed(path: bytes) -> None:
    with contextlib.suppress(MalformedRequest):
        decode_get(path)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/ocsp//M%2B", b"/ocsp//M%2B"),
        (b"/ocsp/M?x=1", b"/ocsp/M"),
        (b"http://example.test/ocsp/M", b"/ocsp/M"),
        (b"HTTPS://example.test:8443/M?y", b"/M"),
        (b"http://example.test", b"/"),
    ],
)
def test_the_raw_path_is_kept_and_absolute_form_is_cut(target: bytes, path: bytes) -> None:
    assert raw_path({"type": "http", "raw_path": target, "path": "/wrong"}) == path
