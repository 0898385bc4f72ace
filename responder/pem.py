"""PEM (RFC 7468): the DER that stands between its lines, as it stands there and judged by nobody."""

from __future__ import annotations

import base64
import re

BEGIN = b"-----BEGIN"


def find(content: bytes, *labels: str) -> bytes | None:
    """The DER of the first block with one of these labels; None where there is none.

    Raises:
        ValueError: what stands in it isn't base64.
    """
    names = "|".join(map(re.escape, labels)).encode()
    found = re.search(rb"-----BEGIN (?:" + names + rb")-----(.*?)-----END ", content, re.DOTALL)
    return None if found is None else base64.b64decode(b"".join(found[1].split()), validate=True)


def der_of(content: bytes, *labels: str) -> bytes:
    """The DER in a file that is DER itself, or PEM with one of these labels.

    Raises:
        ValueError: it is PEM, of something else, or damaged.
    """
    if BEGIN not in content:
        return content
    found = find(content, *labels)
    if found is None:
        raise ValueError("it is PEM, of something else")
    return found
