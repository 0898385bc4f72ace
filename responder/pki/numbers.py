"""Serial numbers and times as integers and octets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


MAX_SERIAL_OCTETS = 256
"""What the database keeps of a serial number, as `encode_serial` has it; CAs use at most 20 (RFC 5280 §4.1.2.2)."""

MAX_CRL_NUMBER = 2**159 - 1
"""The highest that has 20 octets (RFC 5280 §5.2.3)."""


def encode_serial(serial_number: int) -> bytes:
    """The content octets of the minimal DER INTEGER (X.690 §8.3.2): how a serial is stored and signed."""
    magnitude = serial_number if serial_number >= 0 else ~serial_number
    return serial_number.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True)


def decode_serial(octets: bytes) -> int:
    """The integer of `encode_serial`."""
    return int.from_bytes(octets, "big", signed=True)


def epoch_seconds(moment: datetime) -> int:
    """Whole seconds since 1970, rounded down: how times travel to the native core."""
    return (moment - EPOCH) // timedelta(seconds=1)


def epoch_microseconds(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def from_epoch_seconds(seconds: int) -> datetime:
    """The aware UTC time of `epoch_seconds`."""
    return EPOCH + timedelta(seconds=seconds)
