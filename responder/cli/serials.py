"""Serial numbers on the command line."""

from __future__ import annotations

import re

from responder.errors import ConfigError
from responder.pki import MAX_SERIAL_OCTETS

_PREFIXED = re.compile(r"0[xX][0-9a-fA-F]+")
_COLONS = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2})+")
_BARE = re.compile(r"[0-9a-fA-F]+")


def read_serial(option: str, word: str) -> int:
    """A serial number as openssl prints it: 0x1a2b, 1A:2B, or without a prefix where it can't be decimal (010A, 0109).

    Raises:
        ConfigError: not one, or one that might be decimal.
    """
    digits = ""
    if _PREFIXED.fullmatch(word):
        digits = word[2:]
    elif _COLONS.fullmatch(word):
        digits = word.replace(":", "")
    elif _BARE.fullmatch(word):
        if word.isdecimal() and not word.startswith("0"):
            raise ConfigError(f"{option} {word} may be decimal or hexadecimal; write 0x before a hexadecimal number")
        digits = word
    if not digits or len(digits) > 2 * MAX_SERIAL_OCTETS:
        raise ConfigError(f"{option} {word[:80]!r} isn't a hexadecimal number, as in 0x1a2b, 1A:2B or 010A")
    return int(digits, 16)
