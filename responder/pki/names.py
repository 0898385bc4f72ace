"""Distinguished names as certificates have them: told to people, and compared, whatever their strings hold."""

from __future__ import annotations

import contextlib
import unicodedata

from responder import der

_ENCODINGS = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",
    0x14: "latin-1",  # TeletexString: what CAs have put into it, whatever T.61 says
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}

_SHORT = {
    "550403": "CN", "550404": "SN", "550405": "serialNumber", "550406": "C", "550407": "L", "550408": "ST",
    "550409": "STREET", "55040a": "O", "55040b": "OU", "55040c": "title", "55042a": "GN",
    "0992268993f22c640119": "DC", "0992268993f22c640101": "UID",
    "2a864886f70d010901": "emailAddress", "550461": "organizationIdentifier",
}  # fmt: skip

_ORGANIZATION = bytes.fromhex("55040a")

_SPECIAL = frozenset('\\,+"<>;=')

Attribute = tuple[bytes, int, bytes]
"""Type (contents of the OBJECT IDENTIFIER), tag of the value, contents of the value."""


def attributes(name: bytes) -> list[list[Attribute]]:
    """The relative names of a DER Name, in order.

    Raises:
        ValueError: it isn't one.
    """
    found = []
    for _, relative, _ in der.values(der.contents(name)):
        group = []
        for _, attribute, _ in der.values(relative):
            parts = der.values(attribute)
            if len(parts) != 2:
                raise ValueError("an attribute of a name isn't a type and a value")
            (_, kind, _), (tag, value, _) = parts
            group.append((kind, tag, value))
        found.append(group)
    return found


def describe(name: bytes) -> str:
    """A Name for people, as RFC 4514 orders it: the last relative name first."""
    try:
        groups = attributes(name)
    except ValueError:
        return f"#{name.hex()}"
    shown = ["+".join(f"{_type(kind)}={_shown(tag, value)}" for kind, tag, value in group) for group in groups]
    return ",".join(reversed(shown)) or "(no name)"


def organizations(name: bytes) -> frozenset[str]:
    """The organizationNames of a Name, as `fold` makes them comparable; none where it isn't a Name."""
    with contextlib.suppress(ValueError):
        return frozenset(
            _folded(tag, value)
            for group in attributes(name)
            for kind, tag, value in group
            if kind == _ORGANIZATION and tag in _ENCODINGS
        )
    return frozenset()


def are_equal(one: bytes, other: bytes) -> bool:
    """Whether two Names are the same by RFC 5280 §7.1: in other string types, in upper or lower case, with more or less
    space."""
    if one == other:
        return True
    try:
        return _normalized(one) == _normalized(other)
    except ValueError:
        return False


def _normalized(name: bytes) -> list[frozenset[tuple[bytes, object]]]:
    return [
        frozenset((kind, _folded(tag, value) if tag in _ENCODINGS else (tag, value)) for kind, tag, value in group)
        for group in attributes(name)
    ]


def fold(text: str) -> str:
    """The same for all that RFC 5280 §7.1 compares as equal: without regard to case and to the amount of space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _folded(tag: int, value: bytes) -> str:
    return fold(_text(tag, value))


def _text(tag: int, value: bytes) -> str:
    """What a string says; in Latin-1 where it isn't of its own type."""
    try:
        return value.decode(_ENCODINGS[tag])
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _shown(tag: int, value: bytes) -> str:
    if tag not in _ENCODINGS:
        return f"#{value.hex()}"
    text = "".join(f"\\{each}" if each in _SPECIAL else each for each in _text(tag, value))
    return "".join(each if each.isprintable() else f"\\{ord(each):02X}" for each in text)


def _type(kind: bytes) -> str:
    return _SHORT.get(kind.hex()) or der.dotted(kind)
