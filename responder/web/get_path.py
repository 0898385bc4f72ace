"""The request that a GET path carries: `{url}/{base64 of the DER}`, whatever the URL in the certificates is.

Source: RFC 6960 appendix A.1; RFC 9919 §5 (9919-07); docs/standards.md, what clients and proxies make of it.
"""

from __future__ import annotations

import base64
import binascii
import string
from urllib.parse import unquote_to_bytes

MAX_TARGET_BYTES = 8_192

MAX_SEGMENTS = 64
"""Of a URL, before the request; each is looked at."""

_URL_SAFE = bytes.maketrans(b"-_ ", b"+/+")
_ALPHABET = (string.ascii_letters + string.digits + "+/").encode()
_SHORTEST_ATTEMPT = 16


def find_request(path: bytes) -> bytes | None:
    """The DER that stands after some slash of a raw path: base64, up to the end of the path, of one whole SEQUENCE that
    begins with another, as an OCSPRequest does.

    Escapes are decoded once. The URL-safe alphabet is taken too, a space for the `+` that someone decoded, and padding
    may be missing. The base64 may hold slashes itself: what begins earliest is the request.
    """
    if len(path) > MAX_TARGET_BYTES:
        return None
    text = _readable(path)
    start = _first_slash(text)
    for _ in range(MAX_SEGMENTS):
        if not start:
            return None
        if _begins_a_request(text, start):
            return _decode(text[start:])
        start = text.find(b"/", start) + 1
    return None


def looks_like_a_request(path: bytes) -> bool:
    """Whether somebody meant to ask: what follows some slash is base64 that begins like a SEQUENCE, and no more."""
    if len(path) > MAX_TARGET_BYTES:
        return True
    text = _readable(path)
    first = _first_slash(text)
    start = text.find(b"/M", first - 1) if first else -1
    return start >= 0 and len(text) - start > _SHORTEST_ATTEMPT


def _first_slash(text: bytes) -> int:
    """Where base64 that goes to the end may begin: after the first slash behind which all is base64; 0: nowhere."""
    return text.find(b"/", len(text.rstrip(_ALPHABET))) + 1


def _readable(path: bytes) -> bytes:
    return unquote_to_bytes(path).translate(_URL_SAFE).rstrip(b"=")


def _begins_a_request(text: bytes, start: int) -> bool:
    """Whether the base64 that begins there is as long as the SEQUENCE it begins with says, and begins with another."""
    if text[start : start + 1] != b"M":  # 0x30
        return False
    size = (len(text) - start) * 6 // 8
    head = _decode(text[start : start + 12])
    if head is None or len(head) < 3:
        return False
    length, octets = head[1], 0
    if length >= 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4 or len(head) < 3 + octets:
            return False
        length = int.from_bytes(head[2 : 2 + octets], "big")
    return size == 2 + octets + length and head[2 + octets] == 0x30


def _decode(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None
