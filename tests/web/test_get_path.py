"""The request in a GET path, in every spelling that real clients and proxies make of it (standards §2.2), below any
URL that certificates may name."""

from __future__ import annotations

import base64
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.web.exchange import raw_path
from responder.web.get_path import MAX_SEGMENTS, MAX_TARGET_BYTES, find_request, looks_like_a_request
from tests import der

# Their base64 holds +, / and needs padding.
SMALL = der.sequence(der.sequence(), bytes.fromhex("0000fbefbeffffff01"))
LARGE = der.sequence(der.sequence(), bytes.fromhex("fbefbeffffff") * 60)
TEXT = base64.b64encode(SMALL)

URLS = [b"", b"/ocsp", b"/ejbca/publicweb/status/ocsp", b"/OCSP", b"/OCSP/VCA5", b"/retry/ocsp.example.com/ocsp",
        b"/v1/pki/ocsp", b"/Main/M/MA", b"/MFkwVzBVMFMwUTAJ", b"/a%20b/%2Fc", b"//"]  # fmt: skip


@given(
    st.binary(max_size=300).map(lambda content: der.sequence(der.sequence(content))),
    st.sampled_from(URLS),
    st.integers(1, 3),
    st.sampled_from(["raw", "escaped", "url-safe", "spaces"]),
    st.booleans(),
)
def test_any_request_survives_every_spelling_at_any_url(
    request_der: bytes, url: bytes, slashes: int, spelling: str, strip: bool
) -> None:
    text = base64.b64encode(request_der).decode()
    if strip:
        text = text.rstrip("=")
    if spelling == "url-safe":
        text = text.replace("+", "-").replace("/", "_")
    if spelling == "spaces":
        text = text.replace("+", " ")
    if spelling in {"escaped", "spaces"}:
        text = urllib.parse.quote(text, safe="")
    assert find_request(url + b"/" * slashes + text.encode()) == request_der


def test_lower_case_escapes_are_decoded_and_double_ones_are_not() -> None:
    assert b"+" in TEXT
    assert b"/" in TEXT
    once = b"/" + TEXT.replace(b"+", b"%2b").replace(b"/", b"%2f").replace(b"=", b"%3d")
    assert find_request(once) == SMALL
    assert find_request(once.replace(b"%", b"%25")) is None


@pytest.mark.parametrize(
    "path",
    [b"", b"/", b"////", b"/%ZZ", b"/%", b"/%00", b"/==M", b"/M", b"/MA==x", b"/M\xff", b"/-_-_", b"/favicon.ico",
     b"/robots.txt", b"/M" * 4000, b"/" + TEXT[:-5], b"/" + TEXT + b"AAAA", b"/ocsp/" + base64.b64encode(b"hello"),
     b"/" + base64.b64encode(SMALL + b"\x00"), b"/" + b"a" * MAX_TARGET_BYTES, b"/MIT", b"/MIAB", b"/MIUBAQEBAQE",
     b"/" + base64.b64encode(der.sequence(b"\x02\x01\x01")),
     b"/" + base64.b64encode(der.tlv(0x31, b"12345"))],
)  # fmt: skip
def test_what_is_no_request_is_none(path: bytes) -> None:
    assert find_request(path) is None


@given(st.binary(max_size=100))
def test_whatever_is_found_is_one_sequence_that_the_path_ends_with(path: bytes) -> None:
    found = find_request(b"/" + path)
    if found is not None:
        assert found[0] == 0x30
        readable = urllib.parse.unquote_to_bytes(path).translate(bytes.maketrans(b"-_ ", b"+/+")).rstrip(b"=")
        assert (b"/" + readable).endswith(b"/" + base64.b64encode(found).rstrip(b"="))


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        (b"/" + base64.b64encode(LARGE)[:-5], True),
        (b"/some/url/" + base64.b64encode(LARGE)[:200], True),
        (b"/" + urllib.parse.quote(base64.b64encode(LARGE)[:-5], safe="").encode(), True),
        (b"/" + b"a" * (MAX_TARGET_BYTES + 1), True),
        (b"/M" * 4000 + b"!", False),
        (b"/favicon.ico", False),
        (b"/Main/index.html", False),
        (b"/M", False),
        (b"/hello", False),
    ],
)
def test_an_attempt_is_told_from_a_path_of_something_else(path: bytes, is_one: bool) -> None:
    assert looks_like_a_request(path) is is_one


def test_a_path_of_slashes_is_not_decoded_once_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = 0

    def counting(text: bytes, *, validate: bool) -> bytes:
        nonlocal decoded
        decoded += len(text)
        return decode(text, validate=validate)

    decode = base64.b64decode
    monkeypatch.setattr("responder.web.get_path.base64.b64decode", counting)
    # Each of these has the length of what follows it, up to an octet that isn't base64.
    right = b""
    while len(right) < MAX_TARGET_BYTES - 20:
        size = (len(right) + 8 + 3) * 6 // 8
        right = b"/" + base64.b64encode(b"\x30\x82" + (size - 4).to_bytes(2, "big") + b"\x30\0")[:8] + right
    for path in (right + b"AA!", *(part * (MAX_TARGET_BYTES // len(part)) for part in (b"/MIIE", b"/M", b"/MIIFAA"))):
        decoded = 0
        assert find_request(path) is None
        looks_like_a_request(path)
        assert decoded <= 12 * MAX_SEGMENTS


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
    assert raw_path(target) == path
