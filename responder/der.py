"""A little DER in Python, for what isn't made often: extensions, names, certificates (X.690 §8.1)."""

from __future__ import annotations

from datetime import datetime

SEQUENCE = 0x30
SET = 0x31
BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
UTF8_STRING = 0x0C
IA5_STRING = 0x16
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18


def der_value(tag: int, content: bytes) -> bytes:
    """One DER value."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def sequence(*values: bytes) -> bytes:
    """A SEQUENCE of values."""
    return der_value(SEQUENCE, b"".join(values))


def extension(oid: bytes, value: bytes, *, critical: bool = False) -> bytes:
    """An Extension; `oid` and `value` are DER (RFC 5280 §4.1)."""
    return sequence(oid, b"\x01\x01\xff" if critical else b"", der_value(OCTET_STRING, value))


def generalized_time(moment: datetime) -> bytes:
    """Whole seconds, in UTC (RFC 5280 §4.1.2.5.2)."""
    return der_value(GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").rjust(15, "0").encode())


def time(moment: datetime) -> bytes:
    """UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5)."""
    if 1950 <= moment.year < 2050:
        return der_value(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())
    return generalized_time(moment)


def dotted(oid: bytes) -> str:
    """The contents of an OBJECT IDENTIFIER for people, as in 2.5.29.19."""
    arcs, value = [], 0
    for octet in oid:
        value = value << 7 | octet & 0x7F
        if octet < 0x80:
            arcs.append(value)
            value = 0
    if not arcs:
        return "?"
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def contents(octets: bytes) -> bytes:
    """What is in the one value that these octets are.

    Raises:
        ValueError: they aren't one.
    """
    found = values(octets)
    if len(found) != 1:
        raise ValueError(f"{len(found)} DER values where one was expected")
    return found[0][1]


def values(octets: bytes) -> list[tuple[int, bytes, bytes]]:
    """The values that stand one after the other: tag, content, and the whole of each.

    Raises:
        ValueError: that isn't what these octets are.
    """
    found = []
    position = 0
    while position < len(octets):
        if position + 2 > len(octets):
            raise ValueError("a DER value that is cut short")
        tag, size, start = octets[position], octets[position + 1], position + 2
        if size >= 0x80:
            start += size & 0x7F
            size = int.from_bytes(octets[position + 2 : start], "big")
        if start + size > len(octets):
            raise ValueError("a DER value that is cut short")
        found.append((tag, octets[start : start + size], octets[position : start + size]))
        position = start + size
    return found
